"""Where quadrants lie, and what is left of objects that others cover; with pixels: test_scene_loader.py."""

import numpy as np
import pytest

from hubel.data import rle
from hubel.data.arrange import PASTED, STRIDE, WHOLE, Collage
from hubel.data.augment import Augment
from hubel.data.collage import cut_out, lay_over, outline_mask, quadrant
from hubel.data.objects import Objects
from hubel.data.ragged import Ragged
from hubel.errors import UserError
from hubel.ops.geometry import move_points
from hubel.ops.polygons import rectangle

SIZE = (50, 80)


def scene(label, box, **columns):
    """One image with a rectangle: its box and outline."""
    corners = np.array([box], dtype=np.float64)
    outlines = Ragged.pack_nested([[rectangle(corners[0])]], np.empty((0, 2), np.float32))
    return Objects(np.array([0, 1]), corners, np.array([label]), **({"outlines": outlines} | columns))


def pixels(box):
    mask = np.zeros(SIZE, bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


# Mosaic ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_quadrants_tile_the_target_and_are_covered(seed):
    rng = np.random.default_rng(seed)
    u, painted = rng.random(6), np.zeros((40, 60), int)
    for role in range(4):
        bars = rng.uniform(0, 15, 2)
        content = np.array([bars[0], bars[1], 60 - bars[0], 40 - bars[1]])
        matrix, (x0, y0, x1, y1) = quadrant(role, content, (40, 60), u)
        painted[y0:y1, x0:x1] += 1
        (left, top), (right, bottom) = move_points(content.reshape(2, 2), matrix)
        assert left <= x0 + 1e-9 and top <= y0 + 1e-9 and right >= x1 - 1e-9 and bottom >= y1 - 1e-9
        meet = (x1 if role % 2 == 0 else x0, y1 if role < 2 else y0)
        inner = (right if role % 2 == 0 else left, bottom if role < 2 else top)
        np.testing.assert_allclose(inner, meet)
        assert matrix[0, 0] == matrix[1, 1] >= 0.5  # half of what it has alone, at least
        assert 0.3 * 60 - 1 <= meet[0] <= 0.7 * 60 + 1 and 0.3 * 40 - 1 <= meet[1] <= 0.7 * 40 + 1
    assert (painted == 1).all()


def test_what_is_drawn():
    """A loop over the slots: shares, own quadrants, sources from the pool, a draw of its own for every part."""
    slots, pool = np.arange(4000), np.arange(100, 150)
    index = np.arange(4000) + 1000
    parts = Collage(0.5, 0.25).draw(0, 1, slots, index, pool)
    mosaics = pasted = 0
    firsts = []
    for b in range(4000):
        rows = np.flatnonzero(parts.scene == b)
        roles = parts.role[rows].tolist()
        assert parts.index[rows[0]] == index[b] and parts.slots[rows].tolist()[0] == b
        assert all(i in pool for i in parts.index[rows[1:]])
        quadrants = [role for role in roles if 0 <= role < PASTED]
        assert sorted(quadrants) in ([], [0, 1, 2, 3]) and roles[0] in (WHOLE, 0, 1, 2, 3)
        assert PASTED not in roles[:-1]
        mosaics += len(quadrants) == 4
        pasted += roles[-1] == PASTED
        firsts += roles[:1] if quadrants else []
    assert abs(mosaics / 4000 - 0.5) < 0.03 and abs(pasted / 4000 - 0.25) < 0.03
    assert np.bincount(firsts).min() > 400  # any quadrant
    assert len(np.unique(parts.slots)) == len(parts.slots) and parts.slots.max() >= 4 * STRIDE
    assert np.array_equal(parts.own, np.flatnonzero(np.r_[True, parts.scene[1:] != parts.scene[:-1]]))
    some = Collage(0.5, 0.25).draw(0, 1, slots[7:9], index[7:9], pool)
    there = np.isin(parts.scene, [7, 8])
    for name in ("slots", "index", "role"):
        assert np.array_equal(getattr(some, name), getattr(parts, name)[there])
    assert np.bincount(parts.index[parts.index < 1000] - 100, minlength=50).min() > 50  # every image of the pool


def test_a_share_is_a_share():
    with pytest.raises(UserError, match=r"mosaic is a share.*1\.5"):
        Collage(mosaic=1.5)
    augment = Augment(collage=Collage(0.5, 0.25))
    assert augment.settings() == {"collage": {"mosaic": 0.5, "copy_paste": 0.25}}
    assert Augment.from_settings(augment.settings()) == augment


# Copy-paste ------------------------------------------------------------------------------------------------------


def test_copied_objects_cover_what_lies_below():
    ours = scene(10, (10, 10, 30, 30), areas=np.array([400.0]), keypoints=np.array([[[12, 12, 2], [25, 25, 2]]], float))
    theirs, covered = cut_out(scene(50, (20, 10, 40, 30), areas=np.array([400.0]), keypoints=np.ones((1, 2, 3))), SIZE)
    np.testing.assert_array_equal(covered, pixels((20, 10, 40, 30)))
    found = lay_over(ours, theirs, covered)
    np.testing.assert_array_equal(found.labels, [10, 50])
    np.testing.assert_array_equal(found.boxes, [[10, 10, 20, 30], [20, 10, 40, 30]])
    np.testing.assert_array_equal(rle.decode(found.runs[0], *SIZE) > 0, pixels((10, 10, 20, 30)))
    np.testing.assert_array_equal(outline_mask(found, 1, SIZE), covered)
    assert len(found.outlines[0]) == 0 and len(found.outlines[1]) == 1
    np.testing.assert_array_equal(found.areas, [200, 400])
    assert found.keypoints[0, :, 2].tolist() == [2, 1], "what is covered is hidden"


def test_what_is_covered_is_gone():
    theirs, covered = cut_out(scene(50, (20, 10, 40, 30)), SIZE)
    assert lay_over(scene(10, (22, 12, 38, 28)), theirs, covered).labels.tolist() == [50]
    apart = lay_over(scene(10, (60, 12, 70, 28)), theirs, covered)
    assert len(apart.outlines[0]) == 1 and not len(apart.runs[0])  # what is not covered keeps its outline
    under, half = (scene(10, box, outlines=None) for box in ((22, 12, 38, 28), (10, 10, 30, 30)))
    assert lay_over(under, theirs, covered).labels.tolist() == [50]
    assert lay_over(half, theirs, covered).boxes.tolist() == [[10, 10, 30, 30], [20, 10, 40, 30]]  # the box alone stays


def test_what_has_no_outline_can_not_be_cut_out():
    theirs, covered = cut_out(scene(50, (20, 10, 40, 30), outlines=None), SIZE)
    assert theirs.count == 0 and not covered.any()
    ours = scene(10, (10, 10, 30, 30))
    assert lay_over(ours, theirs, covered) is ours

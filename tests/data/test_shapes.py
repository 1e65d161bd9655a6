"""Drawn scenes and faces: the same image whatever the count, and annotations that are exactly what is drawn."""

import dataclasses
import pickle

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubel import names
from hubel.data import figures, paint, scenes
from hubel.data.formats import masks, voc
from hubel.data.objects import OCCLUDED, TRUNCATED
from hubel.data.polygons import contains, coverage, fill, trace
from hubel.data.rings import self_crossing
from hubel.data.shapes import KINDS, shapes
from hubel.errors import UserError
from hubel.parts import load_dataset

COUNT = 24


@pytest.fixture(scope="module")
def drawn():
    return shapes(COUNT, "48x72", seed=3)


def the_scenes(dataset):
    return [dataset.images.drawn.scene(i) for i in range(len(dataset))]


def inside_by_loop(points, height, width):
    """The even-odd rule, edge by edge: how many edges lie to the left of each centre?"""
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    odd = np.zeros((height, width), bool)
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
        if y0 != y1:
            odd ^= ((y0 <= y) != (y1 <= y)) & (x0 + (y - y0) * ((x1 - x0) / (y1 - y0)) <= x)
    return odd


# Polygons ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_fill_is_the_even_odd_rule_at_centres(seed):
    rng = np.random.default_rng(seed)
    points = rng.uniform(-6, 22, (rng.integers(3, 9), 2))
    if seed % 2:
        points = np.round(points) + 0.5  # corners on centres, level edges
    assert np.array_equal(fill(points, 14, 18), inside_by_loop(points, 14, 18))
    for x, y in rng.uniform(0, 14, (20, 2)):
        assert contains(points, x, y) == inside_by_loop(points - (x - 0.5, y - 0.5), 1, 1)[0, 0]


@pytest.mark.parametrize("seed", range(8))
def test_coverage_is_the_share_of_each_pixel(seed):
    rng = np.random.default_rng(seed)
    angle = np.sort(rng.uniform(0, 2 * np.pi, 9))
    points = rng.uniform(2, 14, 9)[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1) + rng.uniform(0, 16, 2)
    rows, columns, share = coverage(points, 16, 20)
    found = np.zeros((16, 20))
    found[rows, columns] = share
    fine = fill(points * 32, 16 * 32, 20 * 32).reshape(16, 32, 20, 32).mean((1, 3))
    assert np.abs(found - fine).max() < 0.09 and abs(found.sum() - fine.sum()) < 0.01 * fine.sum() + 0.2


def test_coverage_of_nothing():
    assert not coverage(np.array([(30.0, 30), (40, 30), (35, 40)]), 16, 20)[2].size


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**81 - 1))
def test_traced_rings_filled_are_the_mask(height, width, bits):
    mask = np.array([bits >> k & 1 for k in range(height * width)], bool).reshape(height, width)
    rings = trace(mask)
    filled = np.zeros_like(mask)
    for ring in rings:
        filled ^= fill(ring.astype(np.float64), height, width)
        steps = np.roll(ring, -1, axis=0) - ring
        assert ((steps != 0).sum(1) == 1).all()  # along the edges of pixels
        assert (np.sign(steps) != np.sign(np.roll(steps, 1, axis=0))).any(1).all()  # only corners are kept
    assert np.array_equal(filled, mask)


def test_one_ring_for_each_piece():
    mask = np.zeros((6, 6), bool)
    mask[0:2, 0:2] = mask[2:4, 2:4] = mask[5, 5] = True  # the first two touch at a corner
    assert len(trace(mask)) == 3
    mask = np.ones((5, 5), bool)
    mask[2, 2] = False
    assert len(trace(mask)) == 2  # a hole


# Figures -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("figure", figures.figures(), ids=figures.NAMES)
def test_figures_have_area_one_and_are_their_own_mirror_image(figure):
    x, y = (figure.outline * 100 + 200).T.astype(np.float32)
    assert cv2.contourArea(np.stack([x, y], 1)) == pytest.approx(1e4, rel=1e-5)
    image = fill(figure.outline * 60 + 100.0, 200, 200)
    assert (image != image[:, ::-1]).sum() <= 4  # centres that lie on an edge
    moments = cv2.moments(np.stack([x, y], 1))
    assert moments["m10"] / moments["m00"] == pytest.approx(200, abs=0.01)
    assert moments["m01"] / moments["m00"] == pytest.approx(200, abs=0.01)
    swap = figures.SKELETON.mirrored()
    assert swap.tolist() == [0, 1, 4, 3, 2]
    assert np.allclose(figure.keypoints[swap] * (-1, 1), figure.keypoints, atol=1e-9)
    assert contains(figure.outline, *figure.keypoints[0])
    centre, top, left, bottom, right = figure.keypoints
    assert left[0] < centre[0] < right[0] and top[1] < centre[1] < bottom[1]
    middle = figure.keypoints[0]
    for point in figure.keypoints[1:]:  # on the outline: just inside it, and just outside
        assert cv2.pointPolygonTest(figure.outline.astype(np.float32), tuple(map(float, point)), True) > -1e-3
        assert abs(cv2.pointPolygonTest(figure.outline.astype(np.float32), tuple(map(float, point)), True)) < 0.02
    assert middle[0] == pytest.approx(0, abs=1e-9)


# Scenes ------------------------------------------------------------------------------------------------------


def test_an_image_does_not_depend_on_the_count_or_on_what_is_annotated(drawn):
    fewer, other = shapes(5, (48, 72), seed=3), shapes(5, "48x72", seed=4)
    for i in range(5):
        assert np.array_equal(fewer.images.read(i), drawn.images.read(i))
        assert np.array_equal(fewer.images.read(i), shapes(9, "48x72", 3, "classes").images.read(i))
        assert not np.array_equal(other.images.read(i), drawn.images.read(i))
    few, many = fewer.annotations["objects"], drawn.annotations["objects"].take(np.arange(5))
    assert few.digest() == many.digest()


def test_images_are_small_to_pickle_and_have_the_size_asked_for(drawn):
    again = pickle.loads(pickle.dumps((drawn.images, drawn.annotations["mask"])))
    assert len(pickle.dumps(drawn.images)) < 500
    assert np.array_equal(again[0].read(7), drawn.images.read(7))
    assert np.array_equal(again[1].read(7), drawn.annotations["mask"].read(7))
    assert drawn.images.read(0).shape == (48, 72, 3) and drawn.images.read(0).dtype == np.uint8
    assert drawn.images.sizes(3).tolist() == [[48, 72]] * 3
    assert shapes(2, 33).images.read(1).shape == (33, 33, 3)


def test_the_digest_follows_every_option():
    hashes = {shapes(*options).hash() for options in (
        (4,), (5,), (4, "65"), (4, "64", 1), (4, "64", 0, "labels"), (4, "64", 0, "scenes", 7),
        (4, "64", 0, "scenes", 8, 4),
    )}  # fmt: skip
    assert len(hashes) == 7
    assert shapes(4).hash() == shapes(4, 64).hash()


def test_boxes_are_tight_and_masks_are_the_outlines_filled(drawn):
    objects, mask_column = drawn.annotations["objects"], drawn.annotations["mask"]
    for i, scene in enumerate(the_scenes(drawn)):
        low, high = objects.offsets[i : i + 2]
        assert high - low == len(scene.placed)
        top = np.zeros((48, 72), np.uint8)
        for k in range(low, high):
            mask = np.zeros((48, 72), bool)
            for ring in objects.outlines[k]:
                mask ^= fill(ring.astype(np.float64), 48, 72)
            assert np.array_equal(mask, scene.visible(k - low))
            rows, columns = np.nonzero(mask)
            assert objects.boxes[k].tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert objects.areas[k] == mask.sum()
            assert objects.labels[k] == scene.placed[k - low].kind
            assert not top[mask].any()  # no pixel belongs to two
            top[mask] = objects.labels[k] + 1
        assert np.array_equal(top, mask_column.read(i))
    assert mask_column.classes == ("background", *drawn.classes)
    assert not self_crossing(objects.outlines.values).any()


def test_what_is_drawn_last_lies_on_top(drawn):
    for scene in the_scenes(drawn):
        owner = np.zeros((48, 72), np.uint8)
        for k, one in enumerate(scene.placed):
            owner[inside_by_loop(one.outline, 48, 72)] = k + 1
        assert np.array_equal(owner, scene.owner)


def test_at_least_half_of_each_is_visible_and_nothing_has_a_hole(drawn):
    covered = truncated = 0
    for scene in the_scenes(drawn):
        for k, one in enumerate(scene.placed):
            assert scene.visible(k).sum() >= 0.5 * one.size**2 * 0.99
            for ring in trace(scene.visible(k)):
                x, y = ring.T.astype(float)
                assert np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)) > 0  # the inside on the right: no hole
            covered += not scene.whole(k)
    flags = drawn.annotations["objects"].flags
    truncated = int((flags & TRUNCATED > 0).sum())
    assert 0 < truncated < len(flags) and 0 < (flags & OCCLUDED > 0).sum() < len(flags) and covered


def test_a_figure_in_the_middle_of_another_is_refused():
    square = figures.figures()[1]
    below = scenes._add(scenes.Scene((), np.zeros((64, 64), np.uint8)), scenes._at(square, 40, 0.0, 32, 32))
    assert scenes._add(below, scenes._at(square, 12, 0.0, 32, 32)) is None  # it would leave a hole
    assert scenes._add(below, scenes._at(square, 12, 0.0, 14, 32)) is not None


def test_flags_say_what_is_covered_and_what_leaves_the_image(drawn):
    flags = iter(drawn.annotations["objects"].flags.tolist())
    for scene in the_scenes(drawn):
        for k, one in enumerate(scene.placed):
            alone = inside_by_loop(one.outline, 48, 72)
            found = next(flags)
            assert bool(found & OCCLUDED) == (alone.sum() > scene.visible(k).sum())
            x, y = one.outline.T
            assert bool(found & TRUNCATED) == bool(x.min() < 0 or y.min() < 0 or x.max() > 72 or y.max() > 48)


def test_keypoints_are_where_the_figure_is_and_hidden_under_others(drawn):
    objects = drawn.annotations["objects"]
    seen = set()
    for i, scene in enumerate(the_scenes(drawn)):
        for k, one in enumerate(scene.placed):
            for (x, y, v), (px, py) in zip(objects.keypoints[objects.offsets[i] + k], one.keypoints, strict=True):
                outside = not (0 <= px < 72 and 0 <= py < 48)
                assert (v == 0) == outside and ((x, y) == (0, 0) if outside else np.allclose((x, y), (px, py)))
                if not outside and not scene.whole(k):
                    hidden = any(cv2.pointPolygonTest(o.outline.astype(np.float32), (px, py), False) > 0
                                 for o in scene.placed[k + 1 :])  # fmt: skip
                    assert (v == 1) == hidden
                seen.add(int(v))
    assert seen == {0, 1, 2}


def test_the_picture_shows_what_the_mask_says():
    """The colour of a figure differs from what lies around it: edges of the mask are edges of the picture."""
    dataset = shapes(12, "96", seed=5)
    for i in range(12):
        scene, image = dataset.images.drawn.scene(i), dataset.images.read(i).astype(int)
        for k in range(len(scene.placed)):
            inner = cv2.erode(scene.visible(k).astype(np.uint8), np.ones((7, 7))) > 0
            ring = cv2.dilate((scene.owner == k + 1).astype(np.uint8), np.ones((9, 9))) > 0
            outer = ring & (cv2.dilate((scene.owner > 0).astype(np.uint8), np.ones((5, 5))) == 0)
            if inner.sum() > 20 and outer.sum() > 20:
                assert np.linalg.norm(image[inner].mean(0) - image[outer].mean(0)) > 35


def test_labels_counts_and_the_largest():
    objects = shapes(COUNT, kind="detection").annotations["objects"]
    labels, counts = shapes(COUNT, kind="labels"), shapes(COUNT, kind="counts")
    largest = shapes(COUNT, kind="classes").annotations["label"]
    for i in range(COUNT):
        part = slice(*objects.offsets[i : i + 2])
        expected = [int((objects.labels[part] == c).sum()) for c in range(8)]
        assert counts.annotations["numbers"][i].tolist() == expected
        assert labels.annotations["labels"][i].tolist() == [float(n > 0) for n in expected]
        areas = objects.areas[part]
        assert largest[i] == objects.labels[part][areas.argmax()]
        assert len(areas) == 1 or areas.max() > 1.02 * np.sort(areas)[-2]


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_its_columns(kind):
    dataset = shapes(12, 32, kind=kind)
    assert set(dataset.annotations) == set(KINDS[kind]) and len(dataset) == 12
    assert dataset.classes[0] == {"segmentation": "background", "faces": "person 1"}.get(kind, "circle")
    dataset.hash()
    for column in dataset.annotations:
        dataset.take(column, np.array([3, 1]))


def test_options():
    few = shapes(30, 32, classes=2, most=1)
    assert few.classes == ("circle", "square")
    assert set(few.annotations["objects"].labels.tolist()) == {0, 1}
    assert few.annotations["objects"].counts.tolist() == [1] * 30
    for wrong, word in (
        ({"kind": "detektion"}, "did you mean 'detection'"), ({"size": "big"}, "size"), ({"size": 8}, "16 to 4,096"),
        ({"count": 0}, "count"), ({"classes": 9}, "classes"), ({"most": 0}, "most"), ({"size": (64,)}, "size"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=word):
            shapes(**wrong)


def test_seeds_may_be_any_numbers_and_small_images_work():
    for seed in (-1, 2**70):
        assert shapes(2, 16, seed=seed).annotations["objects"].count >= 2


@pytest.mark.parametrize("form", [masks, voc])
def test_drawn_masks_are_written_like_others(tmp_path, form):
    dataset = shapes(6, 24)
    form.write(dataset, tmp_path / "out")
    found = form.read(tmp_path / "out")
    drawn = {dataset.images.read(i).tobytes(): i for i in range(6)}
    for i in range(6):
        mask = found.annotations["mask"].read(i)
        assert np.array_equal(mask, dataset.annotations["mask"].read(drawn[found.images.read(i).tobytes()]))
    assert found.annotations["mask"].classes == ("background", *figures.NAMES)


def test_drawn_masks_in_another_order_and_with_other_numbers():
    mask = shapes(9, 24).annotations["mask"]
    few = mask.take(np.array([7, 2]))
    assert len(few) == 2 and np.array_equal(few.read(0), mask.read(7)) and np.array_equal(few.read(1), mask.read(2))
    assert few.digest() != mask.digest() and few.strange(0) == {}
    turned = few.renumbered(np.arange(9)[::-1].copy(), mask.classes[::-1])
    assert np.array_equal(turned.read(0), 8 - mask.read(7))
    assert np.array_equal(pickle.loads(pickle.dumps(turned)).read(0), 8 - mask.read(7))


# By name -----------------------------------------------------------------------------------------------------


def test_by_name_with_options():
    found = load_dataset("shapes:count=5, size=32x48,kind=classes,seed=2")
    assert found.hash() == shapes(5, (32, 48), 2, "classes").hash() and found.images.read(4).shape == (32, 48, 3)
    assert names.address("shapes:count=5") == "shapes:count=5"
    assert load_dataset("digits").name == "digits"
    for wrong, words in (
        ("shapes:sice=3", "did you mean 'size'"), ("shapes:count", "has no value"), ("digits:count=3", "no option"),
        ("shapes:count=many", "needs a number"), ("shapes:count=1.5", "whole number"),
        ("shape:seed=3", "did you mean 'shapes'"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=words):
            load_dataset(wrong)


def test_nothing_is_painted_outside_an_outline():
    for figure in figures.figures():
        points = figure.outline * 30 + 32.0
        rows, columns, share = coverage(points, 64, 64)
        whole = np.zeros((64, 64))
        whole[rows, columns] = share
        canvas = np.full((64, 64, 3), 100, np.float32)
        paint.rimmed(canvas, points, np.array((200, 0, 50), np.float32), np.zeros(3, np.float32), 1.5)
        assert np.abs(canvas[whole == 0] - 100).max() < 1e-3
        assert (np.abs(canvas[whole == 1] - 100).max(1) > 30).all()
        assert np.allclose(canvas[int(figure.keypoints[0, 1] * 30 + 32), 32], (200, 0, 50), atol=1)


def test_a_figure_is_known_by_its_name():
    """Two threads that ask for the figures at once, the first time, get figures that are equal, not the same."""
    for kind, figure in enumerate(figures.figures()):
        assert scenes._at(dataclasses.replace(figure), 5.0, 0.0, 3.0, 3.0).kind == kind

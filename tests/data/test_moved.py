"""Objects through the moves of their images: which are kept, and that every column follows its own rule."""

import numpy as np
import pytest

from hubel.data import rle
from hubel.data.moved import move_objects
from hubel.data.objects import CROWD, Objects, Skeleton
from hubel.data.ragged import Ragged
from hubel.ops.follow import Move, Rules
from hubel.ops.geometry import compose, mirror, translation
from hubel.ops.polygons import rectangle

SIZE = (40, 50)
TURN = compose(translation(-25, -20), np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]]), translation(25, 20))


def moves(*matrices: np.ndarray) -> list[Move]:
    return [Move(m, SIZE, SIZE) for m in matrices]


def objects(**columns) -> Objects:
    """Two objects in image 0, none in image 1, one in image 2."""
    boxes = np.array([[5.0, 5, 15, 25], [30, 10, 48, 38], [20, 20, 30, 30]])
    return Objects(np.array([0, 2, 2, 3]), boxes, np.array([0, 1, 2]), **columns)


def test_boxes_are_cut_and_slivers_go():
    found = move_objects(objects(), moves(translation(-14.5, 0), np.eye(3), translation(25, 25)))
    np.testing.assert_array_equal(found.counts, [1, 0, 0])  # a twentieth of the first is left, nothing of the last
    np.testing.assert_allclose(found.boxes, [[15.5, 10, 33.5, 38]])
    np.testing.assert_array_equal(found.labels, [1])
    more = move_objects(objects(), moves(translation(-14, 0), np.eye(3), translation(15, 15)), Rules(least_share=0.01))
    np.testing.assert_array_equal(more.labels, [0, 1, 2])
    np.testing.assert_allclose(more.boxes[2], [35, 35, 45, 40])


def test_a_box_follows_its_outline_where_there_is_one():
    diamond = np.array([[30, 10], [36, 18], [30, 26], [22, 18]], dtype=np.float32)
    outlines = Ragged.pack_nested([[], [diamond], []], np.empty((0, 2), np.float32))
    found = move_objects(objects(outlines=outlines), moves(TURN, TURN, TURN))
    turned = np.array([TURN @ [x, y, 1] for x, y in diamond])[:, :2]
    ring = found.outlines[1][0]
    np.testing.assert_allclose(found.boxes[1, :2], np.maximum(turned.min(0), 0), atol=1e-4)
    np.testing.assert_allclose(found.boxes[1, 2:], np.minimum(turned.max(0), [50, 40]), atol=1e-4)
    assert ring.dtype == np.float32 and len(found.outlines[0]) == 0
    corners = np.array([TURN @ [x, y, 1] for x, y in ((5, 5), (15, 5), (15, 25), (5, 25))])[:, :2]
    np.testing.assert_allclose(found.boxes[0], [*np.maximum(corners.min(0), 0), *corners.max(0)], atol=1e-9)


def test_run_lengths_move_like_pictures():
    mask = np.zeros(SIZE, np.uint8)
    mask[10:38, 30:48] = 1
    runs = Ragged.pack([np.zeros(0, np.uint32), rle.encode(mask), np.zeros(0, np.uint32)], np.empty(0, np.uint32))
    flags = np.array([0, CROWD, 0], np.uint8)
    found = move_objects(objects(runs=runs, flags=flags), moves(mirror(50), np.eye(3), np.eye(3)))
    np.testing.assert_array_equal(rle.decode(found.runs[1], *SIZE), mask[:, ::-1])
    np.testing.assert_array_equal(found.boxes, [[35, 5, 45, 25], [2, 10, 20, 38], [20, 20, 30, 30]])
    edge = move_objects(objects(runs=runs, flags=flags), moves(translation(19, 0), np.eye(3), np.eye(3)))
    assert edge.labels.tolist() == [0, 1, 2]  # 1/18 of it, but a crowd
    alone = move_objects(objects(runs=runs), moves(translation(19, 0), np.eye(3), np.eye(3)))
    assert alone.labels.tolist() == [0, 2]


def test_areas_shrink_as_the_object_does():
    areas = np.array([100.0, np.nan, 60.0])
    found = move_objects(objects(areas=areas), moves(translation(-10, 0), np.eye(3), np.diag([0.5, 0.5, 1])))
    np.testing.assert_allclose(found.areas, [50, np.nan, 15])
    turned = move_objects(objects(areas=areas), moves(TURN, TURN, TURN))
    np.testing.assert_allclose(turned.areas[[0, 2]], [100, 60], rtol=0.1)


def test_keypoints_and_faults():
    skeleton = Skeleton(("left hand", "right hand"))
    keypoints = np.array([[[6, 6, 2], [9, 9, 1]], [[31, 11, 2], [0, 0, 0]], [[21, 21, 2], [60, 0, 2]]], np.float32)
    faulty = objects(keypoints=keypoints, skeleton=skeleton)
    faulty.boxes[1] = np.nan
    faulty.boxes[2] = [30, 30, 20, 20]
    found = move_objects(faulty, moves(mirror(50), np.eye(3), np.eye(3)))
    assert found.labels.tolist() == [0, 1]  # NaN: no box, but a keypoint; inverted: gone
    np.testing.assert_array_equal(found.keypoints[0], [[41, 9, 1], [44, 6, 2]])
    assert np.isnan(found.boxes[1]).all()


def test_an_object_that_left_goes_with_its_keypoints():
    """Its outline is out of sight, one keypoint is not: an object with a box somewhere is not kept without one."""
    outlines = Ragged.pack_nested([[rectangle(b)] for b in objects().boxes], np.empty((0, 2), np.float32))
    keypoints = np.zeros((3, 1, 3), np.float32)
    keypoints[0] = [40, 40, 2]
    away = translation(-20, 0)
    found = move_objects(objects(outlines=outlines, keypoints=keypoints), moves(away, np.eye(3), np.eye(3)))
    assert found.labels.tolist() == [1, 2] and np.isfinite(found.boxes).all()


def test_the_columns_fit_together():
    rng = np.random.default_rng(0)
    count = 40
    rings = [[rng.uniform(0, 50, (6, 2))] * int(k) for k in rng.integers(0, 3, count)]
    corners = np.sort(rng.uniform(0, 50, (count, 2, 2)), axis=1).reshape(-1, 4)
    many = Objects(
        np.array([0, 15, 15, count]), corners, np.arange(count), ids=np.arange(count) + 100,
        outlines=Ragged.pack_nested(rings, np.empty((0, 2), np.float32)),
    )  # fmt: skip
    found = move_objects(many, moves(TURN, TURN, compose(TURN, translation(20, 10))))
    np.testing.assert_array_equal(found.ids, found.labels + 100)
    assert 10 < found.count < count and len(found) == 3
    assert (found.boxes[:, :2] >= 0).all() and (found.boxes[:, 2:] <= [50, 40]).all()
    for i in range(found.count):  # float32 points
        for ring in found.outlines[i]:
            assert (ring >= found.boxes[i, :2] - 1e-4).all() and (ring <= found.boxes[i, 2:] + 1e-4).all()


def test_no_objects():
    empty = Objects(np.zeros(3, np.int64), np.empty((0, 4)), np.empty(0, np.int64))
    assert len(move_objects(empty, moves(TURN, TURN))) == 2


@pytest.mark.parametrize("matrix", [np.eye(3), TURN])
def test_the_quick_way_equals_the_exact_one(matrix):
    plain = objects()
    outlines = Ragged.pack_nested([[], [], []], np.empty((0, 2), np.float32))
    quick, exact = (move_objects(o, moves(matrix, matrix, matrix)) for o in (plain, objects(outlines=outlines)))
    np.testing.assert_allclose(quick.boxes, exact.boxes, atol=1e-9)

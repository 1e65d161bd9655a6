"""Annotations follow their image: what is drawn and then moved lies where the moved annotation says."""

import cv2
import numpy as np
import pytest
from warps import turn

from hubel.ops import elastic
from hubel.ops.follow import Move
from hubel.ops.geometry import compose, mirror, scaling, translation
from hubel.ops.polygons import bounds, rectangle
from hubel.ops.resize import warp

FINE = 8  # samples per pixel and direction
SOURCE, TARGET = (60, 80), (48, 64)
STAR = np.array(
    [[40, 6], [47, 24], [70, 20], [52, 34], [62, 55], [41, 42], [20, 56], [29, 34], [10, 22], [33, 25]], float
)
MATRICES = {
    "still": compose(translation(-8, -6)),
    "mirror": compose(scaling(0.8, 0.8), mirror(64)),
    "turn": compose(translation(-40, -30), turn(0.5), translation(32, 24)),
    "perspective": compose(translation(-40, -30), turn(0.3, perspective=0.006), translation(32, 24)),
    "crop": compose(translation(-30, -20), scaling(1.9, 1.4)),
}
CONTROL = np.random.default_rng(3).uniform(-1, 1, (2, elastic.POINTS, elastic.POINTS)) * elastic.LARGEST


def move(name: str, bent: bool, frame=None) -> Move:
    return Move(MATRICES[name], SOURCE, TARGET, CONTROL if bent else None, frame)


def fine(rings, size) -> np.ndarray:
    """What lies inside rings, with FINE² samples per pixel: along each row, every crossed edge changes sides."""
    height, width = size[0] * FINE, size[1] * FINE
    canvas = np.zeros((height, width + 1), np.int64)
    for ring in rings:
        for (x0, y0), (x1, y1) in zip(ring * FINE, np.roll(ring, -1, 0) * FINE, strict=True):
            rows = np.arange(height)
            rows = rows[(y0 > rows + 0.5) != (y1 > rows + 0.5)]
            x = x0 + (rows + 0.5 - y0) / (y1 - y0 if y1 != y0 else 1) * (x1 - x0)
            np.add.at(canvas, (rows, np.clip(np.ceil(x - 0.5), 0, width).astype(int)), 1)
    return (np.cumsum(canvas, axis=1)[:, :width] % 2).astype(np.uint8)


def moved_render(rings, one: Move) -> np.ndarray:
    """The drawing itself moved: an inverse warp of its samples, pixel by pixel."""
    big = Move(
        compose(scaling(1 / FINE, 1 / FINE), one.matrix, scaling(FINE, FINE)),
        (SOURCE[0] * FINE, SOURCE[1] * FINE), (TARGET[0] * FINE, TARGET[1] * FINE), one.control,
    )  # fmt: skip
    return big.mask(fine(rings, SOURCE), outside=0)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / (a | b).sum()


@pytest.mark.parametrize("bent", [False, True])
@pytest.mark.parametrize("name", MATRICES)
def test_outlines_and_their_boxes(name, bent):
    one = move(name, bent)
    shown, share = one.rings([STAR])
    truth = moved_render([STAR], one)
    assert iou(fine(shown, TARGET), truth) > 0.99
    y, x = np.nonzero(truth)
    box = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1]) / FINE
    assert np.abs(bounds(shown) - box).max() < 0.3
    assert 0 < share <= 1


def test_the_share_that_is_shown():
    """Half of a square beyond the edge; a third below."""
    square = rectangle(np.array([10.0, 10, 30, 40]))
    one = Move(translation(-20, 0), SOURCE, TARGET)
    assert one.rings([square])[1] == pytest.approx(0.5)
    assert Move(translation(0, 18), SOURCE, TARGET).rings([square])[1] == pytest.approx(20 / 30)
    assert Move(translation(-40, 0), SOURCE, TARGET).rings([square]) == ([], 0.0)
    outside = rectangle(np.array([-10.0, 10, 10, 40]))  # of what lies in the source
    assert Move(translation(-5, 0), SOURCE, TARGET).rings([outside])[1] == pytest.approx(0.5)


@pytest.mark.parametrize("bent", [False, True])
@pytest.mark.parametrize("name", MATRICES)
def test_points_lie_where_the_pixels_went(name, bent):
    """A soft dot is drawn around each point and moved with the image: its centre of mass is the moved point."""
    one, found = move(name, bent), 0
    for point in np.random.default_rng(0).uniform((12, 12), (68, 48), (20, 2)):
        y, x = np.mgrid[:60, :80] + 0.5
        dot = np.exp(-((x - point[0]) ** 2 + (y - point[1]) ** 2) / (2 * 0.8**2)).astype(np.float32)[:, :, None]
        if bent:
            out = elastic.warp(dot, one.matrix, one.control, TARGET)[:, :, 0]
        else:
            out = warp(dot, one.matrix, TARGET)[:, :, 0]
        goal = one.points(point[None])[0]
        if not (8 < goal[0] < 56 and 8 < goal[1] < 40):
            continue
        v, u = np.mgrid[:48, :64] + 0.5
        centre = np.array([(u * out).sum(), (v * out).sum()]) / out.sum()
        assert np.abs(centre - goal).max() < 0.15
        found += 1
    assert found > 3


@pytest.mark.parametrize("bent", [False, True])
@pytest.mark.parametrize("name", MATRICES)
def test_masks_lie_where_the_pixels_went(name, bent):
    """Grey levels of flat areas: away from their edges the image and the mask agree, pixel for pixel."""
    one = move(name, bent)
    mask = np.zeros(SOURCE, np.uint8)
    cv2.fillPoly(mask, [STAR.astype(np.int32)], 1)
    cv2.circle(mask, (15, 45), 9, 2, -1)
    image = (mask * 100)[:, :, None]
    args = (image, one.matrix, *([CONTROL] if bent else []), TARGET, "edge")
    pixels = (elastic.warp if bent else warp)(*args)[:, :, 0]
    moved = one.mask(mask)
    assert moved.shape == TARGET and moved.dtype == np.uint8 and set(np.unique(moved)) <= {0, 1, 2, 255}
    flat = np.isin(pixels, (0, 100, 200)) & (moved != 255)
    assert flat.mean() > 0.3 and (moved[flat] * 100 == pixels[flat]).mean() > 0.995


def test_masks_mark_what_comes_from_outside():
    mask = np.ones((4, 4), np.uint8)
    moved = Move(translation(2, 1), (4, 4), (4, 4)).mask(mask)
    np.testing.assert_array_equal(moved, np.where((np.arange(4) >= 2) & (np.arange(4)[:, None] >= 1), 1, 255))
    moved = Move(np.eye(3), (4, 4), (4, 4), frame=(1, 0, 3, 2)).mask(mask)
    np.testing.assert_array_equal(moved == 1, (np.arange(4) % 3 > 0) & (np.arange(4)[:, None] < 2))


def test_a_perspective_never_shows_what_lies_behind():
    """x' = x / (0.02 x − 0.2): what lies left of x = 10 is behind the horizon."""
    one = Move(np.array([[1.0, 0, 0], [0, 1, 0], [0.02, 0, -0.2]]), SOURCE, TARGET)
    shown, _ = one.rings([rectangle(np.array([0.0, 10, 60, 20]))])
    x = shown[0][:, 0]
    assert x.min() == pytest.approx(60 / (0.02 * 60 - 0.2)) and x.max() == pytest.approx(64)
    assert np.isnan(one.points(np.array([[5.0, 5.0]]))).all() and np.isfinite(one.points(np.array([[20.0, 5.0]]))).all()


@pytest.mark.parametrize("name", ["still", "mirror", "crop"])
def test_boxes_at_once_equal_outlines(name):
    one = move(name, False)
    rng = np.random.default_rng(0)
    corners = np.sort(rng.uniform(-10, 90, (50, 2, 2)), axis=1).reshape(50, 4)
    boxes, shares = one.boxes(corners)
    assert one.axis_aligned and not move("turn", False).axis_aligned and not move(name, True).axis_aligned
    for box, share, corner in zip(boxes, shares, corners, strict=True):
        shown, expected = one.rings([rectangle(corner)])
        assert share == pytest.approx(expected)
        if shown:
            np.testing.assert_allclose(box, bounds(shown), atol=1e-9)


def test_faulty_boxes_have_no_share():
    faulty = np.array([[np.nan, 0, 5, 5], [9, 0, 3, 5], [5, 5, 5, 9], [200, 200, 210, 210]])
    assert not Move(np.eye(3), SOURCE, TARGET).boxes(faulty)[1].any()


def test_keypoints_swap_in_a_mirror_only():
    keypoints = np.array([[[10, 20, 2], [30, 20, 1], [0, 0, 0], [79, 20, 2]]], dtype=np.float32)
    swaps = np.array([1, 0, 2, 3])
    still = Move(np.eye(3), SOURCE, TARGET).keypoints(keypoints, swaps)[0]
    np.testing.assert_array_equal(still, [[10, 20, 2], [30, 20, 1], [0, 0, 0], [0, 0, 0]])  # 79 lies outside
    flipped = Move(mirror(80), SOURCE, (60, 80)).keypoints(keypoints, swaps)[0]
    np.testing.assert_array_equal(flipped, [[50, 20, 1], [70, 20, 2], [0, 0, 0], [1, 20, 2]])
    upside = compose(mirror(80), np.array([[1.0, 0, 0], [0, -1, 60], [0, 0, 1]]))  # a half turn
    turned = Move(upside, SOURCE, (60, 80)).keypoints(keypoints, swaps)[0]
    np.testing.assert_array_equal(turned[:2], [[70, 40, 2], [50, 40, 1]])


def test_mirrored_is_the_sign_of_the_jacobian():
    for name, one in ((name, move(name, False)) for name in MATRICES):
        assert one.mirrored == (name == "mirror")
        assert Move(-one.matrix, SOURCE, TARGET).mirrored == one.mirrored  # the same map

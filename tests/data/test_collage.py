"""Mosaic and copy-paste: every pixel comes from where the moves say, and objects lie on their pixels."""

import numpy as np
import pytest

from hubel.data import rle
from hubel.data.collage import copy_paste, mosaic, mosaic_moves, outline_mask
from hubel.data.objects import Objects
from hubel.data.ragged import Ragged
from hubel.ops.polygons import rectangle

SIZE = (40, 60)


def scene(value: int, box, size=(50, 80)) -> tuple[np.ndarray, Objects]:
    """A flat image of one grey with a rectangle of value + 100, and its box and outline."""
    x0, y0, x1, y1 = box
    image = np.full((*size, 1), value, np.uint8)
    image[y0:y1, x0:x1] = value + 100
    corners = np.array([box], dtype=np.float64)
    outlines = Ragged.pack_nested([[rectangle(corners[0])]], np.empty((0, 2), np.float32))
    return image, Objects(np.array([0, 1]), corners, np.array([value]), outlines=outlines)


@pytest.mark.parametrize("seed", range(5))
def test_mosaic(seed):
    u = np.random.default_rng(seed).random(6)
    sizes = [(50, 80), (30, 30), (90, 40), (40, 200)]
    scenes = [scene(10 * k, (0, 0, size[1], size[0] // 2), size) for k, size in enumerate(sizes)]
    image, objects = mosaic([s[0] for s in scenes], [s[1] for s in scenes], SIZE, u)
    moves = mosaic_moves(sizes, SIZE, u)
    assert image.shape == (*SIZE, 1) and len(objects) == 1
    assert image[..., 0].min() >= 0 and sum((w[2] - w[0]) * (w[3] - w[1]) for w in (m.window for m in moves)) == 40 * 60
    for k, move in enumerate(moves):
        x0, y0, x1, y1 = map(round, move.window)
        part = image[y0:y1, x0:x1, 0]
        assert set(np.unique(part[[0, -1]][:, [0, -1]])) <= {10 * k, 10 * k + 100}  # the quadrant is covered by image k
        found = np.flatnonzero(objects.labels == 10 * k)
        bright = np.argwhere(part > 10 * k + 50)
        if not len(found):
            assert len(bright) < 0.12 * part.size
            continue
        box = objects.boxes[found[0]]
        (top, left), (bottom, right) = bright.min(0), bright.max(0)
        np.testing.assert_allclose(box, [left + x0, top + y0, right + x0 + 1, bottom + y0 + 1], atol=0.75)


def test_mosaic_without_objects():
    image, objects = mosaic([scene(1, (0, 0, 2, 2))[0]] * 4, None, SIZE, np.full(6, 0.5))
    assert objects is None and image.shape == (*SIZE, 1)


def test_copied_objects_cover_what_lies_below():
    image, ours = scene(10, (10, 10, 30, 30))
    other, theirs = scene(50, (20, 10, 40, 30))
    out, found = copy_paste(image, ours, other, theirs, np.array([True]))
    loop = image.copy()
    loop[10:30, 20:40] = 150
    np.testing.assert_array_equal(out, loop)
    np.testing.assert_array_equal(found.labels, [10, 50])
    np.testing.assert_array_equal(found.boxes, [[10, 10, 20, 30], [20, 10, 40, 30]])
    np.testing.assert_array_equal(rle.decode(found.runs[0], 50, 80) > 0, out[..., 0] == 110)
    np.testing.assert_array_equal(outline_mask(found, 1, (50, 80)), out[..., 0] == 150)
    assert len(found.outlines[0]) == 0 and len(found.outlines[1]) == 1


def test_nothing_chosen_nothing_done():
    image, ours = scene(10, (10, 10, 30, 30))
    other, theirs = scene(50, (20, 10, 40, 30))
    out, found = copy_paste(image, ours, other, theirs, np.array([False]))
    assert out is image and found is ours
    boxes_only = Objects(np.array([0, 1]), theirs.boxes, theirs.labels)
    assert copy_paste(image, ours, other, boxes_only, np.array([True]))[0] is image


def test_what_is_covered_is_gone():
    image, ours = scene(10, (22, 12, 38, 28))
    other, theirs = scene(50, (20, 10, 40, 30))
    _, found = copy_paste(image, ours, other, theirs, np.array([True]))
    np.testing.assert_array_equal(found.labels, [50])
    apart, ours = scene(10, (60, 12, 70, 28))
    _, found = copy_paste(apart, ours, other, theirs, np.array([True]))
    assert len(found.outlines[0]) == 1 and not len(found.runs[0])  # what is not covered keeps its outline

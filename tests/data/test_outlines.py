"""Run lengths and lines of masks: each gives the same pixels back."""

import numpy as np
import pytest

from hubel.data import polygons, rle
from hubel.data.outlines import polygon_entries, regions_of, run_entries, runs_of


def random_mask(seed, classes=3, height=23, width=31):
    return np.random.default_rng(seed).integers(0, classes, (height, width)).astype(np.uint8)


@pytest.mark.parametrize("block", [1, 100, 2**24])
@pytest.mark.parametrize("seed", range(3))
def test_run_lengths_equal_those_of_the_whole_mask(monkeypatch, seed, block):
    monkeypatch.setattr("hubel.data.outlines.BLOCK", block)
    mask = random_mask(seed)
    for k in range(4):
        assert np.array_equal(runs_of(mask, k), rle.encode(mask == k))


@pytest.mark.parametrize("seed", range(10))
def test_lines_around_regions_give_their_pixels_back(seed):
    """Of random pixels: holes in holes, corners that touch."""
    rng = np.random.default_rng(seed)
    mask = (rng.random((40, 50)) < 0.62).astype(np.uint8)
    found = np.zeros(mask.shape, int)
    for line, area, (x, y, w, h) in regions_of(mask, 1):
        inside = polygons.fill(line.astype(np.float64), 40, 50)
        assert inside.sum() == area
        rows, columns = np.nonzero(inside)
        assert (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1) == (x, y, w, h)
        found += inside
    assert np.array_equal(found, mask)


def test_a_ring_with_two_holes_is_one_line():
    mask = np.ones((9, 12), np.uint8)
    mask[2:4, 2:5] = 0
    mask[3:7, 7:9] = 0
    (region,) = regions_of(mask, 1)
    assert np.array_equal(polygons.fill(region[0].astype(np.float64), 9, 12), mask > 0)


def test_entries_say_where_and_how_much():
    mask = np.zeros((6, 8), np.uint8)
    mask[1:3, 2:7] = 1
    mask[4:, :2] = 1
    (runs,) = run_entries(mask, 1)
    assert runs["area"] == 14 and runs["bbox"] == [0, 1, 7, 5]
    (counts,) = rle.from_texts([runs["segmentation"]["counts"]])[0]
    assert np.array_equal(rle.decode(counts, 6, 8), mask)
    assert [(one["area"], one["bbox"]) for one in polygon_entries(mask, 1)] == [(10, [2, 1, 5, 2]), (4, [0, 4, 2, 2])]

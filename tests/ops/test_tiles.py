"""Tiles of a large image: every pixel answered for once, ramps that add up to 1, blocks equal to a slow sum."""

import numpy as np
import pytest
import torch

from hubel.errors import UserError
from hubel.ops.tiles import Grid, added, fitting, joined, ramp

GRIDS = [
    Grid((30, 41), (12, 10), (4, 3)),
    Grid((30, 41), (12, 10), (0, 0)),
    Grid((30, 41), (12, 10), (6, 5)),
    Grid((30, 41), (12, 10), (4, 3), "cut"),
    Grid((5, 41), (8, 10), (0, 2)),
    Grid((7, 3), (8, 8)),
]


def slow(grid, answers):
    """All tiles, weighed and added up in one large array."""
    (height, width), (h, w) = grid.size, grid.side
    rows, columns = grid.counts
    total = np.zeros((len(answers[0]), height + h, width + w))
    for k, answer in enumerate(answers):
        row, column = divmod(k, columns)
        y0, x0 = row * (h - grid.overlap[0]), column * (w - grid.overlap[1])
        for y in range(h):
            for x in range(w):
                share = weight(y, h, grid.overlap[0], row, rows, grid.join)
                share *= weight(x, w, grid.overlap[1], column, columns, grid.join)
                total[:, y0 + y, x0 + x] += share * answer[:, y, x].numpy()
    return total[:, :height, :width]


def weight(at, side, overlap, k, count, join):
    up = down = 1.0
    if k > 0 and at < overlap:
        up = (at + 0.5) / overlap
    if k < count - 1 and at >= side - overlap:
        down = 1 - (at - (side - overlap) + 0.5) / overlap
    if join == "cut":
        return float(up >= 0.5 and down > 0.5)
    return up * down


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_blocks_are_the_weighed_sum_of_all_tiles_and_cover_each_pixel_once(grid):
    torch.manual_seed(0)
    answers = [torch.randn(2, *grid.side) for _ in grid.windows()]
    found = np.full((2, *grid.size), np.nan)
    for y, x, block in joined(grid, iter(answers)):
        place = found[:, y : y + block.shape[1], x : x + block.shape[2]]
        assert np.isnan(place).all(), "a pixel came twice"
        place[:] = block.numpy()
    assert np.abs(found - slow(grid, answers)).max() < 1e-5


def test_grids_of_one_image_are_added_in_whole_rows():
    torch.manual_seed(0)
    answers = [[torch.randn(2, *grid.side) for _ in grid.windows()] for grid in GRIDS[:4]]
    found, last = np.full((2, 30, 41), np.nan), 0
    for y, x, block in added([joined(grid, iter(own)) for grid, own in zip(GRIDS, answers, strict=False)], 41):
        assert (y, x) == (last, 0) and 0 < block.shape[1] <= 12 and block.shape[2] == 41
        last, found[:, y : y + block.shape[1]] = y + block.shape[1], block.numpy()
    expected = sum(slow(grid, own) for grid, own in zip(GRIDS, answers, strict=False))
    (one, *_) = added([joined(GRIDS[0], iter(answers[0]))], 41)
    assert np.abs(one[2].numpy() - slow(GRIDS[0], answers[0])[:, : one[2].shape[1]]).max() < 1e-5
    assert last == 30 and np.abs(found - expected).max() < 1e-5


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_where_all_tiles_agree_the_answer_stays(grid):
    for _, _, block in joined(grid, (torch.ones(1, *grid.side) for _ in grid.windows())):
        assert (block - 1).abs().max() < 1e-6


def test_blocks_of_a_row_share_their_rows():
    grid = Grid((50, 60), (16, 16), (4, 4))
    rows = {}
    for y, _, block in joined(grid, (torch.ones(1, 16, 16) for _ in grid.windows())):
        rows.setdefault(y, set()).add(block.shape[1])
    assert all(len(heights) == 1 for heights in rows.values()) and list(rows) == sorted(rows)


def test_ramps_go_up_and_down_by_the_same_steps():
    assert torch.allclose(ramp(8, 4, False, True)[:4] + ramp(8, 4, True, False)[4:], torch.ones(4))
    assert ramp(8, 4, False, True).tolist()[:4] == [0.125, 0.375, 0.625, 0.875]
    assert ramp(8, 4, False, True, "cut").tolist()[:4] == [0, 0, 1, 1]


def test_tiles_lie_at_multiples_of_the_stride():
    assert fitting(1000, 128, 16, 32) == (128, 32)
    assert fitting(1000, 388, 0, 16) == (388, 4)
    assert fitting(1000, 30, 15, 2) == (30, 14)
    assert fitting(100, 128, 16, 32) == (128, 0)
    assert fitting(70, 128, 16, 32) == (96, 0)


def test_tiles_smaller_than_a_stride_are_refused():
    with pytest.raises(UserError, match=r"A tile of 3 pixels is too small: .* for each 32.* at least 64"):
        fitting(100, 3, 0, 32)
    assert fitting(2, 3, 0, 32) == (3, 0), "one tile covers all"


def test_overlaps_that_three_tiles_would_share_are_refused():
    with pytest.raises(UserError, match="can overlap by 0 … 5; got 6"):
        Grid((30, 41), (12, 11), (6, 6))
    with pytest.raises(UserError, match="did you mean 'blend'"):
        Grid((30, 41), (12, 11), (0, 0), "blnd")

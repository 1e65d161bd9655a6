"""A box from a map: against a slow flood fill, and where the answer is known."""

import numpy as np
import pytest

from hubel.errors import UserError
from hubel.explain.boxes import box_of


def by_flood(heat, share):
    """Cell by cell: the boxes of the largest groups of neighbours (8 of them) above the threshold."""
    above = {tuple(cell) for cell in np.argwhere(np.nan_to_num(heat, nan=-1e9) > share * np.nanmax(heat)).tolist()}
    groups = []
    while above:
        todo, group = [min(above)], []
        above.discard(todo[0])
        while todo:
            y, x = todo.pop()
            group.append((y, x))
            near = {(y + a, x + b) for a in (-1, 0, 1) for b in (-1, 0, 1)} & above
            above -= near
            todo += near
        groups.append(group)
    largest = [np.array(group) for group in groups if len(group) == max(map(len, groups))]
    return [[*one.min(0)[::-1].tolist(), *(one.max(0)[::-1] + 1).tolist()] for one in largest]


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9])
def test_the_largest_part_above_the_threshold(share):
    random = np.random.default_rng(1)
    for _ in range(40):
        heat = random.normal(size=(9, 13)).astype(np.float32)
        heat[random.random(heat.shape) < 0.1] = np.nan
        assert box_of(heat, share).tolist() in by_flood(heat, share)


def test_a_planted_patch():
    heat = np.full((40, 60), -1.0)
    heat[10:20, 30:50] = 1
    heat[12, 33] = 4  # one peak: 20 % of it is below the rest of the patch
    heat[30:33, 5:8] = 3  # higher, but smaller
    assert box_of(heat).tolist() == [30, 10, 50, 20]
    assert box_of(heat, 0.5).tolist() == [5, 30, 8, 33]


def test_parts_that_touch_at_a_corner_are_one():
    assert box_of(np.eye(4)).tolist() == [0, 0, 4, 4]


@pytest.mark.parametrize("heat", [np.zeros((3, 3)), np.full((3, 3), -2.0), np.full((3, 3), np.nan), np.zeros((0, 0))])
def test_no_evidence_no_box(heat):
    assert box_of(heat) is None


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_shares_out_of_range(share):
    with pytest.raises(UserError, match="share of its maximum"):
        box_of(np.ones((2, 2)), share)

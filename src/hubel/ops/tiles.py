"""A large image in overlapping tiles, and their answers blended into one, in bounded memory. arXiv:1505.04597, fig. 2.

Along one axis tile k answers for the pixels [k·step, k·step + side), step = side − overlap, and sees `margin` more on
each side: what a network of valid convolutions loses. Answers are weighed by ramps that add up to 1 at every pixel,

    w(j) = (j + ½) / overlap going up, 1 − w(j) going down,    or a step in the middle of the overlap ("cut"),

so where two tiles agree their common answer stays as it is. Tiles come row by row; only the overlaps with the tile
before and with the row before are kept: (K, side, overlap) and (K, overlap, W) numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from hubel.errors import UserError, close_to

JOINS = ("blend", "cut")
AT_ONCE = 64  # rows of pixels that several grids are added for
Blocks = Iterator[tuple[int, int, Tensor]]


@dataclass(frozen=True)
class Window:
    """Rows y0 … y1 and columns x0 … x1 of an image; with a margin they may lie outside of it."""

    y0: int
    y1: int
    x0: int
    x1: int

    def grown(self, margin: int) -> Window:
        return Window(self.y0 - margin, self.y1 + margin, self.x0 - margin, self.x1 + margin)


@dataclass(frozen=True)
class Grid:
    """The tiles of an image of `size` (H, W): each answers for `side` (h, w) pixels, `overlap` (rows, columns) shared.

    Raises UserError where three tiles in a row would overlap.
    """

    size: tuple[int, int]
    side: tuple[int, int]
    overlap: tuple[int, int] = (0, 0)
    join: str = "blend"

    def __post_init__(self) -> None:
        if min(*self.size, *self.side) < 1:
            raise UserError(f"An image and its tiles have at least 1 pixel a side; got {self.size} and {self.side}.")
        for side, overlap in zip(self.side, self.overlap, strict=True):
            if not 0 <= 2 * overlap <= side:
                raise UserError(
                    f"Tiles that answer for {side} pixels a side can overlap by 0 … {side // 2}; got {overlap}. Take a "
                    "smaller overlap, or larger tiles."
                )
        if self.join not in JOINS:
            raise UserError(f"Tiles are joined by {' or '.join(JOINS)}; got '{self.join}'{close_to(self.join, JOINS)}")

    @property
    def steps(self) -> tuple[int, int]:
        return self.side[0] - self.overlap[0], self.side[1] - self.overlap[1]

    @property
    def counts(self) -> tuple[int, int]:
        """How many rows and columns of tiles."""
        each = zip(self.size, self.overlap, self.steps, strict=True)
        rows, columns = (max(1, -(-(length - overlap) // step)) for length, overlap, step in each)
        return rows, columns

    def window(self, row: int, column: int) -> Window:
        """What one tile answers for; the last ones reach beyond the image."""
        y0, x0 = row * self.steps[0], column * self.steps[1]
        return Window(y0, y0 + self.side[0], x0, x0 + self.side[1])

    def windows(self) -> Iterator[Window]:
        """Row by row."""
        return (self.window(row, column) for row, column in product(*map(range, self.counts)))


def ramp(side: int, overlap: int, first: bool, last: bool, join: str = "blend") -> Tensor:
    """(side,) float32 weights of one tile along one axis; the first and the last tile share one end only."""
    up = (torch.arange(overlap) + 0.5) / max(overlap, 1)
    up = up if join == "blend" else (up >= 0.5).float()
    weights = torch.ones(side)
    if not first:
        weights[:overlap] = up
    if not last:
        weights[side - overlap :] = 1 - up
    return weights


def joined(grid: Grid, answers: Iterator[Tensor]) -> Blocks:
    """Answers (K, h, w) of the tiles, row by row -> (y, x, (K, h', w')) blocks that cover each pixel once.

    Blocks come row by row too; all blocks of one row begin and end at the same y.
    """
    rows, columns = grid.counts
    above: list[Tensor] = []  # what the row before says of the pixels that it shares with this one
    for row in range(rows):
        below, beside = [], None
        down = grid.side[0] if row == rows - 1 else grid.steps[0]
        vertical = ramp(grid.side[0], grid.overlap[0], row == 0, row == rows - 1, grid.join)[:, None]
        for column in range(columns):
            across = grid.side[1] if column == columns - 1 else grid.steps[1]
            weights = vertical * ramp(grid.side[1], grid.overlap[1], column == 0, column == columns - 1, grid.join)
            answer = next(answers) * weights
            if beside is not None:
                answer[:, :, : grid.overlap[1]] += beside
            beside, answer = answer[:, :, across:], answer[:, :, :across]
            if above:
                answer[:, : grid.overlap[0]] += above[column]
            below.append(answer[:, down:].clone())
            at = grid.window(row, column)
            yield at.y0, at.x0, answer[:, : min(down, grid.size[0] - at.y0), : grid.size[1] - at.x0]
        above = below


def added(each: Sequence[Blocks], width: int) -> Blocks:
    """The sum of what several grids say of one image of `width` pixels: blocks (y, 0, (K, h', W)) of at most AT_ONCE
    rows.

    Kept is one whole row of tiles of each grid: (K, step, W) numbers.
    """
    rows = [_whole_rows(blocks, width) for blocks in each]
    held: list[Tensor | None] = [next(own) for own in rows]
    y = 0
    while known := [one.shape[1] for one in held if one is not None]:  # all end at the image's last row
        high = min(AT_ONCE, *known)
        yield y, 0, _upper(held, high)
        y += high
        for i, own in enumerate(rows):
            held[i] = _below(held[i], high)  # a row that is used up goes before the next one comes
            if held[i] is None:
                held[i] = next(own, None)


def _upper(rows: Sequence[Tensor | None], high: int) -> Tensor:
    first, *others = (one for one in rows if one is not None)
    total = first[:, :high].clone()
    for one in others:
        total += one[:, :high]
    return total


def _below(row: Tensor | None, high: int) -> Tensor | None:
    return None if row is None or row.shape[1] == high else row[:, high:]


def _whole_rows(blocks: Blocks, width: int) -> Iterator[Tensor]:
    """(K, h', W) for each row of tiles."""
    row: Tensor | None = None
    for _, x, block in blocks:
        if x == 0:
            if row is not None:
                yield row
            row = None  # before the next one is made
            row = block.new_empty(block.shape[0], block.shape[1], width)
        assert row is not None
        row[:, :, x : x + block.shape[2]] = block
    if row is not None:
        yield row


def fitting(length: int, side: int, overlap: int, stride: int) -> tuple[int, int]:
    """Side and overlap, along an axis of `length` pixels, of tiles that lie at multiples of `stride`.

    The overlap grows by less than a stride, or shrinks where it would be more than half of the side. An axis that one
    smaller tile covers gets that, smaller by whole strides. Raises UserError for several tiles smaller than a stride.
    """
    if length <= side:
        return side - (side - length) // stride * stride, 0
    if side < stride:
        raise UserError(
            f"A tile of {side} pixels is too small: the network's coarsest map has a cell for each {stride}, and tiles "
            f"lie at multiples of it. Take tiles of at least {2 * stride}."
        )
    step = max(stride, (side - overlap) // stride * stride)
    grown = step + stride if side < 2 * (side - step) <= side + 2 * stride else step
    return side, side - grown

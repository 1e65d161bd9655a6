"""Receptive fields: which pixels a cell of a map can depend on. Size, jump and start, per axis, of every layer.

A cell i reads the pixels from low + i · jump to high + i · jump: size = high − low, start = (low + high) / 2, the
centre of the first cell, where 0.5 is the centre of the first pixel; the image is low 0, high 1, jump 1. A window of
f cells with dilation d, padding p and stride s makes of it

    low' = low − p · jump      high' = high + ((f − 1) d − p) · jump      jump' = s · jump

Branches that meet (sums, concatenation) give the union: for windows around one centre, the largest. A dense layer on
a map is a window as large as the map, so a field may be larger than the image. Where each cell is also steered by the
whole image (squeeze and excitation), `whole` says so, and the size is that of the path through the windows. See
"Computing receptive fields of convolutional neural networks", doi:10.23915/distill.00021.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Axis:
    """Along one axis of `cells` cells: cell i reads from low + i · jump to high + i · jump, in pixels."""

    low: float
    high: float
    jump: float
    cells: int

    @property
    def size(self) -> float:
        return self.high - self.low

    @property
    def start(self) -> float:
        return (self.low + self.high) / 2

    def window(self, size: int, stride: int, padding: int, dilation: int, cells: int) -> Axis:
        low = self.low - padding * self.jump
        high = self.high + ((size - 1) * dilation - padding) * self.jump
        return Axis(low, high, stride * self.jump, cells)

    def spread(self, size: int, stride: int, padding: int, cells: int) -> Axis:
        """The transpose of a window: each cell reads ceil(size / stride) cells at most, on a finer grid."""
        extra = (-(-size // stride) - 1) * self.jump
        centre = self.start + (padding - (size - 1) / 2) / stride * self.jump
        return self.around(centre, self.size + extra, self.jump / stride, cells)

    @staticmethod
    def around(centre: float, size: float, jump: float, cells: int) -> Axis:
        return Axis(centre - size / 2, centre + size / 2, jump, cells)

    def merged(self) -> Axis:
        """All cells as one: global pooling, or a dense layer."""
        return self.window(self.cells, 1, 0, 1, 1)

    def union(self, other: Axis) -> Axis:
        return Axis(min(self.low, other.low), max(self.high, other.high), max(self.jump, other.jump), self.cells)


@dataclass(frozen=True)
class Field:
    """The receptive field of a map's cells, of its rows and of its columns."""

    rows: Axis
    columns: Axis
    whole: bool = False  # also steered by the whole image
    cut: int = 0  # of patches of so many images: whatever is done inside one, a cell sees its patch

    @property
    def cells(self) -> tuple[int, int]:
        return self.rows.cells, self.columns.cells

    def merged(self) -> Field:
        return replace(self, rows=self.rows.merged(), columns=self.columns.merged())

    def union(self, other: Field) -> Field:
        """Of two branches. Where one gives a single value for all cells, it steers them."""
        if self.cells == other.cells:
            rows, columns = self.rows.union(other.rows), self.columns.union(other.columns)
            return Field(rows, columns, self.whole or other.whole, max(self.cut, other.cut))
        large = self if self.rows.cells * self.columns.cells >= other.rows.cells * other.columns.cells else other
        return replace(large, whole=True)


def of_image(height: int, width: int) -> Field:
    """Each pixel is its own field."""
    return Field(Axis(0.0, 1.0, 1.0, height), Axis(0.0, 1.0, 1.0, width))

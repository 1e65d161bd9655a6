"""Maps that explain an output, and where their cells lie: from the cells of a map to the pixels of the image.

A cell i of an axis stands at start + i · jump, in pixels of the network's input: the centre of its receptive field
(models/receptive_field.py). A pixel's value is interpolated between the nearest cells, and that of the nearest cell
beyond the outermost ones. What the network didn't see (cut off by the preprocessing) has no value.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor


@dataclass(frozen=True)
class Axis:
    """Cell i stands at start + i · jump pixels."""

    start: float
    jump: float

    @staticmethod
    def stretched(cells: int, size: int) -> Axis:
        """Cells that share `size` pixels evenly."""
        return Axis(size / cells / 2, size / cells)


@dataclass(frozen=True, eq=False)
class Heat:
    """One map for each image: how much each place speaks for an output, in the output's own unit."""

    values: Tensor  # (B, h, w) float
    rows: Axis
    columns: Axis


def spread(
    values: np.ndarray, axes: tuple[Axis, Axis], seen: tuple[int, int], matrix: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    """A map (h, w) on the image: (H, W) float32 = `shape`, NaN where the network saw nothing.

    `axes` of its rows and columns; `seen` (height, width) of the network's input; `matrix` (3, 3) leads from pixels of
    the result to pixels of the input, by stretching and moving alone.
    """
    down = _weights(values.shape[0], axes[0], matrix[1, 1], matrix[1, 2], seen[0], shape[0])
    across = _weights(values.shape[1], axes[1], matrix[0, 0], matrix[0, 2], seen[1], shape[1])
    return (down @ values.astype(np.float64) @ across.T).astype(np.float32)


def _weights(cells: int, axis: Axis, scale: float, shift: float, seen: int, count: int) -> np.ndarray:
    """(count, cells): what each cell gives to each pixel; NaN for pixels that the network didn't see."""
    place = (np.arange(count) + 0.5) * scale + shift  # in the input
    at = np.clip((place - axis.start) / axis.jump, 0, cells - 1)
    found = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(cells)))
    found[(place < 0) | (place > seen)] = np.nan
    return found

"""Weights that make thin borders between touching cells count: the second term of eq. 2 of U-Net, arXiv:1505.04597.

    w(x) = w_c(x) + w0 · exp(−(d1(x) + d2(x))² / 2σ²)

d1 and d2 are the distances of a pixel outside of all cells to the nearest and to the second nearest cell, between the
centres of pixels. Inside of cells the term is 0, as the paper's figure 3 shows it: the border must be learnt, not what
lies beside it. Cells (H, W) whole numbers, 0 where there is none -> (H, W) float32 in [0, w0].
"""

from __future__ import annotations

import math

import cv2
import numpy as np

W0, SIGMA = 10.0, 5.0  # as in the paper
REACH = 6.0  # σ: what is farther than this from a cell adds less than 2e-8 · w0


def border_weights(cells: np.ndarray, w0: float = W0, sigma: float = SIGMA) -> np.ndarray:
    """w0 · exp(−(d1 + d2)² / 2σ²) at each pixel that lies in no cell; 0 where there are fewer than two cells."""
    near = np.full((2, *cells.shape), np.inf, np.float32)  # the two smallest distances so far
    reach = math.ceil(REACH * sigma)
    for number, box in _boxes(cells):
        around = tuple(slice(max(0, side.start - reach), side.stop + reach) for side in box)
        apart = (cells[around] != number).astype(np.uint8)
        distance = cv2.distanceTransform(apart, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        first, second = near[0][around], near[1][around]
        np.minimum(second, np.maximum(first, distance), out=second)
        np.minimum(first, distance, out=first)
    weights = w0 * np.exp(-np.square(near.sum(0)) / (2 * sigma**2))
    return np.where(cells == 0, weights, 0).astype(np.float32)


def _boxes(cells: np.ndarray) -> list[tuple[int, tuple[slice, slice]]]:
    """Each cell's number, and the rows and columns that it covers."""
    rows, columns = np.nonzero(cells)
    numbers, place = np.unique(cells[rows, columns], return_inverse=True)
    low, high = np.full((len(numbers), 2), np.iinfo(np.int64).max), np.zeros((len(numbers), 2), np.int64)
    both = np.column_stack([rows, columns])
    np.minimum.at(low, place, both)
    np.maximum.at(high, place, both + 1)
    return [
        (int(number), (slice(y0, y1), slice(x0, x1)))
        for number, (y0, x0), (y1, x1) in zip(numbers, low.tolist(), high.tolist(), strict=True)
    ]


def cells_of(labels: np.ndarray, background: int, ignore: int = 255) -> np.ndarray:
    """(H, W) numbers of classes -> (H, W) int32: regions of one class that edges of pixels connect, 1, 2, …; 0 outside.

    `background` and `ignore` are outside of all cells.
    """
    found, count = np.zeros(labels.shape, np.int32), 0
    for k in np.unique(labels):
        if k not in (background, ignore):
            many, numbers = cv2.connectedComponents((labels == k).astype(np.uint8), connectivity=4)
            found = np.where(numbers > 0, numbers + count, found)
            count += many - 1
    return found

"""Polygons and pixels: which pixels lie inside, how much of each, and the outline of a set of pixels.

A polygon is (P, 2) float points x, y in pixels, edges of the grid at whole numbers, closed from last to first. Inside
is what a ray crosses an odd number of edges to reach (even-odd rule); a pixel is inside when its centre is.
"""

from __future__ import annotations

import numpy as np

FINE = 8  # lines per pixel, for smooth edges


def fill(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """(P, 2) -> (H, W) bool: the pixels whose centre is inside."""
    row, at = _crossings(points, np.arange(height) + 0.5)
    column = np.clip(np.ceil(at - 0.5), 0, width).astype(np.int64)  # the first centre right of the crossing
    toggles = np.bincount(row * (width + 1) + column, minlength=height * (width + 1)).reshape(height, width + 1)
    return (np.cumsum(toggles, axis=1) & 1).astype(bool)[:, :width]


def coverage(points: np.ndarray, height: int, width: int, margin: int = 0) -> tuple[slice, slice, np.ndarray]:
    """(P, 2) -> rows, columns, and (h, w) float32 in [0, 1]: how much of each pixel is inside.

    Only of the pixels around the polygon, and of `margin` more on each side. Exact along x, the mean of FINE lines
    per pixel along y.
    """
    x0, y0 = np.clip(np.floor(points.min(0)) - margin, 0, (width, height)).astype(int)
    x1, y1 = np.clip(np.ceil(points.max(0)) + margin, 0, (width, height)).astype(int)
    h, w = max(0, y1 - y0), max(0, x1 - x0)
    row, at = _crossings(points - (x0, y0), (np.arange(h * FINE) + 0.5) / FINE)
    order = np.lexsort((at, row))
    row, at = row[order], np.clip(at[order], 0, w)
    sign = 1.0 - 2.0 * (np.arange(len(row)) % 2)  # each line enters and leaves by turns
    column = np.floor(at).astype(np.int64)
    part = at - column
    cell = row // FINE * (w + 2) + column
    change = np.bincount(cell, sign * (1 - part), h * (w + 2)) + np.bincount(cell + 1, sign * part, h * (w + 2))
    share = np.cumsum(change.reshape(h, w + 2), axis=1)[:, :w] / FINE
    return slice(y0, y1), slice(x0, x1), share.astype(np.float32)


def _crossings(points: np.ndarray, lines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where horizontal lines at `lines` (n,) cross the edges: (c,) the line's number, (c,) x."""
    x0, y0 = points.T
    x1, y1 = np.concatenate([points[1:], points[:1]]).T
    low, high = np.minimum(y0, y1), np.maximum(y0, y1)
    row, edge = np.nonzero((low <= lines[:, None]) & (lines[:, None] < high))  # half-open: a corner counts once
    return row, x0[edge] + (lines[row] - y0[edge]) * ((x1 - x0)[edge] / (y1 - y0)[edge])


def contains(points: np.ndarray, x: float, y: float) -> bool:
    """Whether the point (x, y) is inside."""
    _, at = _crossings(points, np.array([y]))
    return bool((at > x).sum() & 1)


def trace(mask: np.ndarray) -> list[np.ndarray]:
    """(H, W) bool -> rings (P, 2) float32 along the edges of the pixels, which `fill` turns into the same mask.

    Pixels that touch at a corner only belong to different rings. A hole is a ring of its own.
    """
    steps = _border(mask)
    rings = []
    while steps:
        here = next(iter(steps))
        step = steps[here][0]
        ring = []
        while step in steps.get(here, ()):
            ring.append((here, step))
            steps[here].remove(step)
            if not steps[here]:
                del steps[here]
            here = (here[0] + step[0], here[1] + step[1])
            step = _turn(step, steps.get(here, []))
        corners = [at for (at, step), (_, before) in zip(ring, ring[-1:] + ring[:-1], strict=True) if step != before]
        rings.append(np.array(corners, dtype=np.float32))
    return rings


def _turn(step: tuple[int, int], choices: list[tuple[int, int]]) -> tuple[int, int]:
    """To the right where one can: so a ring stays with the pixels on its right hand."""
    right, left = (-step[1], step[0]), (step[1], -step[0])
    return next((one for one in (right, step, left) if one in choices), (0, 0))


def _border(mask: np.ndarray) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """From each corner (x, y) on the border the steps (dx, dy) that have the inside on their right hand."""
    padded = np.pad(mask, 1).astype(np.int8)
    down = np.diff(padded, axis=0)[:, 1:-1]  # (H + 1, W): 1 where the inside begins below the edge
    across = np.diff(padded, axis=1)[1:-1]  # (H, W + 1)
    steps: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for grid, sign, start, step in (
        (down, 1, (0, 0), (1, 0)),
        (down, -1, (1, 0), (-1, 0)),
        (across, 1, (0, 1), (0, -1)),
        (across, -1, (0, 0), (0, 1)),
    ):
        for y, x in np.argwhere(grid == sign).tolist():
            steps.setdefault((x + start[0], y + start[1]), []).append(step)
    return steps

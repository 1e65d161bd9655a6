"""Outlines as numbers: areas of rings, and rings that cross themselves. A ring is closed from its last
point to its first.

rings: Ragged of R rings, each (P, 2) points x, y in pixels.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hubel.data.ragged import Ragged

AT_ONCE = 2**22  # pairs of edges that are compared together
EPSILON = 1e-9  # of a ring: pairs that only rounding keeps apart are compared too


def ring_areas(rings: Ragged) -> np.ndarray:
    """(R,) float64: the area of each ring by the shoelace formula, ½ |Σ x_k y_{k+1} − x_{k+1} y_k|."""
    points = np.asarray(rings.values, dtype=np.float64).reshape(-1, 2)
    if not len(points):
        return np.zeros(len(rings))
    points = (
        points - points[np.minimum(rings.offsets[:-1], len(points) - 1)][rings.owners]
    )  # small numbers: no cancelling
    after = np.arange(1, len(points) + 1)
    full = rings.counts > 0
    after[rings.offsets[1:][full] - 1] = rings.offsets[:-1][full]
    cross = points[:, 0] * points[after, 1] - points[after, 0] * points[:, 1]
    return np.abs(np.bincount(rings.owners, cross, minlength=len(rings))) / 2


def self_crossing(rings: Ragged) -> np.ndarray:
    """(R,) bool: whether two edges of the ring cross, each having the other's ends on both its sides.

    A point that touches an edge is no crossing. Only edges that overlap in x are compared: sorted by their left end,
    those that begin before edge i ends follow it directly.
    """
    found = np.zeros(len(rings), bool)
    a, b, owner = _edges(rings)
    if not len(a):
        return found
    left, right = np.minimum(a[:, 0], b[:, 0]), np.maximum(a[:, 0], b[:, 0])
    span = 2 * (right.max() - left.min()) + 1
    order = np.argsort(owner + (left - left.min()) / span)  # ring after ring, in each from left to right
    a, b, owner = a[order], b[order], owner[order]
    begins, ends = (owner + (x[order] - left.min()) / span for x in (left, right))
    following = np.searchsorted(begins, ends + EPSILON, side="right") - np.arange(len(a)) - 1  # edges to compare with
    for low, high in _blocks(following):
        first, offsets = np.repeat(np.arange(low, high), following[low:high]), _count_up(following[low:high])
        second = first + 1 + offsets
        hit = _cross(a[first], b[first], a[second], b[second])
        found[owner[first[hit]]] = True
    return found


def _edges(rings: Ragged) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Starts (E, 2), ends (E, 2) and rings (E,) of all edges; rings of fewer than four points can't cross."""
    long = np.flatnonzero((rings.counts > 3) & finite(rings))
    chosen = rings.take(long)
    points = np.asarray(chosen.values, dtype=np.float64).reshape(-1, 2)
    after = np.arange(1, len(points) + 1)
    after[chosen.offsets[1:] - 1] = chosen.offsets[:-1]
    return points, points[after], long[chosen.owners]


def finite(rings: Ragged) -> np.ndarray:
    """(R,) bool: whether all of a ring's points are numbers."""
    bad = ~np.isfinite(rings.values).all(-1)
    return np.bincount(rings.owners[bad], minlength=len(rings)) == 0


def _blocks(counts: np.ndarray) -> Iterator[tuple[int, int]]:
    """Ranges of rows whose counts add up to about AT_ONCE."""
    total = np.cumsum(counts)
    low = 0
    while low < len(counts):
        before = total[low - 1] if low else 0
        high = max(low + 1, int(np.searchsorted(total, before + AT_ONCE, side="right")))
        yield low, high
        low = high


def _count_up(counts: np.ndarray) -> np.ndarray:
    """(2, 3) -> (0, 1, 0, 1, 2)."""
    starts = np.cumsum(counts) - counts
    return np.arange(counts.sum()) - np.repeat(starts, counts)


def _cross(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Edges a -> b and c -> d, (n, 2) each -> (n,): each line separates the other's ends."""
    return (_side(a, b, c) * _side(a, b, d) < 0) & (_side(c, d, a) * _side(c, d, b) < 0)


def _side(a: np.ndarray, b: np.ndarray, p: np.ndarray) -> np.ndarray:
    return np.sign((b[:, 0] - a[:, 0]) * (p[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (p[:, 0] - a[:, 0]))

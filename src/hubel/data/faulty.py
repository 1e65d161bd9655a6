"""Which objects are at fault: boxes, outlines, run lengths and keypoints that cannot be true.

Each is a pure function of packed arrays, (objects, sizes) -> (M,) bool. sizes (N, 2): height and width of each image,
0 where it could not be read. What is said of them is in faults.py.
"""

from __future__ import annotations

import numpy as np

from hubel.data.objects import Objects
from hubel.data.ragged import Ragged
from hubel.data.rings import ring_areas, self_crossing

TOLERANCE = 1.0  # pixels beyond the edge that are rounding, not a fault
FLAT = 1e-6  # of the square of its extent: a ring of less area is a line, but for the rounding of its points

# Boxes -----------------------------------------------------------------------------------------------------------


def not_numbers(objects: Objects) -> np.ndarray:
    """(M,) a number that is none: in part of a box, in an outline, in a keypoint; or no place at all."""
    missing = np.isnan(objects.boxes.reshape(-1, 4))
    outlined = _has(objects.outlines, objects.count) | _has(objects.runs, objects.count)
    posed = np.zeros(objects.count, bool)
    bad: np.ndarray = np.asarray(missing.any(1) & ~missing.all(1) | np.isinf(objects.boxes.reshape(-1, 4)).any(1))
    if objects.outlines is not None:
        bad |= _any_point(objects.outlines, ~np.isfinite(objects.outlines.values.values).all(1))
    if len(objects.keypoints):
        bad |= ~np.isfinite(objects.keypoints).all((1, 2))
        posed = np.asarray((objects.keypoints[..., 2] > 0).any(1))
    return bad | np.asarray(missing.all(1)) & ~outlined & ~posed


def inverted(objects: Objects, sizes: np.ndarray) -> np.ndarray:
    x0, y0, x1, y1 = objects.boxes.reshape(-1, 4).T
    return (x1 < x0) | (y1 < y0)


def empty(objects: Objects, sizes: np.ndarray) -> np.ndarray:
    x0, y0, x1, y1 = objects.boxes.reshape(-1, 4).T
    return ((x1 == x0) | (y1 == y0)) & ~inverted(objects, sizes)


def beyond(objects: Objects, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(M,) partly, and (M,) wholly outside the image."""
    height, width = sizes[objects.images].T
    known = height > 0
    x0, y0, x1, y1 = objects.boxes.reshape(-1, 4).T
    wholly = known & ((x1 <= 0) | (y1 <= 0) | (x0 >= width) | (y0 >= height)) & (x1 >= x0) & (y1 >= y0)
    low, high = -TOLERANCE, TOLERANCE
    partly = known & ((x0 < low) | (y0 < low) | (x1 > width + high) | (y1 > height + high))
    return partly & ~wholly, wholly


def same_again(objects: Objects, sizes: np.ndarray) -> np.ndarray:
    """(M,) a second object of the same class and box in the same image."""
    if not objects.count:
        return np.zeros(0, bool)
    rows = np.column_stack([objects.images, objects.labels, objects.boxes.reshape(-1, 4)])
    _, first = np.unique(rows, axis=0, return_index=True)
    again = np.ones(objects.count, bool)
    again[first] = False
    return again & np.isfinite(rows).all(1)


def id_again(objects: Objects, sizes: np.ndarray) -> np.ndarray:
    if not len(objects.ids):
        return np.zeros(objects.count, bool)
    _, first = np.unique(objects.ids, return_index=True)
    again = np.ones(objects.count, bool)
    again[first] = False
    return again & (objects.ids >= 0)


# Outlines --------------------------------------------------------------------------------------------------------


def _has(column: Ragged | None, count: int) -> np.ndarray:
    return np.zeros(count, bool) if column is None else column.counts > 0


def _any_point(outlines: Ragged, bad: np.ndarray) -> np.ndarray:
    """(points,) -> (M,): whether any point of any ring is bad."""
    rings = np.zeros(len(outlines.values), bool)
    rings[outlines.values.owners[bad]] = True
    return _any_ring(outlines, rings)


def _any_ring(outlines: Ragged, bad: np.ndarray) -> np.ndarray:
    objects = np.zeros(len(outlines), bool)
    objects[outlines.owners[bad]] = True
    return objects


def degenerate(objects: Objects, sizes: np.ndarray) -> np.ndarray:
    """(M,) a ring of fewer than three different points, or of no area."""
    if objects.outlines is None:
        return np.zeros(objects.count, bool)
    rings = objects.outlines.values
    flat = np.flatnonzero(ring_areas(rings) <= FLAT * _extents(rings))
    bad = rings.counts < 3
    bad[flat] |= ~self_crossing(rings.take(flat))  # the halves of an 8 cancel
    return _any_ring(objects.outlines, bad)


def _extents(rings: Ragged) -> np.ndarray:
    """(R,) width² + height² of each ring; 0 where a ring has no points, or one that is no number."""
    found = np.zeros(len(rings))
    full = np.flatnonzero(rings.counts > 0)
    if len(full):
        points, starts = np.asarray(rings.values, np.float64).reshape(-1, 2), rings.offsets[:-1][full]
        with np.errstate(invalid="ignore"):
            spans = np.maximum.reduceat(points, starts) - np.minimum.reduceat(points, starts)
        found[full] = np.nan_to_num((spans**2).sum(1), nan=0.0, posinf=0.0)
    return found


def outline_outside(objects: Objects, sizes: np.ndarray) -> np.ndarray:
    if objects.outlines is None:
        return np.zeros(objects.count, bool)
    points = objects.outlines.values
    limits = sizes[objects.images][objects.outlines.owners][points.owners][:, ::-1]  # (points, 2) width, height
    beyond = ((points.values < -TOLERANCE) | (points.values > limits + TOLERANCE)).any(1) & (limits > 0).all(1)
    return _any_point(objects.outlines, beyond)


def crossing(objects: Objects, sizes: np.ndarray) -> np.ndarray:
    """(M,) two edges of one ring cross."""
    if objects.outlines is None:
        return np.zeros(objects.count, bool)
    return _any_ring(objects.outlines, self_crossing(objects.outlines.values))


# Masks and keypoints ---------------------------------------------------------------------------------------------


def wrong_length(objects: Objects, sizes: np.ndarray) -> np.ndarray:
    """(M,) run lengths that do not add up to the image's pixels."""
    if objects.runs is None:
        return np.zeros(objects.count, bool)
    total = np.bincount(objects.runs.owners, objects.runs.values, minlength=objects.count)
    pixels = sizes[objects.images].prod(1)
    return (objects.runs.counts > 0) & (pixels > 0) & (total != pixels)


def keypoint_outside(objects: Objects, sizes: np.ndarray) -> np.ndarray:
    if not len(objects.keypoints):
        return np.zeros(objects.count, bool)
    limits = sizes[objects.images][:, None, ::-1]  # (M, 1, 2)
    places, marked = objects.keypoints[..., :2], objects.keypoints[..., 2] > 0
    beyond = ((places < -TOLERANCE) | (places > limits + TOLERANCE)).any(-1) & (limits > 0).all(-1)
    return (beyond & marked).any(1)


def visibility(objects: Objects, sizes: np.ndarray) -> np.ndarray:
    if not len(objects.keypoints):
        return np.zeros(objects.count, bool)
    return np.asarray(~np.isin(objects.keypoints[..., 2], (0, 1, 2)).all(1))

"""Faults in annotations: what cannot be true of boxes, outlines and keypoints, each with its file and line.

Every check is a pure function of packed arrays and gives (M,) which objects are at fault; the numbers that the message
names are looked up afterwards, for the first few of each kind. sizes (N, 2): height and width of each image, 0 where
it could not be read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from hubel.data.findings import Finding
from hubel.data.objects import Objects
from hubel.data.ragged import Ragged
from hubel.data.rings import ring_areas, self_crossing

TOLERANCE = 1.0  # pixels beyond the edge that are rounding, not a fault
FLAT = 1e-6  # of the square of its extent: a ring of less area is a line, but for the rounding of its points


@dataclass(frozen=True)
class Check:
    """One kind of fault."""

    kind: str
    severity: str
    action: str
    reason: Callable[[Objects, np.ndarray, int], str]  # (objects, sizes, position of the object)
    find: Callable[[Objects, np.ndarray], np.ndarray]  # (M,) bool


def object_faults(objects: Objects, sizes: np.ndarray, name: Callable[[int], str]) -> list[Finding]:
    """One finding per object and fault; `name(i)` is the file name of image i, for objects without a file of their own.

    An object whose numbers are missing or no numbers is not checked further.
    """
    images = objects.images
    broken = _not_numbers(objects)
    findings = []
    for check in CHECKS:
        with np.errstate(invalid="ignore"):
            hit = check.find(objects, sizes)
        for m in np.flatnonzero(hit & ~broken if check.find is not _not_numbers_of else hit).tolist():
            findings.append(_finding(objects, sizes, check, m, int(images[m]), name))
    return findings


def _finding(objects: Objects, sizes: np.ndarray, check: Check, m: int, image: int, name: Callable) -> Finding:
    written = objects.files[image].decode("utf-8", "backslashreplace") if objects.files is not None else ""
    line = int(objects.lines[m]) if len(objects.lines) else 0
    where = f" (image {name(image)})" if written and written != name(image) else ""
    reason = check.reason(objects, sizes, m) + where
    return Finding(check.kind, written or name(image), reason, check.action, line, image, check.severity)


# Boxes -----------------------------------------------------------------------------------------------------------


def _not_numbers(objects: Objects) -> np.ndarray:
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


def _not_numbers_of(objects: Objects, sizes: np.ndarray) -> np.ndarray:
    return _not_numbers(objects)


def _inverted(objects: Objects, sizes: np.ndarray) -> np.ndarray:
    x0, y0, x1, y1 = objects.boxes.reshape(-1, 4).T
    return (x1 < x0) | (y1 < y0)


def _empty(objects: Objects, sizes: np.ndarray) -> np.ndarray:
    x0, y0, x1, y1 = objects.boxes.reshape(-1, 4).T
    return ((x1 == x0) | (y1 == y0)) & ~_inverted(objects, sizes)


def _beyond(objects: Objects, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(M,) partly, and (M,) wholly outside the image."""
    height, width = sizes[objects.images].T
    known = height > 0
    x0, y0, x1, y1 = objects.boxes.reshape(-1, 4).T
    wholly = known & ((x1 <= 0) | (y1 <= 0) | (x0 >= width) | (y0 >= height)) & (x1 >= x0) & (y1 >= y0)
    low, high = -TOLERANCE, TOLERANCE
    partly = known & ((x0 < low) | (y0 < low) | (x1 > width + high) | (y1 > height + high))
    return partly & ~wholly, wholly


def _same_again(objects: Objects, sizes: np.ndarray) -> np.ndarray:
    """(M,) a second object of the same class and box in the same image."""
    if not objects.count:
        return np.zeros(0, bool)
    rows = np.column_stack([objects.images, objects.labels, objects.boxes.reshape(-1, 4)])
    _, first = np.unique(rows, axis=0, return_index=True)
    again = np.ones(objects.count, bool)
    again[first] = False
    return again & np.isfinite(rows).all(1)


def _id_again(objects: Objects, sizes: np.ndarray) -> np.ndarray:
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


def _degenerate(objects: Objects, sizes: np.ndarray) -> np.ndarray:
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


def _outline_outside(objects: Objects, sizes: np.ndarray) -> np.ndarray:
    if objects.outlines is None:
        return np.zeros(objects.count, bool)
    points = objects.outlines.values
    limits = sizes[objects.images][objects.outlines.owners][points.owners][:, ::-1]  # (points, 2) width, height
    beyond = ((points.values < -TOLERANCE) | (points.values > limits + TOLERANCE)).any(1) & (limits > 0).all(1)
    return _any_point(objects.outlines, beyond)


def _crossing(objects: Objects, sizes: np.ndarray) -> np.ndarray:
    """(M,) two edges of one ring cross."""
    if objects.outlines is None:
        return np.zeros(objects.count, bool)
    return _any_ring(objects.outlines, self_crossing(objects.outlines.values))


# Masks and keypoints ---------------------------------------------------------------------------------------------


def _wrong_length(objects: Objects, sizes: np.ndarray) -> np.ndarray:
    """(M,) run lengths that do not add up to the image's pixels."""
    if objects.runs is None:
        return np.zeros(objects.count, bool)
    total = np.bincount(objects.runs.owners, objects.runs.values, minlength=objects.count)
    pixels = sizes[objects.images].prod(1)
    return (objects.runs.counts > 0) & (pixels > 0) & (total != pixels)


def _keypoint_outside(objects: Objects, sizes: np.ndarray) -> np.ndarray:
    if not len(objects.keypoints):
        return np.zeros(objects.count, bool)
    limits = sizes[objects.images][:, None, ::-1]  # (M, 1, 2)
    places, marked = objects.keypoints[..., :2], objects.keypoints[..., 2] > 0
    beyond = ((places < -TOLERANCE) | (places > limits + TOLERANCE)).any(-1) & (limits > 0).all(-1)
    return (beyond & marked).any(1)


def _visibility(objects: Objects, sizes: np.ndarray) -> np.ndarray:
    if not len(objects.keypoints):
        return np.zeros(objects.count, bool)
    return np.asarray(~np.isin(objects.keypoints[..., 2], (0, 1, 2)).all(1))


# What is said of them --------------------------------------------------------------------------------------------


def _box(objects: Objects, m: int) -> str:
    return "(" + ", ".join(f"{value:g}" for value in objects.boxes[m]) + ")"


def _size(objects: Objects, sizes: np.ndarray, m: int) -> str:
    height, width = sizes[objects.images[m]]
    return f"{width} x {height} pixels"


def _worst(objects: Objects, sizes: np.ndarray, m: int) -> str:
    height, width = sizes[objects.images[m]]
    points = objects.outlines[m].values  # type: ignore[index]
    beyond = np.maximum(np.maximum(-points, points - [width, height]), 0).max(1)
    x, y = points[beyond.argmax()]
    return f"({x:g}, {y:g})"


FIX = "Correct it in this file"


def _box_checks() -> Iterator[Check]:
    yield Check(
        "not a number", "error", f"{FIX}; the object takes no part until then.",
        lambda o, s, m: f"a coordinate is missing or no number; the box is {_box(o, m)}", _not_numbers_of,
    )  # fmt: skip
    yield Check(
        "inverted box", "error", f"{FIX}: the right and lower edges come last.",
        lambda o, s, m: f"the box {_box(o, m)} ends before it begins", _inverted,
    )  # fmt: skip
    yield Check(
        "zero area", "error", f"{FIX}, or remove the object: it can't be learnt from.",
        lambda o, s, m: f"the box {_box(o, m)} has no area", _empty,
    )  # fmt: skip
    yield Check(
        "outside image", "error", f"{FIX}, or remove the object. Were the images resized or turned afterwards?",
        lambda o, s, m: f"the box {_box(o, m)} lies wholly outside the image of {_size(o, s, m)}",
        lambda o, s: _beyond(o, s)[1],
    )  # fmt: skip
    yield Check(
        "outside image", "warning", "It is cut at the edge. Were the images resized or turned afterwards?",
        lambda o, s, m: f"the box {_box(o, m)} reaches beyond the image of {_size(o, s, m)}",
        lambda o, s: _beyond(o, s)[0],
    )  # fmt: skip
    yield Check(
        "unknown class", "error", "Add the class to the list of classes, or correct its name or number here.",
        lambda o, s, m: "its class is not in the list of classes", lambda o, s: o.labels < 0,
    )  # fmt: skip
    yield Check(
        "duplicate object", "warning", "Remove one of the two.",
        lambda o, s, m: f"a second object of the same class with the same box {_box(o, m)}", _same_again,
    )  # fmt: skip
    yield Check(
        "duplicate id", "warning", "Give each object a number of its own.",
        lambda o, s, m: f"the id {o.ids[m]} belongs to another object already", _id_again,
    )  # fmt: skip


def _shape_checks() -> Iterator[Check]:
    yield Check(
        "degenerate polygon", "warning", f"{FIX}: a polygon has three points that are not on one line.",
        lambda o, s, m: "a polygon of fewer than three points, or without area", _degenerate,
    )  # fmt: skip
    yield Check(
        "self-crossing polygon", "warning", f"{FIX}: draw the outline so that no two of its edges cross.",
        lambda o, s, m: "two edges of its polygon cross, so inside and outside are not clear", _crossing,
    )  # fmt: skip
    yield Check(
        "outside image", "warning", "It is cut at the edge. Were the images resized or turned afterwards?",
        lambda o, s, m: f"its polygon reaches {_worst(o, s, m)}, beyond the image of {_size(o, s, m)}",
        lambda o, s: _outline_outside(o, s) & ~np.logical_or(*_beyond(o, s)),
    )  # fmt: skip
    yield Check(
        "mask of another size", "error", f"{FIX}: run lengths add up to height times width.",
        lambda o, s, m: f"its run lengths give {int(o.runs[m].sum(dtype=np.int64)):,} pixels, the image has "  # type: ignore[index]
        f"{_size(o, s, m)}", _wrong_length,
    )  # fmt: skip
    yield Check(
        "outside image", "warning", f"{FIX}: mark a keypoint that can't be seen as not labelled (0).",
        lambda o, s, m: f"a keypoint lies outside the image of {_size(o, s, m)}", _keypoint_outside,
    )  # fmt: skip
    yield Check(
        "unknown visibility", "warning", f"{FIX}: 0 is not labelled, 1 hidden, 2 visible.",
        lambda o, s, m: f"a keypoint's visibility is {o.keypoints[m, :, 2].tolist()}", _visibility,
    )  # fmt: skip


CHECKS = (*_box_checks(), *_shape_checks())


def sound(objects: Objects, sizes: np.ndarray) -> np.ndarray:
    """(M,) bool: the objects that can be learnt from, those without a fault that is an error."""
    good = ~_not_numbers(objects)
    with np.errstate(invalid="ignore"):
        for check in CHECKS:
            if check.severity == "error" and check.find is not _not_numbers_of:
                good &= ~check.find(objects, sizes)
    return good

"""Faults in annotations: what cannot be true of boxes, outlines and keypoints, each with its file and line.

Each kind has a finder, a pure function of packed arrays in faulty.py; the numbers that the message names are looked up
afterwards, for the objects that were found. sizes (N, 2): height and width of each image, 0 where it could not be read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from hubel.data import faulty
from hubel.data.findings import Finding
from hubel.data.objects import Objects


@dataclass(frozen=True)
class Check:
    """One kind of fault."""

    kind: str
    severity: str
    action: str
    reason: Callable[[Objects, np.ndarray, int], str]  # (objects, sizes, position of the object)
    find: Callable[[Objects, np.ndarray], np.ndarray]  # (M,) bool


def object_faults(objects: Objects, sizes: np.ndarray, name: Callable[[int], str]) -> list[Finding]:
    """One finding per object and fault; `name(i)`: image i's file name, for objects without a file of their own."""
    images = objects.images
    return [
        _finding(objects, sizes, check, m, int(images[m]), name)
        for check, hit in _hits(objects, sizes)
        for m in np.flatnonzero(hit).tolist()
    ]


def sound(objects: Objects, sizes: np.ndarray) -> np.ndarray:
    """(M,) bool: the objects without a fault that is an error. The others take no part in a training, see placed.py,
    and no network is judged by them, see targets.py."""
    bad = faulty.not_numbers(objects)
    with np.errstate(invalid="ignore"):
        for check in CHECKS:
            if check.severity == "error":
                bad |= check.find(objects, sizes)
    return ~bad


def _hits(objects: Objects, sizes: np.ndarray) -> Iterator[tuple[Check, np.ndarray]]:
    """Each check with the objects (M,) that it finds; where numbers are missing, nothing else is checked."""
    broken = faulty.not_numbers(objects)
    yield NUMBERS, broken
    for check in CHECKS:
        with np.errstate(invalid="ignore"):
            hit = check.find(objects, sizes)
        yield check, hit & ~broken


def _finding(objects: Objects, sizes: np.ndarray, check: Check, m: int, image: int, name: Callable) -> Finding:
    written = objects.files[image].decode("utf-8", "backslashreplace") if objects.files is not None else ""
    line = int(objects.lines[m]) if len(objects.lines) else 0
    where = f" (image {name(image)})" if written and written != name(image) else ""
    reason = check.reason(objects, sizes, m) + where
    action = f"{check.action} {LEFT_OUT}" if check.severity == "error" else check.action
    return Finding(check.kind, written or name(image), reason, action, line, image, check.severity)


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
LEFT_OUT = "Until then the object takes no part."  # `sound` says so to who reads it


NUMBERS = Check(
    "not a number", "error", f"{FIX}.",
    lambda o, s, m: f"a coordinate is missing or no number; the box is {_box(o, m)}",
    lambda o, s: faulty.not_numbers(o),
)  # fmt: skip


def _box_checks() -> Iterator[Check]:
    yield Check(
        "inverted box", "error", f"{FIX}: the right and lower edges come last.",
        lambda o, s, m: f"the box {_box(o, m)} ends before it begins", faulty.inverted,
    )  # fmt: skip
    yield Check(
        "zero area", "error", f"{FIX}, or remove the object: it can't be learnt from.",
        lambda o, s, m: f"the box {_box(o, m)} has no area", faulty.empty,
    )  # fmt: skip
    yield Check(
        "outside image", "error", f"{FIX}, or remove the object. Were the images resized or turned afterwards?",
        lambda o, s, m: f"the box {_box(o, m)} lies wholly outside the image of {_size(o, s, m)}",
        lambda o, s: faulty.beyond(o, s)[1],
    )  # fmt: skip
    yield Check(
        "outside image", "warning", "It is cut at the edge. Were the images resized or turned afterwards?",
        lambda o, s, m: f"the box {_box(o, m)} reaches beyond the image of {_size(o, s, m)}",
        lambda o, s: faulty.beyond(o, s)[0],
    )  # fmt: skip
    yield Check(
        "unknown class", "error", "Add the class to the list of classes, or correct its name or number here.",
        lambda o, s, m: "its class is not in the list of classes", lambda o, s: o.labels < 0,
    )  # fmt: skip
    yield Check(
        "duplicate object", "warning", "Remove one of the two.",
        lambda o, s, m: f"a second object of the same class with the same box {_box(o, m)}", faulty.same_again,
    )  # fmt: skip
    yield Check(
        "duplicate id", "warning", "Give each object a number of its own.",
        lambda o, s, m: f"the id {o.ids[m]} belongs to another object already", faulty.id_again,
    )  # fmt: skip


def _shape_checks() -> Iterator[Check]:
    yield Check(
        "degenerate polygon", "warning", f"{FIX}: a polygon has three points that are not on one line.",
        lambda o, s, m: "a polygon of fewer than three points, or without area", faulty.degenerate,
    )  # fmt: skip
    yield Check(
        "self-crossing polygon", "warning", f"{FIX}: draw the outline so that no two of its edges cross.",
        lambda o, s, m: "two edges of its polygon cross, so inside and outside are not clear", faulty.crossing,
    )  # fmt: skip
    yield Check(
        "outside image", "warning", "It is cut at the edge. Were the images resized or turned afterwards?",
        lambda o, s, m: f"its polygon reaches {_worst(o, s, m)}, beyond the image of {_size(o, s, m)}",
        lambda o, s: faulty.outline_outside(o, s) & ~np.logical_or(*faulty.beyond(o, s)),
    )  # fmt: skip
    yield Check(
        "mask of another size", "error", f"{FIX}: run lengths add up to height times width.",
        lambda o, s, m: f"its run lengths give {int(o.runs[m].sum(dtype=np.int64)):,} pixels, the image has "  # type: ignore[index]
        f"{_size(o, s, m)}", faulty.wrong_length,
    )  # fmt: skip
    yield Check(
        "outside image", "warning", f"{FIX}: mark a keypoint that can't be seen as not labelled (0).",
        lambda o, s, m: f"a keypoint lies outside the image of {_size(o, s, m)}", faulty.keypoint_outside,
    )  # fmt: skip
    yield Check(
        "unknown visibility", "warning", f"{FIX}: 0 is not labelled, 1 hidden, 2 visible.",
        lambda o, s, m: f"a keypoint's visibility is {o.keypoints[m, :, 2].tolist()}", faulty.visibility,
    )  # fmt: skip


CHECKS = (*_box_checks(), *_shape_checks())

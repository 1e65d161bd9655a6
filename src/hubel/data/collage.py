"""Scenes out of several images: where the quadrants of a mosaic lie, and what objects laid over others leave of them.

arXiv:2004.10934 (mosaic), arXiv:2012.07177 (copy-paste). Both come first among the stages: each image is resampled
once, straight into its place. Everything here is a pure function of one scene's moves and objects; what is drawn is in
arrange.py. Masks (h, w) bool.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from hubel.data import rle
from hubel.data.objects import Objects, join
from hubel.data.polygons import fill
from hubel.data.ragged import Ragged
from hubel.ops.follow import Rules
from hubel.ops.geometry import compose, scaling, translation

MIDDLE = (0.3, 0.7)  # where the four images meet, as shares of the sides
CORNERS = ((0, 0), (1, 0), (0, 1), (1, 1))  # quadrants, left to right and top to bottom
HIDDEN, VISIBLE = 1, 2  # keypoints
Frame = tuple[int, int, int, int]  # x0, y0, x1, y1


def quadrant(role: int, content: np.ndarray, size: tuple[int, int], u: np.ndarray) -> tuple[np.ndarray, Frame]:
    """Where an image goes that would fill `content` (4,) x0, y0, x1, y1 of a target of `size` (h, w) if it were alone.

    -> (3, 3) from there to its place in the mosaic, and the part of the target that shows it. It covers its quadrant,
    with its inner corner at the point where all four meet. u (6,) in [0, 1), the same for all: the point (x, y), and
    each image's scale, from half of what it has alone to all of it.
    """
    extent = np.array([size[1], size[0]], dtype=np.float64)
    meet = np.rint((MIDDLE[0] + u[:2] * (MIDDLE[1] - MIDDLE[0])) * extent)
    corner = np.array(CORNERS[role])
    low, high = np.where(corner, meet, 0), np.where(corner, extent, meet)
    own = content[2:] - content[:2]
    scale = max(*((high - low) / own), 0.5 + 0.5 * u[2 + role])
    matrix = compose(
        translation(*-content[:2]), scaling(scale, scale), translation(*(meet - np.where(corner, 0, own * scale)))
    )
    x0, y0, x1, y1 = (round(v) for v in (*low.tolist(), *high.tolist()))
    return matrix, (x0, y0, x1, y1)


def together(parts: Sequence[Objects]) -> Objects:
    """The objects of several images as those of one."""
    joined = join(list(parts))
    return replace(joined, offsets=np.array([0, joined.count], dtype=np.int64))


# Copy-paste ------------------------------------------------------------------------------------------------------


def outline_mask(objects: Objects, m: int, size: tuple[int, int]) -> np.ndarray:
    """(h, w) bool: the pixels whose centres lie in object m's outline, else its run-length mask, else nothing."""
    if objects.runs is not None and len(objects.runs[m]):
        return rle.decode(objects.runs[m], *size).astype(bool)
    canvas = np.zeros(size, dtype=bool)
    for ring in objects.outlines[m] if objects.outlines is not None else ():
        canvas |= fill(np.asarray(ring, dtype=np.float64), *size)
    return canvas


def cut_out(objects: Objects, size: tuple[int, int]) -> tuple[Objects, np.ndarray]:
    """Of one image's objects those that have an outline or a mask, so that they can be cut out; and their pixels."""
    masks = [outline_mask(objects, m, size) for m in range(objects.count)]
    there = np.array([mask.any() for mask in masks], dtype=bool)
    return objects.where(there), np.logical_or.reduce([np.zeros(size, dtype=bool), *masks])


def lay_over(below: Objects, above: Objects, covered: np.ndarray, rules: Rules | None = None) -> Objects:
    """The objects of one image with those of another laid onto them, which cover the pixels `covered` (h, w).

    What is left of an object below is a run-length mask, with its box, or the box alone where it has no outline; if it
    is too little the object is gone. Its keypoints under the cover are hidden ones.
    """
    if not covered.any():
        return below
    return together([_below(below, covered, rules or Rules()), with_runs(above)])


def _below(objects: Objects, covered: np.ndarray, rules: Rules) -> Objects:
    size = (covered.shape[0], covered.shape[1])
    objects = with_runs(objects)
    boxes, keep = objects.boxes.copy(), np.ones(objects.count, dtype=bool)
    rings, runs = _lists(objects)
    areas = objects.areas.copy()
    for m in range(objects.count):
        whole = outline_mask(objects, m, size)
        outlined = bool(whole.any())
        whole = whole if outlined else _box_mask(boxes[m], size)
        if not (whole & covered).any():
            continue
        left = whole & ~covered
        keep[m] = rules.keeps(float(left.sum()), left.sum() / whole.sum())
        if len(areas):
            areas[m] *= left.sum() / whole.sum()
        if outlined:
            rings[m], runs[m] = [], rle.encode(left)
            boxes[m] = rle.box(runs[m], size[0])
    keypoints = _hidden(objects.keypoints, covered)
    return _repacked(objects, rings, runs, boxes=boxes, areas=areas, keypoints=keypoints).where(keep)


def _box_mask(box: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pixels whose centres lie in a box; none where it is NaN."""
    y, x = np.ogrid[: size[0], : size[1]]
    return (x + 0.5 > box[0]) & (x + 0.5 < box[2]) & (y + 0.5 > box[1]) & (y + 0.5 < box[3])


def _hidden(keypoints: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """(M, J, 3) with visibility HIDDEN where a visible one is covered."""
    if not len(keypoints):
        return keypoints
    x, y = (np.clip(keypoints[..., k].astype(np.int64), 0, covered.shape[1 - k] - 1) for k in (0, 1))
    under = covered[y, x] & (keypoints[..., 2] == VISIBLE)
    out = keypoints.copy()
    out[under, 2] = HIDDEN
    return out


def _lists(objects: Objects) -> tuple[list, list]:
    """Rings and runs of each object, as lists."""
    rings = [list(one) for one in objects.outlines] if objects.outlines is not None else [[] for _ in objects.labels]
    runs = list(objects.runs) if objects.runs is not None else [np.zeros(0, np.uint32) for _ in objects.labels]
    return rings, runs


def with_runs(objects: Objects) -> Objects:
    """With both columns, outlines and runs, so that objects of two images can be joined."""
    return _repacked(objects, *_lists(objects))


def _repacked(objects: Objects, rings: list, runs: list, **columns: Any) -> Objects:
    outlines = Ragged.pack_nested(rings, np.empty((0, 2), np.float32))
    return replace(objects, outlines=outlines, runs=Ragged.pack(runs, np.empty(0, np.uint32)), **columns)

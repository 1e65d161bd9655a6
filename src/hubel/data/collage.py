"""Scenes out of several images, objects and all: mosaic (four images around a point, arXiv:2004.10934) and copy-paste
(objects of one image onto another, arXiv:2012.07177).

Both come first among the stages: each image is resampled once, straight into its place. Images (H, W, C) uint8 -> (h,
w, C); objects of one image each. What is drawn is given as numbers in [0, 1): pure functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from hubel.data import rle
from hubel.data.moved import move_objects
from hubel.data.objects import Objects, join
from hubel.data.polygons import fill
from hubel.data.ragged import Ragged
from hubel.ops.follow import Move, Rules
from hubel.ops.geometry import compose, scaling, translation
from hubel.ops.resize import warp

MIDDLE = (0.3, 0.7)  # where the four images meet, as shares of the sides
CORNERS = ((0, 0), (1, 0), (0, 1), (1, 1))  # quadrants, left to right and top to bottom


# Mosaic ----------------------------------------------------------------------------------------------------------


def mosaic_moves(sizes: Sequence[tuple[int, int]], size: tuple[int, int], u: np.ndarray) -> list[Move]:
    """Where four images of `sizes` go: each covers its quadrant, with its inner corner at the point where all meet.

    u (6,): the point (x, y), and each image's scale between half and all of the target.
    """
    meet = np.rint((MIDDLE[0] + u[:2] * (MIDDLE[1] - MIDDLE[0])) * [size[1], size[0]])
    moves = []
    for (right, below), source, part in zip(CORNERS, sizes, u[2:], strict=True):
        low = np.where([right, below], meet, 0)
        high = np.where([right, below], [size[1], size[0]], meet)
        extent = np.array([source[1], source[0]], dtype=np.float64)
        scale = max(*((high - low) / extent), (0.5 + 0.5 * part) * min(size[1] / extent[0], size[0] / extent[1]))
        corner = meet - np.where([right, below], 0, extent * scale)
        matrix = compose(scaling(scale, scale), translation(*corner))
        moves.append(Move(matrix, source, size, frame=(*low.tolist(), *high.tolist())))
    return moves


def paste(images: Sequence[np.ndarray], moves: Sequence[Move]) -> np.ndarray:
    """Each image through its move into its frame of one canvas."""
    canvas = np.zeros((*moves[0].size, images[0].shape[2]), images[0].dtype)
    for image, move in zip(images, moves, strict=True):
        x0, y0, x1, y1 = (round(v) for v in move.window)
        canvas[y0:y1, x0:x1] = warp(image, compose(move.matrix, translation(-x0, -y0)), (y1 - y0, x1 - x0), "edge")
    return canvas


def mosaic(
    images: Sequence[np.ndarray], objects: Sequence[Objects] | None, size: tuple[int, int], u: np.ndarray
) -> tuple[np.ndarray, Objects | None]:
    """Four images, and the objects of each, as one; u (6,) in [0, 1)."""
    moves = mosaic_moves([(image.shape[0], image.shape[1]) for image in images], size, u)
    canvas = paste(images, moves)
    if objects is None:
        return canvas, None
    return canvas, together([move_objects(part, [move]) for part, move in zip(objects, moves, strict=True)])


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


def copy_paste(
    image: np.ndarray,
    objects: Objects,
    other: np.ndarray,
    theirs: Objects,
    chosen: np.ndarray,
    rules: Rules | None = None,
) -> tuple[np.ndarray, Objects]:
    """The objects `chosen` (M,) bool of another image of the same size, laid onto this one.

    Only objects with an outline or a mask can be cut out. What they cover is taken from the objects below, which keep
    the rest as a run-length mask, with its box; those of which too little is left are gone.
    """
    size, rules = (image.shape[0], image.shape[1]), rules or Rules()
    masks = [outline_mask(theirs, m, size) if chosen[m] else None for m in range(theirs.count)]
    used = np.array([mask is not None and bool(mask.any()) for mask in masks], dtype=bool)
    if not used.any():
        return image, objects
    covered = np.logical_or.reduce([mask for mask, use in zip(masks, used, strict=True) if use and mask is not None])
    out = np.where(covered[:, :, None], other, image)
    return out, together([_below(objects, covered, size, rules), _with_runs(theirs.where(used))])


def _below(objects: Objects, covered: np.ndarray, size: tuple[int, int], rules: Rules) -> Objects:
    """What is left of objects under the pixels `covered` (h, w)."""
    objects = _with_runs(objects)
    boxes, keep = objects.boxes.copy(), np.ones(objects.count, dtype=bool)
    rings, runs = _lists(objects)
    areas = objects.areas.copy()
    for m in range(objects.count):
        whole = outline_mask(objects, m, size)
        if not (whole & covered).any():
            continue
        left = whole & ~covered
        keep[m] = rules.keeps(float(left.sum()), left.sum() / whole.sum())
        rings[m], runs[m] = [], rle.encode(left)
        boxes[m] = rle.box(runs[m], size[0])
        if len(areas):
            areas[m] *= left.sum() / whole.sum()
    return _repacked(objects, rings, runs, boxes=boxes, areas=areas).where(keep)


def _lists(objects: Objects) -> tuple[list, list]:
    """Rings and runs of each object, as lists."""
    rings = [list(one) for one in objects.outlines] if objects.outlines is not None else [[] for _ in objects.labels]
    runs = list(objects.runs) if objects.runs is not None else [np.zeros(0, np.uint32) for _ in objects.labels]
    return rings, runs


def _with_runs(objects: Objects) -> Objects:
    """With both columns, outlines and runs, so that objects of two images can be joined."""
    return _repacked(objects, *_lists(objects))


def _repacked(objects: Objects, rings: list, runs: list, **columns: Any) -> Objects:
    outlines = Ragged.pack_nested(rings, np.empty((0, 2), np.float32))
    return replace(objects, outlines=outlines, runs=Ragged.pack(runs, np.empty(0, np.uint32)), **columns)

"""Objects through the moves of their images: what a training sees of boxes, outlines, masks and keypoints.

Objects in source pixels of N images -> Objects in target pixels of the same N images; those of which too little is
shown are gone. An object's box follows its outline, else its run-length mask, else its own corners.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hubel.data import rle
from hubel.data.objects import CROWD, Objects
from hubel.data.ragged import Ragged
from hubel.ops.follow import Move, Rules
from hubel.ops.polygons import Rings, bounds, rectangle, total_area


@dataclass(frozen=True)
class _Moved:
    """One object in the target."""

    box: np.ndarray  # (4,)
    rings: Rings
    runs: np.ndarray
    area: float  # in the target; NaN where the source had none
    share: float


def move_objects(objects: Objects, moves: Sequence[Move], rules: Rules | None = None) -> Objects:
    """The objects of image i through moves[i]. Objects with faults (NaN, inverted) disappear."""
    rules = rules or Rules()
    columns: dict[str, Any] = {}
    keypoints = _keypoints(objects, moves)
    if _only_boxes(objects) and all(move.axis_aligned for move in moves):
        columns["boxes"], shares, areas = _boxes(objects, moves)
    else:
        moved = [_one(objects, m, moves[i]) for i, m in zip(objects.images.tolist(), range(objects.count), strict=True)]
        columns |= _packed(objects, moved)
        shares, areas = np.array([one.share for one in moved]), np.array([one.area for one in moved])
    shown = _extent(columns["boxes"], areas)
    keep = (shares >= rules.least_share) & (shown >= rules.least_area)
    if len(objects.flags):  # of a crowd any part counts
        keep |= (objects.flags & CROWD > 0) & (shown >= rules.least_area)
    if keypoints is not None:
        columns["keypoints"] = keypoints
        never = np.isnan(objects.boxes).any(1) & np.isnan(columns["boxes"]).any(1)  # all it ever had is keypoints
        keep |= never & (keypoints[..., 2] > 0).any(1)
    if len(objects.areas):
        columns["areas"] = np.where(np.isfinite(objects.areas), areas, np.nan)
    return replace(objects, **columns).where(keep)


def _extent(boxes: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """(M,) the area that is shown: the objects' own, or the boxes'."""
    extent = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return np.nan_to_num(np.where(np.isfinite(areas), areas, extent))


def _only_boxes(objects: Objects) -> bool:
    return objects.outlines is None and objects.runs is None


def _boxes(objects: Objects, moves: Sequence[Move]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes (M, 4), shares (M,) and areas (M,), image by image."""
    boxes, shares, areas = objects.boxes.copy(), np.zeros(objects.count), np.full(objects.count, np.nan)
    for i, move in enumerate(moves):
        part = slice(*objects.offsets[i : i + 2])
        boxes[part], shares[part] = move.boxes(objects.boxes[part])
        if len(objects.areas):
            scale = abs(move.matrix[0, 0] * move.matrix[1, 1]) / move.matrix[2, 2] ** 2
            areas[part] = objects.areas[part] * scale * shares[part]
    return boxes, shares, areas


def _one(objects: Objects, m: int, move: Move) -> _Moved:
    rings = _finite(objects.outlines[m]) if objects.outlines is not None else []
    runs = objects.runs[m] if objects.runs is not None else np.zeros(0, np.uint32)
    if len(runs):
        return _by_mask(runs, move)
    own = rings or _box_ring(objects.boxes[m])
    shown, share = move.rings(own)
    given = float(objects.areas[m]) if len(objects.areas) else np.nan
    area = total_area(shown)
    if not rings:  # the file's area of an object whose outline it does not give: shrinks as the box does
        area = area * given / total_area(own) if own and np.isfinite(given) else np.nan
    return _Moved(bounds(shown), shown if rings else [], np.zeros(0, np.uint32), area, share)


def _finite(rings: Ragged) -> Rings:
    found = (np.asarray(ring, dtype=np.float64) for ring in rings)
    return [ring for ring in found if len(ring) >= 3 and np.isfinite(ring).all()]


def _box_ring(box: np.ndarray) -> Rings:
    return [rectangle(box)] if (box[2:] > box[:2]).all() and np.isfinite(box).all() else []


def _by_mask(runs: np.ndarray, move: Move) -> _Moved:
    """Pixel by pixel: the mask is moved like a picture. Its share is taken of the matrix's own scale at its centre."""
    nothing = _Moved(np.full(4, np.nan), [], np.zeros(0, np.uint32), 0.0, 0.0)
    try:
        mask = rle.decode(runs, *move.size_in)
    except ValueError:  # lengths that don't add up: a finding of the reader
        return nothing
    moved = move.mask(mask, outside=0)
    if not moved.any():
        return nothing
    counts, area = rle.encode(moved), float(moved.sum())
    box = np.array(rle.box(counts, move.size[0]), dtype=np.float64)
    centre = np.argwhere(mask).mean(0)[::-1] + 0.5
    step = move.points(centre + np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    full = mask.sum() * abs(np.linalg.det(step[1:] - step[0]))
    return _Moved(box, [], counts, area, min(1.0, area / full) if full > 0 else 0.0)


def _packed(objects: Objects, moved: list[_Moved]) -> dict[str, Any]:
    columns: dict[str, Any] = {"boxes": np.array([one.box for one in moved]).reshape(-1, 4)}
    if objects.outlines is not None:
        columns["outlines"] = Ragged.pack_nested([one.rings for one in moved], np.empty((0, 2), np.float32))
    if objects.runs is not None:
        columns["runs"] = Ragged.pack([one.runs for one in moved], np.empty(0, np.uint32))
    return columns


def _keypoints(objects: Objects, moves: Sequence[Move]) -> np.ndarray | None:
    if not len(objects.keypoints):
        return None
    swaps = objects.skeleton.mirrored() if objects.skeleton is not None else None
    parts = [objects.keypoints[slice(*objects.offsets[i : i + 2])] for i in range(len(moves))]
    return np.concatenate([move.keypoints(part, swaps) for move, part in zip(moves, parts, strict=True)])

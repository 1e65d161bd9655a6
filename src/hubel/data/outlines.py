"""From a class for every pixel (H, W) to what COCO files hold: run lengths of a class, and lines around its regions.

A region is connected by edges of pixels. Its line is one polygon, as COCO has no holes: each hole is entered and left
along one path without area, so that filling it (even-odd) gives the same pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np

from hubel.data import polygons, rle

BLOCK = 2**24  # pixels that are encoded at a time


def runs_of(labels: np.ndarray, value: int) -> np.ndarray:
    """(H, W) -> COCO counts (R,) uint32 of the pixels that are `value`, some columns at a time; see data/rle.py."""
    height, width = labels.shape
    step, edges, last = max(1, BLOCK // height), [np.zeros(1, np.int64)], False
    for x in range(0, width, step):
        columns = labels[:, x : x + step].T
        pixels = (columns == value).ravel()
        edges.append(np.flatnonzero(np.diff(pixels, prepend=last)) + x * height)
        last = bool(pixels[-1])
    edges.append(np.array([labels.size]))
    return np.diff(np.concatenate(edges)).astype(np.uint32)


def regions_of(labels: np.ndarray, value: int) -> Iterator[tuple[np.ndarray, int, tuple[int, int, int, int]]]:
    """Each connected region (by edges) of the pixels that are `value`: its line (P, 2), its area, (x, y, w, h)."""
    count, numbers, boxes, _ = cv2.connectedComponentsWithStats((labels == value).astype(np.uint8), connectivity=4)
    for k in range(1, count):
        x, y, w, h, area = boxes[k].tolist()
        rings = polygons.trace(numbers[y : y + h, x : x + w] == k)
        yield keyhole(rings) + np.array([x, y], np.float32), area, (x, y, w, h)


def keyhole(rings: Sequence[np.ndarray]) -> np.ndarray:
    """Outer line and holes (P, 2) -> one line with the same inside: each hole is entered and left along one path.

    Holes are taken from the left: the path leads left from a hole's leftmost corner to what the line already has, and
    to the left of it there is nothing else.
    """
    first = min(range(len(rings)), key=lambda k: rings[k][:, 0].min())
    line = rings[first]
    holes = [ring for k, ring in enumerate(rings) if k != first]
    for hole in sorted(holes, key=lambda ring: float(ring[:, 0].min())):
        start = int(np.lexsort((hole[:, 1], hole[:, 0]))[0])
        corner = hole[start]
        after, meeting = _left_of(line, corner)
        around = np.roll(hole, -start, axis=0)
        line = np.concatenate([line[: after + 1], [meeting], around, [corner, meeting], line[after + 1 :]])
    return line.astype(np.float32)


def _left_of(line: np.ndarray, corner: np.ndarray) -> tuple[int, np.ndarray]:
    """The edge of a closed line that a ray to the left from `corner` meets first, and where."""
    ends = np.roll(line, -1, axis=0)
    upright = line[:, 0] == ends[:, 0]
    low, high = np.minimum(line[:, 1], ends[:, 1]), np.maximum(line[:, 1], ends[:, 1])
    met = upright & (low <= corner[1]) & (corner[1] <= high) & (line[:, 0] <= corner[0])
    edge = int(np.where(met, line[:, 0], -np.inf).argmax())
    return edge, np.array([line[edge, 0], corner[1]], line.dtype)


def run_entries(labels: np.ndarray, k: int) -> Iterator[dict[str, Any]]:
    """One entry: all pixels of class k as compressed run lengths."""
    counts = runs_of(labels, k)
    x0, y0, x1, y1 = rle.box(counts, labels.shape[0])
    yield {
        "segmentation": {"size": list(labels.shape), "counts": rle.to_text(counts)},
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": rle.area(counts),
    }


def polygon_entries(labels: np.ndarray, k: int) -> Iterator[dict[str, Any]]:
    """One entry for each connected region of class k."""
    for line, area, box in regions_of(labels, k):
        yield {"segmentation": [line.ravel().tolist()], "bbox": list(box), "area": area}

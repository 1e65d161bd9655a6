"""Annotations through the resampling that moved their image: points, outlines, boxes, keypoints, masks.

A Move is a 3×3, source pixels -> target pixels, and an optional elastic displacement: x' + d(x') = M x. Outlines are
cut exactly at the source's edge, at the horizon of a perspective and at the target's edge; straight edges are refined
where the displacement bends them. A box becomes the smallest one around its moved outline, or around its moved
corners where there is none: larger than the object where it turns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hubel.ops import elastic
from hubel.ops.geometry import move_points
from hubel.ops.polygons import Rings, clip, cut, refine, total_area

HORIZON = 1e-3  # smallest w' of a point that is shown: what lies nearer to the horizon is cut off
PIECES = 64  # an edge as long as the target is cut into so many before it is bent: off by at most 1e-4 of the side


@dataclass(frozen=True)
class Move:
    """How one image reached its place in the target."""

    matrix: np.ndarray  # (3, 3) float64, source -> target
    size_in: tuple[int, int]  # height and width of the source
    size: tuple[int, int]  # of the target
    control: np.ndarray | None = None  # (2, POINTS, POINTS): see ops/elastic.py
    frame: tuple[float, float, float, float] | None = None  # the part of the target that shows it, x0, y0, x1, y1
    kept: tuple[float, float, float, float] | None = None  # of the source, where the rest was cut off before

    @property
    def window(self) -> tuple[float, float, float, float]:
        """The frame, or the whole target."""
        return self.frame or (0.0, 0.0, float(self.size[1]), float(self.size[0]))

    @property
    def centre(self) -> np.ndarray:
        return np.array([self.size_in[1] / 2, self.size_in[0] / 2, 1.0])

    @property
    def mirrored(self) -> bool:
        """Whether left and right change places: one flip, at any angle. Two flips are a half turn."""
        return bool(np.linalg.det(self.matrix) * (self.matrix[2] @ self.centre) < 0)  # the Jacobian is det M / w³

    @property
    def axis_aligned(self) -> bool:
        """Whether rectangles stay rectangles: no turn, no shear, no perspective, no displacement."""
        mixed = self.matrix[[0, 1, 2, 2], [1, 0, 0, 1]]
        return self.control is None and not bool(np.any(mixed))

    def points(self, points: np.ndarray) -> np.ndarray:
        """(N, 2) -> (N, 2); NaN for what lies behind the horizon."""
        normal, offset = self._horizon()
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.control is None:
                moved = move_points(points, self.matrix)
            else:
                moved = elastic.move_points(points, self.matrix, self.control, self.size)
        return np.where((points @ normal + offset >= HORIZON)[:, None], moved, np.nan)

    def _horizon(self) -> tuple[np.ndarray, float]:
        """w' = normal · x + offset, with the sign that makes the middle of the source visible."""
        row = self.matrix[2] * np.sign(self.matrix[2] @ self.centre)
        return row[:2], float(row[2])

    def rings(self, rings: Rings) -> tuple[Rings, float]:
        """Outlines in source pixels -> what the target shows of them, and the share of their area that this is."""
        rings = clip(rings, (0.0, 0.0, float(self.size_in[1]), float(self.size_in[0])))
        if self.matrix[2, :2].any():
            normal, offset = self._horizon()
            rings = [part for ring in rings for part in cut(ring, normal, offset - HORIZON)]
        whole = [move_points(ring, self.matrix) for ring in rings]
        full = total_area(whole)
        if self.kept is not None:
            whole = [move_points(ring, self.matrix) for ring in clip(rings, self.kept)]
        shown = clip(whole if self.control is None else self._bent(whole), self.window)
        return shown, min(1.0, total_area(shown) / full) if full else 0.0

    def _bent(self, rings: Rings) -> Rings:
        """Rings after the matrix -> after the displacement too; only what that can bring into the target."""
        assert self.control is not None
        height, width = self.size
        x, y = 2 * elastic.LARGEST * width, 2 * elastic.LARGEST * height
        near, still = clip(rings, (-x, -y, width + x, height + y)), np.eye(3)
        step = max(1.0, max(self.size) / PIECES)
        return [elastic.move_points(refine(ring, step), still, self.control, self.size) for ring in near]

    def boxes(self, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(N, 4) -> (N, 4) cut at the target's edge, and (N,) shares that are left, for an axis-aligned move.

        Boxes that are not finite, inverted or outside come out with a share of 0.
        """
        x0, y0, x1, y1 = self._shown()
        low, high = np.array([x0, y0, x0, y0]), np.array([x1, y1, x1, y1])
        edge = np.tile([self.size_in[1], self.size_in[0]], 2)
        scale, offset = np.tile(self.matrix[[0, 1], [0, 1]], 2), np.tile(self.matrix[:2, 2], 2)
        moved = (np.clip(boxes, 0, edge) * scale + offset) / self.matrix[2, 2]
        valid = (boxes[:, 2:] > boxes[:, :2]).all(1)
        moved = np.concatenate([np.minimum(moved[:, :2], moved[:, 2:]), np.maximum(moved[:, :2], moved[:, 2:])], axis=1)
        shown = np.clip(moved, low, high)
        full, left = ((b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]) for b in (moved, shown))
        share = np.divide(left, full, out=np.zeros(len(boxes)), where=valid & (full > 0))
        return shown, share

    def _shown(self) -> tuple[float, float, float, float]:
        """The window without what was cut off before, for an axis-aligned move."""
        x0, y0, x1, y1 = self.window
        if self.kept is None:
            return x0, y0, x1, y1
        kept = move_points(np.array(self.kept).reshape(2, 2), self.matrix)
        (left, top), (right, bottom) = kept.min(0).tolist(), kept.max(0).tolist()
        return max(x0, left), max(y0, top), max(x0, left, min(x1, right)), max(y0, top, min(y1, bottom))

    def keypoints(self, keypoints: np.ndarray, swaps: np.ndarray | None = None) -> np.ndarray:
        """(N, J, 3) x, y, visibility -> the same; what the target does not show gets 0, 0, 0.

        `swaps` (J,) is applied where the image is mirrored: the left hand of a mirrored person is a right hand.
        """
        out = np.zeros_like(keypoints)
        there = (keypoints[..., 2] > 0) & np.isfinite(keypoints).all(-1)
        left, top, right, bottom = self.kept or (0, 0, self.size_in[1], self.size_in[0])
        there &= ((keypoints[..., :2] >= (left, top)) & (keypoints[..., :2] <= (right, bottom))).all(-1)
        moved = self.points(keypoints[there][:, :2].astype(np.float64))
        x0, y0, x1, y1 = self.window
        inside = (moved >= (x0, y0)) & (moved <= (x1, y1))
        seen = inside[:, 0] & inside[:, 1]
        values = np.where(seen[:, None], np.column_stack([moved, keypoints[there][:, 2]]), 0)
        out[there] = values
        return out[:, swaps] if swaps is not None and self.mirrored else out

    def mask(self, mask: np.ndarray, outside: int = 255) -> np.ndarray:
        """(H, W) -> (h, w) of the same type: the value at each target pixel's centre; `outside` where there is none."""
        position = elastic.source_positions(self.matrix, self.control, self.size)
        x, y = np.floor(position).astype(np.int32)
        (height, width), (x0, y0, x1, y1) = mask.shape, self.window
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        if self.kept is not None:
            left, top, right, bottom = self.kept
            inside &= (position[0] >= left) & (position[0] < right) & (position[1] >= top) & (position[1] < bottom)
        if self.frame is not None:
            column, row = np.arange(self.size[1]) + 0.5, np.arange(self.size[0])[:, None] + 0.5
            inside &= (column >= x0) & (column < x1) & (row >= y0) & (row < y1)
        picked = mask[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)]
        return np.where(inside, picked, mask.dtype.type(outside))


@dataclass(frozen=True)
class Rules:
    """Which objects are still there: a sliver at the edge is more noise than object."""

    least_area: float = 1.0  # of what is shown, in target pixels²
    least_share: float = 0.1  # of the object's own area in the target

    def keeps(self, area: float, share: float) -> bool:
        return area >= self.least_area and share >= self.least_share

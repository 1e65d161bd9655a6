"""Plane geometry by 3×3 matrices, and the batched warp: out(x') = in(M⁻¹ x'), bilinear.

A matrix M takes source pixels to target pixels: (x', y', w')ᵀ = M (x, y, 1)ᵀ, then division by w'. Coordinates are
continuous, (x, y) from the top left corner, and the centre of the first pixel is (0.5, 0.5); so a mirror is
x' = W − x and a resize is x' = x · W'/W, without half-pixel corrections.

Matrices (..., 3, 3) float64 numpy; images (B, H, W, C) torch, any device.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor

from hubel.errors import UserError, close_to

# What lies outside the source: black; its reflection about the edge (the edge pixel counts twice); the edge pixel.
BORDERS = {"zero": "zeros", "mirror": "reflection", "edge": "border"}
TOLERANCE = 1e-6  # of a pixel: closer than this, a matrix is taken to move whole pixels


def check_border(border: str) -> str:
    """`border` itself, or UserError where no such border exists."""
    if border not in BORDERS:
        raise UserError(f"border is one of {', '.join(BORDERS)}; got '{border}'{close_to(border, BORDERS)}")
    return border


def _matrix(rows: list[list[ArrayLike]]) -> np.ndarray:
    places = [(i, j) for i in range(3) for j in range(3) if not isinstance(rows[i][j], (int, float))]
    if not places:  # hot: a tenth of the time
        return np.array(rows, dtype=np.float64)
    out = np.empty((*np.broadcast_shapes(*(np.shape(rows[i][j]) for i, j in places)), 3, 3))
    out[:] = [[0 if (i, j) in places else rows[i][j] for j in range(3)] for i in range(3)]
    for i, j in places:
        out[..., i, j] = rows[i][j]
    return out


def translation(x: ArrayLike, y: ArrayLike) -> np.ndarray:
    """(..., 3, 3): moves by x to the right and y down, in pixels; scalars or arrays (...)."""
    return _matrix([[1, 0, x], [0, 1, y], [0, 0, 1]])


def scaling(x: ArrayLike, y: ArrayLike) -> np.ndarray:
    """(..., 3, 3): stretches by x and y about the top left corner."""
    return _matrix([[x, 0, 0], [0, y, 0], [0, 0, 1]])


def mirror(width: ArrayLike, on: ArrayLike = True) -> np.ndarray:
    """(..., 3, 3): left becomes right in an image `width` pixels wide, where `on`; elsewhere the identity."""
    on = np.asarray(on)
    return _matrix([[np.where(on, -1, 1), 0, np.where(on, width, 0)], [0, 1, 0], [0, 0, 1]])


def resizing(size_in: tuple[int, int], size_out: tuple[int, int]) -> np.ndarray:
    """(3, 3): the whole of an image (height, width) onto the whole of another."""
    return scaling(size_out[1] / size_in[1], size_out[0] / size_in[0])


def compose(*matrices: np.ndarray) -> np.ndarray:
    """(..., 3, 3): the first matrix acts first, the last one last."""
    return functools.reduce(lambda done, then: then @ done, matrices)


def move_points(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """(..., N, 2) points (x, y) through (..., 3, 3)."""
    homogeneous = np.concatenate([points, np.ones_like(points[..., :1])], axis=-1)  # (..., N, 3)
    moved = homogeneous @ np.swapaxes(matrix, -1, -2)
    return moved[..., :2] / moved[..., 2:]


def whole_pixels(matrices: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Where every matrix (B, 3, 3) only mirrors and moves by whole pixels: signs (B, 2) ±1 and offsets (B, 2) int64.

    x' = signs[:, 0] · x + offsets[:, 0], and the same for y; None where one matrix needs interpolation.
    """
    signs = np.rint(matrices[:, (0, 1), (0, 1)])
    offsets = np.rint(matrices[:, :2, 2])
    model = np.zeros_like(matrices)
    model[:, (0, 1), (0, 1)], model[:, :2, 2], model[:, 2, 2] = signs, offsets, 1
    if (np.abs(signs) != 1).any() or (np.abs(matrices - model) > TOLERANCE).any():
        return None
    return signs.astype(np.int64), offsets.astype(np.int64)


def border_index(index: np.ndarray, length: int, border: str) -> np.ndarray:
    """Any integers -> positions 0 … length − 1 by the border's rule; −1 (outside) where the border is zero."""
    inside = (index >= 0) & (index < length)
    if border == "zero":
        return np.where(inside, index, -1)
    if border == "edge":
        return np.clip(index, 0, length - 1)
    folded = np.mod(index, 2 * length)  # reflection repeats with period 2 · length
    return np.where(folded < length, folded, 2 * length - 1 - folded)


def sampling_grid(matrices: np.ndarray, size_in: tuple[int, int], size_out: tuple[int, int]) -> Tensor:
    """(B, h, w, 2) float32: where each target pixel's centre lies in the source, in [-1, 1] from edge to edge."""
    y, x = np.meshgrid(np.arange(size_out[0]) + 0.5, np.arange(size_out[1]) + 0.5, indexing="ij")
    centres = np.stack([x.ravel(), y.ravel()], axis=-1)  # (h · w, 2)
    source = move_points(centres[None], np.linalg.inv(matrices))  # (B, h · w, 2)
    unit = source * (2 / np.array([size_in[1], size_in[0]])) - 1
    return torch.from_numpy(unit.astype(np.float32)).view(len(matrices), *size_out, 2)


def warp_batch(images: Tensor, matrices: np.ndarray, size: tuple[int, int], border: str = "zero") -> Tensor:
    """(B, H, W, C) -> (B, h, w, C) of the same dtype by one bilinear warp; matrices (B, 3, 3) source -> target.

    Does not smooth first: where a matrix shrinks, reduce by area before (`ops.resize.warp` does).
    """
    grid = sampling_grid(matrices, (images.shape[1], images.shape[2]), size).to(images.device)
    pixels = images.permute(0, 3, 1, 2).float()
    mode = BORDERS[check_border(border)]
    out = F.grid_sample(pixels, grid, "bilinear", mode, align_corners=False).permute(0, 2, 3, 1)
    return out if images.is_floating_point() else out.round_().to(images.dtype)

"""Elastic distortion: a smooth displacement added to a 3×3, in the same resampling.

Target pixel x' shows the source at M⁻¹(x' + d(x')); d is a uniform cubic B-spline over CELLS × CELLS cells of the
target (free-form deformation, Rueckert et al. 1999, doi:10.1109/42.796284). With control points within `LIMIT` cells of
zero d is a contraction (|∂d| ≤ 4 · LIMIT < 1), so the map never folds and points follow
exactly: x' = M x − d(x') by fixed-point iteration.

Control points (..., 2, CELLS + 3, CELLS + 3) float64, x and y in shares of the target's width and height;
matrices (3, 3) source -> target; images (H, W, C).
"""

from __future__ import annotations

import functools

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hubel.ops.geometry import BORDERS, check_border, compose, translation
from hubel.ops.geometry import move_points as move_by_matrix
from hubel.ops.resize import CV_BORDERS, four_channels, smoothed

CELLS = 4
POINTS = CELLS + 3  # control points along each side
LIMIT = 0.2  # largest displacement of a control point, in cells
LARGEST = LIMIT / CELLS  # the same as a share of the image's side: 0.05


def basis(u: np.ndarray) -> np.ndarray:
    """(n,) places in [0, 1] across the image -> (n, POINTS) weights of the control points; they add up to 1."""
    place = np.clip(u, 0, 1) * CELLS
    cell = np.minimum(np.floor(place), CELLS - 1)
    t = (place - cell)[:, None]
    weights = (
        np.concatenate([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], axis=1) / 6
    )
    out = np.zeros((len(u), POINTS))
    out[np.arange(len(u))[:, None], cell.astype(np.int64)[:, None] + np.arange(4)] = weights
    return out


@functools.lru_cache(maxsize=16)
def _basis_of_pixels(length: int) -> np.ndarray:
    return basis((np.arange(length) + 0.5) / length)


def displacement(control: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(..., 2, h, w) float64: x and y displacement of each target pixel's centre, in target pixels."""
    rows, columns = _basis_of_pixels(size[0]), _basis_of_pixels(size[1])
    field = rows @ control @ columns.T
    return field * np.array([size[1], size[0]])[:, None, None]


def displacement_at(points: np.ndarray, control: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(N, 2) displacement at any points (N, 2) of the target; outside of it that of the nearest edge."""
    columns, rows = basis(points[:, 0] / size[1]), basis(points[:, 1] / size[0])
    return np.einsum("ni,cij,nj->nc", rows, control, columns) * [size[1], size[0]]


def move_points(points: np.ndarray, matrix: np.ndarray, control: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(N, 2) source points -> (N, 2) where they appear in the target, to 1e-9 of a pixel."""
    goal = move_by_matrix(points, matrix)
    found = goal - displacement_at(goal, control, size)
    for _ in range(100):
        before, found = found, goal - displacement_at(found, control, size)
        if not len(found) or np.nanmax(np.abs(found - before), initial=0) < 1e-9:
            break
    return found


def source_positions(matrix: np.ndarray, control: np.ndarray | None, size: tuple[int, int]) -> np.ndarray:
    """(..., 2, h, w) float32: where each target pixel's centre lies in the source, x and y from the corner."""
    if control is not None and (matrix[..., 2, :] == [0, 0, 1]).all():
        return _affine_positions(np.linalg.inv(matrix), control, size)
    x, y = np.arange(size[1]) + 0.5, (np.arange(size[0]) + 0.5)[:, None]
    inverse = np.linalg.inv(matrix)[..., None, None]  # (..., 3, 3, 1, 1)
    if control is not None:
        field = displacement(control, size).astype(np.float32)
        x, y = x.astype(np.float32) + field[..., 0, :, :], y.astype(np.float32) + field[..., 1, :, :]
    inverse = inverse.astype(np.float32) if control is not None else inverse
    row = [inverse[..., i, 0, :, :] * x + inverse[..., i, 1, :, :] * y + inverse[..., i, 2, :, :] for i in range(3)]
    return (np.stack(row[:2], axis=-3) / row[2][..., None, :, :]).astype(np.float32)


def _affine_positions(inverse: np.ndarray, control: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The same for affine matrices: A (x' + d) + t is a spline itself, of the control points of x' + d moved."""
    place = (np.arange(POINTS) - 1) / CELLS  # a cubic B-spline with these values is the straight line
    extent = np.array([size[1], size[0]], dtype=np.float64)[:, None, None]
    still = np.stack(np.broadcast_arrays(place, place[:, None]))  # (2, POINTS, POINTS)
    points = np.einsum("...ij,...jkl->...ikl", inverse[..., :2, :2], (control + still) * extent)
    points += inverse[..., :2, 2, None, None]
    rows, columns = (_basis_of_pixels(length).astype(np.float32) for length in size)
    return rows @ points.astype(np.float32) @ columns.T


def warp(
    image: np.ndarray,
    matrix: np.ndarray,
    control: np.ndarray,
    size: tuple[int, int],
    border: str = "zero",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """(H, W, C) -> (h, w, C) of the same type: smoothed where it shrinks, then one bilinear resampling, into `out`."""
    check_border(border)
    margin = np.ceil(LARGEST * np.array([size[1], size[0]]))  # the displacement reads beyond the target's frame
    shifted = compose(matrix, translation(*margin))
    frame = (int(size[0] + 2 * margin[1]), int(size[1] + 2 * margin[0]))
    image, shifted = smoothed(image, shifted, frame, border)
    x, y = source_positions(compose(shifted, translation(*-margin)), control, size)
    x -= np.float32(0.5)  # OpenCV counts centres from 0
    y -= np.float32(0.5)
    way, beyond = cv2.INTER_LINEAR, CV_BORDERS[border]

    def resample(pixels: np.ndarray, into: np.ndarray | None) -> np.ndarray:
        return cv2.remap(pixels, x, y, way, into, borderMode=beyond, borderValue=0)

    return four_channels(image, size, resample, out)


def warp_batch(
    images: Tensor, matrices: np.ndarray, control: np.ndarray, size: tuple[int, int], border: str = "zero"
) -> Tensor:
    """(B, H, W, C) -> (B, h, w, C) of the same type, on the images' device, without area reduction."""
    source = torch.from_numpy(source_positions(matrices, control, size)).to(images.device)  # (B, 2, h, w)
    extent = source.new_tensor([images.shape[2], images.shape[1]])
    grid = source.permute(0, 2, 3, 1) * (2 / extent) - 1
    mode = BORDERS[check_border(border)]
    pixels = images.permute(0, 3, 1, 2).float()
    out = F.grid_sample(pixels, grid, "bilinear", mode, align_corners=False).permute(0, 2, 3, 1)
    return out if images.is_floating_point() else out.round_().to(images.dtype)

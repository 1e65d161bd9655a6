"""Resizing as published weights were trained with it: Pillow's bilinear and bicubic filters, widened where it shrinks.

target(x) = Σ_i source(i) · f((i − centre(x)) / s) / Σ_i f(…),  s = max(1, source pixels per target pixel)

f is the triangle 1 − |u| or Keys' cubic with a = −1/2 (IEEE Trans. ASSP 29, 1981). What the target shows is a rectangle
of the source whose corners need not be whole pixels: resizing and cropping in one. (H, W, C) -> (h, w, C).
"""

from __future__ import annotations

import numpy as np
from PIL import Image

METHODS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def filtered(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int], method: str) -> np.ndarray:
    """`image` (H, W, C) uint8 or uint16, C in {1, 3}, as the target (h, w) of `size` shows it; the same dtype.

    `matrix` (3, 3), source -> target, only scales and moves. Beyond the source's border the last pixel is repeated.
    """
    left, top = -matrix[0, 2] / matrix[0, 0], -matrix[1, 2] / matrix[1, 1]
    box = left, top, left + size[1] / matrix[0, 0], top + size[0] / matrix[1, 1]
    image, inside = _with_border(image, box)
    if image.dtype == np.uint8:
        return _resized(image[:, :, 0] if image.shape[2] == 1 else image, inside, size, method).reshape(*size, -1)
    planes = [_resized(image[:, :, c].astype(np.float32), inside, size, method) for c in range(image.shape[2])]
    return np.stack(planes, axis=2).round().clip(0, np.iinfo(image.dtype).max).astype(image.dtype)


def _resized(pixels: np.ndarray, box: tuple[float, ...], size: tuple[int, int], method: str) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((size[1], size[0]), METHODS[method], box))  # type: ignore[arg-type]


def _with_border(image: np.ndarray, box: tuple[float, ...]) -> tuple[np.ndarray, tuple[float, ...]]:
    """Enlarged by repeated pixels until `box` lies inside; a rounding error is cut off."""
    height, width = image.shape[:2]
    over = np.array([-box[0], -box[1], box[2] - width, box[3] - height])
    left, top, right, bottom = (int(n) for n in np.ceil(np.where(over > 1e-6, over, 0)))
    if left or top or right or bottom:
        image = np.pad(image, ((top, bottom), (left, right), (0, 0)), mode="edge")
    moved = np.add(box, (left, top, left, top))
    return image, tuple(np.clip(moved, 0, [image.shape[1], image.shape[0]] * 2).tolist())

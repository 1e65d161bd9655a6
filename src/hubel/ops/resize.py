"""One image through one 3×3 on the CPU: reduce by area where it shrinks, then one bilinear warp.

Bilinear interpolation reads four pixels however far the image shrinks, so fine texture turns into false patterns
(a checkerboard of one pixel keeps a deviation of 127.5 / 3 ≈ 43 grey levels); the mean over each target pixel's
area does not. Images (H, W, C) uint8, uint16 or float32; matrices (3, 3) source -> target, see `ops.geometry`.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable

import cv2
import numpy as np

from hubel.ops.geometry import (
    TOLERANCE,
    border_index,
    check_border,
    compose,
    move_points,
    resizing,
    scaling,
    translation,
    whole_pixels,
)

MILD = 1.5  # up to this factor, a warp that interpolates anyway shrinks without an area filter
FOUR_FROM = 2500  # target pixels from which four channels are warped quicker than three
_held = threading.local()
Resample = Callable[[np.ndarray, np.ndarray | None], np.ndarray]  # pixels, and where the result may be put
FORTH, BACK = translation(0.5, 0.5), translation(-0.5, -0.5)
CV_BORDERS = {"zero": cv2.BORDER_CONSTANT, "mirror": cv2.BORDER_REFLECT, "edge": cv2.BORDER_REPLICATE}


def warp(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int], border: str = "zero") -> np.ndarray:
    """(H, W, C) -> (h, w, C) of the same dtype; whole-pixel moves and plain reductions are not interpolated."""
    check_border(border)
    image, matrix = area_reduce(image, matrix, size, border)
    exact = whole_pixels(matrix[None]) if _may_be_whole(matrix) else None
    if exact is not None:
        return _gather(image, exact[0][0], exact[1][0], size, border)
    return _bilinear(image, matrix, size, border)


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W, C) -> (h, w, C), the whole onto the whole: area where it shrinks, bilinear where it grows."""
    return warp(image, resizing((image.shape[0], image.shape[1]), size), size, "edge")


def shrinkage(matrix: np.ndarray, size_in: tuple[int, int]) -> np.ndarray:
    """(2,) x and y: how many source pixels fall on one target pixel at the image's centre; below 1 it grows."""
    (a, b, _), (c, d, _), last = matrix.tolist()
    if last == [0.0, 0.0, 1.0]:  # affine: the same everywhere
        return np.array([1 / max(math.sqrt(a * a + c * c), 1e-9), 1 / max(math.sqrt(b * b + d * d), 1e-9)])
    centre = np.array([size_in[1] / 2, size_in[0] / 2, 1.0])
    x, y, w = matrix @ centre
    jacobian = (matrix[:2, :2] - np.outer([x / w, y / w], matrix[2, :2])) / w
    return 1 / np.maximum(np.linalg.norm(jacobian, axis=0), 1e-9)


def area_reduce(
    image: np.ndarray, matrix: np.ndarray, size: tuple[int, int], border: str = "zero"
) -> tuple[np.ndarray, np.ndarray]:
    """The image at the target's density, and the matrix that is left to do: reduced -> target.

    The whole image is reduced where whole-pixel moves are all that is left then (a resize, with or without crop,
    shift and mirror); else only the part that the target shows, and only if it shrinks by more than `MILD`.
    """
    factor = np.maximum(shrinkage(matrix, (image.shape[0], image.shape[1])), 1)
    if (factor - 1 < 1e-6).all():
        return image, matrix
    height, width = _reduced_size(image, factor)
    left = compose(scaling(image.shape[1] / width, image.shape[0] / height), matrix)
    if not _may_be_whole(left) or whole_pixels(left[None]) is None:
        if factor.max() <= MILD:
            return image, matrix
        image, matrix = _visible(image, matrix, size, factor, border)
        height, width = _reduced_size(image, factor)
        left = compose(scaling(image.shape[1] / width, image.shape[0] / height), matrix)
    return _channels(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)), left


def _may_be_whole(matrix: np.ndarray) -> bool:
    """Quick: False where `whole_pixels` surely finds nothing."""
    (a, b, x), (c, d, y), _ = matrix.tolist()
    near = max(abs(abs(a) - 1), abs(abs(d) - 1), abs(b), abs(c), abs(x - round(x)), abs(y - round(y)))
    return near < 2 * TOLERANCE


def _reduced_size(image: np.ndarray, factor: np.ndarray) -> tuple[int, int]:
    return max(1, round(image.shape[0] / factor[1])), max(1, round(image.shape[1] / factor[0]))


def _visible(
    image: np.ndarray, matrix: np.ndarray, size: tuple[int, int], factor: np.ndarray, border: str
) -> tuple[np.ndarray, np.ndarray]:
    """The part of the image that the target shows, with a margin for interpolation, and the matrix from there."""
    height, width = image.shape[:2]
    corners = np.array([[0, 0], [size[1], 0], [size[1], size[0]], [0, size[0]]], dtype=np.float64)
    source = move_points(corners, np.linalg.inv(matrix))
    low, high = np.floor(source.min(0) - 2 * factor), np.ceil(source.max(0) + 2 * factor)
    outside = (low < 0).any() or high[0] > width or high[1] > height
    if border == "mirror" and outside:  # the reflection may show what the target's frame does not
        return image, matrix
    x0, y0 = np.clip(low, 0, [width - 1, height - 1]).astype(int)
    x1, y1 = np.clip(high, [x0 + 1, y0 + 1], [width, height]).astype(int)
    return image[y0:y1, x0:x1], compose(translation(x0, y0), matrix)


def _gather(
    image: np.ndarray, signs: np.ndarray, offsets: np.ndarray, size: tuple[int, int], border: str
) -> np.ndarray:
    """x' = sign · x + offset, for pixel centres: column j comes from j − offset, or offset − 1 − j in a mirror."""
    height, width = image.shape[:2]
    if signs[0] == signs[1] == 1 and not offsets.any() and size == (height, width):
        return image
    j, i = np.arange(size[1]), np.arange(size[0])
    columns = border_index(j - offsets[0] if signs[0] > 0 else offsets[0] - 1 - j, width, border)
    rows = border_index(i - offsets[1] if signs[1] > 0 else offsets[1] - 1 - i, height, border)
    out = image[rows[:, None], columns[None, :]]
    out[rows < 0] = 0
    out[:, columns < 0] = 0
    return out


def _bilinear(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int], border: str) -> np.ndarray:
    centres = compose(FORTH, matrix, BACK)  # OpenCV counts centres from (0, 0)
    x, y, w = matrix[2].tolist()
    affine = max(abs(x), abs(y), abs(w - 1)) < 1e-12
    function = cv2.warpAffine if affine else cv2.warpPerspective
    matrix = centres[:2] if affine else centres

    def resample(pixels: np.ndarray, out: np.ndarray | None) -> np.ndarray:
        way, beyond = cv2.INTER_LINEAR, CV_BORDERS[border]
        return function(pixels, matrix, (size[1], size[0]), out, flags=way, borderMode=beyond, borderValue=0)

    return four_channels(image, size, resample)


def four_channels(image: np.ndarray, size: tuple[int, int], resample: Resample) -> np.ndarray:
    """resample(image) (h, w, C); the same bits in half of the time: OpenCV reads four bytes at once, three one by one.

    Not for small targets, where the call itself takes longest, nor for sources that are much larger than the target.
    """
    pixels, area = image.shape[0] * image.shape[1], size[0] * size[1]
    if image.dtype != np.uint8 or image.shape[2] != 3 or area < FOUR_FROM or pixels > 4 * area:
        return _channels(resample(image, None))
    source = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA, _scratch("source", (*image.shape[:2], 4)))
    return cv2.cvtColor(resample(source, _scratch("target", (*size, 4))), cv2.COLOR_RGBA2RGB)


def _scratch(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Memory that this thread uses again and again: fresh pages would take as long as the conversion itself."""
    count = math.prod(shape)
    held = getattr(_held, name, None)
    if held is None or not count <= len(held) <= 8 * count:
        held = np.empty(count, np.uint8)
        setattr(_held, name, held)
    return held[:count].reshape(shape)


def _channels(image: np.ndarray) -> np.ndarray:
    """OpenCV drops the axis of a single channel; put it back: (H, W) -> (H, W, 1)."""
    return image[:, :, None] if image.ndim == 2 else image

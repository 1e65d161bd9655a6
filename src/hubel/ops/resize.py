"""One image through one 3×3 on the CPU: smooth or reduce where it shrinks, then one bilinear warp.

Bilinear interpolation reads four pixels however far the image shrinks, so fine texture turns into false patterns
(a checkerboard of one pixel keeps a deviation of 127.5 / 3 ≈ 43 grey levels). What only shrinks becomes the mean over
each target pixel's area. What is turned as well is smoothed at the source's density by five values per direction,
(e, 1/4, 1/2 − 2e, 1/4, e), which sum up to 1, let no checkerboard pass, and have the variance 1/2 + 8e: 0 up to a
shrinkage of 2, where they are (−1, 4, 10, 4, −1) / 16, then growing. Beyond 3 the means of 2×2, 4×4 … pixels are taken
first. Against a float64 Lanczos resampling this leaves half of the squared error of an area reduction or less, mostly
a quarter (`tests/ops/test_resize.py`).

Images (H, W, C) uint8, uint16 or float32; matrices (3, 3) source -> target, see `ops.geometry`.
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
    resizing,
    translation,
    whole_pixels,
)

MILD = 1.5  # up to this factor, a warp that interpolates anyway shrinks without a filter
FILTERED = 3.0  # up to this one five values per direction are enough
FOUR_FROM = 2500  # target pixels from which four channels are warped quicker than three
MUCH = 4  # times the target's pixels: what is not shown of a larger source is left out
_held = threading.local()
Resample = Callable[[np.ndarray, np.ndarray | None], np.ndarray]  # pixels, and where the result may be put
FORTH, BACK = translation(0.5, 0.5), translation(-0.5, -0.5)
CV_BORDERS = {"zero": cv2.BORDER_CONSTANT, "mirror": cv2.BORDER_REFLECT, "edge": cv2.BORDER_REPLICATE}


def warp(
    image: np.ndarray,
    matrix: np.ndarray,
    size: tuple[int, int],
    border: str = "zero",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """(H, W, C) -> (h, w, C) of the same dtype; whole-pixel moves and plain reductions are not interpolated.

    Written into `out`, C-contiguous, where it is given and that saves a copy.
    """
    check_border(border)
    if max(abs(matrix[0, 1]), abs(matrix[1, 0])) < 2 * TOLERANCE:  # else it is turned
        x, y = shrinkage(matrix, (image.shape[0], image.shape[1]))
        if max(x, y) - 1 > 1e-6:
            reduced, left = _reduction(image, matrix, max(x, 1), max(y, 1))
            if _whole(left) is not None:
                image, matrix = _area(image, reduced), left
        exact = _whole(matrix)
        if exact is not None:
            return _gather(image, exact[0][0], exact[1][0], size, border)
    return _bilinear(*smoothed(image, matrix, size, border), size, border, out)


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W, C) -> (h, w, C), the whole onto the whole: area where it shrinks, bilinear where it grows."""
    return warp(image, resizing((image.shape[0], image.shape[1]), size), size, "edge")


def shrinkage(matrix: np.ndarray, size_in: tuple[int, int]) -> tuple[float, float]:
    """x and y: how many source pixels fall on one target pixel at the image's centre; below 1 it grows."""
    (a, b, p), (c, d, q), (r, s, t) = matrix.tolist()
    if (r, s, t) != (0.0, 0.0, 1.0):  # else affine: the same everywhere
        x, y = size_in[1] / 2, size_in[0] / 2
        w = r * x + s * y + t
        u, v = (a * x + b * y + p) / w, (c * x + d * y + q) / w
        a, b, c, d = (a - u * r) / w, (b - u * s) / w, (c - v * r) / w, (d - v * s) / w
    return 1 / max(math.hypot(a, c), 1e-9), 1 / max(math.hypot(b, d), 1e-9)


def smoothed(
    image: np.ndarray, matrix: np.ndarray, size: tuple[int, int], border: str = "zero"
) -> tuple[np.ndarray, np.ndarray]:
    """The image as it may be interpolated, and the matrix that is left to do: from its pixels to the target's.

    Where it shrinks by more than `MILD`: the part that the target shows, smoothed; by more than `FILTERED`: reduced
    before that.
    """
    x, y = shrinkage(matrix, (image.shape[0], image.shape[1]))
    if max(x, y) <= MILD:
        return image, matrix
    across, down = _halvings(x), _halvings(y)
    image, matrix = _visible(image, matrix, size, border, across, down)
    if max(across, down) > 1:
        smaller, matrix = _reduction(image, matrix, across, down)
        image, x, y = _area(image, smaller), x / across, y / down
    return with_channels(cv2.sepFilter2D(image, -1, _taps(x), _taps(y), borderType=CV_BORDERS[border])), matrix


def _halvings(factor: float) -> int:
    """1, 2, 4 … pixels as one, until at most `FILTERED` of those fall on one of the target's: quick, and exact."""
    return 1 << max(0, math.ceil(math.log2(factor / FILTERED)))


def _taps(factor: float) -> np.ndarray:
    """The five values (see above) for a shrinkage up to FILTERED; a single 1 where it is mild."""
    if factor <= MILD:
        return np.ones(1)
    e = (1.6 * max(0.0, factor - 2) - 1) / 16  # from −1/16: the best of several against Lanczos
    return np.array([e, 0.25, 0.5 - 2 * e, 0.25, e])


def _area(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return with_channels(cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA))


def _whole(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """`whole_pixels` of one matrix; first what is quick to see."""
    (a, b, x), (c, d, y), _ = matrix.tolist()
    near = max(abs(abs(a) - 1), abs(abs(d) - 1), abs(b), abs(c), abs(x - round(x)), abs(y - round(y)))
    return whole_pixels(matrix[None]) if near < 2 * TOLERANCE else None


def _reduction(image: np.ndarray, matrix: np.ndarray, x: float, y: float) -> tuple[tuple[int, int], np.ndarray]:
    """The size (height, width) after shrinking by x and y, and the matrix from there."""
    height, width = max(1, round(image.shape[0] / y)), max(1, round(image.shape[1] / x))
    return (height, width), matrix * [image.shape[1] / width, image.shape[0] / height, 1.0]


def _visible(
    image: np.ndarray, matrix: np.ndarray, size: tuple[int, int], border: str, across: int = 1, down: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """The part of the image that the target shows, and what filter and interpolation reach; the matrix from there.

    If it can be had, its width is a multiple of `across` and its height of `down`: these are taken as one later.
    """
    x, y, w = (np.linalg.inv(matrix) @ [[0, size[1], 0, size[1]], [0, 0, size[0], size[0]], [1, 1, 1, 1]]).tolist()
    if min(w) <= 0:  # the horizon is shown
        return image, matrix
    x0, x1 = _inside([a / b for a, b in zip(x, w, strict=True)], across, image.shape[1], border)
    y0, y1 = _inside([a / b for a, b in zip(y, w, strict=True)], down, image.shape[0], border)
    if (x0, y0, x1, y1) == (0, 0, image.shape[1], image.shape[0]):
        return image, matrix
    moved = matrix.copy()  # the part's pixels are x0 and y0 farther
    moved[:, 2] += x0 * matrix[:, 0] + y0 * matrix[:, 1]
    return image[y0:y1, x0:x1], moved


def _inside(corners: list[float], step: int, length: int, border: str) -> tuple[int, int]:
    """The pixels that are read between the corners, or where they are reflected: whole steps, but for the last one."""
    low, high = min(corners) - 3 * step, max(corners) + 3 * step
    if border == "mirror":
        if low < -length or high > 2 * length:
            return 0, length
        low, high = min(low, 2 * length - high), max(high, -low)
    start = min(max(math.floor(low), 0), length - 1) // step * step
    return start, min(start + step * max(1, math.ceil((high - start) / step)), length)


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


def _bilinear(
    image: np.ndarray, matrix: np.ndarray, size: tuple[int, int], border: str, out: np.ndarray | None = None
) -> np.ndarray:
    if image.shape[0] * image.shape[1] > MUCH * size[0] * size[1]:
        image, matrix = _visible(image, matrix, size, border)
    (a, b, x), (c, d, y), last = matrix.tolist()
    affine = max(abs(last[0]), abs(last[1]), abs(last[2] - 1)) < 1e-12
    if affine:  # OpenCV counts centres from (0, 0)
        centres = np.array([[a, b, x + 0.5 * (a + b - 1)], [c, d, y + 0.5 * (c + d - 1)]])
    else:
        centres = compose(FORTH, matrix, BACK)
    function = cv2.warpAffine if affine else cv2.warpPerspective
    way, beyond = cv2.INTER_LINEAR, CV_BORDERS[border]

    def resample(pixels: np.ndarray, into: np.ndarray | None) -> np.ndarray:
        return function(pixels, centres, (size[1], size[0]), into, flags=way, borderMode=beyond, borderValue=0)

    return four_channels(image, size, resample, out)


def four_channels(
    image: np.ndarray, size: tuple[int, int], resample: Resample, out: np.ndarray | None = None
) -> np.ndarray:
    """resample(image) (h, w, C), into `out`; the same bits in a fifth of the time: OpenCV reads four bytes at once.

    Not for small targets, where the call itself takes longest.
    """
    if image.dtype != np.uint8 or image.shape[2] != 3 or size[0] * size[1] < FOUR_FROM:
        return with_channels(resample(image, out))
    source = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA, scratch("source", (*image.shape[:2], 4)))
    return cv2.cvtColor(resample(source, scratch("target", (*size, 4))), cv2.COLOR_RGBA2RGB, out)


def scratch(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Memory that this thread uses again and again: fresh pages would take as long as the conversion itself."""
    count = math.prod(shape)
    held = getattr(_held, name, None)
    if held is None or not count <= len(held) <= 8 * count:
        held = np.empty(count, np.uint8)
        setattr(_held, name, held)
    return held[:count].reshape(shape)


def with_channels(image: np.ndarray) -> np.ndarray:
    """OpenCV drops the axis of a single channel, unless it writes into ours; put it back: (H, W) -> (H, W, 1)."""
    return image[:, :, None] if image.ndim == 2 else image

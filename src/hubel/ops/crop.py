"""A rectangle of whole pixels onto a target, fast: what random crops need, out(x') = in(x0 + x' · (x1 − x0) / w).

Up to a shrinkage of `LINEAR_UP_TO` it is interpolated bilinearly; up to 2 each target pixel is the mean of two such
samples in that direction, which are spread over its area; beyond that it is the mean over its area. Against a float64
Lanczos resampling the error of the first two is no larger than that of an antialiased bilinear one
(`tests/ops/test_crop.py`).
Images (H, W, C) uint8 or uint16; matrices (3, 3) source -> target, see `ops.geometry`.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from hubel.ops.geometry import TOLERANCE

SMALLEST = 64  # pixels: a narrower crop is worth its exact place
LINEAR_UP_TO = 1.4375
SAMPLES_UP_TO = 2.0


class Crop(NamedTuple):
    """Pixels x0 … x1 − 1 and y0 … y1 − 1, turned as flagged."""

    x0: int
    y0: int
    x1: int
    y1: int
    mirrored: bool = False  # left and right
    upturned: bool = False  # up and down

    def matrix(self, size: tuple[int, int], scale: tuple[float, float] = (1.0, 1.0)) -> np.ndarray:
        """(3, 3): pixels of which one of the crop's is `scale` (x, y) -> a target of `size` (height, width)."""
        a, x = _axis(self.x0, self.x1, size[1], self.mirrored)
        b, y = _axis(self.y0, self.y1, size[0], self.upturned)
        return np.array([[a * scale[0], 0.0, x], [0.0, b * scale[1], y], [0.0, 0.0, 1.0]])


def _axis(low: int, high: int, length: int, turned: bool) -> tuple[float, float]:
    factor = length / (high - low)
    return (-factor, high * factor) if turned else (factor, -low * factor)


def snap(
    matrix: np.ndarray, size_in: tuple[int, int], size_out: tuple[int, int], scale: tuple[float, float] = (1.0, 1.0)
) -> Crop | None:
    """The crop of whole pixels nearest to what the matrix shows: each edge moves by half a pixel at most.

    The matrix is of a source of whose pixels one is `scale` (x, y) of the image's; `size_in` is the image's height and
    width. A smaller image may lack its last pixel, which was half outside: there the edge moves by up to one. None
    where the matrix turns or tilts, shows what lies outside of the image, or less than `SMALLEST` pixels across.
    """
    (a, p, x), (q, b, y), (r, s, t) = matrix.tolist()
    if p or q or r or s or t != 1 or not a or not b:
        return None
    across = _edges(a / scale[0], x, size_in[1], size_out[1], scale[0] < 1)
    down = _edges(b / scale[1], y, size_in[0], size_out[0], scale[1] < 1)
    if across is None or down is None:
        return None
    return Crop(across[0], down[0], across[1], down[1], a < 0, b < 0)


def edges(factor: float, offset: float, length: int) -> tuple[float, float]:
    """Where a target of so many pixels begins and ends in the source, for x' = factor · x + offset."""
    first, last = -offset / factor, (length - offset) / factor
    return (first, last) if factor > 0 else (last, first)


def _edges(factor: float, offset: float, length_in: int, length_out: int, lacking: bool) -> tuple[int, int] | None:
    low, high = edges(factor, offset, length_out)
    most = length_in + lacking + TOLERANCE * length_in
    if low < -TOLERANCE * length_in or high > most or high - low < SMALLEST:
        return None
    return max(round(low), 0), min(round(high), length_in)


def resample(image: np.ndarray, crop: Crop, size: tuple[int, int], out: np.ndarray | None = None) -> np.ndarray:
    """(H, W, C) -> (h, w, C) of the same dtype, written into `out` where it is given (C-contiguous)."""
    part = image[crop.y0 : crop.y1, crop.x0 : crop.x1]
    out = np.empty((*size, image.shape[2]), image.dtype) if out is None else out
    flat = out if out.shape[2] > 1 else out[:, :, 0]  # OpenCV drops the axis of a single channel
    _onto(part, flat)
    if crop.mirrored or crop.upturned:  # in place, while it is still in the cache
        cv2.flip(flat, (-1 if crop.upturned else 1) if crop.mirrored else 0, dst=flat)
    return out


def _onto(part: np.ndarray, out: np.ndarray) -> None:
    """The whole of one onto the whole of the other."""
    (height, width), (h, w) = part.shape[:2], out.shape[:2]
    factors = height / h, width / w
    if factors == (1.0, 1.0):
        out[:] = part if out.ndim == 3 else part[:, :, 0]
    elif max(factors) <= LINEAR_UP_TO:
        _resize(part, (w, h), cv2.INTER_LINEAR, out)
    elif max(factors) <= SAMPLES_UP_TO:
        more = [2 if factor > LINEAR_UP_TO else 1 for factor in factors]
        samples = _resize(part, (more[1] * w, more[0] * h), cv2.INTER_LINEAR)
        if more == [2, 1]:  # rows alone: three times as fast as a resize
            cv2.addWeighted(samples[::2], 0.5, samples[1::2], 0.5, 0, dst=out)
        else:  # half way between two: their mean
            _resize(samples, (w, h), cv2.INTER_LINEAR, out)
    else:  # areas only where both sides shrink: else OpenCV interpolates
        reduced = min(w, width), min(h, height)
        means = _resize(part, reduced, cv2.INTER_AREA) if reduced != (width, height) else part
        _resize(means, (w, h), cv2.INTER_LINEAR, out)


def _resize(image: np.ndarray, size: tuple[int, int], way: int, out: np.ndarray | None = None) -> np.ndarray:
    """OpenCV's, and by Intel's IPP where it is built in: half of the time, a grey level apart at most, as sharp.

    The switch belongs to this thread and is set back, so that nobody else's results change.
    """
    before = cv2.ipp.useIPP_NotExact()
    cv2.ipp.setUseIPP_NotExact(True)
    try:
        return cv2.resize(image, size, dst=out, interpolation=way)
    finally:
        cv2.ipp.setUseIPP_NotExact(before)

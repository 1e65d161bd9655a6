"""Colour changes as one affine map per pixel: v' = A v + b, with v = (R, G, B) in [0, 1]; a 3×4 matrix is (A | b).

Each function below makes the matrix of one change; `compose` multiplies them, so that a pixel is touched, rounded and
clipped once however many changes there are. Contrast pivots on a fixed grey, not on the image's mean, and hue is a
rotation of the (I, Q) plane at constant luma Y (YIQ, FCC 1953; luma of ITU-R BT.601): both are exactly linear.
Colours live in the values as they are stored (gamma-encoded), as in all common augmentations.

Matrices (..., 3, 4) float64; images (H, W, C) or (B, H, W, C), C in {1, 3}.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from hubel.ops.resize import with_channels

LUMA = np.array([0.299, 0.587, 0.114])
# I and Q as weighted differences from luma, 0.74 (R − Y) − 0.27 (B − Y) and 0.48 (R − Y) + 0.41 (B − Y): grey has none
YIQ = np.stack(
    [
        LUMA,
        0.74 * (np.array([1, 0, 0]) - LUMA) - 0.27 * (np.array([0, 0, 1]) - LUMA),
        0.48 * (np.array([1, 0, 0]) - LUMA) + 0.41 * (np.array([0, 0, 1]) - LUMA),
    ]
)
FROM_YIQ = np.linalg.inv(YIQ)
TO_LUMA = np.tile(LUMA, (3, 1))
GREY = 0.5  # the fixed point of contrast
# Principal axes of the colours of photographs: columns scaled by the root of their variance (the values for ImageNet
# that Krizhevsky et al. 2012, section 4.1, draw lighting with)
AXES = [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]]
PHOTOGRAPHS = np.array(AXES) * [0.2175, 0.0188, 0.0045]


def _affine(linear: np.ndarray, offset: ArrayLike = 0.0) -> np.ndarray:
    """(..., 3, 3) and (...,) or (..., 3) -> (..., 3, 4)."""
    out = np.empty((*linear.shape[:-1], 4))
    out[..., :3], out[..., 3] = linear, offset
    return out


def identity() -> np.ndarray:
    """(3, 4): changes nothing."""
    return np.eye(3, 4)


def brightness(gain: ArrayLike) -> np.ndarray:
    """v' = gain · v: 0 is black, 1 the image itself."""
    return _affine(_scaled(gain))


def contrast(gain: ArrayLike) -> np.ndarray:
    """v' = GREY + gain · (v − GREY): 0 is grey, 1 the image itself."""
    gain = np.asarray(gain, dtype=np.float64)
    return _affine(_scaled(gain), (GREY * (1 - gain))[..., None])


def saturation(gain: ArrayLike) -> np.ndarray:
    """v' = Y + gain · (v − Y) with luma Y: 0 is a grey image, 1 the image itself."""
    gain = np.asarray(gain, dtype=np.float64)[..., None, None]
    return _affine(gain * np.eye(3) + (1 - gain) * TO_LUMA)


def hue(turns: ArrayLike) -> np.ndarray:
    """Rotates the (I, Q) plane by so many full turns; luma stays."""
    angle = 2 * np.pi * np.asarray(turns, dtype=np.float64)
    rotation = np.zeros((*angle.shape, 3, 3))
    rotation[..., 0, 0] = 1
    rotation[..., 1, 1] = rotation[..., 2, 2] = np.cos(angle)
    rotation[..., 1, 2], rotation[..., 2, 1] = -np.sin(angle), np.sin(angle)
    return _affine(FROM_YIQ @ rotation @ YIQ)


def cast(gains: ArrayLike) -> np.ndarray:
    """(..., 3) one gain per channel: another white balance."""
    return _affine(np.asarray(gains, dtype=np.float64)[..., None] * np.eye(3))


def lighting(amounts: ArrayLike, axes: np.ndarray = PHOTOGRAPHS) -> np.ndarray:
    """v' = v + axes · amounts: (..., 3) steps along the principal axes of the colours, in standard deviations."""
    offset = np.asarray(amounts, dtype=np.float64) @ axes.T
    return _affine(np.broadcast_to(np.eye(3), (*offset.shape, 3)), offset)


def inverse() -> np.ndarray:
    """v' = 1 − v."""
    return _affine(-np.eye(3), 1.0)


def _scaled(gain: ArrayLike) -> np.ndarray:
    return np.asarray(gain, dtype=np.float64)[..., None, None] * np.eye(3)


def compose(*matrices: np.ndarray) -> np.ndarray:
    """(..., 3, 4): the first matrix acts first, the last one last; (3, 4) for none."""
    return functools.reduce(_then, matrices) if matrices else identity()


def _then(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    out = second[..., :3] @ first
    out[..., 3] += second[..., 3]
    return out


def grey_only(matrix: np.ndarray) -> np.ndarray:
    """(..., 3, 4) -> (..., 2): what it does to the luma of a grey image, v' = gain · v + offset."""
    pair = np.stack([matrix[..., :3].sum(-1), matrix[..., 3]], axis=-1)  # (..., 3, 2)
    return np.einsum("c,...cj->...j", LUMA, pair)


def apply(image: np.ndarray, matrix: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """(H, W, C) uint8 or uint16 through (3, 4) -> the same type, clipped once; within 0.9 of a level of float64.

    OpenCV computes 8-bit colours with 10 bits behind the point. Written into `out`, which may be the image itself.
    """
    top = 255.0 if image.dtype == np.uint8 else 65535.0
    if image.shape[2] == 1:
        gain, offset = grey_only(matrix)
        return _line(image, float(gain), float(offset) * top, out)
    scaled = matrix.copy()
    scaled[:, 3] *= top
    return cv2.transform(image, scaled, out)


def _line(image: np.ndarray, gain: float, offset: float, out: np.ndarray | None) -> np.ndarray:
    """gain · v + offset of one channel: by a table where there are 256 values."""
    if image.dtype != np.uint8:
        return with_channels(cv2.transform(image, np.array([[gain, offset]]), out))
    table = np.clip(np.rint(gain * np.arange(256) + offset), 0, 255).astype(np.uint8)
    return with_channels(cv2.LUT(image, table, out))


def apply_batch(images: Tensor, matrices: np.ndarray, top: int = 255) -> Tensor:
    """(B, H, W, C) integers in 0 … `top` through (B, 3, 4) -> the same type, on the images' device."""
    count, channels = len(images), images.shape[-1]
    if channels == 1:
        pairs = grey_only(matrices)
        linear, offset = pairs[:, None, :1], pairs[:, None, 1:]  # (B, 1, 1)
    else:
        linear, offset = matrices[..., :3].swapaxes(-1, -2), matrices[:, None, :, 3]
    moved = [np.ascontiguousarray(m, dtype=np.float32) for m in (linear, offset * top)]
    a, b = (torch.from_numpy(m).to(images.device) for m in moved)
    flat = images.reshape(count, -1, channels).float()
    out = torch.baddbmm(b, flat, a) if channels == 3 else flat * a + b
    return out.round_().clamp_(0, top).to(images.dtype).view(images.shape)


# Pointwise tables ----------------------------------------------------------------------------------------------


def solarise(image: np.ndarray, threshold: float) -> np.ndarray:
    """Values from `threshold` (in [0, 1]) on are inverted; 1 or more leaves the image as it is up to full white."""
    top = np.iinfo(image.dtype).max
    return np.where(image >= threshold * top, top - image, image)


def posterise(image: np.ndarray, bits: int) -> np.ndarray:
    """Only the `bits` highest bits of each value stay."""
    whole = np.iinfo(image.dtype).bits
    return image & image.dtype.type((1 << whole) - (1 << (whole - bits)))


def tables(threshold: ArrayLike, bits: ArrayLike) -> np.ndarray:
    """(B, 256) uint8: for each pair (B,) solarise, where threshold ≤ 1, then posterise; for 8-bit images."""
    values = np.arange(256, dtype=np.uint8)[None]  # (1, 256)
    limit = np.asarray(threshold, dtype=np.float64)[:, None]
    out = np.where(values >= limit * 255, 255 - values, values)
    out = np.where(limit > 1, values, out).astype(np.uint8)
    keep = (256 - (1 << (8 - np.asarray(bits, dtype=np.int64))))[:, None].astype(np.uint8)
    return out & keep

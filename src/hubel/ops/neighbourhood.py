"""What a pixel takes from its neighbours or from chance: sharpening, Gaussian blur, Gaussian noise, JPEG artefacts.

In this order, as in a camera: optics blur, the sensor adds noise, the file loses detail. Images (H, W, C) uint8 or
uint16; batches (B, H, W, C) torch.
"""

from __future__ import annotations

import functools
import math

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hubel.ops.resize import CV_BORDERS, with_channels

TABLE = 1 << 20  # values of the noise table
REACH = 3  # standard deviations that a blur looks to each side
SMOOTHER = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13


def blur(image: np.ndarray, sigma: float, out: np.ndarray | None = None) -> np.ndarray:
    """Gaussian of standard deviation `sigma` pixels, the image reflected about its edge; 0 leaves it as it is.

    By its kernel: OpenCV's own GaussianBlur rounds twice and takes twice as long.
    """
    if sigma <= 0:
        return image
    kernel = _kernels(np.array([sigma]), _width(sigma) // 2)[0]
    return with_channels(cv2.sepFilter2D(image, -1, kernel, kernel, out, borderType=CV_BORDERS["mirror"]))


def blur_batch(images: Tensor, sigmas: np.ndarray, top: int = 255) -> Tensor:
    """(B, H, W, C) by sigmas (B,), each image with its own."""
    if not (sigmas > 0).any():
        return images
    side = _width(float(sigmas.max())) // 2
    kernels = torch.from_numpy(_kernels(sigmas, side)).to(images.device)  # (B, 2 · side + 1)
    pixels = images.permute(3, 0, 1, 2).float()  # (C, B, H, W): images as channels, each convolved with its kernel
    for axis, weight in ((3, kernels[:, None, None, :]), (2, kernels[:, None, :, None])):
        pixels = F.conv2d(_reflected(pixels, side, axis), weight, groups=len(images))
    return pixels.permute(1, 2, 3, 0).round_().clamp_(0, top).to(images.dtype).contiguous()


def _reflected(pixels: Tensor, side: int, axis: int) -> Tensor:
    """`side` more pixels before and behind, the edge pixel counting twice."""
    length = pixels.shape[axis]
    index = torch.arange(-side, length + side).remainder(2 * length)
    index = torch.where(index < length, index, 2 * length - 1 - index)
    return pixels.index_select(axis, index.to(pixels.device))


def _kernels(sigmas: np.ndarray, side: int) -> np.ndarray:
    """(B, 2 · side + 1) float32 that add up to 1; a single 1 where sigma is 0."""
    x = np.arange(-side, side + 1)
    sigmas = sigmas[:, None]
    weights = np.exp(-0.5 * (x / np.maximum(sigmas, 1e-6)) ** 2)
    weights *= np.abs(x) <= np.ceil(REACH * sigmas)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def _width(sigma: float) -> int:
    return 2 * math.ceil(REACH * sigma) + 1


def sharpen(image: np.ndarray, amount: float, out: np.ndarray | None = None) -> np.ndarray:
    """v + amount · (v − smoothed): above 0 sharper, −1 smoothed by the 3×3 filter (1 1 1, 1 5 1, 1 1 1) / 13."""
    if amount == 0:
        return image
    kernel = -amount * SMOOTHER
    kernel[1, 1] += 1 + amount
    return with_channels(cv2.filter2D(image, -1, kernel, out, borderType=CV_BORDERS["mirror"]))


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """(H, W, C) uint8 as a JPEG file of `quality` 1 … 100 gives it back; 0 leaves it as it is."""
    if quality <= 0 or image.dtype != np.uint8:
        return image
    colour = image.shape[2] == 3
    pixels = image[:, :, ::-1] if colour else image  # OpenCV keeps blue first
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    out = cv2.imdecode(data, cv2.IMREAD_COLOR if colour else cv2.IMREAD_GRAYSCALE)
    assert out is not None  # we have just written it
    return np.ascontiguousarray(out[:, :, ::-1]) if colour else out.reshape(image.shape)


# Noise -----------------------------------------------------------------------------------------------------------


@functools.cache
def _table() -> np.ndarray:
    """2 · TABLE standard normal values, the second half as the first: drawing them anew takes ten times as long."""
    values = np.random.Generator(np.random.Philox(key=0)).standard_normal(TABLE, dtype=np.float32)
    return np.concatenate([values, values])


def normals(shape: tuple[int, ...], place: float) -> np.ndarray:
    """Standard normal float32 values of `shape`, from the table from `place` in [0, 1) on; the table repeats."""
    count, start = math.prod(shape), int(place * TABLE)
    if count <= TABLE:
        return _table()[start : start + count].reshape(shape)
    return np.resize(np.roll(_table()[:TABLE], -start), shape)


def noise(image: np.ndarray, sigma: float, place: float, out: np.ndarray | None = None) -> np.ndarray:
    """Adds normal noise of standard deviation `sigma` (a share of the full scale) to every value on its own."""
    if sigma <= 0:
        return image
    top = 255.0 if image.dtype == np.uint8 else 65535.0
    depth = cv2.CV_8U if image.dtype == np.uint8 else cv2.CV_16U
    return with_channels(cv2.addWeighted(image, 1, normals(image.shape, place), sigma * top, 0, out, depth))


def noise_batch(images: Tensor, sigmas: np.ndarray, places: np.ndarray, top: int = 255) -> Tensor:
    """(B, H, W, C) with sigmas (B,) and places (B,): the same values as `noise` gives each image."""
    if not (sigmas > 0).any():
        return images
    table = _table_on(images.device)
    count = math.prod(images.shape[1:])
    starts = torch.from_numpy((places * TABLE).astype(np.int64)).to(images.device)
    index = (starts[:, None] + torch.arange(count, device=images.device)) % TABLE
    scale = torch.from_numpy((sigmas * top).astype(np.float32)).to(images.device)
    values = images.reshape(len(images), -1).float().addcmul_(table[index], scale[:, None])
    return values.round_().clamp_(0, top).to(images.dtype).view(images.shape)


@functools.lru_cache(maxsize=4)
def _table_on(device: torch.device) -> Tensor:
    return torch.from_numpy(_table()[:TABLE]).to(device)

"""Each image measured once, decoded: light, contrast, detail, and prints by which equal and similar ones are found.

images -> Looks, arrays (N, …). Grey values are in [0, 1]; luma = 0.299 R + 0.587 G + 0.114 B. The perceptual print is
the sign of the 64 lowest frequencies (without the mean) of the cosine transform of a 32×32 miniature about their
median (Zauner 2010, "Implementation and benchmarking of perceptual image hash functions"): resizing, recompression
and small changes of light turn few of its bits.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np

from hubel.data.decode import BadImage
from hubel.data.images import Images

SIDE = 16  # pixels of the miniature that confirms that two images are alike
BLOCK = 2**20  # pixels that are counted together
SHARP = 512  # pixels of the longer side at which sharpness counts: no network of ours sees more at once
LOOK = np.dtype(
    [
        ("read", np.bool_),  # False: the file can't be decoded, and the rest is zero
        ("height", np.int32),
        ("width", np.int32),
        ("same", np.uint64),  # hash of size and pixels: equal where the images are
        ("print", np.uint64),  # perceptual: few bits differ where images look alike
        ("mean", np.float32),  # of the luma
        ("low", np.float32),  # 5 % of the luma is below
        ("high", np.float32),  # 95 % of the luma is below
        ("contrast", np.float32),  # standard deviation of the luma
        ("filled", np.float32),  # share of pixels that differ from the commonest luma by over 3 %
        ("detail", np.float32),  # near 0 where the image was blurred or enlarged, see `detail`
        ("colour", np.float32),  # mean difference between the largest and the smallest channel
        ("small", np.uint8, (SIDE, SIDE)),
    ]
)


@dataclass(frozen=True)
class Looks:
    """What was measured of N images; `rows` (N,) of LOOK."""

    rows: np.ndarray

    @classmethod
    def of(cls, images: Images, workers: int | None = None, tick: Callable[[], None] = lambda: None) -> Self:
        """Read and measure every image, by threads; `tick` is called after each."""
        rows = np.zeros(len(images), LOOK)

        def one(i: int) -> None:
            with contextlib.suppress(BadImage, OSError):  # `data/check.py` says why
                rows[i] = measure(images.read(i))
            tick()

        with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
            for _ in pool.map(one, range(len(images))):
                pass
        return cls(rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def sizes(self) -> np.ndarray:
        """(N, 2) int64 height and width; zeros where an image can't be read."""
        return np.column_stack([self.rows["height"], self.rows["width"]]).astype(np.int64)


def measure(image: np.ndarray) -> tuple:
    """(H, W, C) uint8 or uint16 -> the fields of LOOK."""
    grey = to_grey(image)
    levels = Levels.of(grey)
    luma = to_luma(grey)
    small = cv2.resize(luma, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return (
        True, *luma.shape, pixel_hash(image), perceptual_print(luma), *levels.summary(), levels.filled(), detail(luma),
        colour(image), np.rint(small * 255).astype(np.uint8),
    )  # fmt: skip


def to_grey(image: np.ndarray) -> np.ndarray:
    """(H, W, C) uint8 or uint16 -> (H, W) of the same kind."""
    return image[..., 0] if image.shape[2] == 1 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def to_luma(image: np.ndarray) -> np.ndarray:
    """(H, W, C), or (H, W) grey, uint8 or uint16 -> (H, W) float32 in [0, 1]."""
    grey = image if image.ndim == 2 else to_grey(image)
    return grey.astype(np.float32) / np.iinfo(image.dtype).max


def colour(image: np.ndarray) -> float:
    """Mean difference between the largest and the smallest channel, in [0, 1]."""
    if image.shape[2] == 1:
        return 0.0
    red, green, blue = cv2.split(image)  # (H, W) each
    high, low = cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue)
    return (cv2.mean(high)[0] - cv2.mean(low)[0]) / np.iinfo(image.dtype).max


@dataclass(frozen=True)
class Levels:
    """How often each level of grey occurs: all that light, contrast and content need, exactly."""

    counts: np.ndarray  # (256,) or (65536,)
    values: np.ndarray  # the levels in [0, 1]

    @classmethod
    def of(cls, grey: np.ndarray) -> Self:
        """(H, W) uint8 or uint16."""
        values, flat = _levels(np.iinfo(grey.dtype).max), grey.ravel()
        blocks = range(0, len(flat), BLOCK)  # numpy makes eight bytes of each pixel to count it
        return cls(np.sum([np.bincount(flat[a : a + BLOCK], minlength=len(values)) for a in blocks], axis=0), values)

    def summary(self) -> tuple[float, float, float, float]:
        """Mean, 5 % and 95 % quantiles, standard deviation."""
        count = self.counts.sum()
        mean = float(self.counts @ self.values / count)
        upto = self.counts.cumsum()
        low, high = self._quantile(0.05, upto), self._quantile(0.95, upto)
        return mean, low, high, float(np.sqrt(self.counts @ (self.values - mean) ** 2 / count))

    def _quantile(self, share: float, upto: np.ndarray) -> float:
        """Between the two pixels on both sides of it, as numpy's percentile. `upto`: pixels up to each level."""
        at = share * (upto[-1] - 1)
        low, high = (self.values[upto.searchsorted(k, side="right")] for k in (int(at), math.ceil(at)))
        return float(low + (high - low) * (at - int(at)))

    def filled(self) -> float:
        """Share of pixels that are not the background, the commonest of 64 bands of grey.

        They differ by more than 3 % of white, or by more than a seventh of the image's own range where that is less.
        """
        bands = self.counts.reshape(64, -1)
        common, width = int(bands.sum(1).argmax()), bands.shape[1]
        background = self._quantile(0.5, np.append(np.zeros(common * width), bands[common].cumsum()))
        seen = self.values[self.counts > 0]
        apart = np.abs(self.values - background) > min(0.03, float(seen[-1] - seen[0]) / 7)
        return float(self.counts[apart].sum() / self.counts.sum())


@functools.cache
def _levels(top: int) -> np.ndarray:
    return np.arange(top + 1) / top


def pixel_hash(image: np.ndarray) -> int:
    """64 bits of the pixels, their shape and depth."""
    seen = hashlib.blake2b(f"{image.shape} {image.dtype}".encode(), digest_size=8)
    seen.update(np.ascontiguousarray(image).data)
    return int.from_bytes(seen.digest(), "little")


def perceptual_print(luma: np.ndarray) -> int:
    """64 bits; bit 8 v + u belongs to frequency (v, u), and (0, 0), the mean, is left 0."""
    small = cv2.resize(luma, (32, 32), interpolation=cv2.INTER_AREA)
    lowest = cv2.dct(small)[:8, :8].ravel()
    bits = lowest > np.sort(lowest[1:])[31]  # the median of 63
    bits[0] = False
    return int(np.packbits(bits, bitorder="little").view(np.uint64)[0])


def detail(luma: np.ndarray) -> float:
    """(E(full) / E(half) − ¼) / ¾, E the mean squared difference of neighbours, in an image of at most SHARP pixels.

    Halving doubles the differences of a smooth image, so its ratio is ¼: near 0 means blurred or enlarged, and sharp
    photographs have 0.2 to 1. 1 where nothing can be said: no contrast, or fewer than 32 pixels on a side.
    """
    luma = _at_most(luma, SHARP)
    if min(luma.shape) < 32:
        return 1.0
    half = cv2.resize(luma, (luma.shape[1] // 2, luma.shape[0] // 2), interpolation=cv2.INTER_AREA)
    energy = _differences(half)
    return float((_differences(luma) / energy - 0.25) / 0.75) if energy > 1e-7 else 1.0


def _at_most(luma: np.ndarray, side: int) -> np.ndarray:
    factor = side / max(luma.shape)
    if factor >= 1:
        return luma
    size = max(1, round(luma.shape[1] * factor)), max(1, round(luma.shape[0] * factor))
    return cv2.resize(luma, size, interpolation=cv2.INTER_AREA)


def _differences(luma: np.ndarray) -> float:
    down, across = luma[1:] - luma[:-1], luma[:, 1:] - luma[:, :-1]
    return float(np.vdot(down, down) / down.size + np.vdot(across, across) / across.size)

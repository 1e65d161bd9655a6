"""One example as the network's pixels, and a batch of them: read, fit or crop, augment. No randomness but the draws'.

images.read(i) (H, W, C) -> (h, w, C) uint8 or uint16 and the 3×3 from source pixels to these.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from hubel.data.apply import apply_image
from hubel.data.augment import Augment, Draws
from hubel.data.decode import BadImage, convert
from hubel.data.images import Images
from hubel.data.preprocess import Preprocess
from hubel.ops.geometry import compose


def _no_rectangle() -> np.ndarray:
    return np.zeros(4, dtype=np.int32)


@dataclass(frozen=True)
class Example:
    """One image, ready but for normalisation."""

    pixels: np.ndarray  # (h, w, C) uint8 or uint16
    matrix: np.ndarray  # (3, 3) float64: source -> pixels
    size: tuple[int, int]  # of the source
    erase: np.ndarray = field(default_factory=_no_rectangle)  # (4,) int32
    control: np.ndarray | None = None  # (2, POINTS, POINTS) where an elastic distortion bent it
    fault: str | None = None  # why it could not be read; the pixels are zero then


@dataclass(frozen=True)
class Examples:
    """B of them."""

    pixels: np.ndarray  # (B, h, w, C) uint8, or int32 where the images have 16 bits
    matrices: np.ndarray  # (B, 3, 3) float32
    sizes: np.ndarray  # (B, 2) int64
    erase: np.ndarray  # (B, 4) int32
    faults: tuple[tuple[int, str], ...]  # (position in the dataset, reason)
    control: np.ndarray | None = None  # (B, 2, POINTS, POINTS)


@dataclass(frozen=True)
class Reader:
    """Reads and augments examples by their position in the dataset; picklable, for worker processes."""

    images: Images
    preprocess: Preprocess
    augment: Augment | None
    seed: int

    def one(self, example: int, slot: int = 0, epoch: int = 0) -> Example:
        """The example that stands in `slot` of `epoch`; a file that cannot be read gives zeros and a fault."""
        try:
            image = self.images.read(int(example))
        except (BadImage, OSError) as fault:
            return self._missing(str(fault) or type(fault).__name__)
        except Exception as fault:
            raise RuntimeError(
                f"reading image {example}, {self.images.name(int(example))!r}, failed: {fault}"
            ) from fault
        return self._ready(image, int(example), slot, epoch)

    def many(self, epoch: int, slots: np.ndarray, index: np.ndarray) -> Examples:
        return collate([self.one(i, s, epoch) for i, s in zip(index, slots, strict=True)], index)

    def _ready(self, image: np.ndarray, example: int, slot: int, epoch: int) -> Example:
        size, target = (image.shape[0], image.shape[1]), self.preprocess.size
        place, examples = (self.seed, epoch, np.array([slot])), np.array([example])
        if self.augment is not None and self.augment.crop:  # from the source at once: resampled once
            draws = self.augment.draw(*place, size, target, examples=examples)
            return self._resampled(image, draws)
        if self.augment is not None and self.augment.turns:  # the fit and the turn as one
            draws = self.augment.draw(*place, target, target, examples=examples)
            fitted = compose(self.preprocess.matrix(*size), draws.matrices)
            border = "zero" if self.preprocess.policy == "letterbox" else draws.border
            return self._resampled(image, replace(draws, matrices=fitted, border=border))
        pixels, fit = self.preprocess.geometry(image)
        if self.augment is None or self.augment == Augment():
            return Example(pixels, fit, size)
        draws = self.augment.draw(*place, target, target, examples=examples)  # whole pixels: none is resampled
        return Example(apply_image(pixels, draws), compose(fit, draws.matrices[0]), size, draws.erase[0])

    def _resampled(self, image: np.ndarray, draws: Draws) -> Example:
        """From the source at once: resampled once."""
        size = (image.shape[0], image.shape[1])
        image = convert(image, self.preprocess.channels, self.preprocess.depth)
        control = None if draws.control is None else draws.control[0]
        return Example(apply_image(image, draws), draws.matrices[0], size, draws.erase[0], control)

    def _missing(self, reason: str) -> Example:
        height, width = self.preprocess.size
        depth = np.uint8 if self.preprocess.depth == 8 else np.uint16
        pixels = np.zeros((height, width, self.preprocess.channels), dtype=depth)
        return Example(pixels, np.eye(3), (height, width), fault=reason)


def collate(examples: list[Example], index: np.ndarray) -> Examples:
    """Stack; 16-bit pixels become int32, which torch can compute with."""
    pixels = np.stack([e.pixels for e in examples])
    return Examples(
        pixels if pixels.dtype == np.uint8 else pixels.astype(np.int32),
        np.stack([e.matrix for e in examples]).astype(np.float32),
        np.array([e.size for e in examples], dtype=np.int64).reshape(-1, 2),
        np.stack([e.erase for e in examples]),
        tuple((int(i), e.fault) for i, e in zip(index, examples, strict=True) if e.fault is not None),
        _controls(examples),
    )


def _controls(examples: list[Example]) -> np.ndarray | None:
    """Of all examples, or None where none is bent; one that could not be read is not."""
    found = [e.control for e in examples]
    still = next((np.zeros_like(control) for control in found if control is not None), None)
    return None if still is None else np.stack([still if control is None else control for control in found])

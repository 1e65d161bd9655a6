"""One example as the network's pixels, and a batch of them: read, fit or crop, augment. No randomness but the draws'.

images.read(i) (H, W, C) -> (h, w, C) uint8 or uint16 and the 3×3 from source pixels to these.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hubel.data.apply import apply_from, apply_image
from hubel.data.augment import Augment, Draws
from hubel.data.decode import BadImage
from hubel.data.images import Images
from hubel.data.photometric import Look, apply_look
from hubel.data.pixels import convert
from hubel.data.preprocess import Preprocess
from hubel.data.source import Scale, Source, open_image
from hubel.ops.crop import SMALLEST, edges, resample, snap
from hubel.ops.geometry import TOLERANCE, compose
from hubel.ops.resize import shrinkage

PLAIN = Look()
ONE = (1.0, 1.0)
AT_ONCE = 1 << 24  # pixels of the images that are opened before the first of them is decoded: drawn for together


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
    placed: tuple[Any, ...] = ()  # annotations where their pixels went: see data/placed.py


@dataclass(frozen=True)
class Reader:
    """Reads and augments examples by their position in the dataset; picklable, for worker processes."""

    images: Images
    preprocess: Preprocess
    augment: Augment | None
    seed: int

    def one(self, example: int, slot: int = 0, epoch: int = 0) -> Example:
        """The example that stands in `slot` of `epoch`; a file that cannot be read gives zeros and a fault."""
        index = np.array([example])
        return self._some(epoch, np.array([slot]), index, self._open(index), [None])[0]

    def many(self, epoch: int, slots: np.ndarray, index: np.ndarray) -> Examples:
        """The examples at `index` (B,), which stand in `slots` (B,) of `epoch`."""
        pixels = self.blank(len(index), np.empty)
        return collate(self.several(epoch, slots, index, list(pixels)), index, pixels)

    def blank(self, count: int, make: Callable[..., np.ndarray] = np.zeros) -> np.ndarray:
        """(count, h, w, C) black pixels, or whatever `make` gives."""
        depth = np.uint8 if self.preprocess.depth == 8 else np.uint16
        return make((count, *self.preprocess.size, self.preprocess.channels), dtype=depth)

    def several(self, epoch: int, slots: np.ndarray, index: np.ndarray, out: Sequence[np.ndarray]) -> list[Example]:
        """The same, one by one; their pixels are written into `out` too."""
        examples: list[Example] = []
        while len(examples) < len(index):
            start = len(examples)
            sources = self._open(index[start:])
            rows = slice(start, start + len(sources))
            examples += self._some(epoch, slots[rows], index[rows], sources, out[rows])
        for row, example in zip(out, examples, strict=True):
            if example.pixels is not row:
                row[:] = example.pixels
        return examples

    def _open(self, index: np.ndarray) -> list[Source | str]:
        """The first of them, as many as may be held, or why one can't be read; one at least."""
        found: list[Source | str] = []
        held = 0
        for i in index.tolist():
            source = self.attempt(open_image, self.images, i)
            found.append(source)
            held += 0 if isinstance(source, str) else source.size[0] * source.size[1]
            if held >= AT_ONCE:
                break
        return found

    def _some(
        self,
        epoch: int,
        slots: np.ndarray,
        index: np.ndarray,
        sources: list[Source | str],
        out: Sequence[np.ndarray | None],
    ) -> list[Example]:
        """Draw for all at once, then read one after the other, into `out` where that saves a copy."""
        draws = self._draw(epoch, slots, index, [None if isinstance(s, str) else s.size for s in sources])
        return [
            self.missing(source) if isinstance(source, str) else self._ready(source, int(i), draws, row, out[row])
            for row, (source, i) in enumerate(zip(sources, index, strict=True))
        ]

    def attempt(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What it returns, or the reason why the image, which is the last argument, can't be read."""
        try:
            return function(*arguments)
        except (BadImage, OSError) as fault:
            return str(fault) or type(fault).__name__
        except Exception as fault:
            name = self.images.name(arguments[-1])
            raise RuntimeError(f"reading image {arguments[-1]}, {name!r}, failed: {fault}") from fault

    def _draw(
        self, epoch: int, slots: np.ndarray, index: np.ndarray, sizes: list[tuple[int, int] | None]
    ) -> Draws | None:
        """Source -> target where images are cropped, turned or bent, fitted -> target where they are only moved."""
        augment, target = self.augment, self.preprocess.size
        if augment is None or augment == Augment():
            return None
        whole = np.array([target if size is None else size for size in sizes]).T  # (2, B)
        draws = augment.draw(
            self.seed, epoch, slots, (whole[0], whole[1]) if augment.crop else target, target, examples=index
        )
        draws = replace(draws, look=PLAIN) if draws.look.plain else draws
        if augment.crop or not augment.turns:
            return draws
        fit = functools.cache(self.preprocess.matrix)  # mostly they are of one size
        fits = np.stack([fit(height, width) for height, width in whole.T.tolist()])
        border = "zero" if self.preprocess.policy == "letterbox" else draws.border
        return replace(draws, matrices=compose(fits, draws.matrices), border=border)

    def _ready(self, source: Source, example: int, draws: Draws | None, row: int, out: np.ndarray | None) -> Example:
        if draws is None or self.augment is None or not (self.augment.crop or self.augment.turns):
            return self._fitted(source, example, draws, row, out)
        shrunk, rows = shrinkage_of(draws, row, source.size), rows_of(draws, row, source)
        found = self._pixels(source, example, shrunk, rows)
        if isinstance(found, str):
            return self.missing(found)
        pixels, matrix = resampled(*found, draws, row, out)
        control = None if draws.control is None else draws.control[row]
        return Example(pixels, matrix, source.size, draws.erase[row], control)

    def _pixels(
        self, source: Source, example: int, shrunk: float = 1.0, rows: int | None = None
    ) -> tuple[np.ndarray, Scale] | str:
        """With the network's channels and depth; or why the image can't be read."""
        found = self.attempt(lambda _: source.pixels(shrunk, rows), example)
        if isinstance(found, str):
            return found
        return convert(found[0], self.preprocess.channels, self.preprocess.depth), found[1]

    def _fitted(self, source: Source, example: int, draws: Draws | None, row: int, out: np.ndarray | None) -> Example:
        """As evaluation sees it, then moved by whole pixels: none is resampled twice."""
        found = self._pixels(source, example)
        if isinstance(found, str):
            return self.missing(found)
        (image, scale), size = found, source.size
        pixels, fit = self.preprocess.geometry(image)
        fit = fit if scale is None else fit * [*scale, 1.0]
        if draws is None:
            return Example(pixels, fit, size)
        return Example(apply_image(pixels, draws, row, out), draws.matrices[row] @ fit, size, draws.erase[row])

    def missing(self, reason: str) -> Example:
        """Black, and why."""
        return Example(self.blank(1)[0], np.eye(3), self.preprocess.size, fault=reason)


def shrinkage_of(draws: Draws, row: int, size: tuple[int, int]) -> float:
    """How many source pixels fall on one target pixel, in the direction where they are fewest."""
    matrix = draws.matrices[row]
    if draws.turned:
        return min(shrinkage(matrix, size))
    return float(1 / max(abs(matrix[0, 0]), abs(matrix[1, 1])))


def rows_of(draws: Draws, row: int, source: Source) -> int | None:
    """How many rows of the source, from the top, are shown; None is all of them.

    It is where nothing is gained, where more is done than a crop inside of the image, and where crops may be too small
    for `snap`.
    """
    if not getattr(source, "by_rows", False) or draws.turned or draws.control is not None or min(draws.size) < SMALLEST:
        return None
    (a, _, x), (_, b, y), _ = draws.matrices[row].tolist()
    (height, width), (h, w) = source.size, getattr(source, "stored", source.size)
    (left, right), (low, high) = edges(a, x, draws.size[1]), edges(b, y, draws.size[0])
    inside = min(left, low) > -TOLERANCE and right < width + TOLERANCE
    large = min((right - left) * w / width, (high - low) * h / height) >= SMALLEST
    return math.ceil(high) + 1 if inside and large else None


def resampled(
    image: np.ndarray, scale: Scale, draws: Draws, row: int, out: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """An image, whose pixels are `scale` of a source pixel, as drawn; and the matrix in effect, source -> target.

    Resampled once. A crop is moved to whole pixels of the image, by half of one at most: see ops/crop.py.
    """
    matrix, unit = draws.matrices[row], scale or ONE
    free = draws.turned or draws.control is not None
    crop = None if free else snap(matrix, (image.shape[0], image.shape[1]), draws.size, unit)
    if crop is not None:
        pixels, matrix = resample(image, crop, draws.size, out), crop.matrix(draws.size, unit)
        return (pixels if draws.look.plain else apply_look(pixels, draws.look, row, out)), matrix
    control = None if draws.control is None else draws.control[row]
    own = matrix if scale is None else matrix / [*scale, 1.0]
    return apply_from(image, own, control, draws, row, out), matrix


def collate(examples: list[Example], index: np.ndarray, pixels: np.ndarray) -> Examples:
    """`pixels` (B, h, w, C) of these; 16 bits become int32, which torch can compute with."""
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

"""The values that travel between the parts: batches with their targets, terms of a loss.

Shapes: B images, C channels, H rows, W columns, K classes, D numbers. Pixels are counted from the top left
corner; the centre of the first pixel is (0.5, 0.5).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor


def map_tensors(value: Any, function) -> Any:
    """Apply `function` to every tensor in nested dicts, tuples and dataclasses; everything else stays."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, Mapping):
        return {key: map_tensors(part, function) for key, part in value.items()}
    if isinstance(value, tuple):
        return tuple(map_tensors(part, function) for part in value)
    if hasattr(value, "__dataclass_fields__"):
        return replace(value, **{f.name: map_tensors(getattr(value, f.name), function) for f in fields(value)})
    return value


def select(value: Any, rows: Tensor) -> Any:
    """The images `rows` (n,) int64 of targets in nested dicts and tuples; packed ones bring their own `take`."""
    if isinstance(value, Tensor):
        return value[rows.to(value.device)]
    if hasattr(value, "take"):
        return value.take(rows)
    if isinstance(value, Mapping):
        return {key: select(item, rows) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(select(item, rows) for item in value)
    return value


@dataclass(frozen=True)
class Boxes:
    """M objects in B images, packed: images have different numbers of them, many have none."""

    boxes: Tensor  # (M, 4) float32 x0, y0, x1, y1 in pixels of `Batch.images`; NaN where keypoints are all it has
    labels: Tensor  # (M,) int64: position in Dataset.classes
    image: Tensor  # (M,) int64, rising: position in the batch
    flags: Tensor  # (M,) uint8: bits of data/objects.py; 1: a crowd, 2: difficult
    count: int  # B
    keypoints: Tensor | None = None  # (M, J, 3) float32 x, y, v; v: 0 none, 1 hidden, 2 visible
    areas: Tensor | None = None  # (M,) float32: of the object itself, where the dataset says it
    masks: Tensor | None = None  # (M, h, w) bool, where the task asked for Instances
    source: Boxes | None = None  # in evaluation: every object, none dropped or cut, in pixels of the source images

    @property
    def crowd(self) -> Tensor:
        """(M,) bool: several objects that nobody told apart."""
        return self.flags & 1 > 0

    def take(self, rows: Tensor) -> Self:
        """Those of the images `rows` (n,), in that order; image k of the result is image rows[k]."""
        rows = rows.to(self.image.device)
        counts = torch.bincount(self.image, minlength=self.count)
        first, many = (counts.cumsum(0) - counts)[rows], counts[rows]
        image = torch.repeat_interleave(torch.arange(len(rows), device=rows.device), many)
        place = torch.arange(len(image), device=rows.device) + (first - (many.cumsum(0) - many))[image]
        parts = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("image", "count", "source")}
        cut: dict[str, Any] = {name: None if part is None else part[place] for name, part in parts.items()}
        source = None if self.source is None else self.source.take(rows)
        return replace(self, **cut, image=image, count=len(rows), source=source)

    def part(self, start: int, stop: int) -> Self:
        return self.take(torch.arange(start, min(stop, self.count)))

    @classmethod
    def cat(cls, parts: Sequence[Self]) -> Self:
        """Several batches in a row; a column that one with objects lacks is left out."""
        starts = np.cumsum([0, *(part.count for part in parts)]).tolist()
        full = [part for part in parts if len(part.labels)] or list(parts[:1])
        names = [f.name for f in fields(cls) if f.name not in ("image", "count", "source")]
        columns = {name: [getattr(part, name) for part in full] for name in names}
        joined: dict[str, Any] = {k: None if any(v is None for v in vs) else torch.cat(vs) for k, vs in columns.items()}
        image = torch.cat([part.image + start for part, start in zip(parts, starts, strict=False)])
        sources: list[Any] = [part.source for part in parts if part.source is not None]
        source = cls.cat(sources) if len(sources) == len(parts) else None
        return cls(**joined, image=image, count=starts[-1], source=source)


@dataclass(frozen=True)
class PixelClasses:
    """A class for every pixel of B images; 255 takes no part."""

    values: Tensor  # (B, h, w) uint8: position in the classes of the masks
    source: tuple[Tensor, ...] | None = None  # in evaluation: B tensors (H, W), in pixels of the source images

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: Tensor) -> Self:
        """Those of the images `rows` (n,), in that order."""
        source = None if self.source is None else tuple(self.source[row] for row in rows.tolist())
        return replace(self, values=self.values[rows.to(self.values.device)], source=source)

    def part(self, start: int, stop: int) -> Self:
        source = None if self.source is None else self.source[start:stop]
        return replace(self, values=self.values[start:stop], source=source)

    @classmethod
    def cat(cls, parts: Sequence[Self]) -> Self:
        """Several batches in a row."""
        sources = [part.source for part in parts if part.source is not None]
        source = tuple(mask for one in sources for mask in one) if len(sources) == len(parts) else None
        return cls(torch.cat([part.values for part in parts]), source)


@dataclass(frozen=True)
class Mix:
    """The other image in each example of a mixed batch: the loss is share · L(own) + (1 − share) · L(other)."""

    targets: Any  # of the other images, row by row, in the form of Batch.targets
    share: Tensor  # (B,) float32 in [0, 1]: of the own target; 1 where nothing was mixed in

    def part(self, start: int, stop: int) -> Self:
        return replace(self, targets=_part(self.targets, start, stop), share=self.share[start:stop])


@dataclass(frozen=True)
class Batch:
    """What the network and the task see of B examples."""

    images: Any  # (B, C, H, W) float32, normalised, on the device; or kept features, a tuple of (B, …)
    targets: Any  # what the task asked for: (B,) or (B, K) or (B, D); {name: …} for a Joint task
    index: Tensor  # (B,) int64: the example's position in the dataset
    weights: Tensor  # (B,) float32: how much each example counts; 0 for a file that could not be read
    sizes: Tensor  # (B, 2) int64: height and width of the source image
    matrices: Tensor  # (B, 3, 3) float32: source pixels -> pixels of `images`
    mix: Mix | None = None  # where images were mixed with others: mixup, CutMix
    size: tuple[int, int] | None = None  # of the images, where kept features stand in their place

    def __len__(self) -> int:
        return len(self.index)

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of what the network sees, in whose pixels targets lie."""
        return self.size or (self.images.shape[2], self.images.shape[3])

    def to(self, device: torch.device | str) -> Self:
        return map_tensors(self, lambda tensor: tensor.to(device, non_blocking=True))

    def part(self, start: int, stop: int) -> Self:
        """Examples start … stop − 1, for micro-batches. Packed targets bring their own `part`."""
        return replace(self, **{f.name: _part(getattr(self, f.name), start, stop) for f in fields(self)})


def _part(value: Any, start: int, stop: int) -> Any:
    if isinstance(value, int):
        return value
    if hasattr(value, "part"):
        return value.part(start, stop)
    if isinstance(value, Mapping):
        return {key: _part(item, start, stop) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_part(item, start, stop) for item in value)
    return None if value is None else value[start:stop]  # None: a task without targets


@dataclass(frozen=True)
class Term:
    """One named part of a loss, as a sum and the number it will be divided by: loss = weight · sum / count.

    Counts are added over micro-batches and processes before the division, so that ragged targets and ignored
    pixels give the same gradient however a batch is cut. A term whose count is zero contributes zero.
    """

    sum: Tensor  # () float32, carries the gradient
    count: Tensor | float  # () how many examples, pixels or boxes were summed (their weights, where weighted)
    weight: float = 1.0

"""Targets that lie in an image: what a task asks for (columns of annotations), and the tensors that it gets.

A task gives Objects, Instances or Masks out of `targets`, alone or in nested dicts and tuples. The loader finds them
(`columns_of`), has them moved with the pixels (placed.py), and puts `Boxes` or `PixelClasses` in their stead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from hubel.data.arrange import Collage
from hubel.data.faults import sound
from hubel.data.objects import Objects
from hubel.data.packed import PackedMasks
from hubel.errors import UserError
from hubel.types import Boxes, PixelClasses, select


@dataclass(frozen=True, eq=False)
class Instances:
    """Objects of which a task wants the pixels too: `Instances(dataset.take("objects", index))`."""

    objects: Objects
    masks: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 0), bool))  # (M, h, w), once placed

    def __len__(self) -> int:
        return len(self.objects)


@dataclass(frozen=True, eq=False)
class PlacedMasks:
    """What `PixelClasses` is made of."""

    values: np.ndarray  # (B, h, w) uint8
    source: tuple[np.ndarray, ...] | None


@runtime_checkable
class MaskColumn(Protocol):
    """A class for every pixel of N images: Masks, PackedMasks, or a column of one's own."""

    classes: tuple[str, ...]

    def read(self, i: int) -> np.ndarray:
        """(H, W) uint8, 255 where none is given; raises BadImage."""
        ...

    def take(self, index: np.ndarray) -> Any: ...


KINDS = (Objects, Instances, MaskColumn)


def in_image(leaf: Any) -> bool:
    """Whether it is a column that lies in the image; a tensor is told at once, since a protocol is slow to ask."""
    return not isinstance(leaf, Tensor) and isinstance(leaf, KINDS)


def columns_of(targets: Any) -> list[Any]:
    """The columns that lie in the image, in nested dicts and tuples."""
    return [leaf for leaf in leaves(targets) if in_image(leaf)]


def leaves(targets: Any) -> Iterator[Any]:
    """What nested dicts and tuples hold."""
    if isinstance(targets, Mapping | tuple):
        for item in targets.values() if isinstance(targets, Mapping) else targets:
            yield from leaves(item)
    elif targets is not None:
        yield targets


def filled(targets: Any, values: Iterator[Any], rows: Tensor | None = None) -> Any:
    """The targets with the next of `values` in place of each column; of everything else the images `rows`."""
    if in_image(targets):
        return next(values)
    if isinstance(targets, Mapping):
        return {key: filled(item, values, rows) for key, item in targets.items()}
    if isinstance(targets, tuple):
        return tuple(filled(item, values, rows) for item in targets)
    return targets if rows is None or targets is None else select(targets, rows)


def slim(column: Any) -> Any:
    """Without what only findings and writers need: less to send to who reads the images."""
    if isinstance(column, Instances):
        return Instances(slim(column.objects))
    if isinstance(column, PackedMasks):
        return column.apart()
    return replace(column, files=None, lines=np.empty(0), ids=np.empty(0)) if isinstance(column, Objects) else column


def check_collage(collage: Collage, targets: Any, whose: str = "this task") -> None:
    """UserError where pictures made of several would no longer show what the targets say."""
    columns = columns_of(targets)
    others = [leaf for leaf in leaves(targets) if not in_image(leaf)]
    if not columns or not all(isinstance(leaf, Tensor) and leaf.dtype == torch.bool for leaf in others):
        asked = " and ".join(f"augment.{name}" for name, share in vars(collage).items() if share)
        raise UserError(
            f"With {asked} one image is made of several, so all targets must lie in the image, as objects and masks "
            f"do; {whose} has a target for the whole image. Leave {asked} out; augment.mixup and augment.cutmix mix "
            "images of one label."
        )
    objects = [objects_of(column) for column in columns if isinstance(column, Objects | Instances)]
    if collage.copy_paste and any(one.outlines is None and one.runs is None for one in objects):
        raise UserError(
            "augment.copy_paste cuts objects out along their outlines or masks; these objects have boxes alone. Leave "
            "it out, or annotate outlines; augment.mosaic needs none."
        )
    if collage.copy_paste and any(not np.array_equal(one.offsets, objects[0].offsets) for one in objects):
        raise UserError("augment.copy_paste needs the same objects in all targets of a task; these differ in number.")


def objects_of(column: Objects | Instances) -> Objects:
    return column.objects if isinstance(column, Instances) else column


# Tensors -----------------------------------------------------------------------------------------------------------


def tensors(placed: Any, source: Any = None, sizes: Tensor | None = None) -> Boxes | PixelClasses:
    """What a task finds in its targets; for an evaluation `source` is the column in source pixels and `sizes` (B, 2)
    are the height and width of these images: objects at fault judge nobody, see faults.py."""
    if isinstance(placed, PlacedMasks):
        whole = None if placed.source is None else tuple(torch.from_numpy(mask) for mask in placed.source)
        return PixelClasses(torch.from_numpy(placed.values), whole)
    boxes = boxes_of(placed)
    if source is None or sizes is None:
        return boxes
    objects = objects_of(source)
    return replace(boxes, source=boxes_of(objects.where(sound(objects, sizes.cpu().numpy()))))


def boxes_of(column: Objects | Instances) -> Boxes:
    """Packed tensors of all objects that have a box or a keypoint; those at fault are gone by now."""
    objects = objects_of(column)
    keep = np.isfinite(objects.boxes.reshape(-1, 4)).all(1) | _seen(objects)
    left = objects.where(keep)
    masks = torch.from_numpy(column.masks[keep]) if isinstance(column, Instances) and column.masks.size else None
    return Boxes(
        boxes=torch.from_numpy(left.boxes.astype(np.float32)).view(-1, 4),
        labels=torch.from_numpy(left.labels.astype(np.int64)),
        image=torch.from_numpy(left.images),
        flags=torch.from_numpy(left.flags if len(left.flags) else np.zeros(left.count, np.uint8)),
        count=len(left),
        keypoints=torch.from_numpy(left.keypoints.astype(np.float32)) if left.keypoints.ndim == 3 else None,
        areas=torch.from_numpy(left.areas.astype(np.float32)) if objects.areas.size else None,
        masks=masks,
    )


def _seen(objects: Objects) -> np.ndarray:
    """(M,) bool: has no box at all, but a keypoint."""
    if not len(objects.keypoints):
        return np.zeros(objects.count, bool)
    return np.isnan(objects.boxes).any(1) & (objects.keypoints[..., 2] > 0).any(1)

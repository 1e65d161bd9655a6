"""A user's own torch Dataset as ours: any map-style dataset whose items are (image, target) or (image, target, weight).

Images are PIL images, arrays (H, W), (H, W, C) or tensors (C, H, W); targets are whole numbers (labels), rows of 0
and 1 (several labels), or floating-point numbers. Its own random transforms stay: images are read anew each epoch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hubel.data.dataset import Dataset
from hubel.data.decode import BadImage, pixels_of
from hubel.data.formats.npz import annotate, from_arrays, to_pixels
from hubel.data.images import evenly
from hubel.data.pixels import convert
from hubel.errors import UserError


@dataclass(frozen=True)
class TorchImages:
    """The images of a map-style dataset."""

    items: Any
    channels: int
    depth: int

    def __len__(self) -> int:
        return len(self.items)

    def read(self, i: int) -> np.ndarray:
        try:
            image = to_array(self.items[i][0])
        except (UserError, OSError) as fault:
            raise BadImage(str(fault)) from fault
        return convert(image, self.channels, self.depth)

    def name(self, i: int) -> str:
        return f"#{i}"

    def sizes(self, most: int) -> np.ndarray:
        found = [to_array(self.items[int(i)][0]).shape[:2] for i in evenly(len(self), most)]
        return np.array(found, dtype=np.int64).reshape(-1, 2)

    def digest(self) -> bytes:
        """Of up to 64 images: a user's dataset may be slow, and random."""
        seen = hashlib.blake2b(str(len(self)).encode(), digest_size=16)
        for i in evenly(len(self), 64):
            seen.update(np.ascontiguousarray(to_array(self.items[int(i)][0])).data)
        return seen.digest()


def from_torch(
    dataset: Any,
    name: str = "",
    classes: Iterable[str] | None = None,
    splits: dict[str, Sequence[int]] | None = None,
) -> Dataset:
    """A map-style dataset of (image, target) as a Dataset; every item is read once for its target.

    A third member is the example's weight, >= 0. Arrays by name, {"images": (N, H, W, C), "labels": (N,), "weights":
    (N,)}, are taken as an archive with these arrays. `classes` defaults to the dataset's own `classes`. Raises
    UserError where it has no length, or where its items are no such pairs.
    """
    if isinstance(dataset, Mapping):
        return from_arrays({k: np.asarray(v) for k, v in dataset.items()}, name or "arrays", "the arrays")
    if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
        raise UserError(
            f"Expected a name, a path, a Dataset or a torch map-style dataset (with len() and [i]); got "
            f"{type(dataset).__name__}. Wrap an iterable one in a list of (image, target)."
        )
    name = name or type(dataset).__name__.lower()
    if not len(dataset):
        raise UserError(f"{name} is empty: len() is 0.")
    targets, weights, channels, depth = _look(dataset, name)
    names = classes if classes is not None else getattr(dataset, "classes", None)
    known = np.array([str(c) for c in names]) if names is not None and len(list(names)) else None
    y = np.stack(targets) if len({t.shape for t in targets}) == 1 else None
    if y is None:
        raise UserError(f"{name}: targets have different shapes. Give a number, or as many numbers, for each image.")
    annotations, found, notes = annotate(y, known, name)
    parts = {part: np.asarray(index, dtype=np.int64) for part, index in (splits or {}).items()}
    return Dataset(
        name,
        TorchImages(dataset, channels, depth),
        annotations,
        found,
        parts,
        weights,
        source=f"{type(dataset).__module__}.{type(dataset).__qualname__}",
        notes=(f"your own dataset, {type(dataset).__name__}: {len(dataset):,} images", *notes),
    )


def _look(dataset: Any, name: str) -> tuple[list[np.ndarray], np.ndarray, int, int]:
    """All targets and weights; the channels and depth that hold every image."""
    targets, channels, depth = [], 1, 8
    weights = np.ones(len(dataset), np.float32)
    for i in range(len(dataset)):
        item = dataset[i]
        if not isinstance(item, (tuple, list)) or len(item) not in (2, 3):
            raise UserError(f"{name}[{i}] is {_kind(item)}; expected (image, target) or (image, target, weight).")
        image = to_array(item[0])
        targets.append(np.asarray(item[1]))
        weights[i] = _weight(item[2], f"{name}[{i}]") if len(item) == 3 else 1
        channels, depth = max(channels, image.shape[2]), max(depth, 8 * image.dtype.itemsize)
    return targets, weights, channels, depth


def _weight(given: Any, where: str) -> float:
    try:
        return float(given)
    except (TypeError, ValueError) as fault:
        raise UserError(f"{where}: the weight of an example is a number, got {given!r}.") from fault


def _kind(item: Any) -> str:
    return f"{type(item).__name__} of {len(item)}" if isinstance(item, (tuple, list)) else type(item).__name__


def to_array(image: Any) -> np.ndarray:
    """PIL image, array (H, W) or (H, W, C), tensor (H, W) or (C, H, W) -> (H, W, C) uint8 or uint16.

    Raises UserError for other types and shapes, and for values that are normalised already.
    """
    if isinstance(image, torch.Tensor):
        array = image.detach().cpu().numpy()
        array = array.transpose(1, 2, 0) if array.ndim == 3 and array.shape[0] in (1, 3) else array
    elif hasattr(image, "getexif"):  # a PIL image
        return pixels_of(image)
    elif isinstance(image, np.ndarray):
        array = image
    else:
        raise UserError(f"An image is a PIL image, an array or a tensor; got {type(image).__name__}.")
    array = array[..., None] if array.ndim == 2 else array
    if array.ndim != 3 or array.shape[2] not in (1, 3):
        raise UserError(f"An image is (H, W), (H, W, C), or a tensor (C, H, W), with C 1 or 3; got {array.shape}.")
    return to_pixels(array, "an image of the dataset")[0]

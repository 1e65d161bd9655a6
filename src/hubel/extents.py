"""How large things are against what a network can see of them: its receptive fields, at the size it gets images in.

    side of an object = √(area of its box) · s        side of a class in a mask = √(its pixels) · s

s is how much the image is shrunk or enlarged for the network. A cell of a map sees a field of so many pixels, and the
cells are one stride apart: what is larger than the field is never seen whole by a cell, and what is smaller than
the stride is less than one cell.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hubel.data.dataset import Dataset
from hubel.data.inspect import Inspection
from hubel.data.preprocess import Preprocess
from hubel.errors import UserError
from hubel.information import Described, describe, is_run
from hubel.models.base import Network
from hubel.options import unflatten
from hubel.preparation import without_statistics
from hubel.settle import asking, facts_of, settle


@dataclass(frozen=True)
class Extents:
    """`sides` (M,) in pixels of the network's input (height, width); of its maps (stride, field), finest first."""

    model: str
    input: tuple[int, int]
    what: str  # "boxes" or "classes in masks"
    sides: np.ndarray
    maps: tuple[tuple[float, float], ...]

    def settings(self) -> dict[str, Any]:
        """JSON-ready: shares of what is at most as large as a field, and of what is smaller than a stride."""
        rows = [{"stride": stride, "field": field, "whole": _share(self.sides <= field),
                 "below_stride": _share(self.sides < stride)} for stride, field in self.maps]  # fmt: skip
        middle = float(np.median(self.sides)) if len(self.sides) else None
        found = {"model": self.model, "input": list(self.input), "what": self.what, "count": len(self.sides),
                 "median": middle, "maps": rows}  # fmt: skip
        return found | {"sentence": _sentence(found)}


def _share(which: np.ndarray) -> float:
    return float(which.mean()) if len(which) else 0.0


def seen_by(model: str, dataset: Dataset, size: int | None = None) -> Described:
    """A network by name, as file.py:Net or of a run, on images as a training of it on this data would show them, with
    `--size size`; where nothing can be trained on it yet, on squares of `size` (by default what the network wants).

    Raises UserError where it keeps no places, and for a size below 1.
    """
    if size is not None and size < 1:
        raise UserError(f"size is a number of pixels, from 1 on; got {size}.")
    shown = None if is_run(model) else _in_training(model, dataset, size)
    square = None if size is None else (dataset.images.channels, size, size)
    found = describe(model, input=square if shown is None else (shown.channels, *shown.size))
    if isinstance(found.network, Network) and not found.network.strides:
        raise UserError(f"The network '{model}' has no maps: it sees all of an image at once, whatever lies in it.")
    return found if shown is None else replace(found, preprocess=shown)


def _in_training(model: str, dataset: Dataset, size: int | None) -> Preprocess | None:
    """How images come to the network by default; None where no task fits, or objects are cut out of their images."""
    if not len(dataset.images.sizes(200)):  # none can be read: what is said of them says so
        return None
    facts = facts_of(dataset)
    if facts.joints:
        return None
    asked = {"model": model} | ({} if size is None else {"size": size})
    try:
        settings = settle([("python", asked)], facts, None, dataset.name)
    except UserError:
        return None
    chosen = unflatten({key: setting.value for key, setting in settings.items()})
    return without_statistics(dataset, chosen, None, asking(facts, chosen.task).dense)


def against(found: Inspection, network: Described) -> Extents:
    """The objects of a data set, or else the classes of its masks, against the receptive fields of a network.

    Raises UserError where there are neither.
    """
    boxes = found.objects is not None and found.objects.count > 0
    if not boxes and found.masks is None:
        raise UserError("--model compares boxes or masks with what a network sees, and this data has neither.")
    image, sides = _boxes(found) if boxes else _classes(found)
    size = network.input[1], network.input[2]
    scales = _scales(found.sizes, network.preprocess or Preprocess(size, network.input[0]))[image]
    maps = [(float(field.rows.jump), float(field.rows.size)) for field in network.maps if field is not None]
    what = "boxes" if boxes else "classes in masks"
    return Extents(network.name, size, what, (sides * scales)[scales > 0], tuple(maps))


def _boxes(found: Inspection) -> tuple[np.ndarray, np.ndarray]:
    """(M,) images and sides of all boxes that have an area."""
    assert found.objects is not None
    boxes = found.objects.boxes.reshape(-1, 4)
    extent = boxes[:, 2:] - boxes[:, :2]
    good = np.isfinite(extent).all(1) & (extent > 0).all(1)
    return found.objects.images[good], np.sqrt(extent[good].prod(1))


def _classes(found: Inspection) -> tuple[np.ndarray, np.ndarray]:
    """(M,) images and sides of each class that an image's mask shows; the last column is what belongs to none."""
    pixels = found.seen.pixels[:, :-1]
    image, label = np.nonzero(pixels)
    return image, np.sqrt(pixels[image, label].astype(np.float64))


def _scales(sizes: np.ndarray, chosen: Preprocess) -> np.ndarray:
    """sizes (N, 2), height and width -> (N,) pixels of the input for one of the image; 0 where it can't be read."""
    each, which = np.unique(sizes, axis=0, return_inverse=True)
    return np.array([_scale(chosen, *map(int, size)) for size in each])[which.reshape(-1)]


def _scale(chosen: Preprocess, height: int, width: int) -> float:
    if min(height, width) < 1:
        return 0.0
    return float(np.sqrt(abs(np.linalg.det(chosen.matrix(height, width)[:2, :2]))))


def _sentence(found: dict[str, Any]) -> str:
    """In words: what the last map sees, and which map's stride most things are smaller than."""
    (height, width), last = found["input"], found["maps"][-1]
    if not found["count"]:
        return f"{found['model']} at {height}×{width}: there are no {found['what']} to compare it with."
    told = (
        f"{found['model']} at {height}×{width}: {found['what']} have a median side of {found['median']:.0f} "
        f"pixels there; a cell of its last map sees {last['field']:.0f} pixels, and {last['whole']:.0%} are not larger"
    )
    if last["below_stride"] < 0.005:
        return f"{told}."
    small = f"{last['below_stride']:.0%} are smaller than its stride of {last['stride']:.0f}"
    return f"{told}; {small}: look at finer maps, or give it larger images (--size)."

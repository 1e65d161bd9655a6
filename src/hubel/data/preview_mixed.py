"""What a training would see of several images put into one: mosaic, copy-paste, mixup, CutMix, backgrounds.

(previewer, positions) -> for each kind that the data set's annotations allow: its option, what it does, n views.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from hubel.data.arrange import Collage
from hubel.data.assemble import Assembler, Request
from hubel.data.augment import Augment
from hubel.data.backgrounds import NOISE, Backgrounds
from hubel.data.dataset import Dataset
from hubel.data.mixing import Mixing, mix
from hubel.data.objects import Objects
from hubel.data.preview import Previewer, View
from hubel.data.read import Reader
from hubel.data.targets import PlacedMasks, check_collage, columns_of, slim
from hubel.errors import UserError

COLLAGES = {
    "mosaic": (Collage(mosaic=1.0), "four images in one, each with what lies in it"),
    "copy_paste": (Collage(copy_paste=1.0), "objects of another image laid onto this one"),
}
MIXINGS = {
    "mixup": (Mixing(mixup=1.0), "two images blended; the target is shared in the same way"),
    "cutmix": (Mixing(cutmix=1.0), "a piece of another image; the target is shared by area"),
    "blend": (Mixing(blend=0.5, backgrounds=NOISE), "noise or pictures of your own laid over; the target stays"),
}


@dataclass(frozen=True, eq=False)
class Mixture:
    """One way to put images together."""

    option: str  # "augment.mosaic"
    words: str
    views: list[View]


def mixtures(previewer: Previewer, index: Sequence[int], seed: int = 0) -> Iterator[Mixture]:
    """Of the images `index` (n,), under the previewer's policy; images that can't be read are left out."""
    data = previewer.dataset
    for name, (collage, words) in COLLAGES.items():
        if _allowed(data, collage, index):
            augment = replace(previewer.augment, collage=collage)
            yield Mixture(f"augment.{name}", words, _views(previewer, augment, np.asarray(index), seed))
    whole = any(column in data.annotations for column in ("label", "labels", "numbers"))
    for name, (mixing, words) in MIXINGS.items():
        if whole or mixing.plain:
            augment = replace(previewer.augment, mixing=mixing)
            yield Mixture(f"augment.{name}", words, _views(previewer, augment, np.asarray(index), seed))


def _columns(data: Dataset, index: np.ndarray) -> tuple[Any, ...]:
    """The annotations that lie in these images."""
    there = [name for name in ("objects", "mask") if name in data.annotations]
    return tuple(slim(column) for column in columns_of(tuple(data.take(name, index) for name in there)))


def _allowed(data: Dataset, collage: Collage, index: Sequence[int]) -> bool:
    try:
        check_collage(collage, _columns(data, np.asarray(index)[:1]))
    except UserError:
        return False
    return True


def _views(previewer: Previewer, augment: Augment, index: np.ndarray, seed: int) -> list[View]:
    data, slots = previewer.dataset, np.arange(len(index))
    parts = None if augment.collage.plain else augment.collage.draw(seed, 0, slots, index, index)
    columns = _columns(data, index if parts is None else parts.index)
    reader = Reader(data.images, previewer.preprocess, augment, seed)
    examples = Assembler(reader).batch(Request(0, slots, index, parts, columns))
    pixels = _mixed(previewer, augment.mixing, torch.from_numpy(examples.pixels), seed, slots)
    objects = next((one for one in examples.placed if isinstance(one, Objects)), None)
    masks = next((one for one in examples.placed if isinstance(one, PlacedMasks)), None)
    lost = {i for i, _ in examples.faults}
    return [
        View(
            pixels[row],
            None if objects is None else objects.take(np.array([row])),
            None if masks is None else masks.values[row],
        )
        for row, i in enumerate(index.tolist())
        if i not in lost
    ]


def _mixed(previewer: Previewer, mixing: Mixing, pixels: torch.Tensor, seed: int, slots: np.ndarray) -> np.ndarray:
    """(n, h, w, C) -> the same, mixed as a training does it: after normalisation, which is then undone."""
    if mixing.plain and not mixing.blend:
        return pixels.numpy().astype(np.uint8 if previewer.preprocess.depth == 8 else np.uint16)
    preprocess = previewer.preprocess.with_statistics((0.5,), (0.5,))
    images = preprocess.centre(pixels)
    if mixing.blend:
        images = Backgrounds.load(mixing.backgrounds, mixing.blend, preprocess, images.device).apply(
            images, seed, 0, slots
        )
    if not mixing.plain:
        images = mix(images, mixing.draw(seed, 0, slots, preprocess.size))
    top = 2**preprocess.depth - 1
    back = ((images * 0.5 + 0.5) * top).round().clamp(0, top).permute(0, 2, 3, 1)
    return back.numpy().astype(np.uint8 if preprocess.depth == 8 else np.uint16)

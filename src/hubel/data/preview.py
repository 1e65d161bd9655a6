"""What a training would see of an image and its annotations: read, fitted, augmented, as the loader does it.

(data set, policy, positions) -> for each image and draw: pixels (h, w, C), objects and mask in these pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hubel.data.augment import Augment
from hubel.data.dataset import Dataset
from hubel.data.decode import BadImage
from hubel.data.moved import move_objects
from hubel.data.objects import Objects
from hubel.data.policies import policy
from hubel.data.preprocess import Preprocess
from hubel.data.read import Example, Reader
from hubel.ops.follow import Move

ERASED = 0.5  # of white: the network sees the mean colour there


@dataclass(frozen=True, eq=False)
class View:
    """One draw of one image."""

    image: np.ndarray  # (h, w, C)
    objects: Objects | None
    mask: np.ndarray | None  # (h, w) uint8, 255 where none is given


@dataclass(frozen=True)
class Previewer:
    """Draws views of a data set's images under a policy by name."""

    dataset: Dataset
    preprocess: Preprocess
    augment: Augment
    why: str

    @classmethod
    def of(cls, dataset: Dataset, name: str) -> Previewer:
        """The geometry that a training would choose; images with boxes or masks are kept whole (letterbox).

        Raises UserError for an unknown policy, and where no image can be read.
        """
        whole = "objects" in dataset.annotations or "mask" in dataset.annotations
        preprocess = Preprocess.choose(dataset)
        if whole and preprocess.policy == "crop":
            preprocess = Preprocess.choose(dataset, policy="letterbox")
        augment, why = policy(name, dataset.traits, preprocess.size, preprocess.channels)
        return cls(dataset, preprocess, augment, why)

    def views(self, index: Sequence[int], draws: int, seed: int = 0) -> Iterator[list[View]]:
        """For each image the fitted one, then `draws` augmented ones; images that can't be read are left out."""
        for slot, i in enumerate(index):
            plain = Reader(self.dataset.images, self.preprocess, None, seed).one(i)
            if plain.fault is not None:
                continue
            reader = Reader(self.dataset.images, self.preprocess, self.augment, seed)
            drawn = [reader.one(i, slot, epoch) for epoch in range(draws)]
            yield [self._view(example, i) for example in (plain, *drawn)]

    def _view(self, example: Example, i: int) -> View:
        move = Move(example.matrix, example.size, self.preprocess.size, example.control)
        objects, mask = self.dataset.annotations.get("objects"), self._mask(i)
        image = example.pixels.copy()
        x0, y0, x1, y1 = example.erase.tolist()
        image[y0:y1, x0:x1] = ERASED * np.iinfo(image.dtype).max
        return View(
            image,
            move_objects(objects.take(np.array([i])), [move]) if isinstance(objects, Objects) else None,
            None if mask is None or mask.shape != example.size else move.mask(mask),
        )

    def _mask(self, i: int) -> np.ndarray | None:
        masks: Any = self.dataset.annotations.get("mask")
        try:
            return None if masks is None else masks.read(i)
        except (BadImage, OSError):
            return None

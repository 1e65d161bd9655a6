"""Images and masks that are drawn anew whenever they are read, from a few numbers: tiny to pickle, any count.

(seed, position, size, options) -> (H, W, 3) uint8, or (H, W) uint8 numbers of classes.
"""

from __future__ import annotations

import hashlib
from dataclasses import astuple, dataclass, field, replace
from typing import Protocol, Self

import numpy as np

from hubel.data import faces, scenes
from hubel.data.images import PackedNames
from hubel.data.masks import Masks

VERSION = 1  # of what is drawn: a change makes other data of it
EACH = 10  # pictures of a face
COLOURS = (
    (0, 0, 0), (228, 26, 28), (55, 126, 184), (77, 175, 74), (255, 215, 0), (200, 80, 200), (0, 190, 190),
    (255, 127, 0), (140, 90, 220),
)  # fmt: skip


class Drawing(Protocol):
    """What decides every image: frozen, small to pickle, and all that a worker needs."""

    @property
    def height(self) -> int: ...

    @property
    def width(self) -> int: ...

    def image(self, i: int) -> np.ndarray:
        """(H, W, C) uint8."""
        ...

    def labels(self, i: int) -> np.ndarray:
        """(H, W) int64: the class of each pixel."""
        ...

    def digest(self) -> bytes: ...


def rng_of(*key: object) -> np.random.Generator:
    """Draws of their own for each key."""
    digest = hashlib.blake2b(" ".join(map(str, key)).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))


@dataclass(frozen=True)
class Drawn:
    """Scenes, or faces."""

    seed: int
    height: int
    width: int
    of_faces: bool
    classes: int
    most: int

    def rng(self, i: int, what: str) -> np.random.Generator:
        """Draws of their own for image (or identity) i and each purpose."""
        return rng_of(VERSION, self.seed, i, what)

    def scene(self, i: int) -> scenes.Scene:
        return scenes.random_scene(self.rng(i, "scene"), self.height, self.width, self.classes, self.most)

    def face(self, i: int) -> tuple[faces.Person, faces.View]:
        person = faces.person(self.rng(i // EACH, "person"))
        return person, faces.view(self.rng(i, "view"), self.height, self.width)

    def image(self, i: int) -> np.ndarray:
        if self.of_faces:
            return faces.draw(self.rng(i, "paint"), *self.face(i), self.height, self.width)
        return scenes.draw(self.rng(i, "paint"), self.scene(i))

    def labels(self, i: int) -> np.ndarray:
        """(H, W) int64: 0 the background, k + 1 the figures of kind k."""
        return self.scene(i).classes().astype(np.int64)

    def digest(self) -> bytes:
        return hashlib.blake2b(repr((VERSION, astuple(self))).encode(), digest_size=16).digest()


@dataclass(frozen=True)
class DrawnImages:
    """N images (H, W, C) uint8, drawn when they are read."""

    drawn: Drawing
    count: int
    channels: int = 3
    depth: int = 8

    def __len__(self) -> int:
        return self.count

    def read(self, i: int) -> np.ndarray:
        return self.drawn.image(i)

    def name(self, i: int) -> str:
        return f"#{i}"

    def sizes(self, most: int) -> np.ndarray:
        return np.tile(np.array([[self.drawn.height, self.drawn.width]], np.int64), (min(most, self.count), 1))

    def digest(self) -> bytes:
        return self.drawn.digest() + self.count.to_bytes(8, "little")


@dataclass(frozen=True, eq=False)
class DrawnMasks(Masks):
    """A class for every pixel of the images `index` (n,), drawn when it is read: 0 the background, none ignored."""

    drawn: Drawing = Drawn(0, 64, 64, False, 8, 5)
    index: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))

    @classmethod
    def of(cls, drawn: Drawing, index: np.ndarray, classes: tuple[str, ...]) -> Self:
        names = PackedNames.pack([f"#{i}" for i in index.tolist()])
        colours = np.array(COLOURS[: len(classes)], np.uint8)
        return cls("", names, names, classes, np.arange(len(classes)), colours=colours, drawn=drawn, index=index)

    def raw(self, i: int) -> np.ndarray:
        """(H, W) int64 numbers of classes."""
        return self.drawn.labels(int(self.index[i]))

    def as_stored(self, i: int) -> np.ndarray:
        return self.raw(i)

    def take(self, index: np.ndarray) -> Self:
        return replace(super().take(index), index=self.index[index])

    def digest(self) -> bytes:
        told = repr((self.classes, self.values.tolist())).encode()
        return hashlib.blake2b(self.drawn.digest() + told + self.index.tobytes(), digest_size=16).digest()

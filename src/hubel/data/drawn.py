"""Images and masks that are drawn anew whenever they are read, from a few numbers: tiny to pickle, any count.

(seed, position, size, options) -> (H, W, 3) uint8, or (H, W) uint8 numbers of classes.
"""

from __future__ import annotations

import hashlib
from dataclasses import astuple, dataclass, replace
from typing import Self

import numpy as np

from hubel.data import faces, scenes

VERSION = 1  # of what is drawn: a change makes other data of it
EACH = 10  # pictures of a face
COLOURS = (
    (0, 0, 0), (228, 26, 28), (55, 126, 184), (77, 175, 74), (255, 215, 0), (200, 80, 200), (0, 190, 190),
    (255, 127, 0), (140, 90, 220),
)  # fmt: skip


@dataclass(frozen=True)
class Drawn:
    """What decides every image: small to pickle, and all that a worker needs."""

    seed: int
    height: int
    width: int
    of_faces: bool
    classes: int
    most: int

    def rng(self, i: int, what: str) -> np.random.Generator:
        """Draws of their own for image (or identity) i and each purpose."""
        key = hashlib.blake2b(f"{VERSION} {self.seed} {i} {what}".encode(), digest_size=16).digest()
        return np.random.Generator(np.random.PCG64(int.from_bytes(key, "little")))

    def scene(self, i: int) -> scenes.Scene:
        return scenes.random_scene(self.rng(i, "scene"), self.height, self.width, self.classes, self.most)

    def face(self, i: int) -> tuple[faces.Person, faces.View]:
        person = faces.person(self.rng(i // EACH, "person"))
        return person, faces.view(self.rng(i, "view"), self.height, self.width)

    def image(self, i: int) -> np.ndarray:
        if self.of_faces:
            return faces.draw(self.rng(i, "paint"), *self.face(i), self.height, self.width)
        return scenes.draw(self.rng(i, "paint"), self.scene(i))

    def digest(self) -> bytes:
        return hashlib.blake2b(repr((VERSION, astuple(self))).encode(), digest_size=16).digest()


@dataclass(frozen=True)
class DrawnImages:
    """N images (H, W, 3) uint8, drawn when they are read."""

    drawn: Drawn
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
class DrawnMasks:
    """A class for every pixel of the images `index` (n,), drawn when it is read. Like Masks, without files."""

    drawn: Drawn
    index: np.ndarray  # (n,) int64
    classes: tuple[str, ...]

    @property
    def colours(self) -> np.ndarray:
        """(K, 3) uint8 to draw with."""
        return np.array(COLOURS[: len(self.classes)], np.uint8)

    def __len__(self) -> int:
        return len(self.index)

    def read(self, i: int) -> np.ndarray:
        """(H, W) uint8 numbers of classes, 0 the background; none is ignored."""
        return self.drawn.scene(int(self.index[i])).classes()

    def take(self, index: np.ndarray) -> Self:
        return replace(self, index=self.index[index])

    def digest(self) -> bytes:
        return hashlib.blake2b(self.drawn.digest() + self.index.tobytes(), digest_size=16).digest()

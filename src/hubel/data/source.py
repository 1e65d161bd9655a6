"""One image, opened but not yet decoded: its size first, so that it is decoded at the size that is needed.

`open_image(images, i)` gives a `Source` of any kind of Images, their own where they have `open(i)`: `size` (height,
width) of the source, in whose pixels annotations stand, and `pixels(shrinkage, rows)` -> (H', W', C) with its scale
(x, y): how many of these pixels a source pixel is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from hubel.data.images import FileImages, Images
from hubel.data.jpeg import PlainJpeg, plain_file
from hubel.data.pixels import convert

Scale = tuple[float, float] | None


class Source(Protocol):
    """An image that is read when it is asked for."""

    @property
    def size(self) -> tuple[int, int]: ...

    def pixels(self, shrinkage: float = 1.0, rows: int | None = None) -> tuple[np.ndarray, Scale]:
        """(H', W', C) and its scale, None where it is 1; raises BadImage.

        A source that can be read smaller may be, where at least `shrinkage` of its pixels fall on one of the target.
        Where nothing below the first `rows` of the source's pixels is needed, what lies there may be missing.
        """
        ...


def open_image(images: Images, i: int) -> Source:
    """The image at position i; raises BadImage where it can't be read."""
    if isinstance(images, FileImages):
        plain = plain_file(images.path(i), images.max_pixels)
        if plain is not None:
            return Scalable(plain, images.channels, images.depth)
        return Whole(images.read(i))
    own = getattr(images, "open", None)
    return own(i) if own is not None else Whole(images.read(i))


def scaled_rows(rows: int, scale: float) -> int:
    """Of an image `scale` times the source, with what rounding an edge and interpolating beyond it need."""
    return math.ceil(rows * scale) + 2


@dataclass(frozen=True)
class Whole:
    """An image that is there already."""

    image: np.ndarray

    @property
    def size(self) -> tuple[int, int]:
        return self.image.shape[0], self.image.shape[1]

    def pixels(self, shrinkage: float = 1.0, rows: int | None = None) -> tuple[np.ndarray, Scale]:
        return self.image, None


@dataclass(frozen=True)
class Scalable:
    """A JPEG file: 1/2, 1/4 and 1/8 of its size are as fast to read as they are small, and so are its first rows."""

    file: PlainJpeg
    channels: int
    depth: int
    by_rows: ClassVar[bool] = True

    @property
    def size(self) -> tuple[int, int]:
        return self.file.size

    def pixels(self, shrinkage: float = 1.0, rows: int | None = None) -> tuple[np.ndarray, Scale]:
        scale = self.file.scale(shrinkage)
        needed = None if rows is None else scaled_rows(rows, 1 / scale)
        image = convert(self.file.read(self.channels, scale, needed), self.channels, self.depth)
        if scale == 1:
            return image, None
        height, width = (side // scale for side in self.size)  # a last pixel that is half outside is left out
        return image[: max(1, height), : max(1, width)], (1 / scale, 1 / scale)

"""The smallest dataset and preprocessing that a loader can use, picklable for worker processes."""

from dataclasses import dataclass, field

import numpy as np
import torch

from hubel.ops.geometry import resizing
from hubel.ops.resize import resize


@dataclass
class ListImages:
    """Images in memory, of any sizes; those in `bad` can't be read, those in `bugs` hit a fault of the code."""

    pixels: list
    bad: tuple = ()
    bugs: tuple = ()

    def __len__(self):
        return len(self.pixels)

    def read(self, i):
        from hubel.data.decode import BadImage

        if i in self.bad:
            raise BadImage("truncated")
        if i in self.bugs:
            raise ZeroDivisionError("oops")
        return self.pixels[i]

    def name(self, i):
        return f"image{i}.png"


@dataclass
class ArrayOf:
    array: np.ndarray

    def __len__(self):
        return len(self.array)

    def read(self, i):
        return self.array[i]

    def name(self, i):
        return f"#{i}"


@dataclass
class Data:
    images: object
    weights: np.ndarray = field(default=None)

    def __post_init__(self):
        if self.weights is None:
            self.weights = np.ones(len(self.images), dtype=np.float32)


@dataclass(frozen=True)
class Stretch:
    """Whole image onto the whole target; pixels stay what they are, as floats."""

    size: tuple[int, int]
    channels: int = 3

    def geometry(self, image):
        return resize(image, self.size), resizing(image.shape[:2], self.size)

    def normalise(self, pixels):
        return pixels.permute(0, 3, 1, 2).to(torch.float32)


def targets(index):
    return torch.from_numpy(np.asarray(index) * 10)


def photos(count: int = 24, channels: int = 3, dtype=np.uint8) -> ListImages:
    """Noise of different sizes, larger and smaller than 20 × 20."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(12, 40, (count, 2))
    top = np.iinfo(dtype).max + 1
    return ListImages([rng.integers(0, top, (h, w, channels)).astype(dtype) for h, w in sizes])


def thumbnails(count: int = 24, side: int = 12, channels: int = 3, dtype=np.uint8) -> ArrayOf:
    rng = np.random.default_rng(1)
    return ArrayOf(rng.integers(0, np.iinfo(dtype).max + 1, (count, side, side, channels)).astype(dtype))

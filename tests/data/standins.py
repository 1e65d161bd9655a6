"""Small datasets for the loader's tests, picklable for worker processes."""

from dataclasses import dataclass

import numpy as np
import torch

from hubel.data.dataset import Dataset
from hubel.data.decode import BadImage
from hubel.data.images import ArrayImages


@dataclass
class ListImages:
    """Images in memory, of any sizes; those in `bad` can't be read, those in `bugs` hit a fault of the code."""

    pixels: list
    bad: tuple = ()
    bugs: tuple = ()

    @property
    def channels(self):
        return self.pixels[0].shape[2]

    @property
    def depth(self):
        return 8 * self.pixels[0].itemsize

    def __len__(self):
        return len(self.pixels)

    def read(self, i):
        if i in self.bad:
            raise BadImage("truncated")
        if i in self.bugs:
            raise ZeroDivisionError("oops")
        return self.pixels[i]

    def name(self, i):
        return f"image{i}.png"

    def sizes(self, most):
        return np.array([image.shape[:2] for image in self.pixels[:most]])

    def digest(self):
        return b""


def dataset(images):
    return Dataset("test", images, {})


def targets(index):
    return torch.from_numpy(np.asarray(index) * 10)


def photos(count: int = 24, channels: int = 3, dtype=np.uint8) -> ListImages:
    """Noise of different sizes, larger and smaller than 20 × 20."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(12, 40, (count, 2))
    top = np.iinfo(dtype).max + 1
    return ListImages([rng.integers(0, top, (h, w, channels)).astype(dtype) for h, w in sizes])


def thumbnails(count: int = 24, side: int = 12, channels: int = 3, dtype=np.uint8) -> ArrayImages:
    rng = np.random.default_rng(1)
    return ArrayImages(rng.integers(0, np.iinfo(dtype).max + 1, (count, side, side, channels)).astype(dtype))

"""What is read, and hubel's three paths: functions from a Work to `epoch(number) -> images read`. Peers: data_peers.py.

Photographs: a folder of JPEG -> batches (B, 224, 224, 3) or (B, 3, 224, 224) uint8, cropped at random (8 % to 100 % of
the area), mirrored half of the time. Full: the same, and all of them turned by up to 15°, sheared by up to 5° in x and
y, brightness, contrast and saturation × 0.6 … 1.4, hue ± 0.05 of the circle. Thumbnails: an array (N, 32, 32, 3) ->
shifted by up to 4 pixels, mirrored. What is done is the same for everybody. Each peer reads as its own documentation
does; what it computes beyond bytes (timm and fastai divide by 255) is left to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Epoch = Callable[[int], int]
SIDE, AREA = 224, (0.08, 1.0)
SHIFT = 4
TURN, SHEAR = 15.0, 5.0  # degrees
JITTER, HUE = 0.4, 0.05  # of brightness, contrast and saturation; of the circle


@dataclass(frozen=True)
class Work:
    """What is read."""

    folder: Path  # folder/even/*.jpg, folder/odd/*.jpg
    pack: Path
    pack_jpeg: Path
    thumbnails: np.ndarray  # (N, 32, 32, 3) uint8
    batch: int
    workers: int  # 0: in the main process
    full: bool = False  # turns, shears and colours too


# hubel ---------------------------------------------------------------------------------------------------------


def _hubel(dataset: Any, work: Work, size: int, augment: Any, path: str) -> Epoch:
    from hubel.data.loader import Loader
    from hubel.data.order import epoch_order
    from hubel.data.preprocess import Preprocess
    from hubel.data.shares import parts_of
    from hubel.placing import keep_memory

    keep_memory()  # as a training does
    index = np.arange(len(dataset))
    preprocess = Preprocess((size, size), 3)
    loader = Loader(dataset, lambda i: i, preprocess, augment=augment, workers=work.workers, path=path)

    def epoch(number: int) -> int:
        order = epoch_order(index, number, 0, "shuffle")
        fetched = loader._fetch(order, number, parts_of(len(order), work.batch))  # before bytes become floats
        return sum(len(one.pixels) for one in fetched)

    return epoch


def augmentation(work: Work) -> Any:
    from hubel.data.augment import Augment
    from hubel.data.geometric import Geometric
    from hubel.data.photometric import Colour

    if not work.full:
        return Augment(crop=AREA, flip="random")
    colours = Colour(brightness=JITTER, contrast=JITTER, saturation=JITTER, hue=HUE)
    turns = Geometric(rotate=TURN, shear=SHEAR)
    return Augment(crop=AREA, flip="random", border="mirror", geometric=turns, colour=colours)


def hubel_decoded(work: Work) -> Epoch:
    from hubel.data.formats import folder

    return _hubel(folder.read(work.folder), work, SIDE, augmentation(work), "decoded")


def hubel_packed(work: Work) -> Epoch:
    from hubel.data.formats import pack

    return _hubel(pack.read(work.pack), work, SIDE, augmentation(work), "packed")


def hubel_packed_jpeg(work: Work) -> Epoch:
    from hubel.data.formats import pack

    return _hubel(pack.read(work.pack_jpeg), work, SIDE, augmentation(work), "packed")


def hubel_resident(work: Work) -> Epoch:
    from hubel.data.augment import Augment
    from hubel.data.dataset import Dataset as Data
    from hubel.data.images import ArrayImages

    data = Data("thumbnails", ArrayImages(work.thumbnails), {})
    return _hubel(data, work, 32, Augment(shift=SHIFT, flip="random"), "resident")


HUBEL = {"hubel decoded": hubel_decoded, "hubel packed": hubel_packed, "hubel packed as JPEG": hubel_packed_jpeg}

"""Who reads: hubel's three paths and the peers, each a function from a Work to `epoch(number) -> images read`.

Photographs: a folder of JPEG -> batches (B, 224, 224, 3) or (B, 3, 224, 224) uint8, cropped at random (8 % to 100 % of
the area), mirrored half of the time. Thumbnails: an array (N, 32, 32, 3) -> shifted by up to 4 pixels, mirrored. Each
peer reads as its own documentation does; what it computes beyond bytes (timm and fastai divide by 255) is left to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from peers import declare_operators
from torch.utils.data import DataLoader, Dataset

Epoch = Callable[[int], int]
SIDE, AREA = 224, (0.08, 1.0)
SHIFT = 4


@dataclass(frozen=True)
class Work:
    """What is read."""

    folder: Path  # folder/even/*.jpg, folder/odd/*.jpg
    pack: Path
    pack_jpeg: Path
    thumbnails: np.ndarray  # (N, 32, 32, 3) uint8
    batch: int
    workers: int  # 0: in the main process


def _count(batches: Any) -> int:
    total = 0
    for batch in batches:
        images = batch[0] if isinstance(batch, (list, tuple)) else batch
        total += len(images)
    return total


# hubel ---------------------------------------------------------------------------------------------------------


def _hubel(dataset: Any, work: Work, size: int, augment: Any, path: str) -> Epoch:
    from hubel.data.loader import Loader
    from hubel.data.order import epoch_order
    from hubel.data.preprocess import Preprocess
    from hubel.data.shares import parts_of
    from hubel.session import keep_memory

    keep_memory()  # as a training does
    index = np.arange(len(dataset))
    preprocess = Preprocess((size, size), 3)
    loader = Loader(dataset, lambda i: i, preprocess, augment=augment, workers=work.workers, path=path)

    def epoch(number: int) -> int:
        order = epoch_order(index, number, 0, "shuffle")
        fetched = loader._fetch(order, number, parts_of(len(order), work.batch))  # before bytes become floats
        return sum(len(one.pixels) for one in fetched)

    return epoch


def hubel_decoded(work: Work) -> Epoch:
    from hubel.data.augment import Augment
    from hubel.data.formats import folder

    return _hubel(folder.read(work.folder), work, SIDE, Augment(crop=AREA, flip="random"), "decoded")


def hubel_packed(work: Work) -> Epoch:
    from hubel.data.augment import Augment
    from hubel.data.formats import pack

    return _hubel(pack.read(work.pack), work, SIDE, Augment(crop=AREA, flip="random"), "packed")


def hubel_packed_jpeg(work: Work) -> Epoch:
    from hubel.data.augment import Augment
    from hubel.data.formats import pack

    return _hubel(pack.read(work.pack_jpeg), work, SIDE, Augment(crop=AREA, flip="random"), "packed")


def hubel_resident(work: Work) -> Epoch:
    from hubel.data.augment import Augment
    from hubel.data.dataset import Dataset as Data
    from hubel.data.images import ArrayImages

    data = Data("thumbnails", ArrayImages(work.thumbnails), {})
    return _hubel(data, work, 32, Augment(shift=SHIFT, flip="random"), "resident")


# The peers -----------------------------------------------------------------------------------------------------


def _loader(dataset: Any, work: Work) -> Epoch:
    loader = DataLoader(
        dataset, work.batch, shuffle=True, num_workers=work.workers, persistent_workers=work.workers > 0,
        worker_init_fn=_one_thread,
    )  # fmt: skip
    return lambda number: _count(loader)


def _one_thread(worker: int) -> None:
    cv2.setNumThreads(0)


def torchvision(work: Work) -> Epoch:
    declare_operators()
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    steps = [v2.RandomResizedCrop(SIDE, scale=AREA, antialias=True), v2.RandomHorizontalFlip(), v2.PILToTensor()]
    return _loader(ImageFolder(str(work.folder), v2.Compose(steps)), work)


class Items(Dataset):
    """Item i, through a function."""

    def __init__(self, items: Any, function: Callable[[Any], Any]):
        self.items, self.function = items, function

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i: int) -> Any:
        return self.function(self.items[i])


class Albumentations:
    """Read with OpenCV, as its documentation does."""

    def __init__(self, steps: Any, read: bool):
        self.steps, self.read = steps, read

    def __call__(self, item: Any) -> torch.Tensor:
        image = cv2.cvtColor(cv2.imread(item), cv2.COLOR_BGR2RGB) if self.read else item
        return torch.from_numpy(np.ascontiguousarray(self.steps(image=image)["image"]))


def _names(work: Work) -> list[str]:
    return sorted(str(path) for path in work.folder.rglob("*.jpg"))


def albumentations(work: Work) -> Epoch:
    import albumentations as package

    steps = package.Compose([package.RandomResizedCrop(size=(SIDE, SIDE), scale=AREA), package.HorizontalFlip(p=0.5)])
    return _loader(Items(_names(work), Albumentations(steps, True)), work)


def timm(work: Work) -> Epoch:
    declare_operators()
    from timm.data import create_dataset, create_loader

    dataset = create_dataset("", root=str(work.folder))
    loader = create_loader(
        dataset, (3, SIDE, SIDE), work.batch, is_training=True, use_prefetcher=False, scale=AREA, hflip=0.5,
        color_jitter=None, num_workers=work.workers, persistent_workers=work.workers > 0, device=torch.device("cpu"),
    )  # fmt: skip
    dropped = len(dataset) % work.batch  # it drops the last batch
    return lambda number: _count(loader) + 0 * dropped


def fastai(work: Work) -> Epoch:
    declare_operators()
    from fastai.vision.all import FlipItem, ImageDataLoaders, RandomResizedCrop

    loaders = ImageDataLoaders.from_folder(
        str(work.folder), valid_pct=0.1, seed=0, bs=work.batch, num_workers=work.workers, shuffle=True,
        item_tfms=[RandomResizedCrop(SIDE, min_scale=AREA[0]), FlipItem(p=0.5)], device=torch.device("cpu"),
    )  # fmt: skip
    return lambda number: _count(loaders.train)


def kornia(work: Work) -> Epoch:
    """Crops of single images, which have different sizes; the mirror in the batch."""
    declare_operators()
    import kornia.augmentation as package

    crop = package.RandomResizedCrop((SIDE, SIDE), scale=AREA, ratio=(3 / 4, 4 / 3))
    flip = package.RandomHorizontalFlip(p=0.5)

    def item(name: str) -> torch.Tensor:
        image = torch.from_numpy(cv2.cvtColor(cv2.imread(name), cv2.COLOR_BGR2RGB)).permute(2, 0, 1)
        return crop(image[None].float().div_(255))[0]

    loader = DataLoader(Items(_names(work), item), work.batch, shuffle=True, num_workers=work.workers)
    return lambda number: _count(flip(batch).mul(255).byte() for batch in loader)


def ffcv(work: Work) -> Epoch:
    """It reads a format of its own; here only to say whether it can be installed."""
    import ffcv.loader  # noqa: F401

    raise NotImplementedError("ffcv is installed, but this benchmark does not write its format yet")


def albumentations_small(work: Work) -> Epoch:
    import albumentations as package

    pad = package.PadIfNeeded(32 + 2 * SHIFT, 32 + 2 * SHIFT, border_mode=cv2.BORDER_CONSTANT)
    steps = package.Compose([pad, package.RandomCrop(32, 32), package.HorizontalFlip(p=0.5)])
    return _loader(Items(work.thumbnails, Albumentations(steps, False)), work)


def torchvision_small(work: Work) -> Epoch:
    declare_operators()
    from torchvision.transforms import v2

    steps = v2.Compose([v2.RandomCrop(32, padding=SHIFT), v2.RandomHorizontalFlip()])
    return _loader(Items(torch.from_numpy(work.thumbnails).permute(0, 3, 1, 2), steps), work)


PHOTOGRAPHS = {
    "hubel decoded": hubel_decoded, "hubel packed": hubel_packed, "hubel packed as JPEG": hubel_packed_jpeg,
    "torchvision": torchvision, "albumentations": albumentations, "timm": timm, "fastai": fastai, "kornia": kornia,
    "ffcv": ffcv,
}  # fmt: skip
THUMBNAILS = {
    "hubel resident": hubel_resident, "albumentations": albumentations_small, "torchvision": torchvision_small,
}  # fmt: skip

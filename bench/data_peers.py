"""The peers of bench/data.py, each `epoch(number) -> images read` made from a Work; what is done: data_readers.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import torch
from data_readers import AREA, HUBEL, HUE, JITTER, SHEAR, SHIFT, SIDE, TURN, Epoch, Work, hubel_resident
from peers import declare_operators
from torch.utils.data import DataLoader, Dataset


def _count(batches: Any) -> int:
    total = 0
    for batch in batches:
        images = batch[0] if isinstance(batch, (list, tuple)) else batch
        total += len(images)
    return total


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

    steps: list[Any] = [v2.RandomResizedCrop(SIDE, scale=AREA, antialias=True), v2.RandomHorizontalFlip()]
    if work.full:  # on PIL's images, which took three quarters of the time of tensors; no border but zeros
        way, shear = v2.InterpolationMode.BILINEAR, [-SHEAR, SHEAR, -SHEAR, SHEAR]
        steps += [v2.RandomAffine(TURN, shear=shear, interpolation=way), v2.ColorJitter(JITTER, JITTER, JITTER, HUE)]
    steps.append(v2.PILToTensor())
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

    steps: list[Any] = [package.RandomResizedCrop(size=(SIDE, SIDE), scale=AREA), package.HorizontalFlip(p=0.5)]
    if work.full:
        low, high = 1 - JITTER, 1 + JITTER
        turn, shear, border = (-TURN, TURN), (-SHEAR, SHEAR), cv2.BORDER_REFLECT
        steps += [
            package.Affine(rotate=turn, shear=shear, border_mode=border, p=1),
            package.ColorJitter((low, high), (low, high), (low, high), (-HUE, HUE), p=1),
        ]
    return _loader(Items(_names(work), Albumentations(package.Compose(steps), True)), work)


def _refuse_full(work: Work, lacks: str) -> None:
    if work.full:
        raise NotImplementedError(f"left out: it has no {lacks}")


def timm(work: Work) -> Epoch:
    _refuse_full(work, "turn and shear of a given range outside of its own policies")
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
    _refuse_full(work, "shear")
    declare_operators()
    from fastai.vision.all import FlipItem, ImageDataLoaders, RandomResizedCrop

    loaders = ImageDataLoaders.from_folder(
        str(work.folder), valid_pct=0.1, seed=0, bs=work.batch, num_workers=work.workers, shuffle=True,
        item_tfms=[RandomResizedCrop(SIDE, min_scale=AREA[0]), FlipItem(p=0.5)], device=torch.device("cpu"),
    )  # fmt: skip
    return lambda number: _count(loaders.train)


def kornia(work: Work) -> Epoch:
    """Crops of single images, which have different sizes; everything else in the batch."""
    declare_operators()
    import kornia.augmentation as package

    crop = package.RandomResizedCrop((SIDE, SIDE), scale=AREA, ratio=(3 / 4, 4 / 3))
    steps: list[Any] = [package.RandomHorizontalFlip(p=0.5)]
    if work.full:
        shear = (-SHEAR, SHEAR, -SHEAR, SHEAR)
        steps += [
            package.RandomAffine(TURN, shear=shear, padding_mode="reflection", p=1.0),
            package.ColorJitter(JITTER, JITTER, JITTER, HUE, p=1.0),
        ]
    batched = torch.nn.Sequential(*steps)

    def item(name: str) -> torch.Tensor:
        image = torch.from_numpy(cv2.cvtColor(cv2.imread(name), cv2.COLOR_BGR2RGB)).permute(2, 0, 1)
        return crop(image[None].float().div_(255))[0]

    loader = DataLoader(Items(_names(work), item), work.batch, shuffle=True, num_workers=work.workers)
    return lambda number: _count(batched(batch).mul(255).byte() for batch in loader)


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


def decoding(work: Work) -> Epoch:
    """No peer but a limit: OpenCV's decoding of whole files, and nothing else."""
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    return _loader(Items(_names(work), lambda name: (cv2.imread(name, flags), 0)[1]), work)


PHOTOGRAPHS = {
    **HUBEL, "decoding alone": decoding, "torchvision": torchvision, "albumentations": albumentations, "timm": timm,
    "fastai": fastai, "kornia": kornia, "ffcv": ffcv,
}  # fmt: skip
THUMBNAILS = {
    "hubel resident": hubel_resident, "albumentations": albumentations_small, "torchvision": torchvision_small,
}  # fmt: skip

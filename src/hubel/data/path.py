"""Which of three ways images take to the network: resident, packed or decoded; chosen by size, with the reason."""

from __future__ import annotations

import numpy as np
import torch

from hubel.data.apply import not_at_once
from hubel.data.augment import Augment
from hubel.data.dataset import Dataset
from hubel.data.memory import free_memory
from hubel.data.packed import PackedImages
from hubel.data.preprocess import Preprocess

LARGEST = 64  # pixels: images up to this side may be resident
SHARE = 1 / 4  # of the free memory that they may take
SAMPLE = 200  # images that are looked at to learn the sizes of a folder
PATHS = ("resident", "packed", "decoded")


def choose_path(
    dataset: Dataset, preprocess: Preprocess, device: torch.device | str, augment: Augment | None = None
) -> tuple[str, str]:
    """ "resident", "packed" or "decoded", and why: resident are same-size images up to 64 px in at most ¼ of memory."""
    packed = isinstance(dataset.images, PackedImages)
    other, ready = ("packed", ", and stand ready in a pack") if packed else ("decoded", "")
    sizes = dataset.images.sizes(SAMPLE)
    if len(np.unique(sizes, axis=0)) > 1:
        return other, f"the images have different sizes{ready}"
    if augment is not None and augment.crop and (sizes != preprocess.size).any():
        return other, f"random crops are cut from images of full size{ready}"
    if augment is not None and (reason := _one_by_one(augment, torch.device(device), preprocess.depth)):
        return "decoded", reason
    side = max(*preprocess.size, *sizes.ravel().tolist())
    if side > LARGEST:
        return other, f"images of {side} pixels{ready}; up to {LARGEST} would be kept on the device"
    needed = _bytes(dataset, preprocess)
    free = free_memory(device)
    mega = f"{needed / 2**20:,.0f} MiB of {free / 2**20:,.0f} MiB free"
    if needed > SHARE * free:
        return other, f"keeping all images on the device would take {mega}, more than a quarter"
    return "resident", f"all images fit on the device: {mega}"


def _one_by_one(augment: Augment, device: torch.device, depth: int) -> str:
    """Why these changes are done image by image, by the processor; "" where the device can do them."""
    if not augment.collage.plain and device.type != "cpu":
        return "mosaics and copied objects are put together image by image, by the processor"
    return not_at_once(augment, device, depth)


def _bytes(dataset: Dataset, preprocess: Preprocess) -> int:
    """What all images take once resident; 16 bits become int32."""
    height, width = preprocess.size
    return len(dataset.images) * height * width * preprocess.channels * (1 if preprocess.depth == 8 else 4)

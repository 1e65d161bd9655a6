"""Several views of the same images, whose predictions are averaged: mirrors and crops (arXiv:1409.1556, section 3.2).

"single": the image. "mirror": and its mirror. "shifts": both, and both again one pixel up and left, and one down and
right, the border repeated (for small images; arXiv:2404.00498, section 3.5 averages the same six). "crops": the image,
its four corners and its middle, each 7/8 of the sides, enlarged to the input's size. "ten": the five crops and their
mirrors, without the whole image, as AlexNet was judged.
A crop is enlarged from the pixels that the network sees, not read anew.

Images (B, C, H, W) float32, channels_last.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from hubel.recipe import VIEWS
from hubel.types import Batch

PART = 7 / 8  # of each side: 224 of 256 pixels


def views_of(batch: Batch, views: str) -> list[Batch]:
    """The batch as each view shows it; `views` is one of VIEWS."""
    if views == "single":
        return [batch]
    if views == "mirror":
        return [batch, mirrored(batch)]
    if views == "shifts":
        moved = [batch, shifted(batch, -1), shifted(batch, 1)]
        return [*moved, *map(mirrored, moved)]
    crops = [crop(batch, x, y) for x, y in ((0, 0), (1, 0), (0, 1), (1, 1), (0.5, 0.5))]
    if views == "crops":
        return [batch, *crops]
    if views == "ten":
        return [*crops, *map(mirrored, crops)]
    raise ValueError(f"views is one of {', '.join(VIEWS)}; got {views!r}")


def move_of(batch: Batch, view: Batch) -> Tensor:
    """(3, 3): pixels of the batch's images -> pixels of a view of them, the same for all images."""
    return (view.matrices[0].double() @ torch.linalg.inv(batch.matrices[0].double())).to(batch.matrices)


def mirrored(batch: Batch) -> Batch:
    """Left and right exchanged, in pixels and matrices."""
    images = batch.images.flip(-1).contiguous(memory_format=torch.channels_last)
    turn = torch.eye(3).to(batch.matrices)
    turn[0, 0], turn[0, 2] = -1, images.shape[3]
    return replace(batch, images=images, matrices=turn @ batch.matrices)


def shifted(batch: Batch, by: int) -> Batch:
    """The content `by` pixels further right and down (left and up where negative)."""
    height, width = batch.images.shape[2:]
    start = max(0, -by)
    padded = F.pad(batch.images, (abs(by),) * 4, mode="replicate")
    rows, columns = (slice(2 * start, 2 * start + side) for side in (height, width))
    move = torch.eye(3).to(batch.matrices)
    move[0, 2] = move[1, 2] = by
    images = padded[:, :, rows, columns].contiguous(memory_format=torch.channels_last)
    return replace(batch, images=images, matrices=move @ batch.matrices)


def crop(batch: Batch, x: float, y: float) -> Batch:
    """PART of each side, enlarged to the whole; (0, 0) is the top left corner, (1, 1) the bottom right one."""
    height, width = batch.images.shape[2:]
    h, w = max(1, round(PART * height)), max(1, round(PART * width))
    top, left = round(y * (height - h)), round(x * (width - w))
    part = batch.images[:, :, top : top + h, left : left + w]
    images = F.interpolate(part, size=(height, width), mode="bilinear", align_corners=False)
    zoom = torch.eye(3).to(batch.matrices)
    zoom[0, 0], zoom[1, 1] = width / w, height / h
    zoom[0, 2], zoom[1, 2] = -left * width / w, -top * height / h
    return replace(batch, images=images.contiguous(memory_format=torch.channels_last), matrices=zoom @ batch.matrices)

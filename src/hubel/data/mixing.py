"""Two images in one: mixup, s · a + (1 − s) · b (arXiv:1710.09412), and CutMix, a piece of b in a (arXiv:1905.04899).

The partner of slot i is slot i XOR 1, in the same batch (batches are even; the odd one at an epoch's end stays as it
is). Each image keeps the larger share of itself, s ≥ ½: the pair as a whole is distributed as in the papers, and a
score against the own target keeps its meaning. The target becomes (own, partner's, s), see `types.Mix`.

Images (B, C, H, W) float, after normalisation: both are linear, so nothing is rounded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from hubel.data.draws import symmetric_beta, uniform
from hubel.errors import UserError
from hubel.types import Batch, Mix, select


@dataclass(frozen=True, eq=False)
class Pairs:
    """What was drawn for B images."""

    partner: np.ndarray  # (B,) int64 row in the batch; its own where it stays as it is
    share: np.ndarray  # (B,) float64 in [½, 1]: of the own target
    blend: np.ndarray  # (B,) float64: the own image's weight in every pixel; 1 where rectangles are pasted
    boxes: np.ndarray  # (B, 4) int64 x0, y0, x1, y1 of the pasted rectangle; x0 = x1: none

    @property
    def plain(self) -> bool:
        """Whether nothing is mixed."""
        return bool((self.share == 1).all())

    def without(self, rows: np.ndarray) -> Pairs:
        """The images at `rows` (B,) bool stay as they are: a partner could not be read, say."""
        own = np.arange(len(rows))
        return Pairs(
            np.where(rows, own, self.partner),
            np.where(rows, 1.0, self.share),
            np.where(rows, 1.0, self.blend),
            np.where(rows[:, None], 0, self.boxes),
        )


@dataclass(frozen=True)
class Mixing:
    """How strongly images are mixed; 0 leaves a way out, and of both each image gets one at random.

    `mixup` and `cutmix` are the α of Beta(α, α), the distribution of the share: 0.2 mixes most images a little, 1 any
    share alike. `mixed` is the share of the images that are mixed at all. `blend` is the largest share of a background
    out of `backgrounds`, a folder or "noise": see data/backgrounds.py.
    """

    mixup: float = 0.0
    cutmix: float = 0.0
    mixed: float = 1.0
    blend: float = 0.0
    backgrounds: str = ""

    def __post_init__(self) -> None:
        for name in ("mixup", "cutmix"):
            if not 0 <= getattr(self, name) <= 32:
                raise UserError(f"{name} is the α of Beta(α, α), from 0 to 32; got {getattr(self, name)}")
        if not 0 <= self.mixed <= 1:
            raise UserError(f"mixed is a share of the images, from 0 to 1; got {self.mixed}")
        if not 0 <= self.blend < 1:
            raise UserError(f"blend is the largest share of a background, from 0 up to 1; got {self.blend}")
        if self.blend and not self.backgrounds:
            raise UserError("blend needs augment.backgrounds: a folder of pictures, or 'noise'")

    @property
    def plain(self) -> bool:
        """Whether no image is mixed with another of the batch."""
        return not (self.mixup or self.cutmix) or not self.mixed

    def draw(self, seed: int, epoch: int, slots: np.ndarray, size: tuple[int, int]) -> Pairs:
        """For the slots (B,) of one batch; images of size (height, width)."""
        partner = partners(slots)
        u = uniform(seed, epoch, slots, "mixing", 2)
        pasted = u[:, 1] * (self.mixup > 0) + (self.mixup == 0) >= 0.5 if self.cutmix else np.zeros(len(slots), bool)
        share = np.ones(len(slots))
        for name, alpha, rows in (("mixup", self.mixup, ~pasted), ("cutmix", self.cutmix, pasted)):
            if alpha:
                drawn = symmetric_beta(uniform(seed, epoch, slots, name, 1)[:, 0], alpha)
                share[rows] = np.maximum(drawn, 1 - drawn)[rows]
        boxes = np.where(pasted[:, None], _boxes(seed, epoch, slots, share, size), 0)
        area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        exact = np.where(pasted, 1 - area / (size[0] * size[1]), share)
        pairs = Pairs(partner, exact, np.where(pasted, 1.0, share), boxes)
        return pairs.without((u[:, 0] >= self.mixed) | (partner == np.arange(len(slots))))


def partners(slots: np.ndarray) -> np.ndarray:
    """(B,) the row of each slot's partner, slot XOR 1, among the slots; its own row where it is not there."""
    other, rising = slots ^ 1, np.argsort(slots, kind="stable")
    row = rising[np.minimum(np.searchsorted(slots, other, sorter=rising), len(slots) - 1)]
    return np.where(slots[row] == other, row, np.arange(len(slots)))


def _boxes(seed: int, epoch: int, slots: np.ndarray, share: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(B, 4) rectangles of the image's proportions with about 1 − share of its area, anywhere inside of it."""
    extent = np.sqrt(1 - share)[:, None] * [size[1], size[0]]
    extent = np.clip(np.rint(extent), 0, [size[1], size[0]])
    corner = np.floor(uniform(seed, epoch, slots, "cutmix place", 2) * ([size[1], size[0]] - extent + 1))
    return np.concatenate([corner, corner + extent], axis=1).astype(np.int64)


def mix(images: Tensor, pairs: Pairs) -> Tensor:
    """(B, C, H, W) -> the same; the partners are taken as they come in, not mixed themselves."""
    if pairs.plain:
        return images
    rows = np.flatnonzero(pairs.share < 1)
    others = images[torch.from_numpy(pairs.partner[rows]).to(images.device)]
    index = torch.from_numpy(rows).to(images.device)
    weight = torch.from_numpy(pairs.blend[rows]).to(images)[:, None, None, None]
    mixed = torch.lerp(others, images[index], weight)
    _paste(mixed, others, pairs.boxes[rows])
    return images.clone().index_copy_(0, index, mixed)  # the clone keeps channels last


def _paste(images: Tensor, others: Tensor, boxes: np.ndarray) -> None:
    if images.device.type == "cpu":
        for image, other, (x0, y0, x1, y1) in zip(images, others, boxes.tolist(), strict=True):
            image[:, y0:y1, x0:x1] = other[:, y0:y1, x0:x1]
        return
    x0, y0, x1, y1 = torch.from_numpy(boxes).to(images.device).T[:, :, None]
    y, x = (torch.arange(n, device=images.device) for n in images.shape[2:])
    inside = ((y >= y0) & (y < y1))[:, None, :, None] & ((x >= x0) & (x < x1))[:, None, None, :]
    images.copy_(torch.where(inside, others, images))


def mix_batch(batch: Batch, mixing: Mixing, seed: int, epoch: int, slots: np.ndarray) -> Batch:
    """Images mixed with their partners'; one that could not be read is mixed into none, and stays as it is."""
    if mixing.plain:
        return batch
    pairs = mixing.draw(seed, epoch, slots, (batch.images.shape[2], batch.images.shape[3]))
    lost = batch.weights.cpu().numpy() <= 0
    pairs = pairs.without(lost | lost[pairs.partner])
    share = torch.from_numpy(pairs.share).to(batch.weights)
    other = Mix(select(batch.targets, torch.from_numpy(pairs.partner)), share)
    return replace(batch, images=mix(batch.images, pairs), mix=other)

"""Throwaway tasks that strain the Task protocol: each is the smallest thing that has the awkward property.

Two-stage detector: two passes, proposals sampled from targets between them, packed boxes. GAN: two players. Triplets:
own order, mined inside the loss. Pixels: ragged counts. None of them is a usable implementation. Of what they predict
only the loss is told, example by example: enough to choose weights by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from small_parts import Small, make_batch
from torch import Tensor, nn

from hubel.ops import losses
from hubel.predictions import Predictions
from hubel.tasks.base import Player, Task
from hubel.tasks.classification import Classification
from hubel.tasks.joint import Joint
from hubel.tasks.regression import Regression
from hubel.training.step import value
from hubel.types import Batch, Term

SIDE, CELLS = 8, 4  # pixels, cells of the map per side


def batch_of(targets: Any, n: int) -> Batch:
    """Noise (n, 1, SIDE, SIDE) with these targets."""
    return make_batch(torch.randn(n, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(n)).double(), targets)


@dataclass(frozen=True)
class Losses(Predictions):
    """The loss of each example alone, (B,)."""

    values: Tensor


class MeanLoss:
    """The mean of `Losses`, as {"loss": value}."""

    def __init__(self) -> None:
        self.total = torch.zeros(2, dtype=torch.float64)  # sum, count

    def update(self, predictions: Losses, targets: Any, weights: Tensor | None = None) -> None:
        self.total += torch.stack([predictions.values.double().sum(), torch.tensor(float(len(predictions)))])

    def compute(self) -> dict[str, float]:
        return {"loss": float(self.total[0] / self.total[1])}

    def state(self) -> dict[str, Tensor]:
        return {"total": self.total}

    def load(self, state: Mapping[str, Tensor]) -> None:
        self.total = state["total"].clone()

    def merge(self, state: Mapping[str, Tensor]) -> None:
        self.total += state["total"]


class Proof(Task):
    """Base of the throwaway tasks."""

    def predict(self, network: Any, batch: Batch, outputs: Any = None) -> Losses:
        found = [player.loss for player in self.players()] or [self.loss]
        parts = [batch.part(i, i + 1) for i in range(len(batch))]
        return Losses(torch.stack([sum(value(t) for loss in found for t in loss(network, p).values()) for p in parts]))

    def metric(self) -> MeanLoss:
        return MeanLoss()


# A two-stage detector ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Packed:
    """Boxes of all images in one list: boxes (N, 4) xyxy, labels (N,), image (N,) = position in the batch of B."""

    boxes: Tensor
    labels: Tensor
    image: Tensor
    count: int

    def part(self, start: int, stop: int) -> Packed:
        rows = (self.image >= start) & (self.image < stop)
        size = min(stop, self.count) - start
        return Packed(self.boxes[rows], self.labels[rows], self.image[rows] - start, size)


class TwoStage(nn.Module):
    """One score and one box per cell, then a classifier of the cells that were chosen."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.body = nn.Conv2d(1, 6, 2, 2)
        self.first = nn.Conv2d(6, 5, 1)
        self.second = nn.Linear(6, 3)
        self.double()

    def maps(self, images: Tensor) -> list[Tensor]:
        return [self.body(images).tanh()]


@dataclass(frozen=True)
class Detection(Proof):
    """Objectness and boxes of every cell; classes of the proposals that the targets and the scores choose."""

    keep: int = 3  # the best proposals of each image, beside those that hold an object

    name = "two-stage detection"

    def targets(self, dataset: Any, index: np.ndarray) -> Packed:
        """From (N, M, 5): boxes and labels, NaN where an image has fewer than M."""
        rows = torch.as_tensor(dataset.annotations["boxes"][index])
        image, place = (~rows[..., 0].isnan()).nonzero(as_tuple=True)
        found = rows[image, place]
        return Packed(found[:, :4], found[:, 4].long(), image, len(index))

    def loss(self, network: Any, batch: Batch) -> dict[str, Term]:
        (maps,) = network.maps(batch.images)
        proposals = network.first(maps).flatten(2).transpose(1, 2)  # (B, cells, 5)
        owner = self.assign(batch.targets, len(batch))  # (B, cells): the box in that cell, or −1
        objects = owner >= 0
        boxes = batch.targets.boxes[owner[objects]].double()
        chosen = self.sample(proposals[..., 0], objects)
        labels = torch.where(objects, batch.targets.labels[owner.clamp(min=0)] if len(boxes) else 0, 2)
        logits = network.second(maps.flatten(2).transpose(1, 2)[chosen])  # the second pass sees the samples only
        nats = losses.cross_entropy(logits, labels[chosen]) if chosen.any() else logits.sum(1)
        found = losses.huber(proposals[..., 1:][objects], boxes / SIDE)
        return {
            "objectness": Term(losses.binary_cross_entropy(proposals[..., 0], objects).sum(), objects.numel()),
            "box": Term(found.sum(), found.numel(), weight=2.0),
            "class": Term(nats.sum(), int(chosen.sum())),
        }

    def assign(self, targets: Packed, count: int) -> Tensor:
        owner = torch.full((count, CELLS * CELLS), -1)
        centres = (targets.boxes[:, :2] + targets.boxes[:, 2:]) / 2 / SIDE * CELLS
        cell = centres[:, 1].long() * CELLS + centres[:, 0].long()
        owner[targets.image, cell] = torch.arange(len(cell))
        return owner

    def sample(self, scores: Tensor, objects: Tensor) -> Tensor:
        """Bool (B, cells): a function of each image alone, so that micro-batches sample the same."""
        best = torch.zeros_like(objects).scatter(1, scores.detach().topk(self.keep, 1).indices, True)
        return best | objects


def detection_batch() -> Batch:
    """Six images with 2, 0, 1, 3, 0, 1 boxes."""
    draws = torch.Generator().manual_seed(0)
    image = torch.tensor([0, 0, 2, 3, 3, 3, 5])
    cells = torch.tensor([1, 9, 4, 0, 7, 13, 15])
    corner = torch.stack([cells % CELLS, cells // CELLS], 1) * (SIDE / CELLS)
    grow = torch.rand(7, 2, generator=draws)
    boxes = torch.cat([corner + 1 - grow, corner + 1 + grow], 1)
    return batch_of(Packed(boxes, torch.arange(7) % 2, image, 6), 6)


# A GAN ------------------------------------------------------------------------------------------------------


class Gan(nn.Module):
    """Noise (B, 4) -> images, and images -> one logit; it has no maps and no head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.generator = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, SIDE * SIDE))
        self.critic = nn.Sequential(nn.Linear(SIDE * SIDE, 16), nn.Tanh(), nn.Linear(16, 1))
        self.double()


@dataclass(frozen=True)
class Adversarial(Proof):
    """Two players: the critic tells real from made, the generator is scored by the critic."""

    name = "adversarial"

    def targets(self, dataset: Any, index: np.ndarray) -> None:
        return None

    def players(self) -> tuple[Player, ...]:
        def of(part: str):
            return lambda network: getattr(network, part).parameters()

        return Player("critic", of("critic"), self.critic_loss), Player("generator", of("generator"), self.fool_loss)

    def made(self, network: Any, batch: Batch) -> Tensor:
        return network.generator(batch.images.flatten(1)[:, :4])  # pixels as noise: a pure function of the batch

    def critic_loss(self, network: Any, batch: Batch) -> dict[str, Term]:
        real = network.critic(batch.images.flatten(1))
        made = network.critic(self.made(network, batch).detach())
        nats = losses.binary_cross_entropy(real, torch.ones_like(real)), losses.binary_cross_entropy(made, made * 0)
        return {"critic": Term(sum(n.sum() for n in nats), 2 * len(batch))}

    def fool_loss(self, network: Any, batch: Batch) -> dict[str, Term]:
        made = network.critic(self.made(network, batch))
        return {"fool": Term(losses.binary_cross_entropy(made, torch.ones_like(made)).sum(), len(batch))}


# Triplets ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Triplets(Proof):
    """Hardest positive and negative of each example of the batch; batches are P identities by K images."""

    identities: int = 3
    images: int = 2
    margin: float = 0.2

    name = "triplets"

    def order(self, dataset: Any, index: np.ndarray, epoch: int, seed: int) -> np.ndarray:
        """Groups of K images of one identity, P different identities in a row; what does not fill one is left out."""
        draws = np.random.default_rng((seed, epoch))
        labels = np.asarray(dataset.annotations[self.target])
        rows = {k: list(draws.permutation(index[labels[index] == k])) for k in np.unique(labels[index])}
        order: list[int] = []
        while True:
            ready = [k for k, left in rows.items() if len(left) >= self.images]
            if len(ready) < self.identities:
                return np.array(order, dtype=np.int64)
            for k in draws.choice(ready, self.identities, replace=False):
                order += [int(rows[k].pop()) for _ in range(self.images)]

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, Term]:
        points = F.normalize(network(batch.images), dim=1)
        apart = (points[:, None] - points[None]).square().sum(2)
        same = batch.targets[:, None] == batch.targets[None]
        itself = torch.eye(len(points), dtype=torch.bool)
        farthest = apart.masked_fill(~same | itself, -1).amax(1)
        nearest = apart.masked_fill(same, torch.inf).amin(1)
        has = (same & ~itself).any(1) & (~same).any(1)
        values = torch.where(has, farthest - torch.where(has, nearest, 0) + self.margin, 0).relu()
        return {"triplet": Term(values.sum(), has.sum())}


# Ignored pixels ---------------------------------------------------------------------------------------------


class Dense(nn.Module):
    """(B, 1, H, W) -> (B, 3, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.layers = nn.Sequential(nn.Conv2d(1, 5, 3, padding=1), nn.Tanh(), nn.Conv2d(5, 3, 1))
        self.double()

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


@dataclass(frozen=True)
class Pixels(Proof):
    """A class for each pixel; 255 is ignored, so that every image counts another number of pixels."""

    name = "pixels"
    target = "pixels"

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, Term]:
        nats = F.cross_entropy(network(batch.images), batch.targets, ignore_index=255, reduction="sum")
        return {"cross_entropy": Term(nats, (batch.targets != 255).sum())}


def pixel_batch() -> Batch:
    """Six images, of which the second has no labelled pixel at all."""
    draws = torch.Generator().manual_seed(0)
    targets = torch.randint(0, 3, (6, SIDE, SIDE), generator=draws)
    for i, share in enumerate((0.1, 1.0, 0.5, 0.9, 0.0, 0.97)):
        targets[i][torch.rand(SIDE, SIDE, generator=draws) < share] = 255
    return batch_of(targets, 6)


# A Joint task with missing objects --------------------------------------------------------------------------


def localisation() -> Joint:
    """What it is and where; where there is none there is no box."""
    edges = tuple(tuple(float(v) for _ in range(4)) for v in (4.0, 2.0, 0.0, 8.0))
    box = Regression(names=("x0", "y0", "x1", "y1"), error="huber", statistics=edges)
    return Joint({"kind": Classification(("cat", "dog", "nothing")), "box": box}, weights={"box": 3.0})


def localisation_batch() -> Batch:
    """Six images; objects in the second and the fourth only, what stands for a box in the others must not count."""
    kind = torch.tensor([2, 0, 2, 1, 2, 2])
    found, everywhere = kind != 2, torch.ones(6, dtype=torch.bool)
    box = torch.where(found[:, None], torch.arange(24.0).reshape(6, 4) / 3, 999.0)
    return batch_of({"kind": {"target": kind, "valid": everywhere}, "box": {"target": box, "valid": found}}, 6)


PROOFS: dict[str, Any] = {
    "two-stage detector": (lambda task: TwoStage(), Detection(), detection_batch),
    "GAN": (lambda task: Gan(), Adversarial(), lambda: batch_of(None, 6)),
    "joint with missing objects": (lambda task: Small(task, SIDE), localisation(), localisation_batch),
    "ignored pixels": (lambda task: Dense(), Pixels(), pixel_batch),
}

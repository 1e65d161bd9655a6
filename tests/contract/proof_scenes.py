"""Throwaway tasks with targets that lie in the image, in the trainer's own loop: boxes, and a class for every pixel.

All that they say of it is `target`: the column. The loader does the rest, scenes of several images included.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from proofs import Proof
from torch import Tensor, nn

from hubel.data.loader import Loader
from hubel.data.preprocess import Preprocess
from hubel.data.shapes import shapes
from hubel.ops import losses
from hubel.parts import make_augment
from hubel.recipe import AugmentOptions, OptimizerOptions, Recipe, RegularizeOptions, ScheduleOptions
from hubel.training.feed import Data
from hubel.training.loop import Loop
from hubel.types import Batch, Boxes, Term

SIDE, STRIDE, KINDS = 32, 4, 3
CELLS = SIDE // STRIDE
TRAIN, DEV = 36, 12


class Maps(nn.Module):
    """(B, 3, 32, 32) -> (B, outputs, 8, 8)."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        torch.manual_seed(3)
        body = [nn.Conv2d(3, 16, 4, 4), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()]
        self.layers = nn.Sequential(*body, nn.Conv2d(16, outputs, 1))

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


@dataclass(frozen=True)
class Cells(Proof):
    """In every cell of the map: is an object's centre here, of which kind, and how large is it?"""

    name = "cells"
    target = "objects"
    outputs = 1 + KINDS + 2

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, Term]:
        found, targets = network(batch.images), batch.targets
        assert isinstance(targets, Boxes) and targets.count == len(batch)
        middle = (targets.boxes[:, :2] + targets.boxes[:, 2:]) / 2
        x, y = (middle / STRIDE).long().clamp(0, CELLS - 1).T
        here = torch.zeros(len(batch), CELLS, CELLS)
        here[targets.image, y, x] = 1
        own = found[targets.image, :, y, x]  # (M, outputs)
        sides = (targets.boxes[:, 2:] - targets.boxes[:, :2]) / SIDE
        nats = losses.cross_entropy(own[:, 1 : 1 + KINDS], targets.labels) if len(own) else own.sum(1)
        return {
            "objectness": Term(losses.binary_cross_entropy(found[:, 0], here).sum(), here.numel()),
            "kind": Term(nats.sum(), len(own)),
            "size": Term(losses.huber(own[:, 1 + KINDS :], sides).sum(), 2 * len(own)),
        }


@dataclass(frozen=True)
class Classes(Proof):
    """A class for every pixel, of the map enlarged to the image."""

    name = "classes"
    target = "mask"
    outputs = KINDS + 1

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, Term]:
        logits = F.interpolate(network(batch.images), scale_factor=STRIDE, mode="nearest")
        values = batch.targets.values.long()
        nats = F.cross_entropy(logits, values, ignore_index=255, reduction="sum")
        return {"cross_entropy": Term(nats, (values != 255).sum())}


TASKS = {"boxes": Cells(), "pixels": Classes()}
SCENES = AugmentOptions(shift=2, flip="random", rotate=10.0, mosaic=0.5, copy_paste=0.5)
RULE = OptimizerOptions(name="adam", lr=0.003)


def make_loop(
    name: str, folder: Path, path: str = "resident", workers: int = 0, augment: AugmentOptions = SCENES, **options: Any
) -> Loop:
    task, data = TASKS[name], shapes(TRAIN + DEV, SIDE, classes=KINDS, most=3)
    data = data.with_splits({"train": np.arange(TRAIN), "dev": np.arange(TRAIN, TRAIN + DEV)})
    preprocess = Preprocess.choose(data).with_statistics((0.5,) * 3, (0.25,) * 3)
    recipe = Recipe(
        batch_size=12, precision="fp32", schedule=ScheduleOptions(name="constant"), optimizer=RULE, augment=augment,
        regularize=RegularizeOptions(ema=0.0), **{"epochs": 3, **options},
    )  # fmt: skip

    def targets(index: np.ndarray) -> Any:
        return task.targets(data, index)

    drawn = make_augment(recipe, preprocess, data, task)
    train = Loader(data, targets, preprocess, augment=drawn, seed=recipe.seed, path=path, workers=workers)
    plain = Loader(data, targets, preprocess, path=path, like=train)
    feed = Data(data, train, plain, data.splits)
    return Loop(Maps(task.outputs), task, feed, recipe, folder)

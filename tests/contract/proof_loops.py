"""The proofs in the trainer's own loop: epochs, evaluation, checkpoints; alone, resumed, and in two processes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from proofs import CELLS, PROOFS, SIDE, Dense, Triplets
from torch import nn

from hubel.data.dataset import Dataset
from hubel.data.images import ArrayImages
from hubel.data.loader import Loader
from hubel.data.preprocess import Preprocess
from hubel.recipe import OptimizerOptions, Recipe, RegularizeOptions, ScheduleOptions
from hubel.tasks.segmentation import Segmentation
from hubel.training.feed import Data
from hubel.training.loop import Loop

N, TRAIN = 24, 18
CONSTANT = ScheduleOptions(name="constant")
STEPS = 3  # an epoch: batches of six


def embedding(task: Any) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 5))


MASKS = Segmentation(("a", "b", "c"), dice=0.5, class_weights=(1.0, 2.0, 0.5))  # no throwaway: the task itself
SUMS = {**{name: proof[:2] for name, proof in PROOFS.items()}, "segmentation": (lambda task: Dense(), MASKS)}
ALL = {**SUMS, "triplets": (embedding, Triplets())}  # SUMS: those whose loss is a sum over examples


@dataclass(frozen=True)
class Drawn:
    """Masks in memory: (N, H, W) uint8, 255 is ignored."""

    masks: np.ndarray
    classes: tuple[str, ...] = MASKS.classes

    def __len__(self) -> int:
        return len(self.masks)

    def read(self, i: int) -> np.ndarray:
        return self.masks[i]

    def take(self, index: np.ndarray) -> Drawn:
        return Drawn(self.masks[index])


def dataset(name: str) -> Dataset:
    """Noise with the annotations that the proof asks for; every third image has no object."""
    random = np.random.default_rng(0)
    labels = np.arange(N) % 3
    columns: dict[str, np.ndarray] = {"label": labels}
    if name == "ignored pixels":
        columns["pixels"] = random.integers(0, 3, (N, SIDE, SIDE))
        columns["pixels"][random.random((N, SIDE, SIDE)) < random.random((N, 1, 1))] = 255
        columns["pixels"][::5] = 255
    elif name == "segmentation":
        masks = random.integers(0, 3, (N, SIDE, SIDE), dtype=np.uint8)
        masks[random.random(masks.shape) < random.random((N, 1, 1))] = 255
        masks[::5] = 255
        columns["mask"] = Drawn(masks)  # type: ignore[assignment]
    elif name == "joint with missing objects":
        columns["numbers"] = random.uniform(0, SIDE, (N, 4)).astype(np.float32)
        columns["numbers.valid"] = labels != 2
    elif name == "two-stage detector":
        columns["boxes"] = boxes(random)
    elif name == "triplets":
        columns["label"] = random.permutation(np.repeat(np.arange(5), [9, 6, 4, 4, 1]))
    images = ArrayImages(random.integers(0, 256, (N, SIDE, SIDE, 1), dtype=np.uint8))
    index = np.arange(N)
    return Dataset("noise", images, columns, tuple("abcde"), {"train": index[:TRAIN], "dev": index[TRAIN:]})


def boxes(random: np.random.Generator) -> np.ndarray:
    """(N, 3, 5): none to three boxes of one cell each, xyxy and the label; NaN where there are fewer."""
    found = np.full((N, 3, 5), np.nan, dtype=np.float32)
    for i in range(N):
        cells = random.choice(CELLS * CELLS, i % 4, replace=False)
        corner = np.stack([cells % CELLS, cells // CELLS], 1) * SIDE / CELLS
        found[i, : i % 4] = np.concatenate([corner, corner + 2, random.integers(0, 2, (i % 4, 1))], 1)
    return found


def make_loop(name: str, folder: Path, callbacks: Any = (), **options: Any) -> Loop:
    make, task = ALL[name]
    data = dataset(name)
    preprocess = Preprocess.choose(data, size=None, policy=None).with_statistics((0.5,), (0.25,))
    loader = Loader(data, lambda index: task.targets(data, index), preprocess, device="cpu")
    rule = OptimizerOptions(name="momentum", lr=0.02)
    options = {"regularize": RegularizeOptions(ema=0.9), **options}
    recipe = Recipe(epochs=3, batch_size=N // 4, precision="fp32", schedule=CONSTANT, optimizer=rule, **options)
    network = make(task).float()
    return Loop(network, task, Data(data, loader, loader, data.splits), recipe, folder, callbacks)


def one_of_two(rank: int, folder: str) -> None:
    """A process of two: every task whose loss is a sum over examples, whole batches and images one by one."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    for name in SUMS:
        for micro in (None, 1):
            make_loop(name, Path(folder) / f"{name} {micro}", micro_batch=micro).run()
    dist.barrier()  # neither closes its connections while the other still uses them
    dist.destroy_process_group()

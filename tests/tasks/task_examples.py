"""A small dataset with every kind of annotation, a small network, and one example of every task."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from small_parts import make_batch
from torch import Tensor

from hubel.data.dataset import Dataset
from hubel.data.images import ArrayImages
from hubel.tasks.base import Task
from hubel.tasks.binary import Binary
from hubel.tasks.classification import Classification
from hubel.tasks.hierarchical import Hierarchical
from hubel.tasks.joint import Joint
from hubel.tasks.labels import Labels
from hubel.tasks.perceptron import Perceptron
from hubel.tasks.regression import Regression
from hubel.types import Batch

N, SIDE = 24, 6
CLASSES = tuple(f"class {k}" for k in range(12))


def dataset(classes: tuple[str, ...] = CLASSES) -> Dataset:
    draws = np.random.default_rng(3)
    labels = (draws.random((N, len(classes))) < 0.4).astype(np.float32)
    labels[1, 2] = labels[5, 0] = np.nan  # unknown
    numbers = (draws.normal(size=(N, 2)) * (3, 40) + (100, -7)).astype(np.float32)
    numbers[2, 1] = np.nan
    annotations = {
        "label": np.arange(N) % len(classes),
        "pair": draws.integers(0, 2, N),
        "labels": labels,
        "numbers": numbers,
        "numbers.valid": draws.random(N) < 0.6,
    }
    images = ArrayImages(draws.integers(0, 256, (N, SIDE, SIDE, 1), dtype=np.uint8))
    index = np.arange(N)
    return Dataset("small", images, annotations, classes, {"train": index[: N - 6], "dev": index[N - 6 :]})


def batch_of(task: Task, data: Dataset, index: np.ndarray | None = None) -> Batch:
    index = np.arange(len(data)) if index is None else index
    pixels = np.stack([data.images.read(int(i)) for i in index])
    images = torch.from_numpy(pixels).double().permute(0, 3, 1, 2) / 128 - 1
    return make_batch(images, task.targets(data, index), torch.from_numpy(index))


def tasks() -> dict[str, Task]:
    """Every task in every mode, fitted on the training part."""
    ramp = tuple(1.0 + 0.1 * k for k in range(len(CLASSES)))
    pair = {"classes": ("no", "yes"), "target": "pair"}
    found: dict[str, Task] = {
        "classification": Classification(CLASSES),
        "smoothed": Classification(CLASSES, smoothing=0.1, class_weights=ramp),
        "balanced": Classification(CLASSES, balance=True),
        "hierarchical": Hierarchical(CLASSES, class_weights=ramp),
        "hierarchical, uneven": Hierarchical(CLASSES, clusters=5),
        "labels": Labels(CLASSES, balance=True),
        "sigmoid": Binary(**pair),
        "sigmoid, squared": Binary(**pair, error="squared", balance=True),
        "tanh": Binary(**pair, output="tanh"),
        "tanh, squared": Binary(**pair, output="tanh", error="squared"),
        "perceptron": Perceptron(**pair),
        "perceptron of many": Perceptron(CLASSES),
        "mse": Regression(),
        "huber": Regression(error="huber", delta=0.5),
        "bins": Regression(error="bins", bins=5),
    }
    parts = {"kind": Classification(CLASSES), "again": Hierarchical(CLASSES), "place": Regression()}
    found["joint"] = Joint(parts, weights={"place": 0.5})
    data = dataset()
    return {name: task.fitted(data, data.splits["train"]) for name, task in found.items()}


def reweighted(batch: Batch, weights: Tensor) -> Batch:
    return replace(batch, weights=weights)

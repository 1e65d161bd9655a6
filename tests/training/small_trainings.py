"""Small trainings that take a second or two."""

import os
import signal
from dataclasses import replace

import numpy as np
import pytest
from small_runs import Quiet, in_memory

import hubel
from hubel.data.dataset import Dataset
from hubel.training.callbacks import Callback


class InterruptAt(Callback):
    """Ctrl-C after a given step."""

    def __init__(self, step: int):
        self.step = step

    def on_step(self, loop, losses):
        if loop.step == self.step:
            os.kill(os.getpid(), signal.SIGINT)


def blobs(n: int = 150, side: int = 8, channels: int = 1, classes: int = 3, seed: int = 0) -> Dataset:
    """Squares whose place is the class; given splits train, dev, test."""
    made = in_memory(n, side=side, channels=channels, classes=classes, seed=seed)
    index = np.random.default_rng((seed, 1)).permutation(n)
    splits = {"train": index[: n // 2], "dev": index[n // 2 : 3 * n // 4], "test": index[3 * n // 4 :]}
    return replace(made, name="blobs", splits=splits, source="<blobs>")


@pytest.fixture
def quiet() -> Quiet:
    return Quiet()


def train_small(dataset=None, **options):
    """A Run on blobs, with an MLP."""
    defaults = {
        "model": "mlp",
        "epochs": 3,
        "batch_size": 16,
        "optimizer": {"name": "momentum", "lr": 0.05},
        "augment": {"shift": 1, "flip": "none"},
        "workers": 0,
    }
    if "model.hidden" not in options and options.get("model", "mlp") == "mlp":
        defaults["model.hidden"] = (8,)
    return hubel.train(blobs() if dataset is None else dataset, **{**defaults, **options})


@pytest.fixture
def small(tmp_path, quiet):
    """train(**options) -> Run on blobs, with an MLP, in tmp_path."""

    def train(dataset=None, **options):
        return train_small(dataset, **{"out": tmp_path / "runs", "progress": quiet, **options})

    return train

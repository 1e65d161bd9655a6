"""An own task with a class for every pixel through `hubel.train`: mosaics, report, predictions, evaluate, resume."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from proof_scenes import STRIDE, Maps
from proofs import MeanLoss
from small_parts import assert_same
from small_runs import Quiet
from torch import Tensor

import hubel
from hubel.data.shapes import shapes
from hubel.predictions import Predictions
from hubel.tasks.base import Task
from hubel.training import checkpoint
from hubel.training.callbacks import Callback
from hubel.types import Term


@dataclass(frozen=True)
class PixelPredictions(Predictions):
    """Logits (B, K, h, w)."""

    logits: Tensor


class PixelLoss(MeanLoss):
    """Nats per pixel that takes part."""

    def update(self, predictions, targets, weights=None):
        nats = F.cross_entropy(predictions.logits, targets.values.long(), ignore_index=255, reduction="sum")
        self.total += torch.stack([nats.double(), (targets.values != 255).sum().double()])


@dataclass(frozen=True)
class PixelTask(Task):
    """The least that a task needs."""

    name = "own pixels"
    target = "mask"
    dense = True

    @property
    def width(self):
        return 4

    def predict(self, network, batch, outputs=None):
        maps = network(batch.images) if outputs is None else outputs
        return PixelPredictions(F.interpolate(maps, scale_factor=STRIDE))

    def loss(self, network, batch):
        values = batch.targets.values.long()
        nats = F.cross_entropy(self.predict(network, batch).logits, values, ignore_index=255, reduction="sum")
        return {"cross_entropy": Term(nats, (values != 255).sum())}

    def scores(self, predictions, targets):
        return (predictions.logits.argmax(1) != targets.values).float().mean((1, 2))

    def metric(self):
        return PixelLoss()

    def describe(self, predictions, row):
        kinds = predictions.logits[row].argmax(0).unique().tolist()
        return {"prediction": " ".join(map(str, kinds)), "confidence": 0.5}

    def truth(self, targets, row):
        return " ".join(map(str, targets.values[row].unique().tolist()))


class StopAt(Callback):
    def on_step(self, loop, losses):
        if loop.step == 4:
            raise KeyboardInterrupt


def data():
    made = shapes(48, 32, kind="segmentation", classes=3)
    index = np.arange(48)
    return made.with_splits({"train": index[:30], "dev": index[30:40], "test": index[40:]})


def network(classes, input):
    return Maps(4)


def train(folder, **options):
    return hubel.train(
        data(), task=PixelTask(), model=network, epochs=2, batch_size=10, precision="fp32", out=folder,
        augment={"policy": "light", "mosaic": 0.5, "copy_paste": 0.5}, progress=Quiet(), **options,
    )  # fmt: skip


def test_from_training_to_report(tmp_path):
    whole = train(tmp_path / "whole")
    assert whole.metrics["test"]["loss"] > 0 and (whole.path / "report.html").exists()
    found = np.load(whole.path / "predictions" / "test.npz")
    assert found["target.values"].shape == (8, 32, 32) and found["output.logits"].shape == (8, 4, 32, 32)
    expected = [data().annotations["mask"].read(i) for i in found["index"]]
    np.testing.assert_array_equal(found["target.values"], expected)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", callbacks=[StopAt()])
    path = next((tmp_path / "cut").glob("*/1"))
    resumed = hubel.resume(path, source=data(), task=PixelTask(), model=network, progress=Quiet())
    a, b = (checkpoint.load(run.path / "checkpoints" / "last") for run in (whole, resumed))
    assert_same(a, b)

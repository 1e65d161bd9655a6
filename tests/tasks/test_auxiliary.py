"""Auxiliary heads: their share of the loss in training, and no trace of them anywhere else."""

import os
import signal

import pytest
import task_examples
import torch
from small_parts import assert_same
from small_runs import Quiet, in_memory
from torch import nn

import hubel
from hubel.models.base import Head, Network
from hubel.nn.pooling import GlobalAveragePool
from hubel.tasks.classification import Classification
from hubel.tasks.joint import Joint
from hubel.training import checkpoint
from hubel.training.callbacks import Callback
from hubel.training.step import value


def stage(c_in, c_out):
    return nn.Sequential(nn.Conv2d(c_in, c_out, 3, 2, padding=1), nn.BatchNorm2d(c_out), nn.ReLU())


class Plain(Network):
    """Two stages; it has a head in the middle, but says nothing of it."""

    channels, strides = (4, 6), (2, 4)

    def __init__(self, *, classes, input, dropout: float = 0.0):
        super().__init__()
        self.stages = nn.ModuleList([stage(input[0], 4), stage(4, 6)])
        self.early = Head(GlobalAveragePool(), nn.Dropout(dropout), nn.Linear(4, classes))
        self.head = self.default_head(classes)

    def maps(self, images):
        fine = self.stages[0](images)
        return [fine, self.stages[1](fine)]

    def default_head(self, classes):
        return Head(GlobalAveragePool(), nn.Linear(6, classes))


class Early(Plain):
    asked = 0

    def auxiliary(self, maps):
        self.asked += 1
        return [self.early(maps[:1])]


class OnlyEarly(Plain):
    """The head in the middle is the network's own."""

    def forward(self, images):
        return self.early(self.maps(images)[:1])


TASKS = task_examples.tasks()


@pytest.fixture(params=TASKS)
def name(request):
    return request.param


def parts(task, kind=Early):
    torch.manual_seed(0)
    network = kind(classes=task.width, input=(1, 6, 6)).double()
    network.head = task.head(network).double()
    return network, task_examples.batch_of(task, task_examples.dataset())


def same(found, expected):
    torch.testing.assert_close(found.sum, expected.sum, rtol=0, atol=0)
    torch.testing.assert_close(torch.as_tensor(found.count), torch.as_tensor(expected.count), rtol=0, atol=0)


@pytest.mark.parametrize("name", [name for name in TASKS if name != "joint"])
def test_in_training_the_head_counts_three_tenths_of_what_it_would_alone(name):
    task = TASKS[name]
    network, batch = parts(task)
    terms = task.loss(network, batch)
    main, extra = terms
    assert extra == "auxiliary_1"
    same(terms[main], task.loss(parts(task, Plain)[0], batch)[main])
    flat = Classification(task.classes, class_weights=task.class_weights) if "hierarchical" in name else task
    (alone,) = flat.loss(parts(task, OnlyEarly)[0], batch).values()
    same(terms[extra], alone)
    assert terms[extra].weight == 0.3
    torch.testing.assert_close(value(terms[extra]), 0.3 * value(alone))


def test_in_evaluation_nobody_asks_it(name):
    task = TASKS[name]
    network, batch = parts(task)
    plain, _ = parts(task, Plain)
    network.eval()
    assert list(task.loss(network, batch)) == list(task.loss(plain.train(), batch))
    task.predict(network, batch)
    task.predict(network.train(), batch)  # a training's metric asks so
    assert network.asked == 0


def test_a_joint_task_gives_each_its_part():
    parts_of = {"first": Classification(("a", "b")), "second": Classification(("a", "b", "c"))}
    task = Joint(parts_of, weights={"second": 2.0})
    torch.manual_seed(0)
    network = Early(classes=task.width, input=(1, 6, 6))
    network.head = task.head(network)
    images, labels = torch.randn(4, 1, 6, 6), torch.tensor([0, 1, 1, 0])
    own = {"target": labels, "valid": torch.ones(4, dtype=torch.bool)}
    batch = task_examples.make_batch(images, {"first": own, "second": own}, torch.arange(4))
    terms = task.loss(network, batch)
    assert list(terms) == ["first.cross_entropy", "first.auxiliary_1", "second.cross_entropy", "second.auxiliary_1"]
    logits = network.early(network.maps(images)[:1])
    for key, found, weight in (("first", logits[:, :2], 0.3), ("second", logits[:, 2:], 0.6)):
        expected = weight * nn.functional.cross_entropy(found, labels)
        torch.testing.assert_close(value(terms[f"{key}.auxiliary_1"]), expected)


def train(folder, **options):
    given = {"model": f"{__file__}:Early", "model.dropout": 0.5, "epochs": 2, "batch_size": 32, "optimizer": "sgd",
             "optimizer.lr": 0.1, "augment": "none", "precision": "fp32", "workers": 0}  # fmt: skip
    return hubel.train(in_memory(classes=3), out=folder, progress=Quiet(), **{**given, **options})


class Interrupt(Callback):
    def on_step(self, loop, losses):
        if loop.epoch == 1:  # after the second epoch's first step
            os.kill(os.getpid(), signal.SIGINT)


def test_a_training_shows_the_terms_and_resumes_bit_for_bit(tmp_path):
    whole = train(tmp_path / "whole")
    for row in whole.history:
        assert row["train.loss"] == pytest.approx(row["train.cross_entropy"] + row["train.auxiliary_1"])
        assert 0 < row["train.auxiliary_1"] < 0.6
        assert "train.accuracy" in row
        assert not any("auxiliary" in name for name in row if name.startswith("dev."))
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", callbacks=[Interrupt()])
    path = next((tmp_path / "cut").glob("*/1"))
    resumed = hubel.resume(path, source=in_memory(classes=3), progress=Quiet())
    assert_same(*(checkpoint.load(run.path / "checkpoints" / "last") for run in (whole, resumed)))
    assert whole.metrics == resumed.metrics

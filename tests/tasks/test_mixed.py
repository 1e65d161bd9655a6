"""A loss on mixed images is the share of the own target's loss plus the rest of the partner's, example by example."""

import pytest
import torch
from torch import nn

from hubel.tasks.base import Task
from hubel.tasks.binary import Binary
from hubel.tasks.classification import Classification
from hubel.tasks.labels import Labels
from hubel.tasks.regression import Regression
from hubel.types import Batch, Mix

B = 6
NAMES = ("a", "b", "c")


def batch(targets, mix=None, weights=None) -> Batch:
    images = torch.randn(B, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    weights = torch.ones(B) if weights is None else weights
    index = torch.arange(B)
    return Batch(images, targets, index, weights, torch.full((B, 2), 4), torch.eye(3).expand(B, 3, 3), mix)


def network(width: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, width))


CASES = {
    "classes": (Classification(NAMES, smoothing=0.1), 3, torch.tensor([0, 1, 2, 0, 1, 2])),
    "weighed": (Classification(NAMES, class_weights=(1.0, 2.0, 0.5)), 3, torch.tensor([0, 1, 2, 0, 1, 2])),
    "labels": (Labels(NAMES), 3, torch.tensor([[1.0, 0, float("nan")], [0, 0, 1]] * 3)),
    "binary": (Binary(("no", "yes")), 1, torch.tensor([0, 1, 1, 0, 0, 1])),
    "numbers": (
        Regression(("x", "y"), statistics=((0.0, 0.0), (1.0, 1.0), (-3.0, -3.0), (3.0, 3.0))),
        2,
        torch.randn(B, 2, generator=torch.Generator().manual_seed(1)),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_loss_of_both_targets(name):
    task, width, targets = CASES[name]
    net, other = network(width), targets.roll(1, 0)
    share, weights = torch.tensor([1.0, 0.9, 0.5, 0.7, 1.0, 0.6]), torch.tensor([1.0, 2, 1, 0, 1, 1])
    (term,) = task.loss(net, batch(targets, Mix(other, share), weights)).values()
    total = count = 0.0
    for i in range(B):
        for which, part in ((targets, share), (other, 1 - share)):
            alone = torch.zeros(B)
            alone[i] = weights[i] * part[i]
            (one,) = task.loss(net, batch(which, weights=alone)).values()
            total, count = total + float(one.sum.detach()), count + float(one.count)
    assert task.mixes
    assert float(term.sum.detach()) == pytest.approx(total, rel=1e-5) and float(term.count) == pytest.approx(
        count, rel=1e-5
    )


@pytest.mark.parametrize("name", CASES)
def test_a_share_of_one_is_no_mix(name):
    task, width, targets = CASES[name]
    net = network(width)
    (plain,) = task.loss(net, batch(targets)).values()
    (mixed,) = task.loss(net, batch(targets, Mix(targets.roll(1, 0), torch.ones(B)))).values()
    torch.testing.assert_close(plain.sum, mixed.sum)
    torch.testing.assert_close(torch.as_tensor(plain.count), torch.as_tensor(mixed.count))


def test_two_halves_of_the_same_image_learn_from_both_classes():
    """Cross-entropy of soft targets, as torch computes it."""
    task, _, targets = CASES["classes"]
    task = Classification(NAMES)
    net, share = network(3), torch.full((B,), 0.7)
    other = targets.roll(1, 0)
    data = batch(targets, Mix(other, share))
    (term,) = task.loss(net, data).values()
    one_hot = torch.eye(3)
    soft = 0.7 * one_hot[targets] + 0.3 * one_hot[other]
    expected = nn.functional.cross_entropy(net(data.images), soft, reduction="sum")
    torch.testing.assert_close(term.sum, expected)
    assert float(term.count) == pytest.approx(B)


def test_other_tasks_say_no():
    assert not Task.mixes

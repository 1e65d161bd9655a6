"""The gradient of a step: however a batch is cut, it is the gradient of the whole."""

import pytest
import torch
from torch import nn

from hubel.tasks.base import Task
from hubel.training.step import Trainee, gradients, value
from hubel.types import Batch, Term


class Ragged(Task):
    """Two terms with counts of their own: squares over what is not ignored (< 0), and a mean over all."""

    def loss(self, network, batch):
        outputs = network(batch.images)[:, 0]
        seen = batch.targets >= 0
        squares = ((outputs - batch.targets) ** 2)[seen].sum()
        return {"squares": Term(squares, seen.sum(), 2.0), "size": Term(outputs.abs().sum(), len(batch), 0.5)}


def batch_of(n: int) -> Batch:
    torch.manual_seed(0)
    targets = torch.randn(n, dtype=torch.float64)
    targets[::3] = -1
    return Batch(
        torch.randn(n, 3, dtype=torch.float64),
        targets,
        torch.arange(n),
        torch.ones(n),
        torch.ones(n, 2, dtype=torch.int64),
        torch.eye(3).expand(n, 3, 3),
    )


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()


def by_hand(net: nn.Module, batch: Batch) -> list[torch.Tensor]:
    outputs = net(batch.images)[:, 0]
    seen = batch.targets >= 0
    loss = 2.0 * ((outputs - batch.targets)[seen] ** 2).mean() + 0.5 * outputs.abs().mean()
    return list(torch.autograd.grad(loss, list(net.parameters())))


@pytest.mark.parametrize("micro", [None, 1, 2, 3, 5, 100])
def test_gradient_does_not_depend_on_how_the_batch_is_cut(micro):
    net, batch = network(), batch_of(11)
    expected = by_hand(net, batch)
    values = gradients(Trainee(net, Ragged()), batch, micro_batch=micro)
    for parameter, gradient in zip(net.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-12, atol=1e-12)
    outputs = net(batch.images)[:, 0]
    seen = batch.targets >= 0
    assert values["squares"].item() == pytest.approx(2 * ((outputs - batch.targets)[seen] ** 2).mean().item())


@pytest.mark.parametrize("micro", [None, 2])
def test_a_term_that_counted_nothing_contributes_nothing(micro):
    net, batch = network(), batch_of(6)
    batch.targets.fill_(-1)
    values = gradients(Trainee(net, Ragged()), batch, micro_batch=micro)
    assert values["squares"].item() == 0
    outputs = net(batch.images)[:, 0]
    expected = torch.autograd.grad(0.5 * outputs.abs().mean(), list(net.parameters()))
    for parameter, gradient in zip(net.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_value_is_weight_times_sum_over_count():
    assert value(Term(torch.tensor(6.0), 4, 0.5)).item() == 0.75

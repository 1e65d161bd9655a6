"""Clipping, max-norm and the proximal L1 step, each against a loop or against what it promises."""

import math

import pytest
import torch
from torch import nn

from hubel.models.lenet import lenet5
from hubel.models.linear import linear
from hubel.models.mlp import mlp
from hubel.recipe import OptimizerOptions
from hubel.training.constraints import clip_norm, clip_value, max_norm, soft_threshold, weights
from hubel.training.optim import create_optimizer


@pytest.fixture
def parameters():
    torch.manual_seed(0)
    found = [nn.Parameter(torch.randn(3, 4)), nn.Parameter(torch.randn(5)), nn.Parameter(torch.randn(2))]
    for p in found[:2]:
        p.grad = torch.randn_like(p)
    return found  # the last one has no gradient


def numbers(parameters):
    return [x for p in parameters if p.grad is not None for x in p.grad.flatten().tolist()]


def test_clipping_by_norm_keeps_the_direction_and_returns_the_norm_before(parameters):
    before = numbers(parameters)
    norm = math.sqrt(sum(x * x for x in before))
    assert float(clip_norm(parameters, 0.5)) == pytest.approx(norm, rel=1e-5)
    assert numbers(parameters) == pytest.approx([0.5 * x / norm for x in before], rel=1e-4)


def test_a_short_gradient_is_left_alone(parameters):
    before = numbers(parameters)
    clip_norm(parameters, 1000.0)
    clip_value(parameters, 1000.0)
    assert numbers(parameters) == before


def test_clipping_by_value_cuts_number_by_number(parameters):
    before = numbers(parameters)
    clip_value(parameters, 0.3)
    assert numbers(parameters) == pytest.approx([min(max(x, -0.3), 0.3) for x in before])
    assert min(map(abs, before)) < 0.3 < max(map(abs, before))


def test_max_norm_limits_each_unit_and_leaves_the_others():
    torch.manual_seed(0)
    network = lenet5(classes=10, input=(1, 32, 32), norm="batch", norm_place="after").to(
        memory_format=torch.channels_last
    )
    for p in network.parameters():
        nn.init.normal_(p)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    largest = 14.0
    max_norm(network, largest)
    limited = dict(weights(network))
    touched = 0
    for name, p in network.named_parameters():
        if name not in limited:
            assert torch.equal(p, before[name]), name
            continue
        for unit, old in zip(p.detach(), before[name], strict=True):
            norm = math.sqrt(sum(x * x for x in old.flatten().tolist()))
            scale = min(1, largest / norm)
            touched += norm > largest
            torch.testing.assert_close(unit, old * scale, rtol=1e-5, atol=1e-6)
    assert touched == 120  # the units of the layer with 400 inputs


def test_weights_are_neither_biases_nor_norms():
    network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.LayerNorm((3, 4)), nn.Linear(3, 2))
    network.append(nn.Linear(3, 2))
    network[4].weight = network[3].weight  # tied: counted once
    assert [name for name, _ in weights(network)] == ["0.weight", "3.weight"]


def lasso(step, rounds=400):
    """Minimise (w - c)^2 / 2 + l1 |w| for each number; the answer is sign(c) max(|c| - l1, 0)."""
    c, l1, lr = torch.tensor([2.0, 0.3, -0.3, -2.0, 0.45]), 0.5, 0.1
    w = nn.Parameter(torch.ones(5))
    for _ in range(rounds):
        before = w.detach().clone()
        with torch.no_grad():
            step(w, w - c, lr, l1)
    return before, w.detach(), torch.tensor([1.5, 0.0, 0.0, -1.5, 0.0])


def proximal(w, g, lr, l1):
    w -= lr * g
    soft_threshold([{"params": [w], "lr": lr, "penalised": True}], l1)


def subgradient(w, g, lr, l1):
    w -= lr * (g + l1 * w.sign())


def test_the_proximal_step_reaches_exactly_zero_and_stays():
    before, w, answer = lasso(proximal)
    torch.testing.assert_close(w, answer)
    assert w[[1, 2, 4]].eq(0).all()
    assert before[[1, 2, 4]].eq(0).all()


@pytest.mark.parametrize("options", [
    {"name": "sgd"}, {"name": "momentum"}, {"name": "nesterov"}, {"name": "momentum", "dampening": 0.9},
])  # fmt: skip
def test_l1_means_the_same_with_and_without_momentum(options):
    c, l1 = torch.tensor([[2.0, 0.3, -0.3, -2.0, 0.45]]), 0.5
    layer = nn.Linear(5, 1, bias=False)
    optimizer = create_optimizer(layer, OptimizerOptions(lr=0.05, **options))
    for _ in range(500):
        layer.weight.grad = layer.weight.detach() - c
        optimizer.step()
        soft_threshold(optimizer.param_groups, l1)
    torch.testing.assert_close(layer.weight.detach(), torch.tensor([[1.5, 0.0, 0.0, -1.5, 0.0]]))
    assert layer.weight[0, [1, 2, 4]].eq(0).all()


def test_a_plain_subgradient_oscillates_around_zero():
    before, w, _ = lasso(subgradient)
    assert w[[1, 2]].ne(0).all()
    assert (before[[1, 2]].sign() == -w[[1, 2]].sign()).any()
    assert (w - before)[[1, 2]].abs().min() > 1e-3


def test_l2_shrinks_in_proportion_and_l1_by_a_fixed_amount():
    w = nn.Parameter(torch.tensor([[4.0, -2.0, 0.05]]))
    soft_threshold([{"params": [w], "lr": 0.1}], 1.0)
    torch.testing.assert_close(w.detach(), torch.tensor([[3.9, -1.9, 0.0]]))


def test_the_threshold_takes_groups_of_an_optimiser_and_spares_biases():
    network = mlp(classes=3, input=(1, 2, 2), hidden=(4,), norm="batch", norm_place="after")
    for p in network.parameters():
        nn.init.constant_(p, 1.0)
    optimizer = create_optimizer(network, OptimizerOptions(name="sgd", lr=0.5))
    soft_threshold(optimizer.param_groups, 0.2)
    for name, p in network.named_parameters():
        torch.testing.assert_close(p.detach(), torch.full_like(p, 0.9 if p.ndim == 2 else 1.0), msg=name)


def test_with_l1_softmax_regression_loses_the_weights_of_pixels_that_say_nothing():
    torch.manual_seed(0)
    images = torch.randn(500, 1, 2, 4)
    targets = (images[:, 0, 0, 0] > 0).long()
    network = linear(classes=2, input=(1, 2, 4))
    optimizer = create_optimizer(network, OptimizerOptions(name="momentum", lr=0.1))
    for _ in range(200):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images), targets).backward()
        optimizer.step()
        soft_threshold(optimizer.param_groups, 0.05)
    templates = network.templates().flatten(1)
    assert templates[:, 0].abs().min() > 0.1
    assert templates[:, 1:].eq(0).all()

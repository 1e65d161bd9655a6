"""Layers against loops: maxout, global pooling, activations by name, batch norm's place, dropout."""

import itertools

import pytest
import torch
from torch import nn

from hubel.errors import UserError
from hubel.nn.activations import ACTIVATIONS, Activation, Unit
from hubel.nn.maxout import Maxout
from hubel.nn.pooling import GLOBAL_POOLS, GlobalAveragePool, GlobalMaxPool


@pytest.mark.parametrize("shape", [(3, 6), (2, 6, 3, 2)])
@pytest.mark.parametrize("pieces", [1, 2, 3])
def test_maxout_is_the_largest_of_neighbouring_channels(shape, pieces):
    x = torch.randn(shape)
    found = Maxout(pieces)(x)
    assert found.shape == (shape[0], 6 // pieces, *shape[2:])
    for unit in range(6 // pieces):
        expected = x[:, unit * pieces]
        for piece in range(1, pieces):
            expected = torch.maximum(expected, x[:, unit * pieces + piece])
        assert torch.equal(found[:, unit], expected)


def test_maxout_gradient_is_right_and_goes_to_one_winner():
    x = torch.randn(2, 6, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(Maxout(3), x)
    equal = torch.zeros(1, 4, requires_grad=True)
    Maxout(2)(equal).sum().backward()
    assert sorted(equal.grad[0].tolist()) == [0, 0, 1, 1]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", GLOBAL_POOLS)
def test_global_pooling_equals_a_loop(name, layout):
    x = torch.randn(2, 3, 5, 4).to(memory_format=layout)
    expected = torch.empty(2, 3)
    for b, c in itertools.product(range(2), range(3)):
        numbers = [x[b, c, row, column].item() for row in range(5) for column in range(4)]
        expected[b, c] = max(numbers) if name == "max" else sum(numbers) / len(numbers)
    torch.testing.assert_close(GLOBAL_POOLS[name]()(x), expected)


@pytest.mark.parametrize("name", GLOBAL_POOLS)
def test_global_pooling_gradients(name):
    x = torch.randn(2, 3, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(GLOBAL_POOLS[name](), x)


def test_global_max_pooling_routes_the_gradient_to_the_first_winner_only():
    x = torch.zeros(1, 1, 2, 2, requires_grad=True)
    GlobalMaxPool()(x).sum().backward()
    assert x.grad.flatten().tolist() == [1, 0, 0, 0]
    y = torch.zeros(1, 1, 2, 2, requires_grad=True)
    GlobalAveragePool()(y).sum().backward()
    assert y.grad.flatten().tolist() == [0.25] * 4


REFERENCE = {
    "sigmoid": lambda x: 1 / (1 + torch.exp(-x)),
    "tanh": lambda x: (torch.exp(x) - torch.exp(-x)) / (torch.exp(x) + torch.exp(-x)),
    "relu": lambda x: torch.where(x > 0, x, 0 * x),
    "leaky_relu": lambda x: torch.where(x > 0, x, 0.01 * x),
    "elu": lambda x: torch.where(x > 0, x, torch.exp(x) - 1),
    "gelu": lambda x: x * (1 + torch.erf(x / 2**0.5)) / 2,
    "maxout": lambda x: torch.maximum(x[:, ::2], x[:, 1::2]),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_each_activation_equals_its_equation(name):
    x = torch.linspace(-4, 4, 40).reshape(4, 10)
    torch.testing.assert_close(Activation(name).layer()(x), REFERENCE[name](x), rtol=1e-5, atol=1e-6)


def test_the_leaky_slope_of_both_notes():
    x = torch.tensor([-1.0])
    assert Activation("leaky_relu").layer()(x).item() == pytest.approx(-0.01)
    assert Activation("leaky_relu", slope=0.1).layer()(x).item() == pytest.approx(-0.1)
    assert Activation("leaky_relu", slope=0.0).layer()(x).item() == 0


def test_the_derivative_of_relu_at_zero_is_zero():
    x = torch.zeros(1, requires_grad=True)
    Activation("relu").layer()(x).backward()
    assert x.grad.item() == 0


@pytest.mark.parametrize("options", [("swish",), ("relu", 0.1), ("relu", None, 2), ("maxout", 0.1)])
def test_what_an_activation_does_not_have_is_refused(options):
    with pytest.raises(UserError):
        Activation(*options)


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("kind", ["conv", "dense"])
def test_batch_norm_before_and_after_the_activation(kind, place):
    torch.manual_seed(0)
    unit = Unit(Activation("relu"), "batch", place)
    weights, *rest = getattr(unit, kind)(3, 4)
    x = torch.randn(16, 3, 5, 5) if kind == "conv" else torch.randn(16, 3)
    dims = (0, 2, 3) if kind == "conv" else (0,)

    def normalise(h):
        mean, variance = h.mean(dims, keepdim=True), h.var(dims, correction=0, keepdim=True)
        return (h - mean) / (variance + 1e-5).sqrt()

    h = weights(x)
    expected = normalise(h).relu() if place == "before" else normalise(h.relu())
    torch.testing.assert_close(nn.Sequential(*rest)(h), expected, rtol=1e-4, atol=1e-5)


def test_batch_norm_after_maxout_normalises_what_comes_out():
    layers = Unit(Activation("maxout", pieces=3), "batch", "after").dense(5, 4)
    assert [type(layer) for layer in layers] == [nn.Linear, Maxout, nn.BatchNorm1d]
    assert nn.Sequential(*layers)(torch.randn(7, 5)).shape == (7, 4)
    assert Unit(Activation("maxout", pieces=3), "batch", "before").dense(5, 4)[1].num_features == 12


def test_inverted_dropout_keeps_the_expected_value():
    """Kept numbers are divided by the keep probability 1 - p, so evaluation needs no scaling."""
    torch.manual_seed(0)
    x, p, n = torch.tensor([1.0, -2.0, 3.0]), 0.3, 40_000
    layer = nn.Dropout(p)
    masks = layer(x.expand(n, 3))
    kept = masks != 0
    torch.testing.assert_close(masks[kept], (x / (1 - p)).expand(n, 3)[kept])
    standard_error = (x.abs() * (p / (1 - p) / n) ** 0.5).max().item()
    assert (masks.mean(0) - x).abs().max() < 4 * standard_error
    assert torch.equal(layer.eval()(x), x)


def test_scaling_is_exact_for_a_linear_layer_and_only_approximate_behind_a_relu():
    """The average over all masks, weighted by their probability, against one pass without dropout."""
    torch.manual_seed(0)
    x, p = torch.randn(6, dtype=torch.float64), 0.5
    first = nn.Linear(6, 8, dtype=torch.float64)
    masks = torch.tensor(list(itertools.product([0.0, 1 / (1 - p)], repeat=6)), dtype=torch.float64)
    torch.testing.assert_close(first(masks * x).mean(0), first(x))
    through_relu = first(masks * x).relu().mean(0)
    assert (through_relu - first(x).relu()).abs().max() > 0.01

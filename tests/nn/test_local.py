"""The locally connected layer against a loop over its places, and against a convolution."""

import pytest
import torch
from torch import nn

from hubel.errors import UserError
from hubel.nn.init import fans, initialise
from hubel.nn.local import LocallyConnected2d


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def count(module):
    return sum(p.numel() for p in module.parameters())


SHAPES = [
    ((7, 6), (3, 3), (1, 1), (0, 0)),
    ((7, 6), (3, 2), (2, 1), (1, 0)),
    ((5, 5), (5, 5), (1, 1), (0, 0)),
    ((4, 6), (1, 3), (1, 2), (0, 1)),
]


@pytest.mark.parametrize("side, size, stride, padding", SHAPES)
def test_it_equals_a_loop(side, size, stride, padding):
    layer = LocallyConnected2d(2, 3, side, size, stride=stride, padding=padding).double()
    x = torch.randn(2, 2, *side, dtype=torch.float64)
    found = layer(x)
    rows, columns = layer.places
    weight, bias = layer.weight.view(rows, columns, 3, 2, *size), layer.bias.view(rows, columns, 3)
    assert found.shape == (2, 3, rows, columns)
    for b in range(2):
        for n in range(3):
            for r in range(rows):
                for c in range(columns):
                    expected = bias[r, c, n].item()
                    for u in range(size[0]):
                        for v in range(size[1]):
                            row, column = stride[0] * r + u - padding[0], stride[1] * c + v - padding[1]
                            if 0 <= row < side[0] and 0 <= column < side[1]:
                                expected += (weight[r, c, n, :, u, v] @ x[b, :, row, column]).item()
                    assert found[b, n, r, c].item() == pytest.approx(expected)


@pytest.mark.parametrize("side, size, stride, padding", SHAPES)
def test_with_tied_filters_it_is_a_convolution(side, size, stride, padding):
    layer = LocallyConnected2d(2, 3, side, size, stride=stride, padding=padding)
    convolution = nn.Conv2d(2, 3, size, stride, padding)
    x = torch.randn(4, 2, *side)
    assert not torch.allclose(layer(x), convolution(x))
    layer.tie(convolution)
    torch.testing.assert_close(layer(x), convolution(x))


def test_the_shared_gradient_is_the_sum_over_the_places():
    """What sharing weights means for learning: every place's gradient adds up in the one filter."""
    layer, convolution = LocallyConnected2d(2, 3, (6, 5), 3), nn.Conv2d(2, 3, 3)
    layer.tie(convolution)
    x = torch.randn(4, 2, 6, 5)
    for module in (layer, convolution):
        module(x).square().sum().backward()
    torch.testing.assert_close(layer.weight.grad.unflatten(0, (-1, 3)).sum(0), convolution.weight.grad.flatten(1))
    torch.testing.assert_close(layer.bias.grad.unflatten(0, (-1, 3)).sum(0), convolution.bias.grad)


def test_seven_inputs_three_units_width_three():
    """21 weights where all are connected, 9 where each unit sees three inputs, 3 where they share them."""
    row = torch.randn(1, 1, 1, 7)
    dense = nn.Linear(7, 3, bias=False)
    local = LocallyConnected2d(1, 1, (1, 7), (1, 3), stride=(1, 2), bias=False)
    shared = nn.Conv2d(1, 1, (1, 3), stride=(1, 2), bias=False)
    assert dense(row.flatten(1)).shape == (1, 3)
    assert local(row).shape == shared(row).shape == (1, 1, 1, 3)
    assert (count(dense), count(local), count(shared)) == (21, 9, 3)


def test_gradients():
    layer = LocallyConnected2d(2, 2, (3, 4), 3, padding=1, stride=2).double()
    x = torch.randn(2, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, x)
    for parameter in layer.parameters():
        assert torch.autograd.gradcheck(lambda _: layer(x.detach()), parameter)


def test_it_starts_as_a_convolution_does_and_knows_its_fans():
    layer = LocallyConnected2d(8, 12, (10, 10), 3)
    assert fans(layer) == fans(nn.Conv2d(8, 12, 3)) == (72, 108)
    bound = 72**-0.5
    assert 0.99 * bound < layer.weight.abs().max() <= bound
    assert layer.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
    initialise(layer, "he", seed=0)
    assert layer.weight.std().item() == pytest.approx((2 / 72) ** 0.5, rel=0.02)
    assert not layer.bias.any()


def test_a_row_of_its_weight_is_a_unit():
    """Max-norm and Muon take the first axis for the units, and the bias for a bias."""
    layer = LocallyConnected2d(2, 3, (4, 4), 3)
    x = torch.randn(1, 2, 4, 4)
    with torch.no_grad():
        layer.weight[5] = 0  # place (0, 1), channel 2
        layer.bias[5] = 7
    found = layer(x)
    assert found[0, 2, 0, 1] == 7
    assert found.eq(7).sum() == 1
    assert layer.bias.ndim == 1


def test_what_does_not_fit_is_refused():
    with pytest.raises(UserError, match=r"5×5 pixels doesn't fit into 4×9"):
        LocallyConnected2d(1, 1, (4, 9), 5)
    with pytest.raises(UserError, match=r"made for maps of \(1, 4, 4\), got \(1, 4, 5\)"):
        LocallyConnected2d(1, 1, (4, 4), 3)(torch.zeros(2, 1, 4, 5))

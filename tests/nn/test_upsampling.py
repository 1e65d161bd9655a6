"""Six ways to enlarge a map twofold, against loops and each other."""

import pytest
import torch
import torch.nn.functional as F

from hubel.errors import UserError
from hubel.models.fcn import BilinearUp, bilinear_filter
from hubel.nn.unpooling import max_pool_places, max_unpool
from hubel.nn.upsampling import UPSAMPLINGS, unpool_apart, upsampling


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("name", UPSAMPLINGS)
def test_the_size_wanted_and_the_channels_promised(name):
    y, finer = torch.randn(2, 6, 4, 5), torch.randn(2, 3, 7, 10)
    layer = upsampling(name, 6, 3)
    assert layer(y, (7, 10), finer).shape == (2, layer.channels, 7, 10)
    without = upsampling(name, 6)
    assert without(y, (8, 9)).shape == (2, without.channels, 8, 9)
    assert layer.channels == {"unpool": 3, "transposed": 3, "subpixel": 3}.get(name, 6)


def test_each_value_against_a_loop():
    y = torch.randn(1, 2, 3, 4)
    nearest, nails = (upsampling(name, 2)(y, (6, 8)) for name in ("nearest", "nails"))
    transposed = upsampling("transposed", 2)
    spread, weight, bias = transposed(y, (6, 8)), transposed.spread.weight, transposed.spread.bias
    for r in range(6):
        for c in range(8):
            own = y[0, :, r // 2, c // 2]
            assert torch.equal(nearest[0, :, r, c], own)
            assert torch.equal(nails[0, :, r, c], own if r % 2 == c % 2 == 0 else torch.zeros(2))
            expected = bias + (own[:, None] * weight[:, :, r % 2, c % 2]).sum(0)
            torch.testing.assert_close(spread[0, :, r, c], expected)


def test_bilinear_takes_three_quarters_of_the_nearest_cell():
    found = upsampling("bilinear", 1)(torch.tensor([[[[0.0, 4.0, 8.0]]]]), (2, 6))
    assert torch.equal(found[0, 0], torch.tensor([[0.0, 1, 3, 5, 7, 8]]).expand(2, 6))


def test_unpooled_values_stand_where_the_maxima_stood():
    finer = torch.randn(2, 3, 5, 6)
    pooled = F.max_pool2d(finer, 2, ceil_mode=True)
    found = upsampling("unpool", 3, 3)(pooled, (5, 6), finer)
    assert torch.equal(found, torch.where(found != 0, finer, 0.0))
    assert (found != 0).sum() == pooled.numel()
    assert torch.equal(F.max_pool2d(found.clamp(min=0), 2, ceil_mode=True), pooled.clamp(min=0))


def test_both_ways_to_unpool_agree_with_their_gradients():
    values = torch.randn(2, 3, 7, 9)
    pooled, places = max_pool_places(values)
    one, other = (pooled.clone().requires_grad_() for _ in range(2))
    a, b = unpool_apart(one, places, (7, 9)), max_unpool(other, places, (7, 9))
    assert torch.equal(a, b)
    weights = torch.randn_like(a)
    (a * weights).sum().backward()
    (b * weights).sum().backward()
    assert torch.equal(one.grad, other.grad)


def test_a_sub_pixel_convolution_begins_as_nearest():
    layer = upsampling("subpixel", 4)
    found = layer(torch.randn(2, 4, 3, 3), (6, 6))
    assert torch.equal(found, F.interpolate(found[:, :, ::2, ::2], scale_factor=2))
    assert found[0, 0].unique().numel() == 9


@pytest.mark.parametrize("factor", [2, 4, 32])
def test_a_transposed_convolution_begins_as_bilinear(factor):
    x = torch.randn(2, 3, 4, 5)
    expected = F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
    torch.testing.assert_close(BilinearUp(3, factor)(x), expected)
    assert bilinear_filter(2)[1].tolist() == [0.1875, 0.5625, 0.5625, 0.1875]


def test_an_unknown_way():
    with pytest.raises(UserError, match="nearest, bilinear, nails, transposed, subpixel, unpool, got 'nearst'"):
        upsampling("nearst", 4)

"""Stochastic depth against a loop over images, against torchvision's, and its expected value."""

import pytest
import torch
from parity import peers

from hubel.errors import UserError
from hubel.nn.stochastic_depth import StochasticDepth, linear_decay, stochastic_depth


@pytest.mark.parametrize("shape", [(64, 3, 2, 2), (64, 5), (64,)])
def test_each_image_is_dropped_whole_or_divided_by_what_stays(shape):
    torch.manual_seed(0)
    x, rate = torch.randn(shape), 0.25
    found = stochastic_depth(x, rate)
    dropped = 0
    for image, out in zip(x, found, strict=True):
        if out.any():
            torch.testing.assert_close(out, image / (1 - rate))
        dropped += not out.any()
    assert 4 <= dropped <= 32  # 16 expected, standard deviation 3.5


def test_the_expected_value_is_kept():
    torch.manual_seed(0)
    rate, n = 0.4, 40_000
    x = torch.tensor([1.0, -2.0]).expand(n, 2)
    standard_error = 2 * (rate / (1 - rate) / n) ** 0.5
    assert (stochastic_depth(x, rate).mean(0) - x[0]).abs().max() < 4 * standard_error


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9])
def test_the_same_draw_gives_what_torchvision_gives(rate):
    peers.torchvision()
    from torchvision.ops import stochastic_depth as theirs

    x = torch.randn(32, 4, 3, 3)
    torch.manual_seed(1)
    found = stochastic_depth(x, rate)
    torch.manual_seed(1)
    assert torch.equal(found, theirs(x, rate, "row"))


def test_gradients_reach_only_the_images_that_stay():
    torch.manual_seed(0)
    x = torch.randn(16, 3, dtype=torch.float64, requires_grad=True)
    found = stochastic_depth(x, 0.5)
    found.sum().backward()
    expected = torch.where(found.detach() == 0, 0.0, 2.0)
    assert 0 < expected.count_nonzero() < expected.numel()
    torch.testing.assert_close(x.grad, expected.double())


def test_evaluation_and_a_rate_of_zero_do_nothing():
    x = torch.randn(8, 3, 2, 2)
    assert torch.equal(StochasticDepth(0.9).eval()(x), x)
    state = torch.get_rng_state()
    assert torch.equal(StochasticDepth(0.0)(x), x)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(StochasticDepth(0.9)(x), x)


def test_the_rate_grows_linearly_to_that_of_the_last_block():
    assert linear_decay(0.5, 5) == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert linear_decay(0.2, 1) == [0.2]


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5])
def test_other_rates_are_refused(rate):
    with pytest.raises(UserError, match="rate from 0 up to"):
        StochasticDepth(rate)

"""The running average against a loop; bias correction, buffers, swapping and exact saving."""

import copy
import json

import pytest
import safetensors.torch
import torch
from torch import nn

from hubel.models.convnet import convnet
from hubel.training.ema import EMA


@pytest.fixture
def network():
    torch.manual_seed(0)
    return convnet(classes=3, input=(1, 8, 8), widths=(4, 6))


def walk(network, steps, averages=(), first=0):
    """Some steps of a training; yields the weights and buffers after each, as a loop would see them."""
    seen = []
    for t in range(first, first + steps):
        generator = torch.Generator().manual_seed(t)
        network(torch.randn(4, 1, 8, 8, generator=generator))  # moves the buffers
        with torch.no_grad():
            for p in network.parameters():
                p += 0.1 * torch.randn(p.shape, generator=generator)
        for average in averages:
            average.update(network)
        seen.append(copy.deepcopy(network.state_dict()))
    return seen


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_corrected_average_weighs_by_powers_of_the_decay(network, layout):
    network.to(memory_format=layout)
    ema = EMA(network, 0.9)
    seen = walk(network, 7, [ema])
    ema.copy_to(network)
    shares = [0.9 ** (6 - i) for i in range(7)]
    for name, found in network.state_dict().items():
        if found.is_floating_point():
            expected = sum(share * state[name] for share, state in zip(shares, seen, strict=True)) / sum(shares)
            torch.testing.assert_close(found, expected, msg=name)
        else:
            assert torch.equal(found, seen[-1][name]), name


def test_without_correction_the_start_keeps_its_share(network):
    start = copy.deepcopy(network.state_dict())
    ema = EMA(network, 0.5, correct=False)
    seen = walk(network, 2, [ema])
    ema.copy_to(network)
    for name, found in network.named_parameters():
        expected = 0.25 * start[name] + 0.25 * seen[0][name] + 0.5 * seen[1][name]
        torch.testing.assert_close(found.detach(), expected, msg=name)


def test_the_average_of_weights_that_stand_still_is_those_weights(network):
    """Bit for bit: what frozen layers compute is found again under the average, too."""
    ema = EMA(network)
    assert ema.decay == 0.995
    state = copy.deepcopy(network.state_dict())
    for _ in range(30):
        ema.update(network)
        ema.copy_to(network)
        for name, value in network.state_dict().items():
            assert torch.equal(value, state[name]), name


def test_the_average_is_nearer_to_the_middle_of_a_random_walk_around_a_point(network):
    ema, middle = EMA(network, 0.95), copy.deepcopy(network.state_dict())
    name = "head.1.weight"
    for t in range(100):
        noise = torch.randn(middle[name].shape, generator=torch.Generator().manual_seed(t))
        network.head[1].weight.data.copy_(middle[name] + noise)
        ema.update(network)
    last = (network.head[1].weight - middle[name]).norm()
    ema.copy_to(network)
    assert (network.head[1].weight - middle[name]).norm() < 0.35 * last


def test_swap_shows_the_average_and_gives_the_weights_back_bit_for_bit(network):
    ema = EMA(network, 0.9)
    walk(network, 3, [ema])
    own = copy.deepcopy(network.state_dict())
    expected = copy.deepcopy(network)
    ema.copy_to(expected)
    with pytest.raises(RuntimeError, match="inside"), ema.swap(network):
        for name, value in network.state_dict().items():
            assert torch.equal(value, expected.state_dict()[name]), name
        network.train()
        network(torch.randn(2, 1, 8, 8))  # changes buffers: forgotten, too
        raise RuntimeError("inside")
    for name, value in network.state_dict().items():
        assert torch.equal(value, own[name]), name


def test_before_the_first_update_the_weights_stay(network):
    before = copy.deepcopy(network.state_dict())
    with EMA(network).swap(network):
        for name, value in network.state_dict().items():
            assert torch.equal(value, before[name]), name


def test_swapping_does_not_disturb_gradients_nor_the_optimiser(network):
    ema = EMA(network)
    walk(network, 1, [ema])
    weight = network.head[1].weight
    weight.grad = torch.ones_like(weight)
    with ema.swap(network):
        assert network.head[1].weight is weight
        assert weight.requires_grad
    assert weight.grad.eq(1).all()


@pytest.mark.parametrize("correct", [True, False])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_saved_and_loaded_it_goes_on_bit_for_bit(network, correct, layout, tmp_path):
    network.to(memory_format=layout)
    ema = EMA(network, 0.9, correct)
    walk(network, 3, [ema])
    weights, state = copy.deepcopy(network.state_dict()), ema.state_dict()
    safetensors.torch.save_file(state.pop("average"), tmp_path / "average.safetensors")
    plain = json.loads(json.dumps(state))
    walk(network, 3, [ema], first=3)
    ema.copy_to(network)

    torch.manual_seed(1)
    resumed = nn.Module.to(convnet(classes=3, input=(1, 8, 8), widths=(4, 6)), memory_format=layout)
    other = EMA(resumed)
    walk(resumed, 2, [other])
    resumed.load_state_dict(weights)
    other.load_state_dict({"average": safetensors.torch.load_file(tmp_path / "average.safetensors"), **plain})
    walk(resumed, 3, [other], first=3)
    other.copy_to(resumed)
    for name, value in network.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name

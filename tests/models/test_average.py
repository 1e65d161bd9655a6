"""Checkpoints averaged into one network; the statistics of batch norm measured anew."""

import copy

import pytest
import torch
from torch import nn

from hubel.errors import UserError
from hubel.models.resnet_cifar import resnet8
from hubel.models.surgery.average import average_weights, averaged, measure_batchnorm

INPUT = (3, 16, 16)


def small(seed, dropout=0.0):
    torch.manual_seed(seed)
    return resnet8(classes=5, input=INPUT, widths=(8, 12), dropout=dropout)


def test_the_mean_of_weights_and_whole_numbers_of_the_first():
    states = [small(seed).state_dict() for seed in range(3)]
    states[0]["stem.0.1.num_batches_tracked"] = torch.tensor(7)
    found = average_weights(states)
    for name, value in found.items():
        values = [state[name] for state in states]
        expected = values[0] if not value.is_floating_point() else sum(values) / 3
        torch.testing.assert_close(value, expected)
        assert value.dtype == values[0].dtype
    assert found["stem.0.1.num_batches_tracked"] == 7


def test_networks_that_do_not_fit_are_named():
    with pytest.raises(UserError, match=r"network 2 .* 'head.1.bias'"):
        average_weights([small(0).state_dict(), resnet8(classes=4, input=INPUT, widths=(8, 12)).state_dict()])
    with pytest.raises(UserError, match="at least one"):
        average_weights([])


def test_statistics_are_the_mean_over_the_batches_that_were_given():
    """Of the first norm, by hand: the mean over batches of the mean and the unbiased variance of its input."""
    network, batches = small(0, dropout=0.9), [torch.randn(8, *INPUT) + i for i in range(3)]
    before = copy.deepcopy(network.state_dict())
    network.train()
    assert measure_batchnorm(network, iter(batches)) == 3
    conv, norm = network.stem[0][0], network.stem[0][1]
    seen = [conv(batch).transpose(0, 1).flatten(1) for batch in batches]
    torch.testing.assert_close(norm.running_mean, sum(x.mean(1) for x in seen) / 3)
    torch.testing.assert_close(norm.running_var, sum(x.var(1) for x in seen) / 3)
    assert norm.momentum == 0.1
    assert all(module.training for module in network.modules())
    assert all(torch.equal(p, before[name]) for name, p in network.named_parameters())


def test_an_average_of_two_has_statistics_of_its_own():
    networks = [small(seed) for seed in (0, 1)]
    batches = [torch.randn(16, *INPUT) for _ in range(4)]
    for network in networks:
        measure_batchnorm(network, batches)
    found = averaged(small(2), [network.state_dict() for network in networks], batches)
    fresh = copy.deepcopy(found)
    measure_batchnorm(fresh, batches)
    mean = average_weights([network.state_dict() for network in networks])
    name = "stages.1.0.f.0.1.running_var"
    assert torch.equal(found.state_dict()[name], fresh.state_dict()[name])
    assert not torch.allclose(found.state_dict()[name], mean[name], rtol=0.05)


def test_without_batches_statistics_stay_and_without_norms_nothing_is_asked():
    network = small(0)
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(UserError, match="at least one batch"):
        measure_batchnorm(network, [])
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert measure_batchnorm(nn.Linear(2, 2), []) == 0

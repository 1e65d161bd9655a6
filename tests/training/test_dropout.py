"""Dropout that draws at test time: only the masks are random, and nothing else notices."""

import copy

import pytest
import torch
from torch import nn

from hubel.errors import UserError
from hubel.training.dropout import check_dropout, dropping


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3), nn.Dropout(0)
    ).eval()


def test_masks_follow_the_seed_alone(network):
    images, state = torch.randn(5, 6), torch.get_rng_state()
    plain = network(images)
    found = []
    for seed in (1, 1, 2):
        with dropping(network, seed):
            found.append(network(images))
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])
    assert torch.equal(network(images), plain) and not any(module.training for module in network.modules())
    assert torch.equal(torch.get_rng_state(), state)


def test_each_part_has_masks_of_its_own(network):
    images, found = torch.randn(5, 6), []
    for words in ((1,), (1, 0), (1, 1), (1, 1), (1, 2), (2, 1)):
        with dropping(network, *words):
            found.append(network(images))
    assert torch.equal(found[0], found[1]) and torch.equal(found[2], found[3])
    different = [found[i] for i in (0, 2, 4, 5)]
    assert all(not torch.equal(a, b) for i, a in enumerate(different) for b in different[:i])


def test_the_masks_are_the_layers_own(network):
    images = torch.randn(5, 6)
    hidden = network[:3](images)
    torch.manual_seed(7)
    kept = (torch.nn.functional.dropout(torch.ones_like(hidden), 0.5) > 0).float()
    with dropping(network, 7):
        torch.testing.assert_close(network(images), network[4](hidden * kept / 0.5))


def test_batch_norm_keeps_its_statistics(network):
    before = copy.deepcopy(network.state_dict())
    with dropping(network, 0):
        assert not network[1].training and not network[5].training and network[3].training
        network(torch.randn(5, 6))
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_weight_scaling_is_the_mean_over_masks_of_a_linear_layer(network):
    """Inverted dropout keeps the expected value: exact behind one linear layer."""
    images = torch.randn(4, 6)
    with torch.no_grad():
        passes = []
        for seed in range(800):
            with dropping(network, seed):
                passes.append(network(images))
        error = torch.stack(passes).std(0) / 800**0.5
        assert ((torch.stack(passes).mean(0) - network(images)).abs() < 4.5 * error + 1e-6).all()


def test_without_dropout_there_is_nothing_to_sample(network):
    check_dropout(network, "own")
    with pytest.raises(UserError, match="'own' has no dropout"):
        check_dropout(nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.0)), "own")

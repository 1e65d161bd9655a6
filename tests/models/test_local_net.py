"""The locally connected network against its convolutional twin, and what it knows of places."""

import pytest
import torch
from torch import nn

from hubel.errors import UserError
from hubel.models.local import local_net
from hubel.nn.local import LocallyConnected2d


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.fixture
def twins():
    """The network, and the one that shares its weights, with the same filters everywhere."""
    torch.manual_seed(0)
    local, shared = (local_net(classes=5, input=(3, 18, 15), widths=(4, 5, 6), share=share) for share in (False, True))
    for name in ("fine", "coarse"):
        getattr(local, name)[0].tie(getattr(shared, name)[0])
    for name in ("edges", "head"):
        getattr(local, name).load_state_dict(getattr(shared, name).state_dict())
    return local, shared


def test_with_tied_filters_it_is_the_convolutional_network(twins):
    images = torch.randn(4, 3, 18, 15)
    local, shared = twins
    for ours, theirs in zip(local.maps(images), shared.maps(images), strict=True):
        torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(local(images), shared(images))


def test_its_layers_have_the_weights_of_a_convolution_at_every_place(twins):
    local, shared = twins
    for name, places in (("fine", 9 * 7), ("coarse", 5 * 4)):
        assert count(getattr(local, name)) == places * count(getattr(shared, name))
    assert count(local.edges) == count(shared.edges) == 4 * (27 + 1)
    assert [m.shape[2:] for m in local.maps(torch.randn(1, 3, 18, 15))] == [(9, 7), (5, 4)]


def test_a_shift_of_the_image_shifts_shared_maps_but_not_local_ones():
    torch.manual_seed(0)
    images = torch.zeros(1, 3, 20, 20)
    images[:, :, 8:12, 8:12] = torch.randn(1, 3, 4, 4)
    for share in (True, False):
        network = local_net(classes=5, input=(3, 20, 20), share=share)
        here, there = network.maps(images)[0], network.maps(images.roll(2, -1))[0]
        same = torch.allclose(here[..., 1:-2], there[..., 2:-1], atol=1e-6)
        assert same == share


def test_it_belongs_to_one_size():
    network = local_net(classes=5, input=(3, 16, 20))
    with pytest.raises(UserError, match=r"made for maps of \(16, 8, 10\), got \(16, 10, 8\)"):
        network(torch.zeros(1, 3, 20, 16))
    assert sum(isinstance(m, LocallyConnected2d) for m in network.modules()) == 2
    assert sum(isinstance(m, nn.Conv2d) for m in network.modules()) == 1


@pytest.mark.parametrize("options, message", [
    ({"widths": (8, 8)}, "three numbers of channels"),
    ({"hidden": 0}, "at least 1 unit"),
    ({"dropout": 1.0}, "'dropout' needs rates"),
    ({"input": (3, 3, 9)}, "3×9 pixels is too small for local_net; the smallest is 4×4"),
])  # fmt: skip
def test_what_it_cannot_be_is_refused(options, message):
    with pytest.raises(UserError, match=message):
        local_net(**{"classes": 3, "input": (3, 16, 16), **options})

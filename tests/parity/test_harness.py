"""The harness itself: each way in which two networks can differ is noticed."""

import copy

import pytest
import torch
from torch import nn

from hubel.models.renaming import Renaming
from parity import peers
from parity.parity import assert_parity

TABLE = Renaming(("body.{i}", "layers.{i}"))


class Small(nn.Module):
    def __init__(self, name, width=4, **norm):
        super().__init__()
        self.name = name
        layers = nn.Sequential(nn.Conv2d(3, width, 3, bias=False), nn.BatchNorm2d(width, **norm), nn.ReLU(),
                               nn.Dropout(0.5), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 2))  # fmt: skip
        setattr(self, name, layers)

    def forward(self, x):
        return getattr(self, self.name)(x)


def test_equal_networks_pass_whatever_their_weights_were():
    assert_parity(Small("body"), Small("layers"), TABLE, (7, 9))


class Scaled(Small):
    def forward(self, x):
        return super().forward(x) * (1 + 1e-4)


class OnlyInTraining(Small):
    def forward(self, x):
        y = super().forward(x)
        return y * (1 + 1e-4) if self.training else y


class WrongGradient(Small):
    def forward(self, x):
        y = super().forward(x)
        return 2 * y - y.detach()


@pytest.mark.parametrize("theirs, message", [
    (Scaled("layers"), "eval, output 0"),
    (OnlyInTraining("layers"), "train, output 0"),
    (WrongGradient("layers"), "eval, gradient of"),
    (Small("layers", eps=1e-3), "eval, output 0"),
    (Small("layers", momentum=0.2), "train, buffer body.1.running_mean"),
])  # fmt: skip
def test_a_difference_is_noticed(theirs, message):
    with pytest.raises(AssertionError, match=message):
        assert_parity(Small("body"), theirs, TABLE, 7)


def test_names_and_shapes_that_do_not_fit_are_noticed():
    with pytest.raises(RuntimeError, match="Missing key"):
        assert_parity(Small("body"), Small("layers"), Renaming(), 7)
    with pytest.raises(RuntimeError, match="size mismatch"):
        assert_parity(Small("body"), Small("layers", width=5), TABLE, 7)


def test_a_table_that_leads_there_but_not_back_is_noticed():
    one_way = copy.copy(TABLE)
    one_way.to_theirs = lambda name: name
    with pytest.raises(AssertionError):
        assert_parity(Small("body"), Small("layers"), one_way, 7)


def test_the_peers_can_be_imported():
    assert peers.torchvision().models.alexnet
    assert peers.timm().create_model
    assert torch.ops.torchvision.nms

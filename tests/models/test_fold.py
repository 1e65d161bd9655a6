"""Batch normalisation at test time is linear, and folds into the layer before it without changing the output."""

import re
from functools import partial

import pytest
import torch
from parity import peers
from torch import nn

from hubel.models import preact_cifar
from hubel.models.airbench import airbench
from hubel.models.convnet import convnet
from hubel.models.densenet import DenseNet, Growth, densenet40, densenet_bc40
from hubel.models.lenet import lenet5
from hubel.models.mlp import mlp
from hubel.models.preact_cifar import preact_resnet20
from hubel.models.resnet_cifar import resnet8
from hubel.models.surgery.fold import fold_batchnorm

INPUT = (3, 16, 20)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def lived_in(network):
    """In float64, with random statistics, scales (negative ones too) and shifts."""
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.2, 3)
    return network.double().eval()


def norms(network):
    return [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]


def assert_same(network, found, *shape):
    images = torch.randn(3, *(shape or INPUT)).double()
    with torch.no_grad():
        expected, got = network(images), found(images)
    assert expected.std() > 1e-3
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "network",
    [
        resnet8(classes=5, input=INPUT, widths=(8, 12, 16)),
        convnet(classes=5, input=INPUT, widths=(8, 12)),
        lenet5(classes=5, input=INPUT, norm="batch"),
        mlp(classes=5, input=INPUT, hidden=(20, 10), norm="batch"),
    ],
)
def test_all_norms_fold_and_the_outputs_stay(network):
    lived_in(network)
    count = len(norms(network))
    found = fold_batchnorm(network)
    assert (len(found.folded), found.left) == (count, ())
    assert not norms(found.network)
    assert len(norms(network)) == count, "the network itself must stay"
    assert_same(network, found.network)
    assert found.words() == f"{count} of {count} batch norms folded"


def test_a_norm_behind_pooling_or_activation_stays_and_is_counted():
    network = lived_in(airbench(classes=5, input=INPUT, widths=(8, 12)))  # conv, pool, norm; then conv, norm
    found = fold_batchnorm(network)
    assert (len(found.folded), len(found.left)) == (2, 2)
    assert "2 stay" in found.words()
    assert_same(network, found.network)
    after = lived_in(convnet(classes=5, input=INPUT, widths=(8,), norm_place="after"))
    found = fold_batchnorm(after)
    assert not found.folded
    assert_same(after, found.network)


def tiny_densenet(*, classes, input):
    """Of the kind for photographs: its stem and the inside of each bottleneck can be folded."""
    stem = nn.Sequential(nn.Conv2d(input[0], 8, 7, 2, padding=3, bias=False), nn.BatchNorm2d(8), nn.ReLU())
    return DenseNet(classes, stem, nn.MaxPool2d(3, 2, padding=1), 8, (2, 1), Growth(4))


def preact_bottlenecks(*, classes, input):
    return preact_cifar.build(classes, input, preact_cifar.BOTTLENECK, (16, 24, 32), 2, 8, 0.0)


@pytest.mark.parametrize(
    ("function", "folded", "left"),
    [
        (tiny_densenet, r"stem\.1|blocks\.\d\.0\.\d\.f\.3", r"blocks\.\d\.0\.\d\.f\.0|blocks\.\d\.1"),
        (partial(densenet_bc40, growth=2), r".*\.f\.3", r".*\.f\.0|blocks\.\d\.1"),
        (partial(densenet40, growth=2), "nothing", r".*\.f\.0|blocks\.\d\.1"),
        (partial(preact_resnet20, width=0.5), r".*\.f\.1|stages\.0\.0\.activate\.0", r".*\.activate\.0|last\.0"),
        (preact_bottlenecks, r".*\.f\.[14]|stages\.0\.0\.activate\.0", r".*\.activate\.0|last\.0"),
    ],
    ids=["densenet", "densenet-bc", "densenet-plain", "preact", "preact-bottleneck"],
)
def test_where_norms_come_first_only_those_behind_a_convolution_fold(function, folded, left):
    network = lived_in(function(classes=5, input=INPUT))
    names = {name for name, module in network.named_modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)}
    expected = {name for name in names if re.fullmatch(folded, name)}
    found = fold_batchnorm(network)
    assert set(found.folded) == expected
    assert set(found.left) == names - expected
    assert all(re.fullmatch(left, name) for name in found.left)
    assert f"{len(found.left)} stay: no layer with weights right before them" in found.words()
    assert_same(network, found.network)
    images = torch.randn(2, *INPUT).double()
    for a, b in zip(found.network.maps(images), network.maps(images), strict=True):  # taps read these
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


class Functional(nn.Module):
    """Layers whose order only the forward knows; `b` is read twice, `d` called twice."""

    def __init__(self):
        super().__init__()
        self.norm_a, self.norm_b, self.norm_d = (nn.BatchNorm2d(4) for _ in range(3))
        self.a = nn.Conv2d(3, 4, 3, groups=1, bias=False)
        self.b, self.d = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)

    def forward(self, x):
        x = torch.relu(self.norm_a(self.a(x)))
        b = self.b(x)
        return self.norm_d(self.d(self.d(x))) + self.norm_b(b) + b


def test_the_order_is_read_from_the_forward():
    network = lived_in(Functional())
    found = fold_batchnorm(network)
    assert found.folded == ("norm_a",)
    assert set(found.left) == {"norm_b", "norm_d"}
    assert_same(network, found.network)


class Asking(nn.Module):
    """A forward that looks at values can't be read; its chains can."""

    def __init__(self):
        super().__init__()
        self.chain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.loose, self.norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x):
        if x.sum() > 1e9:
            return x
        return self.norm(self.loose(self.chain(x)))


def test_where_the_forward_cannot_be_read_chains_are_folded():
    network = lived_in(Asking())
    found = fold_batchnorm(network)
    assert (found.folded, found.left) == (("chain.1",), ("norm",))
    assert_same(network, found.network)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(3, 6, 3, groups=3, stride=2, padding=1, bias=True),
        nn.ConvTranspose2d(3, 6, 3, groups=3, stride=2, bias=False),
        nn.Conv2d(3, 6, 3, padding=2, dilation=2, padding_mode="reflect"),
    ],
)
def test_kinds_of_convolutions(layer):
    network = lived_in(nn.Sequential(layer, nn.BatchNorm2d(6)))
    found = fold_batchnorm(network)
    assert len(found.folded) == 1
    assert_same(network, found.network)


def test_norms_without_scale_or_statistics():
    plain = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, affine=False)).double().eval()
    plain[1].running_mean.normal_()
    found = fold_batchnorm(plain)
    assert len(found.folded) == 1
    assert_same(plain, found.network)
    live = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, track_running_stats=False)).double().eval()
    assert fold_batchnorm(live).left == ("1",)


def test_weights_that_are_computed_stay():
    layer = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 1))
    network = nn.Sequential(layer, nn.BatchNorm2d(4)).eval()
    assert fold_batchnorm(network).left == ("1",)


def test_a_plain_network_says_that_there_is_nothing():
    assert fold_batchnorm(lenet5(classes=5, input=INPUT)).words() == "no batch norm"


def test_timms_norm_with_an_activation():
    peers.timm()
    from timm.layers import ConvNormAct

    network = lived_in(ConvNormAct(3, 4, 3))
    assert type(network.bn).__name__ == "BatchNormAct2d"
    found = fold_batchnorm(network)
    assert len(found.folded) == 1
    assert_same(network, found.network)

"""Residual networks are the functions that torchvision and timm have under these names."""

from functools import partial

import pytest
import torch
from torch import nn

from hubel.models import preact, preact_cifar, resnet, resnet_cifar, resnext, se_resnet, wide_resnet
from hubel.models.renaming import Renaming, peer_of, renaming_of
from hubel.models.resnet import WIDTHS_4, Options, build
from parity import peers
from parity.parity import assert_parity

FILES = (preact, preact_cifar, resnet, resnet_cifar, resnext, se_resnet, wide_resnet)
KNOWN = {name: function for file in FILES for name, function in vars(file).items() if hasattr(function, "peers")}
CLASSES = 1000
SHORT = (1, 1, 1, 1)  # blocks: the same arithmetic as 3, 4, 6, 3 in a fifth of the time


def theirs(function, library, **options):
    name = peer_of(function, library).name
    if library == "timm":
        return peers.timm().create_model(name, **options)
    return peers.torchvision().models.get_model(name, **options)


def test_resnet18_at_an_odd_size():
    function = resnet.resnet18
    ours = function(classes=7, input=(3, 65, 51))
    other = theirs(function, "torchvision", num_classes=7)
    assert_parity(ours, other, renaming_of(function, "torchvision"), (65, 51))


@pytest.mark.parametrize("branch, options", [
    (resnet.bottleneck, {}),
    (resnext.PATHS_32X4D, {"groups": 32, "width_per_group": 4}),
])  # fmt: skip
def test_bottlenecks_plain_and_in_groups(branch, options):
    models = peers.torchvision().models
    other = models.ResNet(models.resnet.Bottleneck, SHORT, num_classes=7, **options)
    assert_parity(build(7, (3, 32, 32), branch, WIDTHS_4, SHORT, Options()), other, resnet.TORCHVISION, 32)


@pytest.mark.parametrize("kind, branch, widths, table", [
    ("BasicBlock", se_resnet.BASIC, resnet.WIDTHS, se_resnet.TIMM_BASIC),
    ("Bottleneck", se_resnet.BOTTLENECK, WIDTHS_4, se_resnet.TIMM_BOTTLENECK),
])  # fmt: skip
def test_squeeze_and_excitation(kind, branch, widths, table):
    models = peers.timm().models
    block = getattr(models.resnet, kind)
    other = models.ResNet(block, SHORT, num_classes=7, block_args={"attn_layer": "se"})
    assert_parity(build(7, (3, 32, 32), branch, widths, SHORT, Options()), other, table, 32)


@pytest.mark.parametrize("name, branch, widths", [
    ("resnetv2_18", preact.basic, resnet.WIDTHS),
    ("resnetv2_50", preact.bottleneck, WIDTHS_4),
])  # fmt: skip
def test_pre_activation(name, branch, widths):
    timm = peers.timm()
    other = timm.create_model(name, num_classes=7, layers=SHORT)
    other.head = timm.layers.ClassifierHead(widths[-1], 7)  # a dense layer, where timm has it as a 1×1 convolution
    ours = preact._build(7, (3, 33, 33), branch, widths, SHORT, 0.0)
    assert_parity(ours, other, preact.TIMM, 33)


@pytest.mark.parametrize("name, library", [(n, library) for n, f in KNOWN.items() for library in f.peers])
def test_every_weight_has_its_name_and_shape_there(name, library):
    """Nothing is computed: all members of all families, as large as they are."""
    function = KNOWN[name]
    with torch.device("meta"):
        ours, other = function(classes=CLASSES, input=(3, 224, 224)), theirs(function, library)
    found = {k: v.shape for k, v in renaming_of(function, library).state_to_theirs(ours.state_dict()).items()}
    expected = {k: v.shape for k, v in other.state_dict().items()}
    if "resnetv2" in peer_of(function, library).name:
        expected["head.fc.weight"] = expected["head.fc.weight"][:2]  # a dense layer as a 1×1 convolution
    assert found == expected
    assert settings(ours) == settings(other)


def settings(network):
    """What shapes don't show, of every layer that has any, as a sorted list."""
    found = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.out_channels != CLASSES:
            found.append((str(module.weight.shape), module.stride, module.padding, module.dilation, module.groups))
        elif isinstance(module, nn.BatchNorm2d):
            found.append((module.num_features, module.eps, module.momentum))
    return sorted(found, key=str)


def test_the_names_of_every_family_are_covered():
    tables = {"torchvision": 10, "timm": 20}
    for library, count in tables.items():
        assert sum(library in function.peers for function in KNOWN.values()) == count


class Reference(nn.Module):
    """WRN-d-k, written down block by block from the paper's figure 1(d), with its own names."""

    def __init__(self, depth, factor, classes):
        super().__init__()
        conv = partial(nn.Conv2d, bias=False)
        self.first, self.blocks, c_in = conv(3, 16, 3, padding=1), nn.ModuleList(), 16
        for i, width in enumerate((16 * factor, 32 * factor, 64 * factor)):
            for j in range((depth - 4) // 6):
                stride = 2 if i and not j else 1
                block = {"bn1": nn.BatchNorm2d(c_in), "conv1": conv(c_in, width, 3, stride, padding=1),
                         "bn2": nn.BatchNorm2d(width), "conv2": conv(width, width, 3, padding=1)}  # fmt: skip
                block |= {"skip": conv(c_in, width, 1, stride)} if c_in != width else {}
                self.blocks.append(nn.ModuleDict(block))
                c_in = width
        self.norm, self.dense = nn.BatchNorm2d(c_in), nn.Linear(c_in, classes)

    def forward(self, x):
        x = self.first(x)
        for block in self.blocks:
            a = block["bn1"](x).clamp(min=0)
            f = block["conv2"](block["bn2"](block["conv1"](a)).clamp(min=0))
            x = (block["skip"](a) if "skip" in block else x) + f
        return self.dense(self.norm(x).clamp(min=0).mean((2, 3)))


WRN_NAMES = Renaming(
    *[(f"stages.{i}.{j}.{ours}", f"blocks.{2 * i + j}.{theirs}") for i in range(3) for j in range(2) for ours, theirs in
      [("activate.0", "bn1"), ("f.0", "conv1"), ("f.1", "bn2"), ("f.3", "conv2"), ("skip", "skip")]],
    ("stem", "first"), ("last.0", "norm"), ("head.1", "dense"),
)  # fmt: skip


def test_wide_resnet_equals_the_figure():
    ours = wide_resnet.wide_resnet(classes=7, input=(3, 16, 16), depth=16, factor=2)
    assert_parity(ours, Reference(16, 2, 7), WRN_NAMES, (16, 13))

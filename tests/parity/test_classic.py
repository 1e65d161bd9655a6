"""AlexNet, VGG and GoogLeNet are torchvision's functions. The dense stacks are narrowed here, to be drawn quickly; all
of them with their full width are compared in bench/zoo.py.
"""

import pytest
import torch
from torch import nn

from hubel.models import alexnet, googlenet, vgg
from hubel.models.renaming import renaming_of
from parity import peers
from parity.parity import assert_parity

HIDDEN = 16


def narrowed(make):
    """torchvision's network with dense layers of HIDDEN units; its weights are not set yet."""
    with torch.device("meta"):
        network = make()
        layers = network.classifier
        places = [i for i, layer in enumerate(layers) if isinstance(layer, nn.Linear)]
        widths = [layers[places[0]].in_features, HIDDEN, HIDDEN, layers[places[-1]].out_features]
        for i, n_in, n_out in zip(places, widths, widths[1:], strict=False):
            layers[i] = nn.Linear(n_in, n_out)
    return network.to_empty(device="cpu")


@pytest.mark.parametrize("function, size", [(vgg.vgg11, 32), (vgg.vgg11_bn, (33, 64)), (alexnet.alexnet, (64, 100))])
def test_with_dense_stacks(function, size):
    models = peers.torchvision().models
    theirs = narrowed(lambda: getattr(models, function.__name__)(num_classes=7))
    ours = function(classes=7, input=(3, 64, 64), hidden=HIDDEN)
    assert_parity(ours, theirs, renaming_of(function, "torchvision"), size, batch=2)


def test_googlenet_with_its_auxiliary_heads():
    theirs = peers.torchvision().models.googlenet(num_classes=7, aux_logits=True, init_weights=False)
    ours = googlenet.googlenet(classes=7, input=(3, 40, 48))
    table = renaming_of(googlenet.googlenet, "torchvision")
    assert_parity(ours, theirs, table, (40, 48), batch=2, read=lambda y: [y.logits, y.aux_logits1, y.aux_logits2])


def test_googlenet_without_auxiliary_heads():
    theirs = peers.torchvision().models.googlenet(num_classes=7, aux_logits=False, init_weights=False)
    assert_parity(googlenet.googlenet(classes=7, input=(3, 32, 32), heads=False), theirs,
                  renaming_of(googlenet.googlenet, "torchvision"), 32, batch=2)  # fmt: skip


@pytest.mark.parametrize("name", [
    "alexnet", "vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn", "googlenet",
])  # fmt: skip
def test_names_and_shapes_of_the_whole_network(name):
    models = peers.torchvision().models
    function = getattr(googlenet if name == "googlenet" else alexnet if name == "alexnet" else vgg, name)
    more = {"aux_logits": True, "init_weights": False} if name == "googlenet" else {}
    with torch.device("meta"):
        ours, theirs = function(classes=1000, input=(3, 224, 224)), getattr(models, name)(**more)
    renamed = renaming_of(function, "torchvision").state_to_ours(theirs.state_dict())
    assert {k: v.shape for k, v in renamed.items()} == {k: v.shape for k, v in ours.state_dict().items()}

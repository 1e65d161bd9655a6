"""A class activation map adds up to the logit; it equals the sum written out; its cells stand where they should."""

import pytest
import torch
import torch.nn.functional as F
from parity import peers
from torch import nn

import hubel
from hubel.errors import UserError
from hubel.explain.cam import _measured, axes_of, cam, class_maps
from hubel.explain.maps import Axis
from hubel.models.base import Head, Network
from hubel.nn.pooling import GlobalAveragePool
from hubel.tasks.hierarchical import Hierarchical

SIDE = 32
AVERAGING = (
    ("resnet18", {}),
    ("resnet8", {"pool": "average", "logit_scale": 0.5}),
    ("nin_cifar", {}),
    ("googlenet", {}),
    ("mobilenetv1", {"width": 0.25}),
    ("mobilenetv2", {"width": 0.25}),
    ("densenet_bc40", {}),
    ("efficientnet", {"phi": -6.0}),
    ("dilated_net", {}),
)


def made(name, **options):
    torch.manual_seed(3)
    network = hubel.create_model(name, classes=4, input=(3, SIDE, SIDE), **options).double()
    for module in network.modules():  # a fresh norm, or a bias of 0, would hide mistakes
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
        if isinstance(module, nn.Linear):
            module.bias.data.uniform_(1, 2)
    return network, torch.randn(2, 3, SIDE, SIDE, dtype=torch.float64)


@pytest.mark.parametrize(("name", "options"), AVERAGING)
def test_the_pooled_map_plus_bias_is_the_logit(name, options):
    network, images = made(name, **options)
    network.train()
    found = class_maps(network, images)
    assert network.training, "as it was before"
    with torch.no_grad():
        logits = network.eval()(images)
    assert found.pool == "average" and found.maps.shape[:2] == (2, 4)
    assert torch.equal(found.outputs, logits)
    assert (found.maps.mean((2, 3)) + found.bias - logits).abs().max() < 1e-6
    assert logits.abs().max() > 0.1


def test_the_map_is_the_weighted_sum_of_the_maps():
    network, images = made("resnet18")
    found = class_maps(network, images)
    with torch.no_grad():
        f = network.eval().maps(images)[-1]
    linear = network.head[-1]
    slow = torch.zeros_like(found.maps)
    for c in range(4):
        for k in range(f.shape[1]):
            slow[:, c] += linear.weight[c, k].detach() * f[:, k]
    assert torch.allclose(found.maps, slow, atol=1e-12)
    assert torch.equal(found.bias, linear.bias.detach())


def test_with_max_pooling_the_map_is_the_same_sum():
    network, images = made("resnet8", pool="max", logit_scale=1.0)
    found = class_maps(network, images)
    with torch.no_grad():
        f = network.eval().maps(images)[-1]
    assert found.pool == "max"
    assert torch.allclose(found.maps, torch.einsum("ck,bkhw->bchw", network.head[-1].weight.detach(), f), atol=1e-12)


def test_a_map_of_classes_with_max_pooling_is_as_high_as_the_logit():
    """arXiv: "Is object localization for free?" (CVPR 2015): a linear layer per cell, then the maximum."""
    network, images = made("nin_cifar")
    network.head = Head(*list(network.head)[:-1], nn.AdaptiveMaxPool2d(1), nn.Flatten())
    found = class_maps(network, images)
    assert torch.equal(found.maps.amax((2, 3)), found.outputs)


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [("lenet5", {}, "Flatten"), ("alexnet", {"hidden": 8}, "Flatten"), ("mlp", {}, "without places")],
)
def test_other_endings_are_refused_with_the_reason(name, options, reason):
    side = 64 if name == "alexnet" else 32
    network = hubel.create_model(name, classes=4, input=(3, side, side), **options)
    images = torch.zeros(1, 3, side, side)
    with pytest.raises(UserError, match=f"{reason}.*resnet, densenet"):
        class_maps(network, images)


def test_what_is_not_linear_behind_the_pooling_is_named():
    network, images = made("resnet8", pool="average")
    network.head = Head(GlobalAveragePool(), nn.Linear(network.channels[-1], 8), nn.ReLU(), nn.Linear(8, 4)).double()
    with pytest.raises(UserError, match=r"ReLU.*not linear"):
        class_maps(network, images)


def test_a_network_without_maps_is_refused():
    with pytest.raises(UserError, match="no `maps`"):
        class_maps(nn.Conv2d(3, 4, 1), torch.zeros(1, 3, 4, 4))


class OwnHead(nn.Module):
    """Not a chain of layers: `power` of the mean, then a linear layer."""

    def __init__(self, width: int, power: float):
        super().__init__()
        self.linear, self.power = nn.Linear(width, 4), power

    def forward(self, maps):
        return self.linear(maps[-1].mean((2, 3)) ** self.power)


def test_a_head_of_ones_own_is_measured():
    network, images = made("resnet8", pool="average")
    network.head = OwnHead(network.channels[-1], 1).double()
    found = class_maps(network, images)
    assert (found.maps.mean((2, 3)) + found.bias - found.outputs).abs().max() < 1e-6
    network.head = OwnHead(network.channels[-1], 2).double()
    with pytest.raises(UserError, match="doesn't average"):
        class_maps(network, images)


def test_what_adds_up_by_chance_is_refused():
    """The same value in every cell, or one cell alone: any head adds up there."""
    bent = OwnHead(5, 2)
    for features in (torch.ones(2, 5, 3, 3), torch.rand(2, 5, 1, 1)):
        with pytest.raises(UserError, match="doesn't average"):
            _measured(bent, features, bent([features]), "Mine")
    network, images = made("resnet8", pool="average")
    network.head = Hierarchical(tuple("abcd")).head(network).double()
    with pytest.raises(UserError, match="two levels"):
        class_maps(network, images)


def test_a_network_of_timm():
    peers.timm()
    network = hubel.create_model("timm:resnet18", classes=4, input=(3, SIDE, SIDE)).double()
    found = class_maps(network, torch.randn(2, 3, SIDE, SIDE, dtype=torch.float64))
    assert (found.maps.mean((2, 3)) + found.bias - found.outputs).abs().max() < 1e-6


class Bright(Network):
    """Answers with the brightness of each channel; a cell is the mean of a window of `size` pixels, `step` apart."""

    def __init__(self, size: int, step: int, padding: int):
        super().__init__()
        self.window = nn.AvgPool2d(size, step, padding)
        self.channels, self.strides, self.head = (3,), (step,), Head(GlobalAveragePool(), nn.Linear(3, 3, bias=False))
        nn.init.eye_(self.head[-1].weight)

    def maps(self, images):
        return [self.window(images)]


@pytest.mark.parametrize(("size", "step", "padding"), [(4, 4, 0), (3, 2, 1), (5, 2, 0)])
def test_cells_stand_at_the_centres_of_what_they_see(size, step, padding):
    network, y, x = Bright(size, step, padding), 20, 10
    cells = network.maps(torch.zeros(1, 3, SIDE, SIDE))[0].shape[2:]
    rows, columns = axes_of(network, (3, SIDE, SIDE), tuple(cells))
    image = torch.zeros(1, 3, SIDE, SIDE)
    image[0, 1, y : y + 6, x : x + 6] = 1
    heat = cam(network, image, torch.tensor([1]))
    values = heat.values[0] / heat.values.sum()
    centre_y = float((values.sum(1) * (rows.start + rows.jump * torch.arange(cells[0]))).sum())
    centre_x = float((values.sum(0) * (columns.start + columns.jump * torch.arange(cells[1]))).sum())
    assert (heat.rows, heat.columns) == (rows, columns)
    assert centre_y == pytest.approx(y + 3, abs=0.51) and centre_x == pytest.approx(x + 3, abs=0.51)


def test_a_network_that_can_not_be_traced_shares_the_image_evenly():
    class Odd(Bright):
        def maps(self, images):
            return [F.avg_pool2d(images, 4) * float(images.sum() > 0)]  # asks for a value

    assert axes_of(Odd(4, 4, 0), (3, 32, 48), (8, 12)) == (Axis(2, 4), Axis(2, 4))

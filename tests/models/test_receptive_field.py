"""Receptive fields against gradients: in a network of positive weights exactly the pixels of the field have one."""

import random

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hubel.models.airbench import airbench
from hubel.models.base import Network
from hubel.models.convnet import small_cnn
from hubel.models.cost import map_fields, profile
from hubel.models.lenet import lenet5
from hubel.models.patchwise import patchwise
from hubel.models.receptive_field import of_image
from hubel.models.resnet_cifar import resnet20
from hubel.nn.local import LocallyConnected2d


class Positive(nn.Module):
    """A module from a function of layers, all weights positive."""

    def __init__(self, layers, run=None):
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.run = run
        for parameter in self.parameters():
            nn.init.uniform_(parameter, 0.1, 1.0)

    def forward(self, x):
        if self.run is not None:
            return self.run(x, *self.layers)
        for layer in self.layers:
            x = layer(x)
        return x


def conv(size, stride=1, padding=0, dilation=1, channels=1):
    return nn.Conv2d(channels, 1, size, stride, padding, dilation, bias=False)


def field(network, height=61, width=67):
    return [layer for layer in profile(network, (1, height, width)).layers if layer.output][-1].field


def seen(network, row, column, height=61, width=67):
    """(first, end) of rows and of columns with a gradient of one cell."""
    image = torch.rand(1, 1, height, width, requires_grad=True)
    network(image)[0, :, row, column].sum().backward()
    found = image.grad[0, 0].nonzero()
    return [(int(found[:, d].min()), int(found[:, d].max()) + 1) for d in (0, 1)]


def check(network, height=61, width=67):
    """The cell in the middle reads exactly what its field says."""
    found = field(network, height, width)
    cell = [n // 2 for n in found.cells]
    said = [(axis.low + i * axis.jump, axis.high + i * axis.jump)
            for i, axis in zip(cell, (found.rows, found.columns), strict=True)]  # fmt: skip
    assert said[0][0] >= 0 and said[0][1] <= height, "the cell should lie inside"
    assert seen(network, *cell, height, width) == said
    return found


def test_the_image_is_its_own_field():
    found = of_image(4, 5)
    assert (found.rows.size, found.rows.jump, found.rows.start, found.cells) == (1, 1, 0.5, (4, 5))


@pytest.mark.parametrize("seed", range(8))
def test_chains_of_random_windows(seed):
    draw = random.Random(seed)
    layers = []
    for _ in range(draw.randint(2, 4)):
        size = (draw.randint(1, 4), draw.randint(1, 4))
        if draw.random() < 0.3:
            layers.append(nn.AvgPool2d(size, draw.randint(1, 2), tuple(n // 2 for n in size)))
        else:
            layers.append(conv(size, draw.randint(1, 2), draw.randint(0, 2), draw.randint(1, 2)))
        layers.append(nn.ReLU())
    check(Positive(layers))


def test_three_small_convolutions_see_what_a_large_one_sees():
    three, large = Positive([conv(3) for _ in range(3)]), Positive([conv(7)])
    assert check(three).rows.size == check(large).rows.size == 7
    assert profile(three, (1, 9, 9)).parameters == 27 and profile(large, (1, 9, 9)).parameters == 49


def test_of_branches_the_largest_counts():
    def inception(x, one, three, five, after):
        return torch.cat([one(x), three(x), five(x), after(F.avg_pool2d(x, 3, 1, 1))], 1)

    found = check(Positive([conv(1), conv(3, 1, 1), conv(5, 1, 2), conv(1)], inception))
    assert (found.rows.size, found.rows.start) == (5, 0.5)


def test_a_residual_sum_and_a_shortcut_that_skips_pixels():
    def block(x, first, second):
        return F.relu(F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, 0)) + second(F.relu(first(x))))

    found = check(Positive([conv(3, 2, 1), conv(3, 1, 1)], block))
    assert (found.rows.size, found.rows.jump, found.rows.start) == (7, 2, 0.5)


def test_margins_on_one_side_move_the_start():
    found = check(Positive([conv(3, 2)], lambda x, layer: layer(F.pad(x, (3, 0, 1, 0)))))
    assert (found.rows.start, found.columns.start) == (0.5, -1.5)
    mirrored = Positive([conv(3, 2)], lambda x, layer: layer(F.pad(x, (3, 0, 1, 0), mode="reflect")))
    assert field(mirrored) == found


def test_a_slice_moves_the_start():
    found = check(Positive([conv(3)], lambda x, layer: F.relu(layer(x)[:, :, 4:-2, 1::3])))
    assert (found.rows.start, found.columns.start, found.columns.jump) == (5.5, 2.5, 3)


def test_maximum_pooling_reads_the_same_window_as_the_average():
    assert field(nn.MaxPool2d(3, 2, 1)) == field(nn.AvgPool2d(3, 2, 1)) == check(Positive([nn.AvgPool2d(3, 2, 1)]))
    assert field(nn.MaxPool2d(2, 2, dilation=2)) == field(conv(2, 2, 0, 2))


def test_layers_whose_filters_belong_to_places():
    local = LocallyConnected2d(1, 2, (12, 15), 3, stride=2)
    found = check(Positive([local]), 12, 15)
    assert (found.rows.size, found.rows.jump, found.cells) == (3, 2, (5, 7))


def test_patches_and_matrix_products_are_convolutions():
    def run(x, layer):
        patches = F.unfold(x, 3, padding=1, stride=2)  # (B, 9, places)
        places = [(n - 1) // 2 + 1 for n in x.shape[2:]]
        return torch.einsum("ok,bkl->bol", layer.weight, patches).unflatten(2, places)

    found = check(Positive([nn.Linear(9, 4, bias=False)], run))
    assert found == field(conv(3, 2, 1))


def test_a_dense_layer_per_place_sees_one_place():
    def run(x, first, second):
        return second(first(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    assert check(Positive([conv(3), nn.Linear(1, 4)], run)).rows.size == 3


@pytest.mark.parametrize("size, stride, padding, sees", [(2, 2, 0, 1), (3, 2, 1, 2), (4, 2, 1, 2), (3, 1, 1, 3)])
def test_upsampling_reads_the_most_of_its_phases(size, stride, padding, sees):
    network = Positive([nn.ConvTranspose2d(1, 1, size, stride, padding, bias=False)])
    found = field(network, 20, 20)
    spans = [end - first for i in range(8, 8 + stride) for first, end in seen(network, i, i, 20, 20)]
    assert found.rows.size == max(spans) == sees
    assert found.rows.jump == 1 / stride


def test_nearest_and_linear_interpolation():
    nearest = field(Positive([], lambda x: F.interpolate(x, scale_factor=2)))
    linear = field(Positive([], lambda x: F.interpolate(x, scale_factor=2, mode="bilinear")))
    assert (nearest.rows.size, nearest.rows.jump, nearest.rows.start) == (1, 0.5, 0.25)
    assert (linear.rows.size, linear.rows.jump, linear.rows.start) == (2, 0.5, 0.25)


def test_global_pooling_and_dense_layers_see_the_whole_map():
    """A dense layer is a window as large as the map: with 3×3 cells at jump 2, 3 + 2 · 2 pixels."""
    pooled = Positive([conv(3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 5)])
    flat = Positive([conv(3, 2), nn.Flatten(), nn.Linear(9, 5)])
    window = Positive([conv(3, 2), conv(3)])
    for network in (pooled, flat):
        assert field(network, 7, 7).rows == field(window, 7, 7).rows
    assert field(window, 7, 7).rows.size == 7
    mean = field(Positive([conv(3, 2)], lambda x, layer: layer(x).mean((2, 3))), 7, 7)
    assert mean == field(window, 7, 7)


def test_bins_of_adaptive_pooling():
    even, same = field(nn.AdaptiveAvgPool2d(3), 12, 9), field(nn.AdaptiveAvgPool2d((12, 9)), 12, 9)
    assert (even.rows.size, even.rows.jump, even.rows.start) == (4, 4, 2) and even.columns.size == 3
    assert same == of_image(12, 9)
    assert field(nn.AdaptiveAvgPool2d(3), 7, 7).rows.size == 3  # of 0–3, 2–5, 4–7


def test_squeeze_and_excitation_lets_every_cell_feel_the_whole_image():
    def run(x, first, second):
        y = first(x)
        return second(y * torch.sigmoid(y.mean((2, 3), keepdim=True)))

    network = Positive([conv(3), conv(3)], run)
    found = field(network)
    assert found.whole and (found.rows.size, found.rows.start) == (5, 2.5)
    assert seen(network, 20, 20) == [(0, 61), (0, 67)]
    assert not field(Positive([conv(3), conv(3)])).whole


def test_attention_lets_every_place_see_all():
    def run(x, layer):
        tokens = layer(x).flatten(2).transpose(1, 2)  # (B, places, 1)
        return torch.softmax(tokens @ tokens.mT, -1) @ tokens

    assert field(Positive([conv(3, 3)], run), 12, 12).rows.size == 12


@pytest.mark.parametrize("name, network", [
    ("lenet5", lenet5(classes=3, input=(1, 32, 32))),
    ("lenet5 with a margin", lenet5(classes=3, input=(1, 28, 28))),
    ("airbench", airbench(classes=3, input=(1, 33, 33), widths=(4, 6, 8))),
    ("airbench, odd", airbench(classes=3, input=(1, 32, 32), widths=(4, 6, 8), kernel=3, stem=4)),
    ("small_cnn", small_cnn(classes=3, input=(1, 32, 32))),
    ("resnet20", resnet20(classes=3, input=(1, 32, 32))),
])  # fmt: skip
def test_jumps_are_the_strides_of_the_contract_and_starts_its_starts(name, network):
    assert isinstance(network, Network)
    side = {"lenet5 with a margin": 28, "airbench": 33}.get(name, 32)
    found = map_fields(network, (1, side, side))
    assert [one.rows.jump for one in found] == list(network.strides)
    if hasattr(network, "starts"):
        assert [one.rows.start for one in found] == list(network.starts)


def test_patches_see_what_was_cut_out():
    """A classifier on patches: whatever it does inside, a cell depends on its patch, also where cells and a map of
    the patch happen to have the same sides; what follows on the map of answers adds to it."""

    def run(x, inside, after):
        windows = x.unfold(2, 16, 4).unfold(3, 16, 4)  # (1, 1, h, w, 16, 16)
        h, w = windows.shape[2:4]
        answers = inside(windows.permute(0, 2, 3, 1, 4, 5).flatten(0, 2)).mean((2, 3))
        return after(answers.unflatten(0, (-1, h, w)).movedim(3, 1))

    for height, width in ((61, 67), (74, 74)):  # the second: 15 × 15 cells, and maps of 15 × 15 inside
        network = Positive([conv(2), conv(3)], run)
        check(network, height, width)
        found = field(network, height, width)
        assert (found.rows.size, found.rows.jump, found.cut) == (16 + 2 * 4, 4, 0)
    found = map_fields(patchwise(classes=3, input=(3, 32, 32)), (3, 32, 32))
    assert [(one.rows.size, one.rows.jump, one.rows.start) for one in found] == [(32, 4, 2)]

"""DenseNet, MobileNet and EfficientNet: what the papers say of their sizes and costs, and how they are made."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hubel import names
from hubel.errors import UserError
from hubel.models import densenet, efficientnet, mobilenet
from hubel.models.cost import multiply_adds
from hubel.models.inverted_residual import ConvUnit, InvertedResidual, Stage, multiple_of_8
from hubel.nn.same_padding import SameConv2d

EFFICIENT = {  # the table of the paper: millions of parameters, milliards of multiply-adds as counted, side in pixels
    "b0": (5.3, 0.39, 224),
    "b1": (7.8, 0.69, 240),
    "b2": (9.2, 0.99, 260),
    "b3": (12, 1.83, 300),
    "b4": (19, 4.39, 380),
    "b5": (30, 10.27, 456),
    "b6": (43, 19.07, 528),
    "b7": (66, 37.75, 600),
}
PARAMETERS = {
    "densenet121": 7_978_856,
    "densenet161": 28_681_000,
    "densenet169": 14_149_480,
    "densenet201": 20_013_928,
    "densenet40": 1_019_722,
    "densenet_bc40": 176_122,
    "densenet_bc100": 769_162,
    "mobilenetv1": 4_231_976,
    "mobilenetv2": 3_504_872,
    "efficientnet_b0": 5_288_548,
    "efficientnet_b1": 7_794_184,
    "efficientnet_b2": 9_109_994,
    "efficientnet_b3": 12_233_232,
    "efficientnet_b4": 19_341_616,
    "efficientnet_b5": 30_389_784,
    "efficientnet_b6": 43_040_704,
    "efficientnet_b7": 66_347_960,
    "efficientnet_lite0": 4_652_008,
    "efficientnet_lite1": 5_416_680,
    "efficientnet_lite2": 6_092_072,
    "efficientnet_lite3": 8_197_096,
    "efficientnet_lite4": 13_006_568,
}


def on_paper(name, classes=1000, **options):
    """A network by name without memory, and the size that it wants."""
    function = names.resolve(names.MODELS, name)
    with torch.device("meta"):
        return function(classes=classes, input=(3, function.size, function.size), **options), function.size


def count(network):
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters(name):
    function = names.resolve(names.MODELS, name)
    network, _ = on_paper(name, classes=10 if function.size == 32 else 1000)
    assert count(network) == PARAMETERS[name]
    assert f"{PARAMETERS[name]:,}" in function.__doc__


@pytest.mark.parametrize("name", EFFICIENT)
def test_costs_of_efficientnet(name):
    network, side = on_paper(f"efficientnet_{name}")
    millions, milliards, size = EFFICIENT[name]
    assert side == size
    assert count(network) / 1e6 == pytest.approx(millions, rel=0.03)  # B3 and B2 are rounded up in the paper
    assert round(multiply_adds(network, (3, side, side)) / 1e9, 2) == milliards


def test_the_formula_of_compound_scaling_and_the_released_multipliers():
    alpha, beta, gamma = efficientnet.ALPHA, efficientnet.BETA, efficientnet.GAMMA
    assert (alpha, beta, gamma) == (1.2, 1.1, 1.15)
    assert alpha * beta**2 * gamma**2 == pytest.approx(1.92, abs=0.005)  # about 2
    by_formula = efficientnet.scale_of(2)
    assert (by_formula.depth, by_formula.width) == (pytest.approx(1.44), pytest.approx(1.21))
    assert by_formula.size == round(224 * 1.15**2) == 296
    assert efficientnet.scale_of(0) == efficientnet.SCALES["b0"]
    released = list(efficientnet.SCALES.values())
    assert [scale.depth for scale in released] == [1, 1.1, 1.2, 1.4, 1.8, 2.2, 2.6, 3.1]
    assert [scale.width for scale in released] == [1, 1, 1.1, 1.2, 1.4, 1.6, 1.8, 2]


def test_phi_is_a_free_number_and_the_cost_about_doubles_with_each():
    costs = []
    for phi in (0, 3):
        network, _ = on_paper("efficientnet", phi=phi)
        side = efficientnet.scale_of(phi).size
        costs.append(multiply_adds(network, (3, side, side)))
    assert 0.9 < math.log2(costs[1] / costs[0]) / 3 < 1.3  # numbers of blocks are rounded up
    assert count(on_paper("efficientnet", phi=-1.5)[0]) < PARAMETERS["efficientnet_b0"]
    with pytest.raises(UserError, match="'phi' needs a number from -8 to 10, got 11"):
        on_paper("efficientnet", phi=11)


def test_lite_networks_excite_nothing_and_keep_stem_and_head():
    network, _ = on_paper("efficientnet_lite4")
    kinds = {type(module).__name__ for module in network.modules()}
    assert "ReLU6" in kinds and not {"SiLU", "SqueezeExcite"} & kinds
    assert network.stem[0].out_channels == 32 and network.head[0][0].out_channels == 1280
    assert [len(stage) for stage in network.stages] == [1, 4, 4, 6, 6, 8, 1]  # a depth of 1.8 but for both ends


def test_a_depthwise_separable_convolution_costs_672_in_place_of_2160():
    """6×6×3 to 4×4×5 with 3×3 filters: the share 1 / N + 1 / f² of the multiplications."""
    full = multiply_adds(nn.Conv2d(3, 5, 3), (3, 6, 6))
    separable = multiply_adds(nn.Sequential(nn.Conv2d(3, 3, 3, groups=3), nn.Conv2d(3, 5, 1)), (3, 6, 6))
    assert (full, separable) == (2160, 672)
    assert separable / full == pytest.approx(1 / 5 + 1 / 9)


def test_mobilenets_blocks_cost_that_share():
    block = mobilenet.SeparableConv(64, 128)
    full = multiply_adds(nn.Conv2d(64, 128, 3, padding=1), (64, 14, 14))
    assert multiply_adds(block, (64, 14, 14)) / full == pytest.approx(1 / 128 + 1 / 9)


def test_a_width_of_a_half_costs_about_a_quarter_and_a_smaller_image_less():
    whole, half = (multiply_adds(on_paper("mobilenetv1", width=w)[0], (3, 224, 224)) for w in (1.0, 0.5))
    assert (round(whole / 1e6), round(half / 1e6)) == (569, 149)  # the paper's table 6
    assert multiply_adds(on_paper("mobilenetv1")[0], (3, 160, 160)) // 10**6 == 290  # table 7
    for wrong in (0, -1, 9):
        with pytest.raises(UserError, match="'width' needs a number above 0 and up to 8"):
            on_paper("mobilenetv2", width=wrong)


ROUNDED = [(3, 8), (11, 16), (12, 16), (19, 24), (20, 24), (27.9, 32), (32, 32), (35.2, 32)]


@pytest.mark.parametrize(("width", "rounded"), ROUNDED)
def test_widths_are_multiples_of_8_and_lose_at_most_a_tenth(width, rounded):
    assert multiple_of_8(width) == rounded
    assert rounded >= 0.9 * width


@pytest.mark.parametrize("size", [1, 2, 5, 6, 7, 8])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
def test_same_padding_puts_the_odd_pixel_behind(size, kernel, stride):
    layer = SameConv2d(2, 3, kernel, stride, bias=False)
    x = torch.randn(1, 2, size, size + 1)
    found = layer(x)
    assert found.shape[2:] == (math.ceil(size / stride), math.ceil((size + 1) / stride))
    for i in range(found.shape[2]):
        for j in range(found.shape[3]):
            before = [max((math.ceil(n / stride) - 1) * stride + kernel - n, 0) // 2 for n in (size, size + 1)]
            wide = F.pad(x, (before[1], kernel, before[0], kernel))  # more than enough behind
            window = wide[0, :, i * stride : i * stride + kernel, j * stride : j * stride + kernel]
            torch.testing.assert_close(found[0, :, i, j], (layer.weight * window).sum((1, 2, 3)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("width", "stride", "adds"), [(8, 1, True), (8, 2, False), (12, 1, False)])
def test_an_inverted_residual_adds_its_input_only_where_the_shapes_agree(width, stride, adds):
    x = torch.randn(2, 8, 6, 6)
    block = InvertedResidual(ConvUnit(), 8, Stage(2, 3, stride, width, 1), stride, 0.25, 0.0).eval()
    nn.init.zeros_(block.project[1].weight)
    assert torch.equal(block(x), x if adds else torch.zeros(2, width, 6 // stride, 6 // stride))


def test_a_dense_layer_keeps_what_was_before():
    block = densenet.Growth(4).block(8, 3)
    x = torch.randn(2, 8, 5, 5)
    y = block(x)
    assert y.shape == (2, 8 + 3 * 4, 5, 5)
    assert torch.equal(y[:, :8], x)
    first = block[0](x)
    assert torch.equal(y[:, :12], first)


@pytest.mark.parametrize(("name", "side"), [("densenet121", 28), ("densenet40", 3)])
def test_densenets_smallest_size(name, side):
    function = names.resolve(names.MODELS, name)
    with pytest.raises(UserError, match=f"smallest is {side + 1}×{side + 1}"):
        function(classes=5, input=(3, side, side))
    with torch.device("meta"):
        network = function(classes=5, input=(1, side + 1, side + 1)).eval()
        assert network(torch.empty(1, 1, side + 1, side + 1)).shape == (1, 5)


@pytest.mark.parametrize("name", ["densenet_bc40", "densenet40"])
def test_growth_is_an_option(name):
    network, _ = on_paper(name, classes=10, growth=2)
    assert network.stem[0].out_channels == (4 if "bc" in name else 16)
    with pytest.raises(UserError, match="'growth' needs a whole number of at least 1, got 0"):
        on_paper(name, growth=0)

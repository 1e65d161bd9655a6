"""Residual networks: sizes of the papers, and what they are when their corrections are nothing."""

from collections import Counter

import pytest
import torch
from parity import peers
from torch import nn

from hubel.errors import UserError
from hubel.models import preact, preact_cifar, resnet, resnet_cifar, resnext, se_resnet, wide_resnet
from hubel.models.preact import PreActivation
from hubel.models.resnet import Options, Residual, basic, build, make_stages
from hubel.nn.shortcut import Shortcut
from hubel.nn.squeeze_excite import SqueezeExcite
from hubel.nn.stochastic_depth import StochasticDepth


def count(module):
    return sum(p.numel() for p in module.parameters())


def on_paper(function, classes=1000, input=(3, 224, 224), **options):
    """The network without its numbers: nothing is drawn or kept."""
    with torch.device("meta"):
        return function(classes=classes, input=input, **options)


def of_kind(network, kind):
    return [module for module in network.modules() if isinstance(module, kind)]


PHOTOS = {  # torchvision's documentation and timm's; the papers round them
    resnet.resnet18: 11_689_512, resnet.resnet34: 21_797_672, resnet.resnet50: 25_557_032,
    resnet.resnet101: 44_549_160, resnet.resnet152: 60_192_808, resnext.resnext50_32x4d: 25_028_904,
    resnext.resnext101_32x8d: 88_791_336, resnext.resnext101_64x4d: 83_455_272,
    wide_resnet.wide_resnet50_2: 68_883_240, wide_resnet.wide_resnet101_2: 126_886_696,
    se_resnet.se_resnet18: 11_779_624, se_resnet.se_resnet34: 21_960_416, se_resnet.se_resnet50: 28_088_024,
    se_resnet.se_resnet101: 49_326_872, se_resnet.se_resnet152: 66_821_848,
    preact.preact_resnet18: 11_687_720, preact.preact_resnet34: 21_795_880, preact.preact_resnet50: 25_549_352,
    preact.preact_resnet101: 44_541_480, preact.preact_resnet152: 60_185_128,
}  # fmt: skip
SMALL = {
    resnet_cifar.resnet110: 1_727_962, resnet_cifar.plain110: 1_727_962,
    preact_cifar.preact_resnet20: 269_722, preact_cifar.preact_resnet56: 853_018,
    preact_cifar.preact_resnet110: 1_727_962, preact_cifar.preact_resnet164: 1_703_258,
    wide_resnet.wide_resnet: 2_748_890, wide_resnet.wide_resnet16_8: 10_961_370,
    wide_resnet.wide_resnet28_10: 36_479_194, wide_resnet.wide_resnet40_4: 8_949_210,
}  # fmt: skip


@pytest.mark.parametrize(
    "function, parameters", (PHOTOS | SMALL).items(), ids=lambda value: getattr(value, "__name__", "")
)
def test_parameters_are_those_of_the_literature_and_of_the_docstring(function, parameters):
    photos = function in PHOTOS
    network = on_paper(function) if photos else on_paper(function, 10, (3, 32, 32))
    assert count(network) == parameters
    assert f"{parameters:,}" in function.__doc__ or function is resnet_cifar.plain110
    assert function.size == (224 if photos else None)


@pytest.mark.parametrize("depth, factor, millions", [
    (40, 1, 0.6), (40, 2, 2.2), (40, 4, 8.9), (28, 10, 36.5), (22, 8, 17.2), (16, 8, 11.0), (16, 10, 17.1),
])  # fmt: skip
def test_wide_resnets_are_as_large_as_in_the_paper(depth, factor, millions):
    network = on_paper(wide_resnet.wide_resnet, 10, (3, 32, 32), depth=depth, factor=factor)
    assert round(count(network) / 1e6, 1) == millions


@pytest.mark.parametrize("function, depth", [
    (resnet.resnet18, 18), (resnet.resnet34, 34), (resnet.resnet50, 50), (resnet.resnet101, 101),
    (resnet.resnet152, 152), (resnext.resnext50_32x4d, 50), (preact.preact_resnet101, 101),
    (resnet_cifar.resnet110, 110), (resnet_cifar.plain32, 32), (resnet_cifar.plain44, 44),
    (resnet_cifar.plain110, 110), (preact_cifar.preact_resnet56, 56), (preact_cifar.preact_resnet164, 164),
])  # fmt: skip
def test_the_name_counts_the_layers_with_weights_and_not_those_of_skips(function, depth):
    network = on_paper(function)
    skips = {id(conv) for name, module in network.named_modules() if name.endswith("skip")
             for conv in of_kind(module, nn.Conv2d)}  # fmt: skip
    weighted = of_kind(network, (nn.Conv2d, nn.Linear))
    assert len([layer for layer in weighted if id(layer) not in skips]) == depth


def test_a_photo_network_has_a_7x7_stem_1x1_skips_and_one_dense_layer_a_small_one_only_3x3():
    """It is told of ResNet-34 that it had 3×3 convolutions only and nothing dense."""
    network = on_paper(resnet.resnet34)
    sizes = Counter(conv.kernel_size for conv in of_kind(network, nn.Conv2d))
    assert sizes == {(7, 7): 1, (3, 3): 32, (1, 1): 3}
    assert len(of_kind(network, nn.Linear)) == 1
    small = on_paper(resnet_cifar.resnet20)
    assert Counter(conv.kernel_size for conv in of_kind(small, nn.Conv2d)) == {(3, 3): 19}
    assert [count(skip) for skip in of_kind(small, Shortcut)] == [0, 0]


@pytest.mark.parametrize("function, projections", [(resnet.resnet34, 3), (resnet.resnet50, 4)])
def test_identity_shortcuts_have_no_weights(function, projections):
    with_weights, without = on_paper(function), on_paper(function, shortcut="identity")
    convs = [c for n, m in with_weights.named_modules() if n.endswith("skip") for c in of_kind(m, nn.Conv2d)]
    assert len(convs) == len(of_kind(without, Shortcut)) == projections
    assert count(with_weights) - count(without) == sum(count(conv) + 2 * conv.out_channels for conv in convs)


def test_a_shortcut_equals_a_loop_at_odd_sizes_and_an_odd_number_of_new_channels():
    x = torch.randn(2, 3, 5, 7)
    expected = torch.zeros(2, 6, 3, 4)  # 1 channel of zeros before, 2 behind
    for channel in range(3):
        for row in range(3):
            for column in range(4):
                expected[:, 1 + channel, row, column] = x[:, channel, 2 * row, 2 * column]
    assert torch.equal(Shortcut(3, 2)(x), expected)


def tiny(branch=basic, **options):
    torch.manual_seed(0)
    return build(5, (3, 32, 32), branch, (8, 12, 16, 20), (2, 1, 2, 1), Options(**options))


def settle(network):
    """Statistics that are not those of a fresh network."""
    for norm in of_kind(network, nn.BatchNorm2d):
        nn.init.normal_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0.5, 2)
        nn.init.normal_(norm.bias)
    return network.eval()


def test_a_pre_activation_block_whose_f_is_zero_is_exactly_the_identity():
    torch.manual_seed(0)  # of two channels between, chance may silence both
    for branch in (preact.basic, preact.bottleneck):
        block = settle(PreActivation(branch, preact.projection, 8, 8, 1))
        x = torch.randn(2, 8, 6, 5)
        assert not torch.equal(block(x), x)
        nn.init.zeros_(block.f[-1].weight)
        assert torch.equal(block(x), x)  # its negative numbers too
        assert torch.equal(block.train()(x), x)


def test_the_gradient_of_a_sum_of_pre_activations_travels_as_it_is():
    """d loss / d x_l = d loss / d x_L · (1 + …): with f = 0 the 1 alone."""
    stage = make_stages(lambda *shape: PreActivation(preact.basic, preact.projection, *shape), 4, (4,), (5,))[0]
    for block in stage:
        nn.init.zeros_(block.f[-1].weight)
    x = torch.randn(2, 4, 3, 3, requires_grad=True)
    direction = torch.randn(2, 4, 3, 3)
    stage(x).backward(direction)
    assert torch.equal(x.grad, direction)


@pytest.mark.parametrize("shortcut", ["projection", "identity"])
def test_without_corrections_a_network_is_its_stem_its_skips_and_its_head(shortcut):
    network = settle(tiny(shortcut=shortcut))
    for block in of_kind(network, Residual):
        nn.init.zeros_(block.f[-1][1].weight)
        nn.init.zeros_(block.f[-1][1].bias)
    images = torch.randn(2, 3, 33, 40)
    x = network.pool(network.stem(images))
    for stage in network.stages:
        x = stage[0].skip(x).relu()  # all other skips of a stage are the identity, on what has no negative numbers
    assert torch.equal(network(images), network.head([x]))


def test_a_small_network_without_corrections_is_stem_zeros_and_head():
    network = settle(resnet_cifar.resnet20(classes=10, input=(3, 16, 16)))
    for block in of_kind(network, Residual):
        nn.init.zeros_(block.f[-1][1].weight)
        nn.init.zeros_(block.f[-1][1].bias)
    images = torch.randn(2, 3, 16, 16)
    dense, fine = network.head[1], network.stem(images)[:, :, ::4, ::4]
    expected = fine.mean((2, 3)) @ dense.weight[:, 24:40].T + dense.bias  # 8 zeros in front, then 16 more
    torch.testing.assert_close(network(images), expected)


def test_zero_init_starts_every_block_as_its_skip_and_still_learns():
    for branch in (basic, resnet.bottleneck, se_resnet.BASIC):
        network = tiny(branch, zero_init=True)
        x = torch.randn(4, 8, 8, 8).relu()
        assert torch.equal(network.stages[0][1](x), x)
        network(torch.randn(4, 3, 32, 32)).sum().backward()
        assert all(block.f[4 if branch is resnet.bottleneck else 2][1].weight.grad.any() for block in network.stages[0])
    assert not torch.equal(tiny().stages[0][1](x), x)


def test_torchvision_zeroes_the_same_gains():
    models = peers.torchvision().models
    theirs = models.ResNet(models.resnet.BasicBlock, (1, 1, 1, 1), zero_init_residual=True)
    zeroed = {name for name, value in theirs.state_dict().items() if name.endswith("weight") and not value.any()}
    ours = build(5, (3, 32, 32), basic, resnet.WIDTHS, (1, 1, 1, 1), Options(zero_init=True))
    assert {resnet.TORCHVISION.to_theirs(name) for name, value in ours.state_dict().items()
            if name.endswith("weight") and not value.any()} == zeroed  # fmt: skip


def test_se_weighs_the_correction_and_not_the_skip():
    block = settle(Residual(se_resnet.BASIC, resnet.projection, 16, 16, 1))
    x = torch.randn(2, 16, 5, 5)
    *f, excite = block.f
    assert isinstance(excite, SqueezeExcite)
    correction = nn.Sequential(*f)(x)
    assert torch.equal(block(x), (x + excite(correction)).relu())


@pytest.mark.parametrize("make", [
    lambda rate: on_paper(resnet.resnet18, drop_path=rate),
    lambda rate: on_paper(resnet_cifar.resnet20, drop_path=rate),
    lambda rate: on_paper(preact_cifar.preact_resnet20, drop_path=rate),
    lambda rate: on_paper(wide_resnet.wide_resnet, depth=16, drop_path=rate),
    lambda rate: on_paper(se_resnet.se_resnet18, drop_path=rate),
    lambda rate: on_paper(preact.preact_resnet18, drop_path=rate),
])  # fmt: skip
def test_the_rate_of_stochastic_depth_grows_linearly_with_the_block(make):
    network = make(0.4)
    blocks = of_kind(network, (Residual, PreActivation))
    assert [block.f[-1].rate for block in blocks] == pytest.approx(
        [0.4 * (i + 1) / len(blocks) for i in range(len(blocks))]
    )
    assert not of_kind(make(0.0), StochasticDepth)
    assert network.state_dict().keys() == make(0.0).state_dict().keys()


def test_an_image_that_drops_every_correction_keeps_its_skips():
    torch.manual_seed(0)
    network = settle(resnet_cifar.resnet20(classes=5, input=(3, 16, 16), drop_path=0.5))
    block = network.stages[0][-1]
    x = torch.randn(64, 16, 4, 4).relu()
    block.f[-1].train()
    found, correction = block(x), block.f[:-1](x) / (1 - block.f[-1].rate)
    dropped = [torch.equal(y, image) for y, image in zip(found, x, strict=True)]
    assert 2 <= sum(dropped) <= 30  # 64 · 3 / 18 = 10.7 expected
    for image, y, extra, gone in zip(x, found, correction, dropped, strict=True):
        torch.testing.assert_close(y, image if gone else (image + extra).relu())


def test_a_width_multiplies_every_stage_and_shrinks_the_network_by_its_square():
    narrow, usual = (on_paper(resnet_cifar.resnet56, 10, (3, 32, 32), width=width) for width in (0.5, 1.0))
    assert narrow.channels == (16, 32)
    assert [stage[0].f[0][0].out_channels for stage in narrow.stages] == [8, 16, 32]
    assert count(usual) / count(narrow) == pytest.approx(4, rel=0.02)
    for residual, plain in (
        (resnet_cifar.resnet20, resnet_cifar.plain20),
        (resnet_cifar.resnet56, resnet_cifar.plain56),
    ):
        pair = [on_paper(function, 10, (3, 32, 32), width=0.5) for function in (residual, plain)]
        assert count(pair[0]) == count(pair[1])
        assert not of_kind(pair[1], Shortcut)


def test_in_the_first_block_behind_the_stem_both_paths_read_what_is_activated():
    network = settle(preact_cifar.preact_resnet20(classes=5, input=(3, 8, 8)))
    first, second = network.stages[0][:2]
    x = torch.randn(2, 16, 8, 8)
    a = first.activate(x)
    assert torch.equal(first(x), a + first.f(a))
    assert torch.equal(second(x), x + second.f(second.activate(x)))


def test_the_coarsest_map_of_a_pre_activation_network_is_activated_and_the_others_are_sums():
    network = settle(preact_cifar.preact_resnet20(classes=5, input=(3, 8, 8)))
    fine, coarse = network.maps(torch.randn(2, 3, 8, 8))
    assert fine.min() < 0 <= coarse.min()


@pytest.mark.parametrize("function, options, message", [
    (resnet.resnet18, {"shortcut": "padded"}, "'shortcut' needs one of projection, identity"),
    (resnet.resnet50, {"drop_path": 1.0}, "'drop_path' needs rates"),
    (preact.preact_resnet18, {"drop_path": -0.1}, "'drop_path' needs rates"),
    (resnet_cifar.resnet20, {"drop_path": 1.0}, "'drop_path' needs rates"),
    (resnet_cifar.resnet20, {"width": 0.0}, "'width' needs a number above 0"),
    (resnet_cifar.plain20, {"width": -1.0}, "'width' needs a number above 0"),
    (wide_resnet.wide_resnet, {"depth": 12}, "needs 6 n . 4 layers, .* got 12, the nearest is 10"),
    (wide_resnet.wide_resnet, {"depth": 20}, "got 20, the nearest is 22"),
    (wide_resnet.wide_resnet, {"depth": 4}, "got 4, the nearest is 10"),
    (wide_resnet.wide_resnet, {"depth": 16.0}, "got 16.0, the nearest is 16"),
    (wide_resnet.wide_resnet, {"dropout": 1.0}, "'dropout' needs rates"),
])  # fmt: skip
def test_what_a_network_cannot_be_is_refused(function, options, message):
    with pytest.raises(UserError, match=message):
        on_paper(function, **options)


@pytest.mark.parametrize("function", [preact_cifar.preact_resnet20, wide_resnet.wide_resnet])
def test_an_input_below_four_pixels_is_refused(function):
    with pytest.raises(UserError, match="smallest is 4×4"):
        on_paper(function, input=(3, 3, 8))
    assert function(classes=2, input=(1, 4, 4)).eval()(torch.randn(1, 1, 4, 4)).shape == (1, 2)


def test_photo_networks_take_any_size():
    for network in (tiny(), tiny(shortcut="identity")):
        for height, width in ((1, 1), (1, 7), (17, 2), (31, 33)):
            maps = network.eval().maps(torch.randn(1, 3, height, width))
            assert [m.shape[2:] for m in maps] == [(-(-height // s), -(-width // s)) for s in network.strides]


def test_dropout_of_a_wide_network_stands_before_the_second_convolution_of_each_block():
    network = on_paper(wide_resnet.wide_resnet, depth=16, dropout=0.3)
    for block in of_kind(network, PreActivation):
        assert [type(layer) for layer in block.f] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.Dropout, nn.Conv2d]
        assert block.f[3].p == 0.3

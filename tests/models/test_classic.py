"""AlexNet, VGG, Network in Network, GoogLeNet: sizes of the literature, and second ways to compute the same."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hubel.errors import UserError
from hubel.models.alexnet import alexnet, alexnet_paper
from hubel.models.cost import multiply_adds
from hubel.models.googlenet import SideBySide, conv_bias, googlenet, googlenet_paper, inception, naive_inception
from hubel.models.nin import nin, nin_cifar
from hubel.models.vgg import vgg11, vgg11_bn, vgg13, vgg13_bn, vgg16, vgg16_bn, vgg19, vgg19_bn

WEIGHTED = (nn.Conv2d, nn.Linear)


@pytest.fixture(autouse=True)
def one_thread():
    torch.manual_seed(0)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def count(module):
    return sum(p.numel() for p in module.parameters())


def whole(function, side=224, classes=1000, **options):
    """With its thousand classes, but no memory."""
    with torch.device("meta"):
        return function(classes=classes, input=(3, side, side), **options)


def dense_share(network):
    return sum(count(m) for m in network.modules() if isinstance(m, nn.Linear)) / count(network)


# Sizes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("network, parameters, dense", [
    (lambda: whole(alexnet), 61_100_840, 0.960),
    (lambda: whole(alexnet_paper, 227), 60_965_224, 0.962),
    (lambda: whole(alexnet_paper, 227, groups=1), 62_378_344, 0.940),
    (lambda: whole(vgg11), 132_863_336, 0.931),
    (lambda: whole(vgg11_bn), 132_868_840, 0.931),
    (lambda: whole(vgg13), 133_047_848, 0.929),
    (lambda: whole(vgg13_bn), 133_053_736, 0.929),
    (lambda: whole(vgg16), 138_357_544, 0.894),
    (lambda: whole(vgg16_bn), 138_365_992, 0.894),
    (lambda: whole(vgg19), 143_667_240, 0.861),
    (lambda: whole(vgg19_bn), 143_678_248, 0.861),
    (lambda: whole(nin_cifar, 32, 10), 966_986, 0),
    (lambda: whole(nin), 7_595_176, 0),
    (lambda: whole(googlenet, heads=False), 6_624_904, 0.155),
    (lambda: whole(googlenet_paper, heads=False), 6_998_552, 0.146),
])  # fmt: skip
def test_parameters_and_the_share_of_dense_layers(network, parameters, dense):
    found = network()
    assert count(found) == parameters
    assert dense_share(found) == pytest.approx(dense, abs=5e-4)


def test_auxiliary_heads_double_googlenet():
    assert count(whole(googlenet)) == 13_004_888
    assert count(whole(googlenet_paper)) == 13_378_280
    assert [count(head) for head in whole(googlenet_paper).auxiliary_heads] == [
        c_in * 128 + 128 + 2048 * 1024 + 1024 + 1024 * 1000 + 1000 for c_in in (512, 528)]  # fmt: skip


def test_googlenet_is_22_layers_deep_27_with_pooling():
    network = whole(googlenet_paper)
    modules = [m for m in network.modules() if isinstance(m, SideBySide)]
    assert len(modules) == 9
    assert len(network.auxiliary_heads) == 2
    in_a_row = [m for stage in network.stages for m in stage if not isinstance(m, nn.MaxPool2d | nn.LocalResponseNorm)]
    deep = sum(2 if isinstance(m, SideBySide) else 1 for m in in_a_row) + 1  # the dense layer
    pools = [m for stage in network.stages for m in stage if isinstance(m, nn.MaxPool2d)]
    assert (deep, deep + len(pools) + 1) == (22, 27)  # and the global pooling
    assert [pool.kernel_size for pool in pools] == [3, 3, 3, 3]


def test_vgg16_activations_are_61_mb_or_115_with_those_of_relu():
    network, sizes = whole(vgg16), {"layers": 3 * 224 * 224, "relu": 0}

    def look(module, inputs, output):
        key = "relu" if isinstance(module, nn.ReLU) else "layers"
        sizes[key] += output.numel()

    for module in network.modules():
        if isinstance(module, (*WEIGHTED, nn.MaxPool2d, nn.ReLU)):
            module.register_forward_hook(look)
    network(torch.empty(1, 3, 224, 224, device="meta"))
    assert sizes["layers"] == pytest.approx(15.24e6, abs=5e3)
    assert sizes["layers"] * 4 == pytest.approx(61e6, rel=1e-2)
    assert (sizes["layers"] + sizes["relu"]) * 4 == pytest.approx(115e6, rel=1e-2)


@pytest.mark.parametrize("function, layers", [(vgg11, 11), (vgg13_bn, 13), (vgg16, 16), (vgg19_bn, 19)])
def test_vgg_has_its_layers_and_pools_2_by_2_with_stride_2(function, layers):
    network = whole(function)
    assert sum(isinstance(m, WEIGHTED) for m in network.modules()) == layers
    assert {(m.kernel_size, m.stride) for m in network.modules() if isinstance(m, nn.MaxPool2d)} == {(2, 2)}
    maps = network.maps(torch.empty(1, 3, 224, 224, device="meta"))
    assert [tuple(m.shape[1:]) for m in maps] == [
        (128, 112, 112), (256, 56, 56), (512, 28, 28), (512, 14, 14), (512, 7, 7)]  # fmt: skip


def test_a_bottleneck_saves_nine_tenths_of_the_multiplications():
    """32 filters of 5×5 on 28×28×192: 120 M; with 16 filters of 1×1 before them 12.4 M."""
    size = (192, 28, 28)
    assert (
        multiply_adds(naive_inception(192, 64, 128, 32).branches[2], size) == 28 * 28 * 32 * 5 * 5 * 192 == 120_422_400
    )
    module = inception(192, 64, (96, 128), (16, 32), 32, conv_bias)
    assert multiply_adds(module.branches[2], size) == 28 * 28 * (16 * 192 + 32 * 5 * 5 * 16) == 12_443_648


# A second way -------------------------------------------------------------------------------------------


def response_norm(x):
    """The paper's formula, channel by channel."""
    found = torch.empty_like(x)
    for i in range(x.shape[1]):
        near = x[:, max(i - 2, 0) : i + 3]
        found[:, i] = x[:, i] / (2 + 1e-4 * (near**2).sum(1)) ** 0.75
    return found


@pytest.mark.parametrize("groups", [1, 2])
def test_alexnet_paper_is_two_towers_that_meet_in_the_third_layer(groups):
    network = alexnet_paper(classes=3, input=(3, 75, 75), groups=groups, hidden=8).eval()
    one, two, three, four, five = (m for m in network.features if isinstance(m, nn.Conv2d))

    def towers(layer, x):
        """Each half of the filters on its half of the channels."""
        parts = zip(layer.weight.chunk(groups), x.chunk(groups, 1), strict=True)
        y = torch.cat([F.conv2d(half, weight, padding=layer.padding) for weight, half in parts], 1)
        return F.relu(y + layer.bias[:, None, None])

    def pool(x):
        return F.max_pool2d(x, 3, 2)

    images = 20 * torch.randn(2, 3, 75, 75)  # large: the norm must not be a mere factor
    x = pool(response_norm(F.relu(F.conv2d(images, one.weight, one.bias, stride=4))))
    x = pool(response_norm(towers(two, x)))
    x = F.relu(F.conv2d(x, three.weight, three.bias, padding=1))
    x = pool(towers(five, towers(four, x)))
    torch.testing.assert_close(network.maps(images)[-1], x)
    a, b, c = (m for m in network.head if isinstance(m, nn.Linear))
    x = F.adaptive_avg_pool2d(x, 6).flatten(1)
    torch.testing.assert_close(network(images), c(F.relu(b(F.relu(a(x))))))


def test_inception_is_its_four_branches_side_by_side():
    module = inception(6, 4, (3, 5), (2, 7), 3, conv_bias)
    x = torch.randn(2, 6, 9, 8)
    one, three_before, three, five_before, five, pooled = (m for m in module.modules() if isinstance(m, nn.Conv2d))
    expected = [
        F.relu(F.conv2d(x, one.weight, one.bias)),
        F.relu(F.conv2d(F.relu(three_before(x)), three.weight, three.bias, padding=1)),
        F.relu(F.conv2d(F.relu(five_before(x)), five.weight, five.bias, padding=2)),
        F.relu(pooled(F.max_pool2d(x, 3, 1, 1))),
    ]
    assert five.kernel_size == (5, 5)
    torch.testing.assert_close(module(x), torch.cat(expected, 1))
    naive = naive_inception(6, 4, 5, 7)
    assert naive(x).shape == (2, 4 + 5 + 7 + 6, 9, 8)
    assert torch.equal(naive(x)[:, -6:], F.max_pool2d(x, 3, 1, 1))


def test_googlenet_paper_has_five_by_five_filters_and_pools_its_auxiliary_maps_as_published():
    network = whole(googlenet_paper, classes=10)
    for module in network.modules():
        if isinstance(module, SideBySide):
            assert module.branches[2][1].conv.kernel_size == (5, 5)
    maps = torch.randn(1, 2, 14, 14)
    shrink = network.auxiliary_heads[0][0]
    assert torch.equal(shrink(maps), F.avg_pool2d(maps, 5, 3))
    assert shrink(torch.randn(1, 2, 17, 9)).shape == (1, 2, 4, 4)


def plain_nin(classes, cifar, rectified):
    """Layer by layer as the papers' tables have it."""

    def conv(c_in, c_out, kernel=1, stride=1, padding=0):
        return [nn.Conv2d(c_in, c_out, kernel, stride, padding), nn.ReLU()]

    if cifar:
        layers = [
            *conv(3, 192, 5, padding=2), *conv(192, 160), *conv(160, 96),
            nn.MaxPool2d(3, 2, ceil_mode=True), nn.Dropout(),
            *conv(96, 192, 5, padding=2), *conv(192, 192), *conv(192, 192),
            nn.AvgPool2d(3, 2, ceil_mode=True), nn.Dropout(),
            *conv(192, 192, 3, padding=1), *conv(192, 192), *conv(192, classes),
        ]  # fmt: skip
    else:
        layers = [
            *conv(3, 96, 11, 4, 2), *conv(96, 96), *conv(96, 96), nn.MaxPool2d(3, 2),
            *conv(96, 256, 5, padding=2), *conv(256, 256), *conv(256, 256), nn.MaxPool2d(3, 2),
            *conv(256, 384, 3, padding=1), *conv(384, 384), *conv(384, 384), nn.MaxPool2d(3, 2), nn.Dropout(),
            *conv(384, 1024, 3, padding=1), *conv(1024, 1024), *conv(1024, classes),
        ]  # fmt: skip
    return nn.Sequential(*(layers if rectified else layers[:-1]), nn.AdaptiveAvgPool2d(1), nn.Flatten())


@pytest.mark.parametrize("function, side", [(nin_cifar, 32), (nin, 67)])
@pytest.mark.parametrize("rectified", [False, True])
def test_nin_is_a_stack_of_convolutions_and_a_mean(function, side, rectified):
    network = function(classes=4, input=(3, side, side), rectified=rectified)
    plain = plain_nin(4, function is nin_cifar, rectified)
    plain.load_state_dict(dict(zip(plain.state_dict(), network.state_dict().values(), strict=True)))
    images = torch.randn(2, 3, side, side + 5)
    torch.testing.assert_close(network.eval()(images), plain.eval()(images))
    torch.manual_seed(1)  # the same units drop out at the same places
    expected = plain.train()(images)
    torch.manual_seed(1)
    torch.testing.assert_close(network.train()(images), expected)
    assert rectified == bool((network(images) >= 0).all())


class MeanPool(nn.MaxPool2d):
    """Every pixel of the window counts, so that the gradient shows what a cell sees."""

    def forward(self, x):
        return F.avg_pool2d(x, self.kernel_size, self.stride)


@pytest.mark.parametrize("function", [alexnet, alexnet_paper, nin])
def test_starts_are_the_centres_of_what_the_first_cells_would_see(function):
    network = function(classes=2, input=(1, 288, 67), **({} if function is nin else {"hidden": 2})).eval()
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.MaxPool2d):
            parent, _, own = name.rpartition(".")
            setattr(network.get_submodule(parent), own, MeanPool(3, 2))
        elif isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
    images = torch.rand(1, 1, 288, 67, requires_grad=True)
    for found, start, stride in zip(network.maps(images), network.starts, network.strides, strict=True):
        row = found.shape[2] // 2  # one that sees no border
        (gradient,) = torch.autograd.grad(found[0, :, row].sum(), images, retain_graph=True)
        rows = gradient[0, 0].abs().sum(1).nonzero().flatten()
        assert 0 < rows.min() <= rows.max() < 287
        assert (rows.min() + rows.max() + 1) / 2 == start + row * stride


def test_a_dense_stack_takes_any_size_from_its_smallest_on():
    network = vgg11(classes=3, input=(3, 32, 32), hidden=8).eval()
    assert network(torch.randn(1, 3, 40, 100)).shape == (1, 3)
    same = torch.randn(1, 512, 7, 7)
    assert network.head[0](same) is same  # a map of the wanted size is not copied


@pytest.mark.parametrize("make, options, message", [
    (alexnet_paper, {"groups": 3}, "'groups' needs 1 or 2, got 3"),
    (alexnet, {"hidden": 0}, "'hidden' needs whole numbers"),
    (vgg16, {"hidden": 0}, "'hidden' needs whole numbers"),
    (vgg11, {"dropout": 1.0}, "'dropout' needs rates"),
    (alexnet, {"dropout": -0.1}, "'dropout' needs rates"),
    (nin, {"dropout": 1.0}, "'dropout' needs rates"),
    (nin_cifar, {"dropout": 1.0}, "'dropout' needs rates"),
    (googlenet, {"dropout": 1.0}, "'dropout' needs rates"),
])  # fmt: skip
def test_what_cannot_be_is_refused(make, options, message):
    with pytest.raises(UserError, match=message):
        whole(make, **options)

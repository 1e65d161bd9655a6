"""Each family against figures from the literature, a loop, or a second way to compute the same."""

import pytest
import torch
from torch import nn

from hubel.errors import UserError
from hubel.models.convnet import convnet, small_cnn
from hubel.models.lenet import lenet5
from hubel.models.linear import linear
from hubel.models.mlp import mlp
from hubel.models.perceptron import perceptron
from hubel.models.resnet_cifar import plain20, plain56, resnet8, resnet20, resnet32, resnet44, resnet56


def count(module):
    return sum(p.numel() for p in module.parameters())


def layers(network, kind=(nn.Conv2d, nn.Linear)):
    return [module for module in network.modules() if isinstance(module, kind)]


def test_lenet5_has_the_parameters_of_the_literature_layer_by_layer():
    network = lenet5(classes=10, input=(1, 32, 32))
    assert [count(layer) for layer in layers(network)] == [156, 2_416, 48_120, 10_164, 850]
    assert count(network) == 61_706


def test_lenet5_pads_28_pixels_to_32():
    torch.manual_seed(0)
    small, large = lenet5(classes=10, input=(1, 28, 28)), lenet5(classes=10, input=(1, 32, 32))
    large.load_state_dict(small.state_dict())
    images = torch.randn(2, 1, 28, 28)
    torch.testing.assert_close(small(images), large(nn.functional.pad(images, (2, 2, 2, 2))))
    assert small.starts == (1.0, 6.0)


def test_lenet5_starts_are_the_centres_of_what_the_first_cells_see():
    network = lenet5(classes=10, input=(1, 32, 32), activation="relu")
    images = torch.randn(1, 1, 32, 32, requires_grad=True)
    for i, found in enumerate(network.maps(images)):
        (gradient,) = torch.autograd.grad(found[0, :, 0, 0].sum(), images, retain_graph=True)
        rows = gradient[0, 0].abs().sum(1).nonzero().flatten()
        assert (rows.min() + rows.max() + 1) / 2 == network.starts[i]


@pytest.mark.parametrize("make, depth, parameters", [
    (resnet20, 20, 269_722), (resnet32, 32, 464_154), (resnet44, 44, 658_586), (resnet56, 56, 853_018),
    (plain20, 20, 269_722), (plain56, 56, 853_018),
])  # fmt: skip
def test_cifar_resnets_have_their_depth_and_size(make, depth, parameters):
    network = make(classes=10, input=(3, 32, 32))
    expected, channels = 3 * 16 * 9 + 2 * 16, 16  # stem and its batch norm
    for width in (16, 32, 64):
        for _ in range((depth - 2) // 6):
            expected += 9 * width * (channels + width) + 4 * width
            channels = width
    assert count(network) == expected + 64 * 10 + 10 == parameters
    assert len(layers(network)) == depth


def test_a_skip_without_weights_takes_every_second_pixel_and_adds_zeros():
    block = resnet20(classes=10, input=(3, 8, 8)).stages[1][0].eval()
    nn.init.zeros_(block.f[-1][1].weight)  # f = 0, so y = relu(skip(x))
    x = torch.rand(2, 16, 8, 8)
    expected = torch.zeros(2, 32, 4, 4)
    for channel in range(16):
        for row in range(4):
            for column in range(4):
                expected[:, channel + 8, row, column] = x[:, channel, 2 * row, 2 * column]
    assert torch.equal(block(x), expected)


def test_residual_and_plain_networks_differ_by_the_skips_only():
    residual, plain = (make(classes=10, input=(3, 8, 8)).eval() for make in (resnet20, plain20))
    plain.load_state_dict(residual.state_dict())
    x = torch.rand(2, 16, 8, 8)
    block, without = residual.stages[0][0], plain.stages[0][0]
    assert torch.equal(block(x), torch.relu(x + block.f(x)))
    assert torch.equal(without(x), torch.relu(block.f(x)))


def test_small_cnn_is_the_network_of_the_benchmark():
    def conv(c_in, c_out):
        return [nn.Conv2d(c_in, c_out, 3, padding=1, bias=False), nn.BatchNorm2d(c_out), nn.ReLU()]

    torch.manual_seed(0)
    network = small_cnn(classes=10, input=(1, 28, 28)).eval()
    plain = nn.Sequential(
        *conv(1, 16), *conv(16, 32), nn.MaxPool2d(2), *conv(32, 64), nn.MaxPool2d(2), *conv(64, 64),
        nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    ).eval()  # fmt: skip
    plain.load_state_dict(dict(zip(plain.state_dict(), network.state_dict().values(), strict=True)))
    images = torch.randn(4, 1, 28, 28)
    torch.testing.assert_close(network(images), plain(images))


def test_convnet_options_reach_the_layers():
    network = convnet(classes=10, input=(1, 8, 8), widths=(4, 6), convs=3, norm=("none", "batch"), pool="average",
                      dropout=0.25, logit_scale=0.125)  # fmt: skip
    assert [(c.in_channels, c.out_channels) for c in layers(network, nn.Conv2d)] == [
        (1, 4), (4, 4), (4, 4), (4, 6), (6, 6), (6, 6)]  # fmt: skip
    assert len(layers(network, nn.BatchNorm2d)) == 3
    assert [c.bias is not None for c in layers(network, nn.Conv2d)] == [True] * 3 + [False] * 3
    assert layers(network, nn.Dropout)[0].p == 0.25
    maps = network.eval().maps(torch.randn(2, 1, 8, 8))
    dense = layers(network, nn.Linear)[0]
    torch.testing.assert_close(network.head(maps), 0.125 * dense(maps[-1].mean((2, 3))))


def test_one_stage_has_one_map_at_stride_one():
    for make in (convnet, resnet8):
        network = make(classes=3, input=(3, 6, 6), widths=(8,))
        assert (network.channels, network.strides) == ((8,), (1,))
        assert [m.shape for m in network.maps(torch.randn(2, 3, 6, 6))] == [(2, 8, 6, 6)]


def test_linear_templates_are_its_weights_as_images():
    network = linear(classes=4, input=(3, 5, 6))
    images = torch.randn(2, 3, 5, 6)
    logits = network(images) - network.head[0].bias
    for k, template in enumerate(network.templates()):
        torch.testing.assert_close((images * template).sum((1, 2, 3)), logits[:, k])
    assert not linear(classes=4, input=(3, 5, 6), zero=True).templates().any()
    network.head = network.default_head(2)
    assert network.templates().shape == (2, 3, 5, 6)


def test_the_perceptron_has_one_output_and_starts_at_zero():
    network = perceptron(classes=2, input=(1, 4, 4))
    assert network(torch.randn(3, 1, 4, 4)).shape == (3, 1)
    assert not any(p.any() for p in network.parameters())
    assert perceptron(input=(1, 4, 4), zero=False).head[0].weight.any()
    with pytest.raises(UserError, match="two classes apart, and there are 3"):
        perceptron(classes=3, input=(1, 4, 4))


def test_mlp_equals_its_equation():
    torch.manual_seed(0)
    network = mlp(classes=3, input=(2, 3, 3), hidden=(7, 5), activation="sigmoid")
    (w1, b1), (w2, b2), (w3, b3) = ((layer.weight, layer.bias) for layer in layers(network))
    x = torch.randn(4, 2, 3, 3)
    h = torch.sigmoid(torch.sigmoid(x.flatten(1) @ w1.T + b1) @ w2.T + b2)
    torch.testing.assert_close(network(x), h @ w3.T + b3)
    assert count(network) == 18 * 7 + 7 + 7 * 5 + 5 + 5 * 3 + 3


@pytest.mark.parametrize("place, order", [("before", (nn.BatchNorm1d, nn.ReLU)), ("after", (nn.ReLU, nn.BatchNorm1d))])
def test_mlp_norm_stands_where_it_was_put_and_dropout_per_layer(place, order):
    network = mlp(classes=3, input=(1, 2, 2), hidden=(7, 5), norm=("batch", "none"), norm_place=place,
                  dropout=(0.0, 0.5))  # fmt: skip
    kinds = [type(module) for module in network.features]
    assert kinds == [nn.Flatten, nn.Linear, *order, nn.Linear, nn.ReLU, nn.Dropout]
    assert network.features[-1].p == 0.5
    assert (network.features[1].bias is None) == (place == "before")


@pytest.mark.parametrize("options, message", [
    ({"activation": "rleu"}, "did you mean 'relu'"),
    ({"slope": 0.1}, "'slope' belongs to the activation 'leaky_relu'"),
    ({"activation": "leaky_relu", "pieces": 2}, "'pieces' belongs to the activation 'maxout'"),
    ({"activation": "maxout", "pieces": 0}, "at least 1, got 0"),
    ({"hidden": (10, 0)}, "'hidden' needs whole numbers"),
    ({"hidden": (10, 5), "dropout": (0.1, 0.1, 0.1)}, "one for each of the 2 layers, got 3"),
    ({"dropout": 1.0}, "'dropout' needs rates"),
    ({"norm": "layer"}, "'norm' needs one of none, batch"),
    ({"norm_place": "between"}, "'norm_place' needs one of before, after"),
])  # fmt: skip
def test_mlp_refuses_what_it_cannot_be(options, message):
    with pytest.raises(UserError, match=message):
        mlp(classes=3, input=(1, 4, 4), **options)


@pytest.mark.parametrize("make, options, message", [
    (convnet, {"convs": 0}, "'convs'"),
    (convnet, {"pool": "sum"}, "'pool' needs one of average, max"),
    (convnet, {"logit_scale": 0.0}, "'logit_scale' needs a number above 0"),
    (convnet, {"dropout": -0.1}, "'dropout'"),
    (lenet5, {"pool": "sum"}, "'pool' needs one of average, max"),
    (resnet8, {"widths": (64, 32)}, "must not shrink"),
    (resnet8, {"blocks": (1, 1)}, "one for each of the 3 layers, got 2"),
])  # fmt: skip
def test_convolutional_networks_refuse_what_they_cannot_be(make, options, message):
    with pytest.raises(UserError, match=message):
        make(classes=3, input=(1, 32, 32), **options)

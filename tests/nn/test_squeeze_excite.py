"""Squeeze and excitation against a loop, and against timm's and torchvision's."""

import pytest
import torch
from parity import peers
from torch import nn

from hubel.nn.squeeze_excite import SqueezeExcite


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_it_equals_a_loop_over_images_and_channels(layout):
    torch.manual_seed(0)
    layer = SqueezeExcite(6, 2).double()
    x = torch.randn(3, 6, 4, 5, dtype=torch.float64).to(memory_format=layout)
    w1, w2 = layer.fc1.weight[:, :, 0, 0], layer.fc2.weight[:, :, 0, 0]
    found = layer(x)
    for image, out in zip(x, found, strict=True):
        z = torch.stack([channel.sum() / 20 for channel in image])
        s = 1 / (1 + torch.exp(-(w2 @ (w1 @ z + layer.fc1.bias).clamp(min=0) + layer.fc2.bias)))
        for c in range(6):
            torch.testing.assert_close(out[c], s[c] * image[c])


def test_gradients():
    layer = SqueezeExcite(3, 2, nn.SiLU).double()
    x = torch.randn(2, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, x)


def test_it_has_two_matrices_and_their_biases():
    assert sum(p.numel() for p in SqueezeExcite(64, 4).parameters()) == 2 * 64 * 4 + 4 + 64


def test_its_weights_load_into_timm_and_give_the_same():
    theirs = peers.timm().layers.SEModule(32, rd_channels=4)
    compare(SqueezeExcite(32, 4), theirs)


def test_its_weights_load_into_torchvision_and_give_the_same_with_other_functions():
    peers.torchvision()
    from torchvision.ops.misc import SqueezeExcitation

    compare(SqueezeExcite(32, 4), SqueezeExcitation(32, 4))
    theirs = SqueezeExcitation(32, 4, activation=nn.SiLU, scale_activation=nn.Hardsigmoid)
    compare(SqueezeExcite(32, 4, nn.SiLU, nn.Hardsigmoid), theirs)


def compare(ours, theirs):
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 32, 5, 4, dtype=torch.float64)
    torch.testing.assert_close(ours.double()(x), theirs.double()(x))

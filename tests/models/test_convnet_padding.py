"""The padding of a convnet: the default is the network that was; valid maps say where they begin."""

import pytest
import torch
from torch import nn

from hubel.errors import UserError
from hubel.models.convnet import convnet
from hubel.ops.padding import PADDINGS


def make(padding, side=36, widths=(4, 5, 6), convs=2, **options):
    torch.manual_seed(0)
    return convnet(classes=3, input=(2, side, side), widths=widths, convs=convs, padding=padding, **options)


def test_the_default_is_torchs_layer_with_zeros_and_all_paddings_start_from_the_same_weights():
    torch.manual_seed(0)
    default = convnet(classes=3, input=(2, 36, 36), widths=(4, 5, 6))
    convolutions = [layer for layer in default.modules() if isinstance(layer, nn.Conv2d)]
    assert {(type(layer), layer.padding, layer.padding_mode) for layer in convolutions} == {
        (nn.Conv2d, (1, 1), "zeros")
    }
    for padding in PADDINGS:
        state = make(padding).state_dict()
        assert state.keys() == default.state_dict().keys()
        assert all(torch.equal(state[name], value) for name, value in default.state_dict().items())


def test_inside_they_agree_and_at_the_border_they_differ():
    images = torch.rand(2, 2, 36, 36) + 1
    firsts = {padding: make(padding, norm="none").blocks[0](images) for padding in PADDINGS}
    inside = firsts.pop("valid")
    for found in firsts.values():
        torch.testing.assert_close(found[:, :, 2:-2, 2:-2], inside)
    corners = [found[:, :, 0, 0] for found in firsts.values()]
    assert all(not torch.allclose(corners[i], corners[j], rtol=1e-3) for i, j in ((0, 1), (0, 2), (1, 2)))


@pytest.mark.parametrize("widths, convs", [((3, 3, 3), 2), ((3, 3), 1), ((3,), 3), ((2, 2, 2, 2), 1)])
def test_starts_are_the_centres_of_what_the_first_cells_see(widths, convs):
    network = make("valid", 46, widths, convs, norm="none")
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.constant_(layer.weight, 0.1)
    for block in network.blocks[1:]:
        block[0] = nn.AvgPool2d(2)  # its gradient reaches every pixel of the window
    images = torch.rand(1, 2, 46, 46, requires_grad=True)
    for i, (found, stride) in enumerate(zip(network.maps(images), network.strides, strict=True)):
        for cell in (0, 1):  # the second lies a stride further
            (gradient,) = torch.autograd.grad(found[0, 0, cell, 0], images, retain_graph=True)
            rows = gradient[0, 0].abs().sum(1).nonzero().flatten()
            assert (rows.min() + rows.max() + 1) / 2 == network.starts[i] + cell * stride


def test_only_maps_without_padding_begin_elsewhere():
    assert make("valid").starts == (7.0, 16.0)
    assert not any(hasattr(make(padding), "starts") for padding in PADDINGS[1:])


@pytest.mark.parametrize("padding, smallest", [("valid", 32), ("zero", 4), ("mean", 4), ("mirror", 8)])
def test_the_smallest_input(padding, smallest):
    network = make(padding, smallest).eval()
    last = network.maps(torch.randn(1, 2, smallest, smallest))[-1]
    assert last.shape[2:] == ((2, 2) if padding == "mirror" else (1, 1))
    with pytest.raises(UserError, match=f"the smallest is {smallest}×{smallest}"):
        make(padding, smallest - 1)


def test_an_unknown_padding_is_refused():
    with pytest.raises(UserError, match="'padding' needs one of valid, zero, mean, mirror"):
        make("same")

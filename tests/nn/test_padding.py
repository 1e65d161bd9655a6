"""Convolutions by their border: against a loop that looks each pixel up, and against torch's own where it has it."""

import copy

import pytest
import torch
from torch import nn

from hubel.errors import UserError
from hubel.nn.padding import conv2d
from hubel.ops.padding import PADDINGS


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def looked_up(x, padding, row, column):
    """The value at (row, column) of the maps (B, C, H, W), which may lie outside."""
    height, width = x.shape[2:]
    if 0 <= row < height and 0 <= column < width:
        return x[:, :, row, column]
    if padding == "mean":
        return x.mean((2, 3))
    if padding == "zero":
        return torch.zeros_like(x[:, :, 0, 0])
    row, column = (abs(i) if i < n else 2 * (n - 1) - i for i, n in ((row, height), (column, width)))
    return x[:, :, row, column]


@pytest.mark.parametrize("stride, dilation", [(1, 1), (2, 1), (1, 2)])
@pytest.mark.parametrize("padding", PADDINGS)
def test_every_border_equals_a_loop(padding, stride, dilation):
    layer = conv2d(2, 4, 3, padding=padding, stride=stride, dilation=dilation).double()
    x = torch.randn(2, 2, 6, 7, dtype=torch.float64)
    first = dilation if padding == "valid" else 0  # the first centre
    found = layer(x)
    rows, columns = (range(first, n - first, stride) for n in (6, 7))
    assert found.shape == (2, 4, len(rows), len(columns))
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            expected = layer.bias.expand(2, 4).clone()
            for u in range(3):
                for v in range(3):
                    here = looked_up(x, padding, row + dilation * (u - 1), column + dilation * (v - 1))
                    expected += here @ layer.weight[:, :, u, v].T
            torch.testing.assert_close(found[:, :, i, j], expected)


def test_the_mirror_is_torchs_reflection():
    ours = conv2d(3, 4, 5, padding="mirror")
    theirs = nn.Conv2d(3, 4, 5, padding=2, padding_mode="reflect")
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 3, 6, 5)
    torch.testing.assert_close(ours(x), theirs(x))


def test_zeros_and_nothing_are_torchs_own_layer_and_all_share_names_and_shapes():
    layers = {padding: conv2d(3, 4, padding=padding) for padding in PADDINGS}
    assert type(layers["zero"]) is type(layers["valid"]) is nn.Conv2d
    assert [layers[p].padding for p in PADDINGS] == [(0, 0), (1, 1), (1, 1), (1, 1)]
    for layer in layers.values():
        layer.load_state_dict(layers["zero"].state_dict())
    x = torch.randn(2, 3, 8, 8)
    inside = [layers[p](x)[:, :, 1:-1, 1:-1] for p in PADDINGS[1:]]
    for found in inside:  # away from the border they agree
        torch.testing.assert_close(found, layers["valid"](x))
    assert "padding_mode=mean" in repr(layers["mean"])


@pytest.mark.parametrize("padding", ["mean", "mirror"])
def test_gradients_and_memory_formats(padding):
    layer = conv2d(2, 3, padding=padding).double()
    x = torch.randn(1, 2, 4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, x)
    last = copy.deepcopy(layer).to(memory_format=torch.channels_last)
    torch.testing.assert_close(last(x.detach().to(memory_format=torch.channels_last)), layer(x.detach()))


def test_a_grey_image_stays_flat_but_for_zeros():
    grey = torch.full((1, 1, 6, 6), 0.7)
    for padding in ("zero", "mean", "mirror"):
        layer = conv2d(1, 1, padding=padding, bias=False)
        flat = torch.allclose(layer(grey), layer(grey)[..., 2:3, 2:3].expand(1, 1, 6, 6), atol=1e-6)
        assert flat == (padding != "zero")


def test_an_image_is_padded_with_its_own_mean_not_the_batchs():
    x = torch.randn(3, 2, 5, 5)
    layer = conv2d(2, 4, padding="mean")
    torch.testing.assert_close(layer(x), torch.cat([layer(one[None]) for one in x]))


def test_what_has_no_centre_or_is_unknown_is_refused():
    with pytest.raises(UserError, match="no centre"):
        conv2d(1, 1, 2, padding="mean")
    assert conv2d(1, 1, 2, padding="valid")(torch.zeros(1, 1, 4, 4)).shape == (1, 1, 3, 3)
    with pytest.raises(UserError, match="did you mean 'mirror'"):
        conv2d(1, 1, padding="miror")
    with pytest.raises(UserError, match="side of at least 3, got 2"):
        conv2d(1, 1, 5, padding="mirror")(torch.zeros(1, 1, 4, 2))

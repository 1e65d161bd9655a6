"""The dilated network: its field as the paper's table 1 has it, its size, its start from the identity."""

import pytest
import torch
from torch import nn

from hubel.errors import UserError
from hubel.models.dilated import CONTEXT, dilated_net
from hubel.nn.init import initialise


def field(layers, side=97):
    """How many inputs a side the middle of the output depends on, from the gradient; weights all above 0."""
    for layer in layers:
        nn.init.constant_(layer.weight, 0.1)
    x = torch.ones(1, layers[0].in_channels, side, side, dtype=torch.float64, requires_grad=True)
    y = nn.Sequential(*layers).double()(x)
    (gradient,) = torch.autograd.grad(y[0, 0, side // 2, side // 2], x)
    return int(gradient[0, 0].any(0).sum()), int(gradient[0, 0].any(1).sum())


def test_the_field_grows_as_in_the_papers_table():
    network = dilated_net(classes=3, input=(3, 32, 32), width=1, norm="none")
    layers = [layer for layer in network.context if isinstance(layer, nn.Conv2d)]
    fields = [field(layers[: i + 1]) for i in range(len(layers))]
    assert fields == [(n, n) for n in (3, 5, 9, 17, 33, 65, 67)]


def test_every_layer_keeps_the_size_and_costs_nine_weights_a_pair_of_channels():
    network = dilated_net(classes=3, input=(3, 36, 28), width=6, norm="none")
    x = network.stem(torch.randn(2, 3, 36, 28))
    assert x.shape == (2, 6, 18, 14)
    for layer in network.context:
        x = layer(x)
        assert x.shape == (2, 6, 18, 14)
    convolutions = [layer for layer in network.context if isinstance(layer, nn.Conv2d)]
    assert [layer.dilation for layer in convolutions] == [(d, d) for d in CONTEXT]
    assert sum(layer.weight.numel() for layer in convolutions) + 6 * 6 == 64 * 6**2  # with the paper's 1×1 layer


def test_from_the_identity_the_context_changes_nothing():
    torch.manual_seed(0)
    network = dilated_net(classes=3, input=(3, 20, 20), width=8, norm="none")
    initialise(network.context, "dirac", seed=0)
    x = network.stem(torch.randn(2, 3, 20, 20))
    assert torch.equal(network.context(x), x)


def test_dilation_takes_the_pixels_between_away_from_a_large_filter():
    """A 3×3 filter with dilation d is a filter of 2d + 1 pixels with zeros between its nine weights."""
    torch.manual_seed(0)
    network = dilated_net(classes=3, input=(2, 20, 20), width=2, dilations=(4,), norm="none")
    layer, x = network.context[0], torch.randn(1, 2, 10, 10)
    large = torch.zeros(2, 2, 9, 9)
    large[:, :, ::4, ::4] = layer.weight
    torch.testing.assert_close(layer(x), nn.functional.conv2d(x, large, layer.bias, padding=4))


@pytest.mark.parametrize("options, message", [
    ({"dilations": (1, 0)}, "'dilations' needs whole numbers of at least 1"),
    ({"width": 0}, "'width' needs whole numbers"),
    ({"norm": "layer"}, "'norm' needs one of none, batch"),
    ({"input": (3, 1, 9)}, "1×9 pixels is too small for dilated_net; the smallest is 2×2"),
])  # fmt: skip
def test_what_it_cannot_be_is_refused(options, message):
    with pytest.raises(UserError, match=message):
        dilated_net(**{"classes": 3, "input": (3, 16, 16), **options})

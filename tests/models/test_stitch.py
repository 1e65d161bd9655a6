"""Scores for every pixel from a classifier: heat maps, shift and stitch, and the network without strides."""

import pytest
import torch
from torch import nn

from hubel.errors import UserError
from hubel.models.base import Head
from hubel.models.convnet import convnet
from hubel.models.lenet import lenet5
from hubel.models.surgery.convolve import convolutionalise
from hubel.models.surgery.stitch import heat_maps, shift_and_stitch, stride_free

CLASSIFIERS = {
    "convnet": lambda: convnet(classes=3, input=(2, 24, 24), widths=(4, 5), padding="valid"),
    "convnet-max": lambda: convnet(classes=3, input=(2, 24, 24), widths=(4, 5), padding="valid", pool="max"),
    "lenet5": lambda: lenet5(classes=3, input=(2, 24, 24)),  # average pooling, dense layers
}


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture(params=CLASSIFIERS)
def sliding(request):
    network = CLASSIFIERS[request.param]().double()
    network(torch.randn(8, 2, 24, 24, dtype=torch.float64))  # statistics of batch norm
    return convolutionalise(network, (2, 24, 24))


def test_shift_and_stitch_is_the_stride_free_network(sliding):
    stride, images = sliding.strides[-1], torch.randn(2, 2, 31, 34, dtype=torch.float64)
    stitched = shift_and_stitch(sliding, images, stride)
    assert stitched.shape == (2, 3, 31 - 24 + 1, 34 - 24 + 1)
    torch.testing.assert_close(stitched, stride_free(sliding, (2, 24, 24))(images), rtol=1e-12, atol=1e-12)
    crops = [[sliding(images[:, :, r : r + 24, c : c + 24]) for c in (0, 7, 10)] for r in (0, 3)]
    for i, r in enumerate((0, 3)):
        for j, c in enumerate((0, 7, 10)):
            torch.testing.assert_close(stitched[:, :, r, c], crops[i][j][:, :, 0, 0], rtol=1e-12, atol=1e-12)


def test_where_there_is_padding_they_differ_at_the_border_alone():
    network = convnet(classes=3, input=(2, 32, 32), widths=(4, 5)).double().eval()
    network.head = Head(nn.Conv2d(5, 3, 1).double())  # stride 2, sees 14 pixels a side
    images = torch.randn(1, 2, 40, 40, dtype=torch.float64)
    stitched = shift_and_stitch(network, images, 2)
    found = stride_free(network, (2, 32, 32))(images)
    rows, columns = stitched.shape[2:]
    inside = (slice(None), slice(None), slice(12, 28), slice(12, 28))
    torch.testing.assert_close(stitched[inside], found[:, :, :rows, :columns][inside], rtol=1e-12, atol=1e-12)
    assert not torch.allclose(stitched[..., :2, :2], found[..., :2, :2])


def test_images_that_are_too_small_to_shift(sliding):
    with pytest.raises(UserError, match=r"24×24 are too small to be shifted .* larger images"):
        shift_and_stitch(sliding, torch.randn(1, 2, 24, 24, dtype=torch.float64), sliding.strides[-1])


def test_a_heat_map_is_the_scores_of_windows_enlarged():
    network = lenet5(classes=3, input=(1, 32, 32)).eval()
    images = torch.randn(2, 1, 40, 44)
    found = heat_maps(network, (1, 32, 32), images)
    assert found.shape == (2, 3, 40, 44)
    scores = convolutionalise(network, (1, 32, 32))(images)  # windows begin at 0, 4, 8: their middles lie at 16, 20, 24
    middle = found[:, :, 15:17, 19:21].mean((2, 3))
    torch.testing.assert_close(middle, _between(scores))
    torch.testing.assert_close(found[:, :, 0, 0], scores[:, :, 0, 0])
    torch.testing.assert_close(found[:, :, -1, -1], scores[:, :, -1, -1])


def _between(scores):
    """At pixel (16, 20), the corner of four pixels: rows 15.5 and 16.5, columns 19.5 and 20.5."""
    row = {-0.125: (1.0, 0.0), 0.125: (0.875, 0.125)}
    column = {-0.125: (0.125, 0.875, 0.0), 0.125: (0.0, 0.875, 0.125)}
    found = 0
    for down in row.values():
        for across in column.values():
            for i, u in enumerate(down):
                for j, v in enumerate(across):
                    found = found + u * v * scores[:, :, i, j] / 4
    return found


def test_heat_maps_of_smaller_images():
    with pytest.raises(UserError, match="looks at 32×32 pixels"):
        heat_maps(lenet5(classes=3, input=(1, 32, 32)), (1, 32, 32), torch.zeros(1, 1, 30, 40))


def test_a_stride_of_another_layer_is_named():
    class Shrinks(nn.Module):
        def forward(self, x):
            return x[:, :, ::2, ::2]

    network = nn.Sequential(nn.Conv2d(2, 3, 3), Shrinks())
    with pytest.raises(UserError, match="stride in '1"):
        stride_free(network, (2, 9, 9))

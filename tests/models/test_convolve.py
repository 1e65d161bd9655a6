"""The same linear map as a convolution and as a matrix; a classifier slid over an image at once and by crops."""

import copy

import pytest
import torch
from torch import nn

from hubel.errors import UserError
from hubel.models.base import Head
from hubel.models.convnet import convnet
from hubel.models.lenet import lenet5
from hubel.models.mlp import mlp
from hubel.models.surgery.convolve import convolutionalise, slide
from hubel.models.surgery.matrices import conv_to_dense, dense_to_conv


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 2, "padding": 1, "bias": False},
        {"groups": 2, "dilation": (1, 2), "padding": (0, 2)},
        {"padding": 1, "padding_mode": "reflect"},
        {"padding": 1, "padding_mode": "replicate"},
        {"padding": "same", "kernel_size": (5, 3)},
    ],
)
def test_a_convolution_is_a_sparse_matrix_with_shared_entries(options):
    conv = nn.Conv2d(4, 6, **{"kernel_size": 3, **options}).double()
    x = torch.randn(4, 7, 9).double()
    matrix, bias = conv_to_dense(conv, (4, 7, 9))
    assert matrix.is_sparse
    torch.testing.assert_close(matrix @ x.flatten() + bias, conv(x[None]).flatten(), rtol=0, atol=1e-12)
    if options == {}:
        assert matrix._nnz() == conv(x[None]).numel() * 4 * 9
        assert len(matrix.values().unique()) == conv.weight.numel(), "every entry is one of the shared weights"


def test_a_dense_layer_is_a_convolution_with_filters_of_the_whole_map():
    dense = nn.Linear(3 * 4 * 5, 7).double()
    conv = dense_to_conv(dense, (3, 4, 5))
    x = torch.randn(2, 3, 4, 5).double()
    torch.testing.assert_close(conv(x).flatten(1), dense(x.flatten(1)), rtol=0, atol=1e-12)
    assert conv.kernel_size == (4, 5)
    with pytest.raises(UserError, match=r"reads 60 values; a map of shape \(3, 4, 4\) has 48"):
        dense_to_conv(dense, (3, 4, 4))
    with pytest.raises(UserError, match="reads 3 channels"):
        conv_to_dense(conv, (4, 4, 5))


class Alexnetlike(nn.Module):
    """Valid convolutions and overlapping pooling, then the pooling to 3×3 that is none at the trained size."""

    strides, channels = (8,), (6,)

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 7, 4), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(6, 6, 3), nn.ReLU()
        )
        dense = [nn.Flatten(), nn.Dropout(), nn.Linear(54, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 5)]
        self.head = Head(nn.AdaptiveAvgPool2d(3), nn.Sequential(*dense))

    def maps(self, images):
        return [self.features(images)]

    def forward(self, images):
        return self.head(self.maps(images))


@pytest.mark.parametrize(
    "network, input",
    [
        (lenet5(classes=5, input=(1, 32, 32)), (1, 32, 32)),
        (lenet5(classes=5, input=(3, 32, 40), pool="max", norm="batch", activation="maxout"), (3, 32, 40)),
        (Alexnetlike(), (3, 47, 47)),
    ],
)
def test_sliding_equals_crop_by_crop_without_padding(network, input):
    network = network.double().eval()
    images = torch.randn(2, input[0], input[1] + 21, input[2] + 34).double()
    network.train()(images[:, :, : input[1], : input[2]])  # statistics of batch norm that are not 0 and 1
    found = slide(network, input, images)
    step = network.strides[-1]
    assert found.map.shape == (2, 5, 21 // step + 1, 34 // step + 1)
    assert found.crops.std() > 1e-3
    torch.testing.assert_close(found.map, found.crops, rtol=0, atol=1e-10)
    assert found.difference < 1e-10


@pytest.mark.parametrize("pool", ["average", "max"])
def test_with_padding_the_difference_is_shown_and_lies_at_borders(pool):
    network = convnet(classes=5, input=(3, 32, 32), widths=(4, 6), convs=1, pool=pool, norm="none").double()
    bare = copy.deepcopy(network)
    for module in bare.modules():
        if isinstance(module, nn.Conv2d):
            module.padding = 0
    images = torch.randn(1, 3, 40, 44).double()
    found = slide(network, (3, 32, 32), images)
    assert found.map.shape == (1, 5, 5, 7)
    assert found.difference > 1e-3
    same = slide(network, (3, 40, 44), images)  # one window: the network's own border
    torch.testing.assert_close(same.map, same.crops, rtol=0, atol=1e-10)


def test_on_an_image_of_its_own_size_it_is_the_classifier():
    network = lenet5(classes=5, input=(1, 32, 32)).eval()
    images = torch.randn(3, 1, 32, 32)
    found = convolutionalise(network, (1, 32, 32))(images)
    assert found.shape == (3, 5, 1, 1)
    torch.testing.assert_close(found.flatten(1), network(images))
    assert isinstance(network.head[1], nn.Linear), "the network itself stays"


def test_what_cannot_slide_says_so():
    with pytest.raises(UserError, match="flat vector"):
        convolutionalise(mlp(classes=5, input=(1, 8, 8)), (1, 8, 8))
    with pytest.raises(UserError, match="no chain of layers"):
        convolutionalise(nn.Sequential(nn.Flatten(), nn.Linear(64, 5)), (1, 8, 8))
    with pytest.raises(UserError, match=r"pools a map of 5×5 to 3×3 .* 3×3 cells"):
        convolutionalise(Alexnetlike(), (3, 67, 67))
    with pytest.raises(UserError, match=r"window of 32×32 pixels doesn't fit into 30×40"):
        slide(lenet5(classes=5, input=(1, 32, 32)), (1, 32, 32), torch.zeros(1, 1, 30, 40))

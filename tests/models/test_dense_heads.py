"""Scores for every pixel from any network with strides."""

import pytest
import torch
import torch.nn.functional as F
from test_network_contract import FIXED, NETWORKS, make, pictures
from torch import nn

from hubel.errors import UserError
from hubel.models.base import Network
from hubel.models.dense_heads import FusedScores, PlacedScores, read_at
from hubel.models.linear import linear
from hubel.models.mlp import mlp

WITHOUT_PLACE = [case for case in NETWORKS if case.split("-")[0] in ("linear", "mlp")]


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("case", [case for case in NETWORKS if case not in WITHOUT_PLACE])
def test_every_network_with_strides_scores_the_whole_image(case):
    network, images = make(case), pictures(case, 4)
    network.head = network.dense_head(7)
    assert network.margin == 0
    scores = network(images)
    assert scores.shape[:2] == (4, 7)
    for cells, pixels in zip(scores.shape[2:], images.shape[2:], strict=True):
        assert pixels / network.strides[0] - 1 <= cells <= pixels / network.strides[0] + 1
    scores.square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in network.head.parameters())
    network.eval()
    torch.testing.assert_close(network(images)[1:2], network(images[1:2]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", [case for case in NETWORKS if case.split("-")[0] not in FIXED])
def test_of_another_size_too(case):
    network = make(case).eval()
    network.head = network.dense_head(2)
    scores = network(pictures(case, 1, 3, 33, 47))
    assert scores.shape[:2] == (1, 2)
    assert min(scores.shape[2:]) >= 33 * pictures(case, 1).shape[2] / 16 / network.strides[0] - 1


@pytest.mark.parametrize("network", [linear(classes=2, input=(1, 8, 8)), mlp(classes=2, input=(1, 8, 8))])
def test_features_without_place_are_refused(network):
    with pytest.raises(UserError, match=r"into one vector.*--model"):
        network.dense_head(3)


def test_coarse_scores_are_enlarged_and_added():
    head = FusedScores((4, 5, 6), 3)
    maps = [torch.randn(2, 4, 9, 7), torch.randn(2, 5, 5, 4), torch.randn(2, 6, 3, 2)]
    s0, s1, s2 = (score(x) for score, x in zip(head.scores, maps, strict=True))
    s1 = s1 + F.interpolate(s2, (5, 4), mode="bilinear")
    torch.testing.assert_close(head(maps), s0 + F.interpolate(s1, (9, 7), mode="bilinear"))
    assert FusedScores((4,), 3)(maps[:1]).shape == (2, 3, 9, 7)


def rulers(starts, strides, pixels):
    """Maps whose cells hold the row of their centre, in pixels, as valid convolutions leave them."""
    rows = [torch.arange(start, pixels - start + 1e-6, stride) for start, stride in zip(starts, strides, strict=True)]
    return [row[None, None, :, None].expand(1, 1, -1, len(row)) for row in rows]


def test_maps_of_valid_convolutions_are_read_where_they_lie():
    starts, strides, pixels = (3.0, 8.0), (2, 4), 32  # LeNet-5
    head = PlacedScores((1, 1), 1, starts, strides)
    for score, share in zip(head.scores, (0.25, 0.75), strict=True):
        nn.init.constant_(score.weight, share)
        nn.init.zeros_(score.bias)
    found = head(rulers(starts, strides, pixels))
    assert found.shape == (1, 1, 16, 16)
    centres = 1 + 2 * torch.arange(16.0)
    expected = 0.25 * centres.clamp(3, 29) + 0.75 * centres.clamp(8, 24)
    torch.testing.assert_close(found[0, 0], expected[:, None].expand(16, 16))


def test_reading_a_map_between_its_cells():
    x = torch.tensor([[10.0, 20.0, 40.0]]).reshape(1, 1, 1, 3)
    found = read_at(x, torch.tensor([5.0]), torch.tensor([0.0, 3.0, 4.0, 6.0, 9.0]), start=3, stride=2)
    torch.testing.assert_close(found.flatten(), torch.tensor([10.0, 10.0, 15.0, 30.0, 40.0]))


def test_a_network_of_ones_own_has_it_by_its_maps_alone():
    class Own(Network):
        channels, strides = (3,), (2,)

        def maps(self, images):
            return [F.avg_pool2d(images, 2)]

    assert Own().dense_head(5)(Own().maps(torch.randn(2, 3, 8, 6))).shape == (2, 5, 4, 3)

"""Unpooling: values return to where they came from, nails stand in their corner; transposes of what went before."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hubel.errors import UserError
from hubel.nn.unpooling import BedOfNails, MaxPoolPlaces, MaxUnpool, bed_of_nails, max_pool_places, max_unpool


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def test_pooled_values_go_back_to_the_places_of_the_winners():
    x = torch.tensor([[1.0, 2, 6, 3], [3, 5, 2, 1], [1, 2, 2, 1], [7, 3, 4, 8]]).view(1, 1, 4, 4)
    values, places = MaxPoolPlaces()(x)
    assert values.flatten().tolist() == [5, 6, 7, 8]
    assert places.flatten().tolist() == [5, 2, 12, 15]
    later = torch.tensor([1.0, 2, 3, 4]).view(1, 1, 2, 2)
    found = MaxUnpool()(later, places, (4, 4))
    assert found.view(4, 4).tolist() == [[0, 0, 2, 0], [0, 1, 0, 0], [0, 0, 0, 0], [3, 0, 0, 4]]


@pytest.mark.parametrize("size, stride, padding", [(2, None, 0), (3, 3, 1), (2, 3, 0)])
def test_windows_that_do_not_overlap_are_torchs(size, stride, padding):
    x = torch.randn(2, 3, 7, 9)
    values, places = max_pool_places(x, size, stride, padding)
    theirs = nn.MaxUnpool2d(size, stride, padding)(values, places, output_size=(7, 9))
    assert torch.equal(max_unpool(values, places, (7, 9)), theirs)


def test_what_came_from_a_place_stands_there_again_and_elsewhere_is_zero():
    x = torch.randn(2, 3, 6, 8)
    values, places = max_pool_places(x)
    back = max_unpool(values, places, (6, 8))
    assert torch.equal(back[back != 0], x[back != 0])
    assert back.ne(0).sum() == values.numel()
    assert torch.equal(max_pool_places(back.where(back != 0, -torch.inf))[0], values)


@pytest.mark.parametrize("size, stride, padding", [(2, 2, 0), (3, 2, 1), (3, 1, 0)])
def test_unpooling_is_what_carries_the_gradient_back_through_pooling(size, stride, padding):
    """With windows that overlap, too: a pixel that wins several of them gets the sum."""
    x = torch.randn(2, 3, 7, 6, requires_grad=True)
    values, places = max_pool_places(x, size, stride, padding)
    upstream = torch.randn_like(values)
    (gradient,) = torch.autograd.grad(values, x, upstream)
    torch.testing.assert_close(max_unpool(upstream, places, (7, 6)), gradient)


def test_nails_stand_in_one_corner():
    y = torch.tensor([[1.0, 2], [3, 4]]).view(1, 1, 2, 2)
    assert bed_of_nails(y).view(4, 4).tolist() == [[1, 0, 2, 0], [0, 0, 0, 0], [3, 0, 4, 0], [0, 0, 0, 0]]
    assert bed_of_nails(y, 3, (1, 2)).view(6, 6)[1::3, 2::3].tolist() == [[1, 2], [3, 4]]
    assert bed_of_nails(y, 3, (1, 2)).sum() == 10
    wide = torch.randn(2, 3, 4, 5)
    expected = torch.zeros(2, 3, 8, 10)
    expected[:, :, 1::2, ::2] = wide
    assert torch.equal(BedOfNails(2, (1, 0))(wide), expected)


def test_nails_and_a_square_of_ones_are_the_nearest_neighbour():
    y = torch.randn(2, 3, 4, 5)
    spread = F.conv2d(F.pad(bed_of_nails(y), (1, 0, 1, 0)), torch.ones(3, 1, 2, 2), groups=3)
    torch.testing.assert_close(spread, F.interpolate(y, scale_factor=2, mode="nearest"))


def test_gradients():
    y = torch.randn(1, 2, 2, 3, dtype=torch.float64, requires_grad=True)
    _, places = max_pool_places(torch.randn(1, 2, 5, 7), 3, 2)
    assert places.shape == y.shape
    assert torch.autograd.gradcheck(lambda y: max_unpool(y, places, (5, 7)), y)
    assert torch.autograd.gradcheck(lambda y: bed_of_nails(y, 2, (0, 1)), y)


def test_what_does_not_fit_is_refused():
    y = torch.zeros(1, 2, 2, 2)
    with pytest.raises(UserError, match="one place for each value"):
        max_unpool(y, max_pool_places(torch.zeros(1, 2, 4, 6))[1], (4, 6))
    with pytest.raises(UserError, match="within 2×2"):
        bed_of_nails(y, 2, (0, 2))

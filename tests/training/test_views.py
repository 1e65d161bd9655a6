"""Views of a batch: each is the part of the image that it says, and a network that sees places shows the mean."""

import numpy as np
import pytest
import torch

from hubel.ops.geometry import move_points
from hubel.ops.resize import resize
from hubel.recipe import VIEWS
from hubel.training.views import crop, mirrored, shifted, views_of
from hubel.types import Batch


def batch(size=(16, 24)) -> Batch:
    images = torch.rand(3, 2, *size, generator=torch.Generator().manual_seed(0))
    eye = torch.eye(3).repeat(3, 1, 1)
    return Batch(images, torch.arange(3), torch.arange(3), torch.ones(3), torch.tensor([[16, 24]] * 3), eye)


@pytest.mark.parametrize(("views", "count"), list(zip(VIEWS, (1, 2, 6, 6, 10), strict=True)))
def test_how_many(views, count):
    found = views_of(batch(), views)
    assert len(found) == count and all(view.images.shape == (3, 2, 16, 24) for view in found)
    assert all(view.images.is_contiguous(memory_format=torch.channels_last) for view in found[1:])
    kinds = {tuple(view.images.flatten().tolist()) for view in found}
    assert len(kinds) == count


def test_no_other_words():
    with pytest.raises(ValueError, match="single"):
        views_of(batch(), "twelve")


@pytest.mark.parametrize(
    ("x", "y", "left", "top"), [(0, 0, 0, 0), (1, 0, 3, 0), (0, 1, 0, 2), (1, 1, 3, 2), (0.5, 0.5, 2, 1)]
)
def test_a_crop_is_the_enlarged_part(x, y, left, top):
    """16 x 24 pixels: 14 x 21 of them, as OpenCV enlarges them."""
    plain, seen = batch(), crop(batch(), x, y)
    for image, found in zip(plain.images, seen.images, strict=True):
        part = image[:, top : top + 14, left : left + 21].permute(1, 2, 0).numpy()
        np.testing.assert_allclose(found.permute(1, 2, 0).numpy(), resize(part, (16, 24)), atol=1e-5)


@pytest.mark.parametrize("by", [1, -1, 2])
def test_a_shift_moves_each_pixel(by):
    """By numpy's pad: what leaves one side is gone, the border of the other is repeated."""
    plain, moved = batch(), shifted(batch(), by)
    wide = np.pad(plain.images.numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)), mode="edge")
    np.testing.assert_array_equal(moved.images.numpy(), wide[:, :, 2 - by : 18 - by, 2 - by : 26 - by])


def test_matrices_say_where_a_pixel_went():
    """A dot in the image appears where the view's matrix says."""
    plain = batch((32, 48))
    plain.images.zero_()
    plain.images[:, :, 14:16, 20:22] = 1
    middle = np.array([[21.0, 15.0]])
    v, u = np.mgrid[:32, :48] + 0.5
    for view in [mirrored(plain), *views_of(plain, "shifts"), *views_of(plain, "ten")]:
        image = view.images[0, 0].numpy()
        centre = np.array([(u * image).sum(), (v * image).sum()]) / image.sum()
        moved = move_points(middle, view.matrices[0].double().numpy())[0]
        np.testing.assert_allclose(centre, moved, atol=0.05)

"""Histograms of gradients and colours against scikit-image, NumPy and pictures whose answer is known."""

import numpy as np
import pytest
import torch

from hubel.ops.hog import colour_histogram, gradients, hog

feature = pytest.importorskip("skimage.feature")


@pytest.mark.parametrize("shape, cell, block, bins", [
    ((3, 32, 32), 8, 2, 9), ((1, 28, 31), 4, 2, 9), ((3, 17, 20), 3, 3, 6), ((1, 16, 16), 8, 1, 12),
])  # fmt: skip
def test_equal_to_scikit_image(shape, cell, block, bins):
    images = torch.rand(4, *shape, generator=torch.Generator().manual_seed(0))
    found = hog(images, cell=cell, block=block, bins=bins)
    for image, ours in zip(images.double().permute(0, 2, 3, 1).numpy(), found, strict=True):
        theirs = feature.hog(image, bins, (cell, cell), (block, block), block_norm="L2-Hys", channel_axis=-1)
        np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-6)


@pytest.mark.parametrize("axis, degrees", [(3, 0), (2, 90)])
def test_a_ramp_points_where_it_rises(axis, degrees):
    ramp = torch.arange(16.0).reshape([-1 if k == axis else 1 for k in range(4)]).expand(1, 1, 16, 16)
    magnitude, angle = gradients(ramp)
    assert (magnitude[0, 1:-1, 1:-1] == 2).all() and (angle[0, 1:-1, 1:-1] == degrees).all()


def test_images_without_a_block_are_refused():
    with pytest.raises(ValueError, match="no block of 2 cells of 8"):
        hog(torch.zeros(1, 1, 12, 32))


@pytest.mark.parametrize("channels", [1, 3])
def test_colours_are_counted(channels):
    images = torch.rand(2, channels, 9, 7, generator=torch.Generator().manual_seed(1))
    images[0, :, 0, 0] = 1.0  # the upper end belongs to the last bin
    for image, ours in zip(images, colour_histogram(images, bins=4), strict=True):
        points = image.flatten(1).T.numpy()
        theirs, _ = np.histogramdd(points, bins=4, range=[(0, 1)] * channels)
        np.testing.assert_allclose(ours.numpy(), theirs.transpose().ravel() / 63, atol=1e-6)

"""Clustering: a partition whatever the image, and the regions that anybody sees."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubel.errors import UserError
from hubel.ops.clustering import (
    METHODS,
    connected,
    kmeans,
    mean_shift,
    means_of,
    method,
    modes_of,
    points_of,
    squares,
)

NAMES = ["kmeans", "mean_shift", "graph"]


def regions_by(name, image):
    if name == "graph":
        pytest.importorskip("skimage")
    return METHODS[name](image)


def scene(noise=0.02, seed=0):
    """Sky over land, and a red square in it; with the truth."""
    truth = np.zeros((40, 50), int)
    truth[20:], truth[25:35, 10:22] = 1, 2
    colours = np.array([[0.5, 0.7, 0.95], [0.25, 0.5, 0.2], [0.8, 0.15, 0.15]])
    image = colours[truth] + noise * np.random.default_rng(seed).standard_normal((40, 50, 3))
    return image.clip(0, 1).astype(np.float32), truth


def assert_partition(regions, shape):
    """Every pixel has one region, and every number one pixel at least."""
    assert regions.shape == shape and regions.dtype == np.int64
    assert np.array_equal(np.unique(regions), np.arange(regions.max() + 1))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=12, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.sampled_from([1, 3]), st.integers(0, 10**6))
def test_any_image_is_cut_into_a_partition(name, height, width, channels, seed):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, rng.integers(1, 5) + 1, (height, width, channels)).astype(np.float32) / 5
    regions = regions_by(name, image)
    assert_partition(regions, (height, width))
    parts = connected(regions)
    assert_partition(parts, (height, width))
    for number in range(parts.max() + 1):
        inside = parts == number
        assert cv2.connectedComponents(inside.astype(np.uint8), connectivity=4)[0] == 2
        assert len(np.unique(regions[inside])) == 1
    if name == "graph":  # connected as it is, by corners at least
        for number in range(regions.max() + 1):
            assert cv2.connectedComponents((regions == number).astype(np.uint8), connectivity=8)[0] == 2


@pytest.mark.parametrize("name", NAMES)
def test_regions_keep_to_what_is_seen(name):
    image, truth = scene()
    regions = regions_by(name, image)
    assert 2 < regions.max() + 1 < 40
    right = sum(np.bincount(truth[regions == k]).max() for k in range(regions.max() + 1))
    assert right / truth.size > 0.97


def test_each_pixel_goes_to_the_nearest_mean():
    """k-means has converged: the mean of each region is nearer to its pixels than any other."""
    image, _ = scene(0.1)
    regions = kmeans(image, clusters=5)
    points = points_of(image, 5.0)
    means = np.stack([points[regions.ravel() == k].mean(0) for k in range(5)])
    assert (np.linalg.norm(points[:, None] - means, axis=2).argmin(1) == regions.ravel()).mean() > 0.99


def test_a_larger_bandwidth_gives_fewer_modes():
    image, _ = scene(0.1)
    assert mean_shift(image, 0.8).max() > mean_shift(image, 3.0).max()


def test_the_same_seed_gives_the_same_regions():
    image, _ = scene(0.2)
    assert np.array_equal(kmeans(image, seed=3), kmeans(image, seed=3))


def test_modes_are_where_points_crowd():
    rng = np.random.default_rng(0)
    centres = np.array([[0.0, 0.0], [5.0, 0.0], [0.0, 6.0]], np.float32)
    points = (centres[rng.integers(0, 3, 300)] + 0.3 * rng.standard_normal((300, 2))).astype(np.float32)
    modes = modes_of(points, 1.5)
    assert len(modes) == 3 and np.linalg.norm(modes[:, None] - centres, axis=2).min(0).max() < 0.15


def test_means_of_three_crowds():
    rng = np.random.default_rng(1)
    centres = np.array([[0.0, 0.0], [5.0, 0.0], [0.0, 6.0]], np.float32)
    points = (centres[rng.integers(0, 3, 300)] + 0.3 * rng.standard_normal((300, 2))).astype(np.float32)
    means = means_of(points, 3, rng)
    assert np.linalg.norm(means[:, None] - centres, axis=2).min(0).max() < 0.1
    expected = np.square(points[:, None] - means).sum(2)
    assert np.abs(squares(points, means) - expected).max() < 1e-3


def test_unknown_methods_are_named():
    with pytest.raises(UserError, match="did you mean 'kmeans'"):
        method("kmean")

"""Elastic distortion: a spline that never folds, the same field for pixels and points, one resampling."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import BSpline
from warps import turn, warp_loop

from hubel.ops import elastic
from hubel.ops.geometry import compose, scaling, translation

RNG = np.random.default_rng(0)


def controls(seed: int = 0, size: float = elastic.LARGEST) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-size, size, (2, elastic.POINTS, elastic.POINTS))


def smooth(height: int, width: int, channels: int = 3) -> np.ndarray:
    image = RNG.integers(0, 256, (height, width, channels)).astype(np.uint8)
    return cv2.GaussianBlur(image, (0, 0), 3).reshape(height, width, channels)


def test_the_basis_is_the_uniform_cubic_spline():
    u = np.linspace(0, 1, 50)
    knots = np.arange(-3, elastic.CELLS + 4, dtype=float)
    spline = BSpline.design_matrix(u[:-1] * elastic.CELLS, knots, 3).toarray()
    np.testing.assert_allclose(elastic.basis(u[:-1]), spline[:, : elastic.POINTS], atol=1e-12)
    np.testing.assert_allclose(elastic.basis(u).sum(1), 1)
    np.testing.assert_allclose(
        elastic.basis(np.array([1.0, 1.4]))[0], elastic.basis(np.array([1 - 1e-12]))[0], atol=1e-9
    )


def test_the_field_is_the_same_at_pixels_and_points():
    control, size = controls(), (12, 17)
    field = elastic.displacement(control, size)
    y, x = np.meshgrid(np.arange(12) + 0.5, np.arange(17) + 0.5, indexing="ij")
    loop = elastic.displacement_at(np.stack([x.ravel(), y.ravel()], 1), control, size)
    np.testing.assert_allclose(field.reshape(2, -1).T, loop, atol=1e-12)
    assert np.abs(field[0]).max() <= 17 * elastic.LARGEST and np.abs(field[1]).max() <= 12 * elastic.LARGEST


@given(st.integers(0, 2**32), st.integers(4, 300), st.integers(4, 300))
@settings(max_examples=40, deadline=None)
def test_points_come_back(seed, height, width):
    """M x = x' + d(x'): the equation itself, for every point, also in the worst case of alternating extremes."""
    rng = np.random.default_rng(seed)
    control = np.sign(controls(seed)) * elastic.LARGEST
    matrix = turn(rng.uniform(-1, 1), *rng.uniform(-9, 9, 2))
    points = rng.uniform(-20, 320, (30, 2))
    moved = elastic.move_points(points, matrix, control, (height, width))
    back = moved + elastic.displacement_at(moved, control, (height, width))
    goal = points @ matrix[:2, :2].T + matrix[:2, 2]
    np.testing.assert_allclose(back, goal, atol=1e-7)


def test_no_fold():
    """The Jacobian of x' + d(x') stays positive in the worst case."""
    for seed in range(20):
        control, n = np.sign(controls(seed)) * elastic.LARGEST, 200
        x, y = elastic.displacement(control, (n, n))
        determinant = (1 + np.diff(x, axis=1)[:-1]) * (1 + np.diff(y, axis=0)[:, :-1]) - (
            np.diff(x, axis=0)[:, :-1] * np.diff(y, axis=1)[:-1]
        )
        assert determinant.min() > 0.05


def reference(image, matrix, control, size, border):
    """Pixel by pixel in float64: each pixel is a warp of its own, by a matrix that reads at x' + d(x')."""
    field, out = elastic.displacement(control, size), np.zeros((*size, image.shape[2]))
    for i in range(size[0]):
        for j in range(size[1]):
            shift = translation(-j - field[0, i, j], -i - field[1, i, j])
            out[i, j] = warp_loop(image, compose(matrix, shift), (1, 1), border)[0, 0]
    return out


@pytest.mark.parametrize("border", ["zero", "mirror", "edge"])
@pytest.mark.parametrize("channels", [1, 3])
def test_both_appliers_equal_the_loop(border, channels):
    image, size = smooth(23, 31, channels), (20, 26)
    matrix, control = turn(0.3, 4, -3, perspective=0.002), controls()
    exact = reference(image, matrix, control, size, border)
    one = elastic.warp(image, matrix, control, size, border)
    batch = elastic.warp_batch(torch.from_numpy(image[None]), matrix[None], control[None], size, border)[0].numpy()
    assert one.shape == batch.shape == (*size, channels) and one.dtype == batch.dtype == np.uint8
    assert np.abs(one - exact).max() <= 4 and np.abs(one - exact).mean() < 0.6  # positions to 1/32 of a pixel
    assert np.abs(batch - exact).max() <= 0.6


def test_nothing_displaced_is_the_plain_warp():
    from hubel.ops.resize import warp

    image, still = smooth(60, 80), np.zeros((2, elastic.POINTS, elastic.POINTS))
    matrix = compose(turn(0.2), scaling(0.4, 0.4), translation(3, 2))
    plain, same = warp(image, matrix, (24, 32), "edge"), elastic.warp(image, matrix, still, (24, 32), "edge")
    assert np.abs(plain.astype(int) - same).max() <= 3


def test_a_shrunk_image_is_reduced_by_area():
    image = np.zeros((600, 800, 1), dtype=np.uint8)
    image[::2, ::2] = image[1::2, 1::2] = 255
    out = elastic.warp(image, scaling(0.08, 0.08), controls(size=0.01), (48, 64), "mirror")
    assert out.std() < 3 and abs(out.mean() - 127.5) < 1


def test_positions_by_affine_matrices_equal_the_formula():
    size = (20, 26)
    matrices = np.stack([turn(0.3, 4, -3), scaling(1.7, 0.6)])
    control = np.stack([controls(1), controls(2)])
    found = elastic.source_positions(matrices, control, size)
    for matrix, points, positions in zip(matrices, control, found, strict=True):
        x, y = elastic.displacement(points, size)
        target = np.stack([np.arange(26) + 0.5 + x, (np.arange(20) + 0.5)[:, None] + y])
        inverse = np.linalg.inv(matrix)
        loop = np.einsum("ij,jhw->ihw", inverse[:2, :2], target) + inverse[:2, 2][:, None, None]
        np.testing.assert_allclose(positions, loop, atol=1e-4)
        np.testing.assert_array_equal(elastic.source_positions(matrix, points, size), positions)

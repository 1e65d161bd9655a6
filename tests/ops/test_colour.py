"""Composed colour: one product equals one change after the other, and each change is what its name says."""

import colorsys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hubel.ops import colour

RNG = np.random.default_rng(0)
COLOURS = RNG.random((200, 3))


def through(matrix: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """The slow way: one colour after the other."""
    return np.array([matrix[:, :3] @ v + matrix[:, 3] for v in colours])


def luma(colours: np.ndarray) -> np.ndarray:
    return 0.299 * colours[:, 0] + 0.587 * colours[:, 1] + 0.114 * colours[:, 2]


@given(st.lists(st.floats(0, 2), min_size=6, max_size=6), st.floats(-0.5, 0.5))
@settings(max_examples=50, deadline=None)
def test_composed_equals_one_after_the_other(gains, turns):
    """In float64 and by formulas of their own, not by the matrices."""
    b, c, s, *rgb = gains
    matrix = colour.compose(
        colour.brightness(b), colour.contrast(c), colour.saturation(s), colour.hue(turns), colour.cast(rgb),
        colour.lighting(np.array([0.1, -0.2, 0.3])),
    )  # fmt: skip
    v = COLOURS * b
    v = 0.5 + c * (v - 0.5)
    y = luma(v)[:, None]
    v = y + s * (v - y)
    v = turned(v, turns)
    v = v * rgb
    v = v + 0.1 * colour.PHOTOGRAPHS[:, 0] - 0.2 * colour.PHOTOGRAPHS[:, 1] + 0.3 * colour.PHOTOGRAPHS[:, 2]
    np.testing.assert_allclose(through(matrix, COLOURS), v, atol=1e-9)


def turned(colours: np.ndarray, turns: float) -> np.ndarray:
    """Hue through R − Y and B − Y, without a matrix: rotate (I, Q), solve for R and B, and G from luma."""
    y = luma(colours)
    r, b = colours[:, 0] - y, colours[:, 2] - y
    i, q = 0.74 * r - 0.27 * b, 0.48 * r + 0.41 * b
    c, s = np.cos(2 * np.pi * turns), np.sin(2 * np.pi * turns)
    i, q = c * i - s * q, s * i + c * q
    determinant = 0.74 * 0.41 + 0.27 * 0.48
    r, b = (0.41 * i + 0.27 * q) / determinant, (0.74 * q - 0.48 * i) / determinant
    red, blue = y + r, y + b
    return np.stack([red, (y - 0.299 * red - 0.114 * blue) / 0.587, blue], axis=1)


def test_hue_turns_the_angle_of_colorsys():
    """colorsys weighs luma by 0.30, 0.59, 0.11: the plane is nearly the same."""
    moved = through(colour.hue(0.1), COLOURS)
    for before, after in zip(COLOURS, moved, strict=True):
        (y0, i0, q0), (y1, i1, q1) = (colorsys.rgb_to_yiq(*v) for v in (before, after))
        if np.hypot(i0, q0) > 0.05:
            turn = np.angle(complex(i1, q1) / complex(i0, q0)) / (2 * np.pi)
            assert turn == pytest.approx(0.1, abs=0.004)
        assert y1 == pytest.approx(y0, abs=0.01)


def test_hue_and_saturation_keep_luma_and_grey():
    for matrix in (colour.hue(0.23), colour.saturation(0.3), colour.saturation(1.7)):
        np.testing.assert_allclose(luma(through(matrix, COLOURS)), luma(COLOURS), atol=1e-12)
        np.testing.assert_allclose(through(matrix, np.full((1, 3), 0.4)), 0.4, atol=1e-12)
    np.testing.assert_allclose(colour.hue(1.0), colour.identity(), atol=1e-12)
    back = colour.compose(colour.hue(0.2), colour.hue(-0.2))
    np.testing.assert_allclose(back, colour.identity(), atol=1e-12)


def test_no_saturation_is_grey():
    grey = through(colour.saturation(0), COLOURS)
    np.testing.assert_allclose(grey, np.repeat(luma(COLOURS)[:, None], 3, 1), atol=1e-12)


def test_contrast_pivots_on_the_fixed_grey():
    np.testing.assert_allclose(through(colour.contrast(1.7), np.full((1, 3), 0.5)), 0.5)
    np.testing.assert_allclose(through(colour.contrast(0), COLOURS), 0.5)


def test_lighting_axes_have_the_variance_of_photographs():
    axes = colour.PHOTOGRAPHS
    lengths = np.linalg.norm(axes, axis=0)
    np.testing.assert_allclose(lengths, [0.2175, 0.0188, 0.0045], rtol=1e-3)
    np.testing.assert_allclose((axes / lengths).T @ (axes / lengths), np.eye(3), atol=1e-3)


def batch_of(count: int) -> np.ndarray:
    return colour.compose(
        colour.brightness(RNG.uniform(0.5, 1.5, count)),
        colour.contrast(RNG.uniform(0.5, 1.5, count)),
        colour.saturation(RNG.uniform(0, 2, count)),
        colour.hue(RNG.uniform(-0.5, 0.5, count)),
        colour.cast(RNG.uniform(0.8, 1.2, (count, 3))),
        colour.lighting(RNG.normal(0, 0.1, (count, 3))),
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_both_appliers_equal_float64(dtype, channels):
    top = np.iinfo(dtype).max
    images = RNG.integers(0, top + 1, (8, 9, 11, channels)).astype(dtype)
    matrices = batch_of(8)
    assert matrices.shape == (8, 3, 4)
    tensor = torch.from_numpy(images if dtype == np.uint8 else images.astype(np.int32))
    batch = colour.apply_batch(tensor, matrices, top)
    assert batch.dtype == tensor.dtype and batch.shape == tensor.shape
    for image, matrix, row in zip(images, matrices, batch.numpy(), strict=True):
        colours = np.repeat(image, 3, 2) if channels == 1 else image
        exact = through(matrix, colours.reshape(-1, 3) / top)
        exact = luma(exact)[:, None] if channels == 1 else exact
        exact = np.clip(exact * top, 0, top).reshape(image.shape)
        one = colour.apply(image, matrix)
        assert one.dtype == dtype and one.shape == image.shape
        assert np.abs(one - exact).max() <= (0.9 if dtype == np.uint8 and channels == 3 else 0.51)
        assert np.abs(row - exact).max() <= 0.51 * (1 if dtype == np.uint8 else 2)


def test_tables_equal_the_functions():
    values = np.arange(256, dtype=np.uint8)[None, :, None]
    thresholds, bits = [0.0, 0.5, 0.7, 1.0, 2.0], [8, 4, 1, 8, 3]
    for row, t, b in zip(colour.tables(thresholds, bits), thresholds, bits, strict=True):
        loop = [255 - v if t <= 1 and v >= t * 255 else v for v in range(256)]
        loop = [v >> (8 - b) << (8 - b) for v in loop]
        np.testing.assert_array_equal(row, loop)
        image = colour.posterise(colour.solarise(values, t) if t <= 1 else values, b)
        np.testing.assert_array_equal(image[0, :, 0], loop)


def test_tables_of_16_bits():
    values = np.array([[[0], [30_000], [65_535]]], dtype=np.uint16)
    np.testing.assert_array_equal(colour.solarise(values, 0.5).ravel(), [0, 30_000, 0])
    np.testing.assert_array_equal(colour.posterise(values, 2).ravel(), [0, 16_384, 49_152])
    assert colour.posterise(values, 2).dtype == np.uint16

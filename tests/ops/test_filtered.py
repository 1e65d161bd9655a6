"""Resizing with Pillow's filters against a loop over pixels in float64, and against torchvision's own pipeline."""

import numpy as np
import pytest
import torch
from PIL import Image

from hubel.data.preprocess import Preprocess
from hubel.ops.filtered import filtered
from hubel.ops.geometry import compose, resizing, translation


def kernel(u, method):
    u = abs(u)
    if method == "bilinear":
        return max(0.0, 1 - u)
    if u < 1:
        return (1.5 * u - 2.5) * u * u + 1
    return ((-0.5 * u + 2.5) * u - 4) * u + 2 if u < 2 else 0.0


def row_by_loop(row, low, factor, count, method):
    """Target pixel x shows source low + x / factor …: the weighted mean of all source pixels near its centre."""
    found, spread = [], max(1.0, 1 / factor)
    for x in range(count):
        centre = low + (x + 0.5) / factor
        weights = np.array([kernel((i + 0.5 - centre) / spread, method) for i in range(len(row))])
        found.append((weights * row).sum() / weights.sum())
    return np.array(found)


@pytest.mark.parametrize("method", ["bilinear", "bicubic"])
@pytest.mark.parametrize("factor", [0.4, 1.7])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_each_pixel_is_the_weighted_mean_of_those_around_it(method, factor, kind):
    top = np.iinfo(kind).max
    image = np.random.default_rng(0).integers(top // 4, 3 * top // 4, (23, 31, 3), dtype=kind)
    matrix = compose(np.diag([factor, factor, 1.0]), translation(-1.3, -0.6))
    size = 7, 9
    rows = np.stack(
        [[row_by_loop(image[i, :, c], 1.3 / factor, factor, 9, method) for c in range(3)] for i in range(23)]
    )  # (23, 3, 9)
    wanted = np.stack(
        [[row_by_loop(rows[:, c, x], 0.6 / factor, factor, 7, method) for x in range(9)] for c in range(3)]
    )  # (3, 9, 7)
    found = filtered(image, matrix, size, method)
    assert found.dtype == kind
    assert np.abs(found.astype(float) - wanted.transpose(2, 1, 0)).max() <= (1.1 if kind == np.uint8 else 2)


def test_grey_images_and_a_border_that_lies_outside():
    image = np.random.default_rng(1).integers(0, 256, (10, 12, 1), dtype=np.uint8)
    whole = filtered(image, resizing((10, 12), (20, 24)), (20, 24), "bicubic")
    assert whole.shape == (20, 24, 1)
    beyond = filtered(image, compose(np.diag([2.0, 2.0, 1.0]), translation(8, 8)), (28, 32), "bilinear")
    assert (beyond[:7, :7] == image[0, 0]).all(), "the corner is repeated"
    padded = np.pad(image, ((4, 0), (4, 0), (0, 0)), mode="edge")
    assert np.array_equal(beyond, filtered(padded, np.diag([2.0, 2.0, 1.0]), (28, 32), "bilinear"))


@pytest.mark.parametrize("sides", [(90, 130), (64, 64), (400, 300)])
@pytest.mark.parametrize("method", ["bilinear", "bicubic"])
def test_the_share_that_is_kept_is_that_of_resizing_and_cropping(sides, method):
    """Resize the short side to 64 / 0.875 = 73 pixels, keep 64 × 64 in the middle: as the weights' authors did."""
    y, x = np.mgrid[: sides[0], : sides[1]]
    smooth = [127 + 120 * np.sin(6 * x / sides[1] + c) * np.cos(7 * y / sides[0]) for c in range(3)]
    image = np.stack(smooth, axis=2).round().astype(np.uint8)
    found, matrix = Preprocess((64, 64), 3, share=0.875, interpolation=method).geometry(image)
    short = min(sides)
    inner = [round(side * 73 / short) for side in sides]
    whole = Image.fromarray(image).resize(inner[::-1], getattr(Image.Resampling, method.upper()))
    top, left = (inner[0] - 64) // 2, (inner[1] - 64) // 2
    wanted = np.asarray(whole)[top : top + 64, left : left + 64]
    assert np.abs(found.astype(int) - wanted).max() <= 16  # theirs starts half a pixel beside where the rest is odd
    centre = matrix @ [sides[1] / 2, sides[0] / 2, 1]
    assert np.allclose(centre[:2], 32, atol=0.6)


def test_an_image_of_the_right_size_is_cropped_too_where_a_share_is_kept():
    image = np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)
    plain = Preprocess((64, 64), 3, interpolation="bicubic")
    assert np.array_equal(plain.geometry(image)[0], image)
    _, matrix = Preprocess((64, 64), 3, share=0.875).geometry(image)
    assert matrix[0, 0] == pytest.approx(73 / 64)
    assert plain.settings()["interpolation"] == "bicubic" and "share" not in plain.settings()
    kept = Preprocess((64, 64), 3, share=0.875, interpolation="bicubic")
    assert Preprocess.from_settings(kept.settings()) == kept
    assert torch.is_tensor(kept.normalise(torch.from_numpy(image[None])))

"""Crops of whole pixels: what they show, against a float64 resampling; and that they are as sharp as others'."""

import cv2
import numpy as np
import pytest
from PIL import Image
from warps import photo, psnr

from hubel.ops.crop import LINEAR_UP_TO, SMALLEST, Crop, resample, snap
from hubel.ops.geometry import compose, mirror, move_points, scaling, translation


def weights(n_in, n_out, kind):
    """(n_out, n_in) of an antialiased resampling."""
    step = n_in / n_out
    x = (np.arange(n_in) + 0.5 - (np.arange(n_out)[:, None] + 0.5) * step) / max(step, 1)
    w = np.where(abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0) if kind == "lanczos" else np.clip(1 - abs(x), 0, None)
    return w / w.sum(1, keepdims=True)


def reference(image, crop, size, kind="lanczos"):
    part = image[crop.y0 : crop.y1, crop.x0 : crop.x1].astype(float)
    part = part[:, ::-1] if crop.mirrored else part
    part = part[::-1] if crop.upturned else part
    rows, columns = weights(part.shape[0], size[0], kind), weights(part.shape[1], size[1], kind)
    return np.clip(np.einsum("ij,jkc,lk->ilc", rows, part, columns, optimize=True), 0, 255)


def test_snap_takes_the_nearest_whole_pixels():
    matrix = compose(translation(-20.4, -10.6), scaling(100 / 150.3, 80 / 120.2))  # x 20.4 … 170.7, y 10.6 … 130.8
    assert snap(matrix, (300, 400), (80, 100)) == Crop(20, 11, 171, 131)
    assert snap(matrix @ np.eye(3), (300, 400), (80, 100)).matrix((80, 100)) == pytest.approx(
        compose(translation(-20, -11), scaling(100 / 151, 80 / 120))
    )


def test_an_image_read_smaller_may_lack_its_last_pixel():
    """A file of 301 x 401 at half of its size: 150 x 200 pixels; the whole of it is still a crop."""
    whole, size = scaling(100 / 401, 80 / 301), (80, 100)
    crop = snap(whole, (150, 200), size, (0.5, 0.5))
    assert crop == Crop(0, 0, 200, 150) and snap(whole, (300, 400), size) is None
    np.testing.assert_allclose(crop.matrix(size, (0.5, 0.5)), scaling(100 / 400, 80 / 300))
    assert snap(scaling(100 / 403, 80 / 301), (150, 200), size, (0.5, 0.5)) is None


def test_others_resize_as_before():
    """The switch to the faster resizing is set back."""
    image = photo()
    for before in (False, True):
        cv2.ipp.setUseIPP_NotExact(before)
        try:
            resample(image, Crop(10, 10, 160, 160, True), (120, 120))
            assert cv2.ipp.useIPP_NotExact() == before or not cv2.ipp.useIPP()
        finally:
            cv2.ipp.setUseIPP_NotExact(False)


def test_snapped_matrices_lead_to_the_targets_corners():
    for flags in ((False, False), (True, False), (False, True), (True, True)):
        crop = Crop(20, 11, 171, 131, *flags)
        corners = move_points(np.array([[20.0, 11.0], [171.0, 131.0]]), crop.matrix((80, 100)))
        expected = [[100.0 * flags[0], 80.0 * flags[1]], [100.0 * (not flags[0]), 80.0 * (not flags[1])]]
        np.testing.assert_allclose(corners, expected, atol=1e-9)
        assert snap(crop.matrix((80, 100)), (300, 400), (80, 100)) == crop


@pytest.mark.parametrize(
    ("matrix", "why"),
    [
        (np.array([[1.0, 0.1, 0], [0, 1, 0], [0, 0, 1]]), "sheared"),
        (np.array([[1.0, 0, 0], [0, 1, 0], [1e-4, 0, 1]]), "tilted"),
        (translation(5, 0), "shows what lies outside"),
        (scaling(200 / (SMALLEST - 1), 200 / 100), "narrow"),
    ],
)
def test_what_is_no_crop_is_left_alone(matrix, why):
    assert snap(matrix, (200, 200), (200, 200)) is None, why


@pytest.mark.parametrize("flags", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("side", [100, 150, 200, 250, 299])
@pytest.mark.parametrize("channels", [1, 3])
def test_shows_what_the_reference_shows(side, flags, channels):
    image, size = photo(channels=channels), (130, 140)
    crop = Crop(60, 1, 60 + side, 1 + side, *flags)
    out = resample(image, crop, size)
    assert out.shape == (*size, channels) and out.dtype == np.uint8
    assert psnr(out, reference(image, crop, size, "triangle")) > 32


def test_at_least_as_sharp_as_antialiased_bilinear():
    """Against the Lanczos resampling in float64, at every shrinkage that is not done by areas."""
    image, size = photo(3), (140, 140)
    for side in range(150, 280, 8):
        crop = Crop(30, 10, 30 + side, 10 + side)
        expected = reference(image, crop, size)
        ours = psnr(resample(image, crop, size), expected)
        box = (crop.x0, crop.y0, crop.x1, crop.y1)
        pillow = np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR, box))
        assert ours >= psnr(pillow, expected) - 0.05, f"{side / 140:.2f}: {ours:.1f} dB"


def test_fine_texture_does_not_alias():
    board = np.indices((300, 300)).sum(0)[:, :, None].astype(np.uint8) % 2 * 255
    for side in (int(100 * LINEAR_UP_TO) + 3, 170, 200, 260, 300):
        out = resample(np.repeat(board, 3, 2), Crop(0, 0, side, side), (100, 100))
        assert out.std() < 36, side  # bilinear alone: about 43


@pytest.mark.parametrize("size", [(60, 200), (250, 60), (75, 75), (300, 400)])
def test_any_proportions(size):
    """One side may shrink a lot while the other grows."""
    image = photo(1)
    crop = Crop(0, 0, 400, 300)
    out = resample(image, crop, size)
    assert psnr(out, reference(image, crop, size, "triangle")) > 28
    if size == (300, 400):
        assert np.array_equal(out, image)


def test_sixteen_bits_stay():
    image = photo(2).astype(np.uint16) * 257
    out = resample(image, Crop(10, 10, 160, 160, True), (120, 120))
    assert out.dtype == np.uint16
    expected = reference(image // 257, Crop(10, 10, 160, 160, True), (120, 120), "triangle")
    assert psnr(out / 257, expected) > 32 and (out % 257).any()


def test_written_in_place_and_source_untouched():
    image, out = photo(), np.zeros((2, 100, 100, 3), np.uint8)
    before = image.copy()
    for flags in ((False, False), (True, False)):
        assert resample(image, Crop(5, 5, 205, 205, *flags), (100, 100), out[1]) is not None
        assert np.array_equal(out[1], resample(image, Crop(5, 5, 205, 205, *flags), (100, 100)))
        assert not out[0].any()
    assert np.array_equal(image, before)


def test_mirror_of_a_matrix_is_the_mirror_of_the_pixels():
    image, size = photo(), (100, 100)
    plain = compose(translation(-20, -30), scaling(0.5, 0.5))
    left, right = snap(plain, (300, 400), size), snap(compose(plain, mirror(100)), (300, 400), size)
    assert np.array_equal(resample(image, left, size)[:, ::-1], resample(image, right, size))

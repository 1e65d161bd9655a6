"""One image through one matrix: antialiased, exact where it can be, the same in both appliers."""

import cv2
import numpy as np
import pytest
import torch
from warps import lanczos, photo, psnr, turn, warp_loop

from hubel.ops import geometry as g
from hubel.ops import resize as module
from hubel.ops.resize import FILTERED, _bilinear, resize, shrinkage, smoothed, warp


def smooth(height: int, width: int, channels: int = 3, dtype=np.uint8) -> np.ndarray:
    noise = np.random.default_rng(0).random((height, width, channels)).astype(np.float32)
    image = cv2.GaussianBlur(noise, (0, 0), 2).reshape(height, width, channels)
    image = (image - image.min()) / (image.max() - image.min())
    return (image * np.iinfo(dtype).max).astype(dtype)


def checkerboard(height: int, width: int) -> np.ndarray:
    return ((np.indices((height, width)).sum(0) % 2) * 255).astype(np.uint8)[:, :, None]


def test_antialiasing_of_a_checkerboard():
    """4000×3000 to 224×224: one bilinear warp leaves a deviation of 43 (127.5 / 3 in theory), the area filter 0.5."""
    board, size = checkerboard(3000, 4000), (224, 224)
    matrix = g.resizing((3000, 4000), size)
    assert _bilinear(board, matrix, size, "edge").std() == pytest.approx(43.3, abs=0.5)
    assert warp(board, matrix, size).std() == pytest.approx(0.5, abs=0.1)
    crop = g.compose(g.translation(-100.3, -50.2), g.resizing((1500, 2000), size), g.mirror(224))
    assert warp(board, crop, size).std() < 1.0


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("border", g.BORDERS)
@pytest.mark.parametrize("matrix", [turn(0.3, 2.3, -1.6), turn(-0.2, 0, 1, 0.003), g.scaling(1.5, 1.2)])
def test_warp_equals_the_loop(border, matrix, dtype):
    image = smooth(17, 21, 3, dtype)
    got = warp(image, matrix, (16, 19), border)
    assert got.dtype == dtype and got.shape == (16, 19, 3)
    levels = np.iinfo(dtype).max / 32  # OpenCV before 4.12 rounds coordinates to 1/32 pixel
    assert np.abs(got - warp_loop(image, matrix, (16, 19), border)).max() <= levels


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("border", g.BORDERS)
@pytest.mark.parametrize("signs", [(1, 1), (-1, 1), (1, -1)])
def test_whole_pixel_moves_are_exact(signs, border, channels):
    image = np.random.default_rng(0).integers(0, 2**16, (7, 9, channels)).astype(np.uint16)
    matrix = g.compose(g.scaling(*signs), g.translation(*(np.array([9, 7]) * (np.array(signs) < 0) + [2, -3])))
    got = warp(image, matrix, (8, 10), border)
    np.testing.assert_array_equal(got, warp_loop(image, matrix, (8, 10), border))


def test_resize_by_a_whole_number_is_the_mean_of_blocks():
    image = np.random.default_rng(0).integers(0, 256, (12, 20, 3)).astype(np.uint8)
    means = image.reshape(4, 3, 4, 5, 3).mean((1, 3))
    assert np.abs(resize(image, (4, 4)) - means).max() <= 0.51
    assert resize(image[:, :, :1], (4, 4)).shape == (4, 4, 1)


def test_resize_of_16_bits_is_not_cut():
    image = np.full((10, 10, 1), 40_001, dtype=np.uint16)
    assert (resize(image, (4, 4)) == 40_001).all() and (resize(image, (14, 14)) == 40_001).all()


def test_a_shift_and_mirror_of_a_resize_move_its_pixels():
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    fit = g.resizing((60, 80), (32, 32))
    moved = warp(image, g.compose(fit, g.translation(3, -2), g.mirror(32)), (32, 32))
    plain = warp(image, fit, (32, 32))
    expected = np.zeros_like(plain)
    expected[:30, 3:] = plain[2:, :29]
    np.testing.assert_array_equal(moved, expected[:, ::-1])


def test_what_is_left_to_the_filter_has_nearly_the_density_of_the_target():
    image = smooth(300, 400)
    for matrix in (g.scaling(0.3, 0.4), g.compose(turn(0.5), g.scaling(0.2, 0.2)), turn(0.1)):
        reduced, left = smoothed(image, matrix, (50, 60))
        assert max(shrinkage(left, reduced.shape[:2])) <= FILTERED
        corner = np.array([[0.0, 0.0]])  # the target's corner lies at the same place of the picture
        reduced_at = g.move_points(corner, np.linalg.inv(left))
        assert g.move_points(reduced_at, left) == pytest.approx(corner, abs=1e-9)


def test_crop_equals_the_reduced_whole():
    """Only the visible part is reduced; the pixels are those of the whole image, reduced, within interpolation."""
    image = smooth(400, 600)
    matrix = g.compose(g.translation(-211.3, -97.1), g.scaling(1 / 3.3, 1 / 2.9), g.mirror(40))
    got = warp(image, matrix, (40, 40)).astype(int)
    blurred = cv2.blur(image, (3, 3))
    loop = warp_loop(blurred, matrix, (40, 40), "zero")
    assert np.abs(got - loop).max() < 12 and np.abs(got - loop).mean() < 2


@pytest.mark.parametrize("border", g.BORDERS)
def test_one_image_and_the_batch_agree(border):
    image = smooth(40, 50)
    matrix = turn(0.3, 5.3, -2.7)
    one = warp(image, matrix, (40, 50), border).astype(int)
    batch = g.warp_batch(torch.from_numpy(image)[None], matrix[None], (40, 50), border)[0].numpy()
    assert np.abs(one - batch).max() <= (8 if border == "zero" else 2)


def test_a_marked_pixel_lands_where_the_matrix_says():
    image = np.zeros((40, 40, 1), dtype=np.uint8)
    image[10, 20] = 255
    matrix = g.compose(turn(0.5, 9, -6), g.mirror(40))
    x, y = g.move_points(np.array([[20.5, 10.5]]), matrix)[0]
    out = warp(image, matrix, (40, 40))[:, :, 0].astype(float)
    rows, columns = np.indices(out.shape) + 0.5
    assert (columns * out).sum() / out.sum() == pytest.approx(x, abs=0.1)
    assert (rows * out).sum() / out.sum() == pytest.approx(y, abs=0.1)


def shrunk(factor: float, angle: float = 0.2) -> np.ndarray:
    """Turned about the middle of 300×400 pixels onto that of 48×48."""
    turned = g.compose(g.translation(-200, -150), turn(angle), g.scaling(1 / factor, 1 / factor))
    return g.compose(turned, g.translation(24.3, 23.8))


@pytest.mark.parametrize("factor", [1.6, 2.0, 2.6, 4.5])
def test_sharper_than_an_area_reduction(factor):
    """Against Lanczos in float64: what is turned and shrunk is smoothed once, not reduced and then interpolated."""
    image, matrix, size = photo(1), shrunk(factor), (48, 48)
    exact = lanczos(image, matrix, size, factor)
    reduced = cv2.resize(image, (round(400 / factor), round(300 / factor)), interpolation=cv2.INTER_AREA)
    left = g.compose(g.resizing(reduced.shape[:2], (300, 400)), matrix)
    got, before = (psnr(out, exact) for out in (warp(image, matrix, size), _bilinear(reduced, left, size, "zero")))
    assert got > 34 and got > before + 3
    naive = psnr(_bilinear(image, matrix, size, "zero"), exact)
    assert naive < got - 1


@pytest.mark.parametrize("factor", [1.6, 2.0, 2.6, 3.3, 6.0])
def test_no_checkerboard_passes_where_it_is_turned(factor):
    board = checkerboard(300, 400)
    assert warp(board, shrunk(factor), (32, 32)).std() < 1


@pytest.mark.parametrize("border", g.BORDERS)
@pytest.mark.parametrize("factor", [0.4, 2.2, 4.0])
@pytest.mark.parametrize("shift", [0, 195, -230])
def test_what_is_not_shown_may_be_left_out(shift, factor, border, monkeypatch):
    """The pixels are those of the whole image, filtered or interpolated; also where its reflection is seen."""
    image = smooth(300, 400)
    matrix = g.compose(g.translation(shift, shift / 3), shrunk(factor))
    part = warp(image, matrix, (48, 48), border).astype(int)
    monkeypatch.setattr(module, "_visible", lambda image, matrix, *_: (image, matrix))
    whole = warp(image, matrix, (48, 48), border).astype(int)
    assert np.abs(part - whole).max() <= (1 if factor <= FILTERED else 6)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("size", [(30, 40), (60, 80)])
def test_written_into_what_was_given(size, dtype, channels):
    image, matrix = smooth(90, 100, channels, dtype), turn(0.3, 5.3, -2.7)
    out = np.zeros((*size, channels), dtype)
    got = warp(image, matrix, size, "mirror", out)
    assert got is out
    np.testing.assert_array_equal(out, warp(image, matrix, size, "mirror"))


@pytest.mark.parametrize("step", [1, 2, 4])
@pytest.mark.parametrize("factor", [1.6, 2.2, 2.9])
@pytest.mark.parametrize("angle", [0.0, 0.2, 1.1])
def test_what_is_left_out_is_never_read(angle, factor, step):
    """The filter reaches two pixels (each of `step` of the image), interpolation the next one; each knows its place."""
    image = np.stack(np.meshgrid(np.arange(400), np.arange(300)), -1).astype(np.float32)
    for shift in np.linspace(0, 3 * step, 7):
        matrix = g.compose(g.translation(shift, shift / 2), shrunk(factor * step, angle))
        part, _ = module._visible(image, matrix, (24, 24), "zero", step, step)
        assert part.size < image.size
        centres = np.stack(np.meshgrid(np.arange(24) + 0.5, np.arange(24) + 0.5), -1).reshape(-1, 2)
        first = np.floor(g.move_points(centres, np.linalg.inv(matrix)) / step - 0.5)
        low, high = (first.min(0) - 2) * step, (first.max(0) + 4) * step - 1
        assert (part[0, 0] <= np.maximum(low, 0)).all() and (part[-1, -1] >= np.minimum(high, [399, 299])).all()

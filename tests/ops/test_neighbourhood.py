"""Blur against scipy, JPEG against Pillow, noise by its moments, and that batches give what single images give."""

import io

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance
from scipy.ndimage import gaussian_filter

from hubel.ops import neighbourhood as n

RNG = np.random.default_rng(0)


def picture(height: int = 40, width: int = 50, channels: int = 3, dtype=np.uint8) -> np.ndarray:
    top = np.iinfo(dtype).max
    return RNG.integers(0, top + 1, (height, width, channels)).astype(dtype)


@pytest.mark.parametrize("sigma", [0.4, 1.0, 3.0])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_blur_equals_scipy(sigma, channels, dtype):
    image = picture(channels=channels, dtype=dtype)
    r = int(np.ceil(n.REACH * sigma))
    exact = gaussian_filter(image.astype(float), (sigma, sigma, 0), mode="reflect", radius=(r, r, 0))
    one = n.blur(image, sigma)
    tensor = torch.from_numpy(image[None] if dtype == np.uint8 else image[None].astype(np.int32))
    batch = n.blur_batch(torch.cat([tensor, tensor]), np.array([sigma, 0.0]), np.iinfo(dtype).max).numpy()
    scale = np.iinfo(dtype).max / 255
    assert one.dtype == dtype and one.shape == image.shape
    assert np.abs(one - exact).max() <= 2 * scale and np.abs(one - exact).mean() <= 0.5 * scale  # OpenCV: 8-bit weights
    assert np.abs(batch[0] - exact).max() <= 0.6 * scale
    np.testing.assert_array_equal(batch[1], image)


def test_nothing_to_do_is_nothing_done():
    image = picture()
    for same in (n.blur(image, 0), n.noise(image, 0, 0.3), n.jpeg(image, 0), n.sharpen(image, 0)):
        assert same is image


@pytest.mark.parametrize("amount", [-1.0, 0.5, 0.9])
def test_sharpen_equals_pillow_inside(amount):
    image = cv2.GaussianBlur(picture(), (0, 0), 2)
    peer = np.asarray(ImageEnhance.Sharpness(Image.fromarray(image)).enhance(1 + amount)).astype(int)
    assert np.abs(n.sharpen(image, amount) - peer)[1:-1, 1:-1].max() <= 2


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_a_jpeg_file(channels):
    image = cv2.GaussianBlur(picture(channels=channels), (0, 0), 2).reshape(40, 50, channels)
    out = n.jpeg(image, 50)
    file = io.BytesIO()
    Image.fromarray(image.squeeze()).save(file, "JPEG", quality=50, subsampling="4:2:0")
    peer = np.asarray(Image.open(file)).reshape(image.shape).astype(int)
    assert out.shape == image.shape and out.dtype == np.uint8
    assert 0 < np.abs(out.astype(int) - image).mean() < 10
    assert np.abs(out - peer).mean() < 1.5
    assert np.abs(n.jpeg(image, 95).astype(int) - image).mean() < np.abs(out.astype(int) - image).mean()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_noise_has_its_moments_and_no_pattern(dtype):
    top = np.iinfo(dtype).max
    image = np.full((200, 220, 3), top // 2, dtype=dtype)
    added = (n.noise(image, 0.05, 0.37).astype(float) - top // 2) / top
    assert abs(added.mean()) < 5e-4 and added.std() == pytest.approx(0.05, rel=0.01)
    for axis in range(3):  # neighbours, rows and channels are independent
        a, b = (
            np.split(np.moveaxis(added, axis, 0)[: added.shape[axis] // 2 * 2], 2)
            if axis < 2
            else (added[..., :1], added[..., 1:2])
        )
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.02
    assert abs(np.corrcoef(added[:, 1:].ravel(), added[:, :-1].ravel())[0, 1]) < 0.02
    other = (n.noise(image, 0.05, 0.38).astype(float) - top // 2) / top
    assert abs(np.corrcoef(added.ravel(), other.ravel())[0, 1]) < 0.02
    np.testing.assert_array_equal(n.noise(image, 0.05, 0.37), n.noise(image, 0.05, 0.37))


def test_noise_of_large_images_repeats_the_table():
    field = n.normals((700, 900, 3), 0.9999)
    assert field.shape == (700, 900, 3) and abs(field.std() - 1) < 0.01
    np.testing.assert_array_equal(field.ravel()[: n.TABLE // 2], n.normals((n.TABLE // 2,), 0.9999))


def test_noise_clips():
    image = np.zeros((50, 50, 1), dtype=np.uint8)
    out = n.noise(image, 0.1, 0.5)
    assert out.min() == 0 and 0.4 < (out == 0).mean() < 0.6 and out.max() < 150


@pytest.mark.parametrize("channels", [1, 3])
def test_noise_of_a_batch_equals_single_images(channels):
    images = np.stack([picture(channels=channels) for _ in range(4)])
    sigmas, places = np.array([0.1, 0.0, 0.02, 0.05]), np.array([0.0, 0.5, 0.99999, 0.3])
    batch = n.noise_batch(torch.from_numpy(images), sigmas, places).numpy()
    for image, sigma, place, row in zip(images, sigmas, places, batch, strict=True):
        assert np.abs(n.noise(image, sigma, place).astype(int) - row).max() <= 1
    np.testing.assert_array_equal(batch[1], images[1])

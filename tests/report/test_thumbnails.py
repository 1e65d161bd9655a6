"""Thumbnails: decoded again they are the image, small, without metadata."""

import base64
import io

import numpy as np
import pytest
from PIL import Image
from reports import image

from hubel.report.thumbnails import SIDE, data_uri, is_small, to_uint8


def decode(uri: str) -> Image.Image:
    head, body = uri.split(",")
    picture = Image.open(io.BytesIO(base64.b64decode(body)))
    assert head == f"data:image/{picture.format.lower()};base64"
    return picture


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 1), (8, 8, 3), (28, 17, 3), (1, 1)])
def test_small_images_are_exact(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    picture = decode(data_uri(pixels))
    assert is_small(pixels)
    np.testing.assert_array_equal(
        np.asarray(picture), pixels.reshape(picture.size[::-1] + pixels.shape[2:] * (shape[-1] == 3))
    )


@pytest.mark.parametrize("shape", [(600, 300, 3), (49, 4000), (3000, 1, 3)])
def test_large_images_shrink_in_proportion(shape):
    picture = decode(data_uri(np.full(shape, 120, np.uint8)))
    assert max(picture.size) == SIDE
    h, w = shape[:2]
    assert picture.size == (max(1, round(w * SIDE / max(h, w))), max(1, round(h * SIDE / max(h, w))))
    assert abs(np.asarray(picture.convert("L"), float) - 120).max() <= 3


def test_shrinking_averages():
    """A checkerboard of single pixels becomes grey; without antialiasing it would stay black and white."""
    board = (np.indices((512, 512)).sum(0) % 2 * 255).astype(np.uint8)
    assert abs(np.asarray(decode(data_uri(board)).convert("L"), float) - 127.5).max() < 12


def test_depths_and_weights():
    assert to_uint8(np.array([[65535, 256]], np.uint16)).tolist() == [[255, 1]]
    assert to_uint8(np.array([[-2.0, 0.0], [1.0, np.nan]])).tolist() == [[0, 128], [191, 128]]
    assert to_uint8(np.zeros((2, 2))).tolist() == [[128, 128], [128, 128]]
    assert to_uint8(image()[:, :, [0, 1, 2, 0]]).shape == (8, 8, 3)

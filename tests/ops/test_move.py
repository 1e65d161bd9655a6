"""Whole-pixel moves of batches equal an obvious loop."""

import numpy as np
import pytest
import torch

from hubel.ops.geometry import BORDERS
from hubel.ops.move import _by_index, _rows_as_items, move_batch, pad

MODES = {"zero": "constant", "mirror": "symmetric", "edge": "edge"}


def move_loop(image, mirrored, offset, size, border):
    far = 60
    padded = np.pad(image, ((far, far), (far, far), (0, 0)), mode=MODES[border])
    out = np.zeros((*size, image.shape[2]), image.dtype)
    for i in range(size[0]):
        for j in range(size[1]):
            x = offset[0] - 1 - j if mirrored else j - offset[0]
            out[i, j] = padded[i - offset[1] + far, x + far]
    return out


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("size", [(8, 9), (11, 6)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.float32])
def test_equals_the_loop(channels, border, size, dtype):
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (12, 8, 9, channels))).to(dtype)
    before = images.clone()
    mirrored = rng.random(12) < 0.5
    offsets = rng.integers(-12, 13, (12, 2)) + np.where(mirrored[:, None], [9, 0], 0)
    got = move_batch(images, mirrored, offsets, size, border)
    assert got.dtype == dtype
    for b in range(12):
        loop = move_loop(images[b].numpy(), mirrored[b], offsets[b], size, border)
        np.testing.assert_array_equal(got[b].numpy(), loop)
    assert torch.equal(images, before)  # the resident images stay


def test_nothing_to_do_is_the_same_tensor():
    images = torch.zeros(3, 4, 5, 1, dtype=torch.uint8)
    assert move_batch(images, np.zeros(3, bool), np.zeros((3, 2), int), (4, 5)) is images


def test_the_device_path_equals_the_cpu_path():
    """Both branches run on the CPU; only the first is used there, for its speed."""
    padded = torch.randint(0, 256, (6, 14, 15, 3), dtype=torch.uint8)
    dx, dy = np.random.default_rng(0).integers(0, 7, (2, 6))
    rows = np.arange(len(padded))
    fast = _rows_as_items(padded.numpy(), rows, dx, dy, (8, 9))
    np.testing.assert_array_equal(_by_index(padded, rows, dx, dy, (8, 9)).numpy(), fast)


@pytest.mark.parametrize("border", BORDERS)
def test_pad_equals_numpy(border):
    images = torch.randint(0, 256, (2, 4, 5, 3), dtype=torch.uint8)
    got = pad(images, (1, 7, 0, 3), border)
    expected = np.pad(images.numpy(), ((0, 0), (0, 3), (1, 7), (0, 0)), mode=MODES[border])
    np.testing.assert_array_equal(got.numpy(), expected)

"""Preprocessing: geometry against Pillow's antialiased resize, normalisation against the formula."""

import json

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from hubel.data.dataset import Dataset
from hubel.data.images import ArrayImages
from hubel.data.preprocess import Preprocess
from hubel.errors import UserError
from hubel.ops.geometry import move_points

RNG = np.random.default_rng(0)


def photo(height, width, channels=3, blob=8):
    small = RNG.integers(0, 256, (height // blob + 2, width // blob + 2, channels)).astype(np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC).reshape(height, width, channels)


def pillow(image, size, box=None, how=Image.Resampling.BOX):
    channels = [Image.fromarray(image[:, :, c]).resize(size[::-1], how, box) for c in range(image.shape[2])]
    return np.dstack([np.asarray(c) for c in channels]).astype(int)


def test_images_of_the_right_size_are_not_touched():
    image = photo(20, 30)
    for policy in ("none", "crop", "letterbox", "stretch"):
        out, matrix = Preprocess((20, 30), 3, policy=policy).geometry(image)
        assert np.array_equal(out, image) and np.array_equal(matrix, np.eye(3))


def overlaps(n, m):
    """(m, n): how much of each target pixel lies in each source pixel."""
    weights = np.zeros((m, n))
    for i in range(m):
        for j in range(n):
            weights[i, j] = max(0, min((i + 1) * n / m, j + 1) - max(i * n / m, j)) * m / n
    return weights


@pytest.mark.parametrize("size", [(24, 24), (20, 32), (60, 90), (37, 59)])
def test_shrinking_is_the_mean_over_areas(size):
    image = photo(120, 180)
    out, _ = Preprocess(size, 3, policy="stretch").geometry(image)
    assert out.shape == (*size, 3) and out.dtype == np.uint8
    expected = np.einsum("ij,jkc->ikc", overlaps(120, size[0]), image, optimize=True)
    expected = np.einsum("lk,ikc->ilc", overlaps(180, size[1]), expected, optimize=True)
    assert np.abs(out - expected).max() <= 1
    if 120 % size[0] == 0 and 180 % size[1] == 0:
        assert np.abs(out - pillow(image, size)).max() <= 1


def test_shrinking_a_photo_is_near_pillows_antialiased_bilinear():
    image = photo(120, 180, blob=30)
    out, _ = Preprocess((37, 59), 3, policy="stretch").geometry(image)
    assert np.abs(out - pillow(image, (37, 59), how=Image.Resampling.BILINEAR)).mean() < 1.5


def test_enlarging_is_pillows_bilinear():
    image = photo(16, 16)
    out, _ = Preprocess((40, 40), 3, policy="crop").geometry(image)
    assert np.abs(out - pillow(image, (40, 40), how=Image.Resampling.BILINEAR)).max() <= 2


def test_fine_texture_becomes_its_mean():
    """Antialiasing: a checkerboard of single pixels has no pattern left; plain bilinear leaves a deviation of 43."""
    board = (np.indices((900, 1200)).sum(0) % 2 * 255).astype(np.uint8)[:, :, None]
    for policy in ("crop", "letterbox", "stretch"):
        out, _ = Preprocess((112, 112), 1, policy=policy).geometry(board)
        inner = out[20:90] if policy == "letterbox" else out
        assert inner.std() < 3 and abs(inner.mean() - 127.5) < 2


@pytest.mark.parametrize(("height", "width"), [(120, 180), (180, 120), (121, 333)])
def test_crop_keeps_the_centre(height, width):
    image = photo(height, width)
    out, _ = Preprocess((40, 40), 3, policy="crop").geometry(image)
    side = min(height, width)
    x, y = (width - side) / 2, (height - side) / 2
    expected = pillow(image, (40, 40), (x, y, x + side, y + side), Image.Resampling.BILINEAR)
    assert np.abs(out - expected).mean() < 4


def test_letterbox_shows_everything_on_black():
    image = np.full((60, 120, 3), 200, np.uint8)
    out, _ = Preprocess((40, 40), 3, policy="letterbox").geometry(image)
    assert (out[10:30] == 200).all() and (out[:10] == 0).all() and (out[30:] == 0).all()


@pytest.mark.parametrize("policy", ["crop", "letterbox", "stretch"])
@pytest.mark.parametrize("shape", [(90, 150), (150, 90), (20, 31)])
def test_the_matrix_says_where_a_point_went(policy, shape):
    """A bright blob: its centre of mass in the result is where the matrix puts it."""
    image = np.zeros((*shape, 1), np.uint8)
    y, x = shape[0] // 2 - 3, shape[1] // 2 + 4
    image[y : y + 5, x : x + 5] = 255
    out, matrix = Preprocess((48, 48), 1, policy=policy).geometry(image)
    rows, columns = np.indices((48, 48)) + 0.5
    mass = out[:, :, 0].astype(float)
    found = np.array([(columns * mass).sum(), (rows * mass).sum()]) / mass.sum()
    assert np.abs(found - move_points(np.array([[x + 2.5, y + 2.5]]), matrix)[0]).max() < 0.5


def test_grey_colour_and_depth_are_converted():
    grey, colour = photo(9, 9, 1), photo(9, 9)
    assert np.array_equal(Preprocess((9, 9), 3).geometry(grey)[0], np.repeat(grey, 3, 2))
    assert Preprocess((9, 9), 1).geometry(colour)[0].shape == (9, 9, 1)
    deep = Preprocess((5, 5), 1, depth=16).geometry(grey.astype(np.uint16) * 257)[0]
    assert deep.dtype == np.uint16
    assert np.abs(deep / 257 - Preprocess((5, 5), 1).geometry(grey)[0]).max() < 1.01


def test_the_source_is_never_changed():
    image = photo(30, 40)
    before = image.copy()
    for policy in ("crop", "letterbox", "stretch"):
        Preprocess((16, 16), 3, policy=policy).geometry(image)
    assert np.array_equal(image, before)


@pytest.mark.parametrize(("channels", "depth"), [(1, 8), (3, 8), (1, 16), (3, 16)])
def test_normalise(channels, depth):
    mean, std = (0.1, 0.5, 0.4)[:channels], (0.2, 0.3, 1.5)[:channels]
    pre = Preprocess((5, 7), channels, mean, std, depth=depth)
    raw = RNG.integers(0, 2**depth, (4, 5, 7, channels)).astype(np.uint8 if depth == 8 else np.uint16)
    expected = ((raw / (2**depth - 1) - mean) / std).transpose(0, 3, 1, 2)
    kinds = [torch.from_numpy(raw), torch.from_numpy(raw.astype(np.int32)), torch.from_numpy(raw.astype(np.float32))]
    for pixels in kinds:
        kept = pixels.clone()
        out = pre.normalise(pixels)
        assert out.dtype == torch.float32 and out.shape == (4, channels, 5, 7)
        assert np.abs(out.numpy() - expected).max() < 2e-6
        assert out.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(pixels.to(torch.int64), kept.to(torch.int64))


def test_one_mean_for_all_channels():
    raw = torch.full((1, 2, 2, 3), 255, dtype=torch.uint8)
    assert torch.allclose(Preprocess((2, 2), 3, (0.5,), (0.25,)).normalise(raw), torch.tensor(2.0))


def test_settings_survive_json():
    pre = Preprocess((5, 7), 3, (0.1, 0.2, 0.3), (1.0, 2.0, 3.0), "letterbox", 16)
    assert Preprocess.from_settings(json.loads(json.dumps(pre.settings()))) == pre


# The choice ------------------------------------------------------------------------------------------------------


class Sizes:
    """Images of given sizes, without pixels."""

    channels, depth = 3, 8

    def __init__(self, sizes):
        self.given = sizes

    def __len__(self):
        return len(self.given)

    def sizes(self, most):
        return np.array(self.given[:most]).reshape(-1, 2)


def choose(sizes, **options):
    dataset = Dataset("d", Sizes(sizes), {}, weights=np.ones(len(sizes), np.float32))
    pre = Preprocess.choose(dataset, **options)
    return pre.size, pre.policy, pre.describe(dataset.images.sizes(9))


@pytest.mark.parametrize(
    ("sizes", "options", "size", "policy", "words"),
    [
        ([(28, 28)] * 3, {}, (28, 28), "none", "stay as they are"),
        ([(28, 28)] * 3, {"size": 32}, (32, 32), "crop", "100% are enlarged"),
        ([(40, 30)] * 3, {}, (40, 30), "none", "stay as they are"),
        ([(480, 640)] * 3, {}, (224, 224), "crop", "cropped"),
        ([(128, 200), (190, 128)], {}, (128, 128), "crop", "cropped"),
        ([(128, 200), (190, 128)], {"policy": "letterbox"}, (128, 128), "letterbox", "black bars"),
        ([(60, 60), (62, 62)], {}, (56, 56), "crop", "resized to 56 x 56"),
        ([(5, 6), (6, 5)], {}, (5, 5), "crop", "cropped"),
        ([(100, 200)] * 2, {"size": (50, 100)}, (50, 100), "crop", "resized to 50 x 100"),
    ],
)
def test_choose(sizes, options, size, policy, words):
    found = choose(sizes, **options)
    assert found[:2] == (size, policy) and words in found[2]


def test_choose_takes_channels_and_depth_of_the_data():
    dataset = Dataset("d", ArrayImages(np.zeros((2, 9, 9, 1), np.uint16)), {})
    pre = Preprocess.choose(dataset)
    assert (pre.channels, pre.depth) == (1, 16)


def test_refusals():
    with pytest.raises(UserError, match="did you mean 'letterbox'"):
        Preprocess((4, 4), 3, policy="leterbox")
    with pytest.raises(UserError, match="at least 1"):
        Preprocess((0, 4), 3)
    with pytest.raises(UserError, match="1 or 3 channels"):
        Preprocess((4, 4), 4)
    with pytest.raises(UserError, match="one number per channel"):
        Preprocess((4, 4), 3, mean=(0.1, 0.2))
    with pytest.raises(UserError, match="above 0"):
        Preprocess((4, 4), 1, std=(0.0,))
    with pytest.raises(UserError, match="can be read"):
        choose([])

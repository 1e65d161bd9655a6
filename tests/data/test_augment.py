"""Augmentation: what is drawn, what it does to pixels, and that both appliers agree."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hubel.data import apply as a
from hubel.data.apply import apply_batch, apply_image, erase
from hubel.data.augment import Augment
from hubel.data.policies import policy
from hubel.errors import UserError
from hubel.ops.geometry import move_points

SLOTS = np.arange(64)
MODES = {"zero": "constant", "mirror": "symmetric", "edge": "edge"}


def noise(count: int, height: int, width: int, channels: int, top: int = 256) -> np.ndarray:
    return np.random.default_rng(0).integers(0, top, (count, height, width, channels))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("border", MODES)
def test_shift_then_mirror_equals_the_loop(border, channels):
    """Both appliers: pad by p, cut the window at (p − dy, p − dx), then mirror."""
    p, augment = 3, Augment(shift=3, flip="random", border=border)
    images = noise(64, 10, 12, channels).astype(np.uint8)
    draws = augment.draw(0, 5, SLOTS, (10, 12), (10, 12))
    shifts, flips = augment._shift(0, 5, SLOTS).astype(int), augment._flip(0, 5, SLOTS, None)
    assert set(shifts.ravel()) == set(range(-3, 4)) and set(flips) == {True, False}
    batch = apply_batch(torch.from_numpy(images), draws)
    assert batch.dtype == torch.uint8 and batch.shape == images.shape
    for i in SLOTS:
        padded = np.pad(images[i], ((p, p), (p, p), (0, 0)), mode=MODES[border])
        (dx, dy) = shifts[i]
        loop = padded[p - dy : p - dy + 10, p - dx : p - dx + 12]
        loop = loop[:, ::-1] if flips[i] else loop
        np.testing.assert_array_equal(batch[i].numpy(), loop)
        np.testing.assert_array_equal(apply_image(images[i], draws, i), loop)


def test_16_bits_are_kept():
    images = noise(64, 8, 8, 1, 2**16)
    draws = Augment(shift=2, flip="random").draw(0, 0, SLOTS, (8, 8), (8, 8))
    batch = apply_batch(torch.from_numpy(images.astype(np.int32)), draws).numpy()
    assert batch.dtype == np.int32 and batch.max() > 60_000
    for i in SLOTS:
        np.testing.assert_array_equal(apply_image(images[i].astype(np.uint16), draws, i), batch[i])


@pytest.mark.parametrize("border", MODES)
def test_random_crops_agree_between_the_appliers(border):
    rng = np.random.default_rng(0)
    images = np.stack([cv2.GaussianBlur(rng.integers(0, 256, (24, 30, 3)).astype(np.uint8), (0, 0), 2) for _ in SLOTS])
    draws = Augment(crop=(0.3, 1.0), flip="random", border=border).draw(0, 0, SLOTS, (24, 30), (32, 32))
    batch = apply_batch(torch.from_numpy(images), draws).numpy().astype(int)
    for i in SLOTS:
        one = apply_image(images[i], draws, i).astype(int)
        assert np.abs(one - batch[i]).max() <= (10 if border == "zero" else 3)


@given(st.integers(0, 1000), st.tuples(st.integers(5, 900), st.integers(5, 900)), st.floats(0.05, 1))
@settings(max_examples=50, deadline=None)
def test_crops_stay_inside_and_keep_area_and_ratio(seed, size, least):
    """The target's corners lie inside the source; area and ratio are in range unless the image was too narrow."""
    augment = Augment(crop=(least, 1.0))
    draws = augment.draw(seed, 0, SLOTS, size, (50, 100))
    low, high = move_points(np.array([[[0.0, 0.0], [100.0, 50.0]]]), np.linalg.inv(draws.matrices)).transpose(1, 0, 2)
    assert (low > -1e-6).all() and (high < np.array([size[1], size[0]]) + 1e-6).all()
    w, h = (high - low).T
    area, ratio = w * h / (size[0] * size[1]), w / h / 2
    cut = (w > size[1] - 1e-6) | (h > size[0] - 1e-6)
    assert (area <= 1 + 1e-9).all() and (cut | (area > least - 1e-9)).all()
    assert (cut | ((ratio > 0.75 - 1e-9) & (ratio < 4 / 3 + 1e-9))).all()


def test_crops_cover_the_range():
    draws = Augment(crop=(0.2, 0.4)).draw(0, 0, np.arange(2000), (100, 100), (100, 100))
    area = 1 / (draws.matrices[:, 0, 0] * draws.matrices[:, 1, 1])
    assert 0.2 <= area.min() < 0.205 and 0.395 < area.max() <= 0.4 + 1e-9
    assert area.mean() == pytest.approx(0.3, abs=0.005)


def test_the_matrix_says_where_a_pixel_goes():
    draws = Augment(shift=4, flip="random").draw(3, 1, SLOTS, (20, 30), (20, 30))
    images = np.zeros((64, 20, 30, 1), dtype=np.uint8)
    images[:, 9, 14] = 255
    out = apply_batch(torch.from_numpy(images), draws).numpy()
    for i, (x, y) in enumerate(move_points(np.array([[14.5, 9.5]]), draws.matrices)[:, 0]):
        assert out[i].sum() == 255 and out[i, int(y), int(x), 0] == 255


def test_the_resize_comes_first():
    """Shift and mirror move the pixels of the resized image, and the source is resampled once."""
    image = noise(1, 60, 80, 3)[0].astype(np.uint8)
    still = Augment().draw(0, 0, SLOTS, (60, 80), (16, 16))
    moved = Augment(shift=2, flip="random").draw(0, 0, SLOTS, (60, 80), (16, 16))
    pixels = apply_image(image, still, 0)
    again = Augment(shift=2, flip="random").draw(0, 0, SLOTS, (16, 16), (16, 16))
    for i in range(8):
        np.testing.assert_array_equal(apply_image(image, moved, i), apply_image(pixels, again, i))


def test_adding_an_operation_changes_no_other_draw():
    plain = Augment(shift=4).draw(0, 2, SLOTS, (32, 32), (32, 32))
    more = Augment(shift=4, cutout=8).draw(0, 2, SLOTS, (32, 32), (32, 32))
    np.testing.assert_array_equal(plain.matrices, more.matrices)
    assert not plain.erase.any() and more.erase.any()
    flipped = Augment(shift=4, flip="random", cutout=8).draw(0, 2, SLOTS, (32, 32), (32, 32))
    np.testing.assert_array_equal(flipped.erase, more.erase)
    np.testing.assert_array_equal(flipped.matrices[:, 1], more.matrices[:, 1])


def test_operations_are_independent():
    """Where the square lies says nothing about the shift, the mirror or the crop."""
    slots, augment = np.arange(20_000), Augment(shift=8, flip="random", crop=(0.3, 1.0), cutout=2)
    size = (1000, 1000)
    square = augment._erase(0, 0, slots, size)[:, 0]
    shift, flip = augment._shift(0, 0, slots)[:, 0], augment._flip(0, 0, slots, None)
    area = augment._crop(0, 0, slots, size, size)[:, 0, 0]
    alternating = Augment(flip="alternating")._flip(0, 0, slots, slots)
    table = np.corrcoef([square, shift, flip, area, alternating])
    assert np.abs(table - np.eye(5)).max() < 4 / np.sqrt(20_000)


def test_a_slot_draws_the_same_in_any_batch():
    augment = Augment(shift=4, flip="random", crop=(0.3, 1), cutout=6)
    whole = augment.draw(0, 1, SLOTS, (32, 32), (32, 32))
    part = augment.draw(0, 1, np.array([40, 7]), (32, 32), (32, 32))
    rows = whole.rows(np.array([40, 7]))
    np.testing.assert_array_equal(part.matrices, rows.matrices)
    np.testing.assert_array_equal(part.erase, rows.erase)
    assert not np.array_equal(augment.draw(0, 2, SLOTS, (32, 32), (32, 32)).matrices, whole.matrices)


def test_alternating_flip_shows_both_sides_in_two_epochs():
    augment, examples = Augment(flip="alternating"), np.arange(1000, 1064)
    flips = [augment._flip(0, epoch, SLOTS, examples) for epoch in range(4)]
    np.testing.assert_array_equal(flips[0], ~flips[1])
    np.testing.assert_array_equal(flips[0], flips[2])
    assert 16 < flips[0].sum() < 48
    shuffled = np.random.default_rng(0).permutation(64)  # it belongs to the example, wherever it stands
    np.testing.assert_array_equal(augment._flip(0, 0, SLOTS, examples[shuffled]), flips[0][shuffled])
    with pytest.raises(ValueError, match="examples"):
        augment.draw(0, 0, SLOTS, (8, 8), (8, 8))


def test_cutout_rectangles():
    rectangles = Augment(cutout=8).draw(0, 0, np.arange(4000), (32, 40), (32, 40)).erase
    x0, y0, x1, y1 = rectangles.T
    assert rectangles.dtype == np.int32
    assert x0.min() == y0.min() == 0 and x1.max() == 40 and y1.max() == 32
    inner = (x0 > 0) & (x1 < 40) & (y0 > 0) & (y1 < 32)
    assert ((x1 - x0)[inner] == 8).all() and ((y1 - y0)[inner] == 8).all()
    assert (x1 - x0).min() == 4  # the centre is a pixel of the image: half the square stays
    centres = np.bincount(x0[inner] + 4, minlength=40)[5:36]
    assert centres.min() > 0.5 * centres.mean()


def test_erase_equals_the_loop():
    rectangles = Augment(cutout=5).draw(0, 0, SLOTS, (9, 11), (9, 11)).erase
    images = torch.rand(64, 9, 11, 3).permute(0, 3, 1, 2)
    loop = images.clone()
    for i, (x0, y0, x1, y1) in enumerate(rectangles):
        loop[i, :, y0:y1, x0:x1] = 0
    for function in (erase, a._erase_mask, a._erase_slices):
        assert torch.equal(function(images.clone(memory_format=torch.preserve_format), rectangles), loop)
    nothing = np.zeros((64, 4), np.int32)
    assert torch.equal(erase(images.clone(), nothing), images)


@pytest.mark.parametrize(
    "options",
    [{"shift": -1}, {"flip": "mirror"}, {"flip": True}, {"crop": (0.5, 0.2)}, {"crop": (0, 1)}, {"border": "black"},
     {"cutout": -2}, {"ratio": (2, 1)}],
)  # fmt: skip
def test_impossible_options(options):
    with pytest.raises(UserError):
        Augment(**options)


def test_settings_round_trip_through_json():
    import json

    augment = Augment(shift=4, flip="alternating", crop=(0.35, 1.0), border="mirror")
    settings = json.loads(json.dumps(augment.settings()))
    assert "cutout" not in settings
    assert Augment.from_settings(settings) == augment


def test_policies():
    assert policy("none", {}, (32, 32), 3)[0] == Augment()
    cifar, why = policy("standard", {}, (32, 32), 3)
    assert cifar == Augment(shift=4, flip="random", cutout=8, border="mirror") and "mirrored" in why
    digits, why = policy("light", {"mirror": False}, (8, 8), 1)
    assert digits.flip == "none" and digits.shift == 1 and "never mirrored" in why
    clothes, _ = policy("light", {"mirror": True}, (28, 28), 1)
    assert clothes == Augment(shift=2, flip="random")
    assert policy("standard", {"mirror": False}, (224, 224), 3)[0] == Augment(crop=(0.35, 1.0))
    with pytest.raises(UserError, match="standard"):
        policy("standart", {}, (32, 32), 3)

"""One example per object: squares read as if cut from the whole image; objects, parts and groups follow."""

import numpy as np
import pytest
from PIL import Image

from hubel.data.cutouts import ALIGNED_FROM, STEP, cut_out, squares
from hubel.data.dataset import Dataset
from hubel.data.images import ArrayImages, FileImages, PackedNames
from hubel.data.objects import CROWD, Objects, Skeleton
from hubel.data.shapes import shapes
from hubel.data.source import open_image
from hubel.errors import UserError

SIDE = 40
BOXES = np.array([[2, 3, 12, 9], [30, 20, 39, 38], [0, 0, 40, 40], [5, 5, 9, 30], [8, 8, 4, 9], [1, 1, 9, 9]], float)
IMAGE = np.array([0, 0, 2, 2, 2, 3])


def small():
    """Four images: 2, 0, 3 and 1 objects; the fifth box ends before it begins, the last object is a crowd."""
    pixels = np.random.default_rng(0).integers(1, 256, (4, SIDE, SIDE, 3), dtype=np.uint8)
    points = np.array([[[b[0] + 1, b[1] + 1, 2], [b[2], b[3], 1], [0, 0, 0]] for b in BOXES], np.float32)
    flags = np.array([0, 0, 0, 0, 0, CROWD], np.uint8)
    skeleton = Skeleton(("left", "right", "nose"))
    objects = Objects.unsorted(
        IMAGE, 4, boxes=BOXES, labels=np.zeros(6, np.int64), keypoints=points, flags=flags, skeleton=skeleton,
        ids=np.arange(10, 16),
    )  # fmt: skip
    splits = {"train": np.array([2, 1]), "dev": np.array([0, 3])}
    return Dataset("small", ArrayImages(pixels), {"objects": objects}, ("person",), splits)


def by_hand(image, window):
    """Pixel by pixel; black outside."""
    x0, y0, x1, y1 = window
    out = np.zeros((y1 - y0, x1 - x0, 3), np.uint8)
    for y in range(max(0, y0), min(len(image), y1)):
        for x in range(max(0, x0), min(image.shape[1], x1)):
            out[y - y0, x - x0] = image[y, x]
    return out


def test_each_object_is_an_example_in_its_own_pixels():
    whole = small()
    cut = cut_out(whole, np.ones(6, bool), 0.25)
    assert len(cut) == 4  # without the inverted box and the crowd
    assert cut.images.rows.tolist() == [0, 0, 2, 2]
    objects = cut.annotations["objects"]
    assert objects.counts.tolist() == [1] * 4
    assert objects.ids.tolist() == [10, 11, 12, 13]
    for i, row in enumerate(cut.images.rows):
        window = cut.images.windows[i]
        image = cut.images.read(i)
        np.testing.assert_array_equal(image, by_hand(whole.images.read(row), window.tolist()))
        np.testing.assert_array_equal(open_image(cut.images, i).pixels()[0], image)
        corner = window[:2]
        np.testing.assert_allclose(objects.boxes[i], BOXES[i] - [*corner, *corner])
        np.testing.assert_allclose(objects.keypoints[i, :2, :2], [BOXES[i][:2] + 1 - corner, BOXES[i][2:] - corner])
        assert objects.keypoints[i, :, 2].tolist() == [2, 1, 0]
        assert objects.keypoints[i, 2].tolist() == [0, 0, 0]
    assert cut.images.name(1) == "#0 (2)"
    assert cut.images.sizes(2).tolist() == cut.images.source_sizes()[[0, 3]].tolist()


def test_parts_are_those_of_the_images_and_objects_of_one_image_stay_together():
    cut = cut_out(small(), np.ones(6, bool), 0.25)
    assert {name: index.tolist() for name, index in cut.splits.items()} == {"train": [2, 3], "dev": [0, 1]}
    assert cut.annotations["group"].tolist() == [0, 0, 2, 2]


def test_images_that_take_no_part_and_objects_that_are_not_wanted_are_left_out():
    whole = small().without(np.array([0]), ())
    cut = cut_out(whole, np.arange(6) != 3, 0.25)
    assert cut.annotations["objects"].ids.tolist() == [12]
    with pytest.raises(UserError, match=r"small.*none of its 6 objects"):
        cut_out(whole, np.zeros(6, bool), 0.25)


@pytest.mark.parametrize("margin", [0.0, 0.25, 1.0])
def test_squares_hold_their_boxes(margin):
    draws = np.random.default_rng(1)
    low = draws.uniform(0, 500, (200, 2))
    boxes = np.concatenate([low, low + draws.uniform(1, 300, (200, 2))], 1)
    found = squares(boxes, margin)
    sides = found[:, 2] - found[:, 0]
    assert (sides == found[:, 3] - found[:, 1]).all()
    longest = (boxes[:, 2:] - boxes[:, :2]).max(1) * (1 + margin)
    assert (sides >= longest).all()
    assert (sides < longest + 2 * STEP + 1).all()
    assert (found[:, :2] <= boxes[:, :2] + 0.5).all()
    assert (found[:, 2:] >= boxes[:, 2:] - 0.5).all()
    assert not (found[longest >= ALIGNED_FROM] % STEP).any()
    assert (found[longest < ALIGNED_FROM] % STEP).any()


def test_a_jpeg_is_read_small_and_cut_exactly(tmp_path):
    draws = np.random.default_rng(2)
    smooth = np.asarray(Image.fromarray(draws.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((331, 243)))
    Image.fromarray(smooth).save(tmp_path / "x.jpg", quality=95)
    whole = FileImages(str(tmp_path), PackedNames.pack(["x.jpg"]))
    boxes = np.array([[100, 60, 230, 170], [250, 150, 330, 242], [10, 10, 30, 30]], float)
    objects = Objects(np.array([0, 3]), boxes=boxes, labels=np.zeros(3, np.int64))
    cut = cut_out(Dataset("jpeg", whole, {"objects": objects}), np.ones(3, bool), 0.25)
    scales = []
    for i, window in enumerate(cut.images.windows):
        small_pixels, scale = open_image(cut.images, i).pixels(4.0)
        inner, expected = open_image(whole, 0).pixels(4.0 if scale else 1.0)
        assert scale == expected
        step = 1 if scale is None else round(1 / scale[0])
        np.testing.assert_array_equal(small_pixels, by_hand(inner, (window // step).tolist()))
        scales.append(step)
    assert scales == [4, 4, 1]  # the last one is too small for it


def test_what_is_drawn_at_each_read_is_drawn_once():
    drawn = shapes(6, 32, seed=3)
    cut = cut_out(drawn, np.ones(drawn.annotations["objects"].count, bool), 0.25)
    assert isinstance(cut.images.whole, ArrayImages)
    for i in range(len(cut)):
        expected = by_hand(drawn.images.read(int(cut.images.rows[i])), cut.images.windows[i].tolist())
        np.testing.assert_array_equal(cut.images.read(i), expected)


def test_the_hash_tells_what_it_was_made_of():
    first, second = (cut_out(small(), np.ones(6, bool), margin) for margin in (0.25, 0.5))
    assert first.hash() != second.hash() != small().hash()
    assert first.traits["found"] == second.traits["found"] == small().hash()

"""Masks as a column: on the image as it is shown, damaged ones, pickled, renumbered."""

import os
import pickle

import numpy as np
import pytest
from PIL import Image
from small_sets import INDEX, RNG, photo, save_image

from hubel.data.decode import BadImage, decode
from hubel.data.formats import masks
from hubel.data.images import PackedNames
from hubel.data.masks import Masks


@pytest.mark.parametrize("turn", range(1, 9))
def test_masks_lie_on_the_image_as_it_is_shown(tmp_path, turn):
    """The camera stored a turned image; the mask was drawn on the stored pixels, or on what viewers show."""
    stored = RNG.integers(0, 200, (4, 6)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = turn
    save_image(tmp_path / "images/a.png", np.repeat(stored[:, :, None], 3, 2), exif=exif)
    shown = decode(tmp_path / "images/a.png")[:, :, 0]
    save_image(tmp_path / "masks/a.png", shown)
    names = [str(k) for k in range(255)]
    assert np.array_equal(masks.read(tmp_path, names=names).annotations["mask"].read(0), shown)
    save_image(tmp_path / "masks/a.png", stored, exif=exif)  # the mask says itself how it is turned
    assert np.array_equal(masks.read(tmp_path, names=names).annotations["mask"].read(0), shown)
    save_image(tmp_path / "masks/a.png", stored)
    if turn >= 5:  # its size says that it lies on the stored pixels
        assert np.array_equal(masks.read(tmp_path, names=names).annotations["mask"].read(0), shown)


def test_a_mask_of_another_size_is_bad(masked):
    root = masked({"a": INDEX}, "names: [x, y, z]")
    save_image(root / "masks/a.png", INDEX.T)
    column = masks.read(root).annotations["mask"]
    with pytest.raises(BadImage, match="the mask has 2 x 3 pixels, the image 3 x 2"):
        column.read(0)
    assert column.strange(0) == {7: 1}


def test_damaged_masks_are_bad(masked):
    root = masked({"a": RNG.integers(0, 3, (30, 30)).astype(np.uint8), "b": INDEX}, "names: [x, y, z]")
    whole = (root / "masks/a.png").read_bytes()
    column = masks.read(root).annotations["mask"]
    for length in range(0, len(whole), len(whole) // 16):
        (root / "masks/a.png").write_bytes(whole[:length])
        with pytest.raises(BadImage):
            column.read(0)
    (root / "masks/a.png").write_bytes(b"GIF89a" + bytes(20))
    with pytest.raises(BadImage):
        column.read(0)
    (root / "masks/a.png").unlink()
    with pytest.raises(BadImage):
        column.read(0)
    save_image(root / "masks/a.png", photo(30, 30))
    with pytest.raises(BadImage, match="a mask in colours among masks of numbers"):
        column.read(0)


def test_take_pickle_and_digest(masked):
    root = masked({"a": INDEX, "b": INDEX * 0, "c": INDEX}, "names: [x, y, z]")
    column = masks.read(root).annotations["mask"]
    taken = pickle.loads(pickle.dumps(column.take(np.array([1, 0, 1]))))
    assert [taken.read(i).tolist() for i in range(3)] == [column.read(i).tolist() for i in (1, 0, 1)]
    assert len(taken) == 3 and taken.name(0) == "masks/b.png"
    column.read(0)  # its tables are not pickled
    assert len(pickle.dumps(column)) < 3000
    before = column.digest()
    assert masks.read(root).annotations["mask"].digest() == before
    assert masks.read(root, ignore=2).annotations["mask"].digest() != before
    os.utime(root / "masks/b.png", (1, 1))
    assert column.digest() != before


def test_renumbered(masked):
    column = masks.read(
        masked({"a": INDEX}, "names: [x, y, z]\ncolors: ['#010101', '#020202', '#030303']")
    ).annotations["mask"]
    other = column.renumbered(np.array([3, 0, 1]), ("y", "z", "w", "x"))
    assert other.read(0).tolist() == [[3, 0, 1], [1, 255, 255]]
    assert other.colours.tolist() == [[2] * 3, [3] * 3, [0] * 3, [1] * 3]


def test_what_a_column_must_be():
    names = PackedNames.pack(["a"])
    with pytest.raises(ValueError, match="2 classes, 1 values"):
        Masks("", names, names, ("a", "b"), np.array([0]))
    with pytest.raises(ValueError, match="1 images but 0 masks"):
        Masks("", PackedNames.pack([]), names, ("a",), np.array([0]))

"""Datasets and their images: checked when made, small to pickle, and with a hash that changes with the data."""

import os
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from hubel.data import formats
from hubel.data.dataset import Bad, Dataset
from hubel.data.images import ArrayImages, ConcatImages, FileImages, PackedNames, evenly
from hubel.data.shapes import shapes
from hubel.errors import UserError

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 3, 4, 1)).astype(np.uint8)


def make(**changes):
    values = {"annotations": {"label": np.array([0, 1, 2, 0, 1, 2])}, "classes": ("a", "b", "c")} | changes
    return Dataset("made", ArrayImages(PIXELS), **values)


def test_words_for_a_notebook():
    assert repr(make()) == "<Dataset made: 6 images, 3 classes; no parts yet; label>"
    parts = {"train": np.arange(4), "test": np.arange(4, 6)}
    assert repr(make(splits=parts)) == "<Dataset made: 6 images, 3 classes; train 4, test 2; label>"


def test_take():
    dataset = make(annotations={"label": np.arange(6) % 3, "numbers": np.ones((6, 2), np.float32)})
    taken = dataset.take("label", np.array([5, 0, 0]))
    assert taken.tolist() == [2, 0, 0] and taken.dtype == torch.int64
    assert dataset.take("numbers", np.array([1])).shape == (1, 2)
    with pytest.raises(UserError, match=r"no 'labels'.*'label', 'numbers'.*did you mean"):
        dataset.take("labels", np.array([0]))


def test_labels_as_a_network_knows_them():
    several = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2]]
    here = make(annotations={"label": np.arange(6) % 3, "labels": several})
    there = here.with_classes(("c", "x", "a", "b"))
    assert there.annotations["label"].tolist() == [2, 3, 0, 2, 3, 0]
    assert there.annotations["labels"].argmax(1).tolist() == [2, 3, 0, 2, 3, 0]
    with pytest.raises(UserError, match="doesn't know: c"):
        here.with_classes(("a", "b"))


@pytest.mark.parametrize("kind", ["segmentation", "scenes"])
def test_masks_as_a_network_knows_them(kind):
    """By name, in another order and with a class more; a background that the objects lack stays number 0."""
    here = shapes(4, 32, kind=kind, classes=3)
    wanted = (*here.classes[::-1], "more")
    there = here.with_classes(wanted)
    before, after = here.annotations["mask"], there.annotations["mask"]
    assert there.classes == wanted and after.classes == (wanted if kind == "segmentation" else ("background", *wanted))
    for i in range(4):
        old, new = before.read(i), after.read(i)
        assert [after.classes[k] for k in new.ravel()] == [before.classes[k] for k in old.ravel()]
        assert not np.array_equal(old, new)


def test_weights_are_one_unless_given():
    assert make().weights.tolist() == [1] * 6 and make().weights.dtype == np.float32
    left = make(splits={"train": np.arange(4), "dev": np.arange(4, 6)}).without(np.array([1, 5]), (Bad("x", "y"),))
    assert left.usable().tolist() == [0, 2, 3, 4]
    assert left.splits["train"].tolist() == [0, 2, 3] and left.splits["dev"].tolist() == [4]
    assert left.quarantine == (Bad("x", "y"),)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"annotations": {"label": np.zeros(5, int)}}, "6 images but 5 values in 'label'"),
        ({"weights": np.ones(7, np.float32)}, "7 values in 'weights'"),
        ({"annotations": {"label": np.full(6, 3)}}, "0 … 2 for 3 classes; found 3 … 3"),
        ({"annotations": {"label": np.full(6, -1)}}, "found -1"),
        ({"splits": {"validation": np.arange(2)}}, "a split is one of"),
        ({"splits": {"train": np.array([6])}}, "beyond 0 … 5"),
        ({"splits": {"train": np.array([-1])}}, "beyond 0 … 5"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        make(**changes)


def test_hash_changes_with_pixels_labels_and_classes_only():
    first = make()
    assert first.hash() == make().hash() == replace(first, name="other", splits={"train": np.arange(6)}).hash()
    changed = PIXELS.copy()
    changed[5, 2, 3] ^= 1
    others = [
        replace(first, images=ArrayImages(changed)),
        replace(first, images=ArrayImages(PIXELS.reshape(6, 4, 3, 1))),
        make(annotations={"label": np.array([0, 1, 2, 0, 2, 1])}),
        replace(first, classes=("a", "c", "b")),
    ]
    assert len({first.hash(), *(other.hash() for other in others)}) == 5


def test_hash_of_files(make_folder):
    root = make_folder({f"{c}/{i}.png": np.full((3, 3), i) for c in "ab" for i in range(3)})
    before = formats.open_path(root).hash()
    assert formats.open_path(root).hash() == before
    os.utime(root / "a/1.png", ns=(1, 1))
    after = formats.open_path(root).hash()
    assert after != before
    (root / "a/2.png").rename(root / "a/3.png")
    assert formats.open_path(root).hash() not in (before, after)


def test_arrays_of_images_are_checked():
    for wrong in (PIXELS[..., 0], np.zeros((2, 3, 3, 4), np.uint8), PIXELS.astype(np.float32)):
        with pytest.raises(UserError, match="uint8 or uint16"):
            ArrayImages(wrong)


def test_packed_names():
    names = ["a", "", "long/" + "x" * 300, "ü", os.fsdecode(b"\xff\xfe")]
    packed = PackedNames.pack(names)
    assert len(packed) == 5
    assert [os.fsdecode(packed[i]) for i in range(5)] == names
    assert packed[-1] == b"\xff\xfe"
    with pytest.raises(IndexError):
        packed[5]


def test_a_million_names_are_two_arrays():
    packed = PackedNames.pack(f"train/class/{i:07d}.jpg" for i in range(100_000))
    files = FileImages("/data", packed)
    assert len(pickle.dumps(files)) < 100_000 * (23 + 8) + 1000
    assert files.name(99_999) == "train/class/0099999.jpg"


def test_concatenated_images():
    colour = np.random.default_rng(1).integers(0, 256, (2, 5, 5, 3)).astype(np.uint8)
    deep = np.random.default_rng(2).integers(0, 65536, (3, 2, 2, 1)).astype(np.uint16)
    images = ConcatImages((ArrayImages(PIXELS), ArrayImages(colour), ArrayImages(deep)))
    assert (len(images), images.channels, images.depth) == (11, 3, 16)
    assert np.array_equal(images.read(6), colour[0].astype(np.uint16) * 257)
    assert np.array_equal(images.read(10), np.repeat(deep[2], 3, 2))
    assert {tuple(size) for size in images.sizes(20)} == {(3, 4), (5, 5), (2, 2)}
    assert images.digest() != ConcatImages(images.parts[::-1]).digest()
    with pytest.raises(IndexError):
        images.read(11)


def test_evenly():
    assert evenly(10, 20).tolist() == list(range(10))
    assert evenly(100, 5).tolist() == [0, 25, 50, 74, 99]
    assert len(evenly(0, 5)) == 0

"""Folders per class, written and read back."""

import numpy as np
import pytest
from small_runs import save_folder

from hubel.data.dataset import Dataset
from hubel.data.formats import folder, open_path, write
from hubel.data.formats.folder_write import folder_names
from hubel.data.images import ArrayImages
from hubel.errors import UserError


def same(a, b):
    """Classes, parts, labels and pixels, image by image of each part."""
    assert a.classes == b.classes and set(a.splits) == set(b.splits)
    for part in a.splits or {"": None}:
        one, other = (d.splits[part] if part else np.arange(len(d)) for d in (a, b))
        assert a.annotations["label"][one].tolist() == b.annotations["label"][other].tolist()
        assert all(np.array_equal(a.images.read(i), b.images.read(j)) for i, j in zip(one, other, strict=True))


def test_a_folder_comes_back_byte_for_byte(tmp_path):
    data = open_path(save_folder(tmp_path / "photos", 30))
    assert write(data, tmp_path / "copy", "folder") == []
    same(data, open_path(tmp_path / "copy"))
    for path in (tmp_path / "photos").rglob("*.png"):
        assert (tmp_path / "copy" / path.relative_to(tmp_path / "photos")).read_bytes() == path.read_bytes()


def test_parts_come_back(tmp_path):
    for part in ("train", "validation", "test", "train-dev"):
        save_folder(tmp_path / "photos" / part, 12)
    data = open_path(tmp_path / "photos")
    assert set(data.splits) == {"train", "train-dev", "dev", "test"}
    assert write(data, tmp_path / "copy", "folder") == []
    assert sorted(path.name for path in (tmp_path / "copy").iterdir()) == ["test", "train", "train-dev", "val"]
    same(data, open_path(tmp_path / "copy"))


def test_images_in_memory_become_files(tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (6, 8, 9, 3), dtype=np.uint8)
    data = Dataset("memory", ArrayImages(array), {"label": np.array([0, 0, 0, 1, 1, 1])}, ("a", "b"))
    assert write(data, tmp_path / "out", "folder") == []
    same(data, folder.read(tmp_path / "out"))


def test_hostile_names_stay_inside(tmp_path):
    names = folder_names(("../up", "a/b", "A/B", "train", "", "..", "nul\0", "x" * 300, "\ud800"))
    assert len({name.casefold() for name in names}) == len(names)
    assert all(name not in ("", ".", "..", "train") and "/" not in name and "\0" not in name for name in names)
    array = np.random.default_rng(0).integers(0, 256, (2, 8, 9, 3), dtype=np.uint8)
    data = Dataset("hostile", ArrayImages(array), {"label": np.array([0, 1])}, ("../up", "/etc"))
    lost = write(data, tmp_path / "out", "folder")
    assert any("other names" in sentence for sentence in lost)
    assert len(list((tmp_path / "out").rglob("*.png"))) == 2 and len(list(tmp_path.iterdir())) == 1


def test_what_folders_cannot_say_is_named(tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (4, 8, 9, 3), dtype=np.uint8)
    data = Dataset(
        "more", ArrayImages(array), {"label": np.array([0, 0, 2, 2]), "numbers": np.zeros((4, 1), np.float32)},
        ("z", "none", "a"), {"dev": np.array([0, 1])}, weights=np.array([1, 1, 2, 1], np.float32),
    )  # fmt: skip
    lost = " ".join(write(data, tmp_path / "out", "folder"))
    for words in ("numbers", "without images", "natural order", "need a train part", "weights of 1"):
        assert words in lost


def test_without_labels_it_is_refused(tmp_path):
    data = Dataset("plain", ArrayImages(np.zeros((1, 8, 8, 3), np.uint8)), {})
    with pytest.raises(UserError, match="no single label"):
        write(data, tmp_path / "out", "folder")
    with pytest.raises(UserError, match="no format to write"):
        write(data, tmp_path / "out", "tfrecord")
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten(tmp_path):
    data = open_path(save_folder(tmp_path / "photos", 30))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("x")
    with pytest.raises(UserError, match="never overwritten"):
        write(data, tmp_path / "out", "folder")

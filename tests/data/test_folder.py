"""Folders of images by class: what is recognised, in which order, what is refused with which words."""

import os
import pickle

import numpy as np
import pytest

from hubel.data import formats
from hubel.data.formats.walk import natural
from hubel.errors import UserError

DOT = np.zeros((4, 5, 3))


def two(*extra):
    return {"cat/1.png": DOT, "dog/1.png": DOT, **dict(extra)}


def test_flat_folder(make_folder, untouched):
    root = untouched(make_folder({"cat/b.png": DOT, "cat/a.png": DOT, "dog/x/deep.png": DOT}))
    found = formats.open_path(root)
    assert (found.name, found.format, found.source) == ("photos", "folder", str(root))
    assert found.classes == ("cat", "dog")
    assert [found.images.name(i) for i in range(3)] == ["cat/a.png", "cat/b.png", "dog/x/deep.png"]
    assert found.annotations["label"].tolist() == [0, 0, 1]
    assert found.splits == {}
    assert found.images.read(2).shape == (4, 5, 3)
    assert found.images.sizes(10).tolist() == [[4, 5]] * 3


@pytest.mark.parametrize("dev", ["val", "valid", "validation", "dev", "Val"])
def test_split_folders(make_folder, dev):
    root = make_folder({f"{part}/{c}/1.png": DOT for part in ("train", dev, "test") for c in ("a", "b")})
    found = formats.open_path(root)
    assert {name: len(index) for name, index in found.splits.items()} == {"train": 2, "dev": 2, "test": 2}
    for name, folder in (("train", "train"), ("dev", dev), ("test", "test")):
        assert all(found.images.name(i).startswith(f"{folder}/") for i in found.splits[name])
    assert f"folder '{dev}' is the dev part" in found.notes


def test_natural_order(make_folder):
    names = ["10", "2", "1", "a10", "a9", "b"]
    root = make_folder({f"{c}/{i}.png": DOT for c in names for i in (10, 9)})
    found = formats.open_path(root)
    assert found.classes == ("1", "2", "10", "a9", "a10", "b")
    assert found.images.name(0) == "1/9.png"
    assert sorted(["img10", "img2", "img02", "Img1"], key=natural) == ["Img1", "img02", "img2", "img10"]


class Turned(list):
    """What os.scandir gives, in another order."""

    def __enter__(self):
        return self

    def __exit__(self, *fault):
        pass


def test_order_does_not_depend_on_the_file_system(make_folder, monkeypatch):
    root = make_folder({f"{c}/{i}.png": DOT for c in "ab" for i in range(5)})
    expected = formats.open_path(root)
    real = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: Turned(list(real(path))[::-1]))
    turned = formats.open_path(root)
    assert [turned.images.name(i) for i in range(10)] == [expected.images.name(i) for i in range(10)]
    assert turned.hash() == expected.hash()


def test_content_wins_over_the_name(make_folder):
    files = two(("cat/UPPER.JPG", b""), ("cat/no_extension", b""))
    root = make_folder(files)
    data = (root / "cat/1.png").read_bytes()
    (root / "cat/UPPER.JPG").write_bytes(data)
    (root / "cat/no_extension").write_bytes(data)
    found = formats.open_path(root)
    assert len(found) == 4
    assert all(found.images.read(i).shape == (4, 5, 3) for i in range(4))
    (root / "cat/BROKEN.JPG").write_bytes(b"junk")  # an image by its name: the check will say what is wrong with it
    assert len(formats.open_path(root)) == 5


def test_other_files_are_announced(make_folder, untouched):
    files = two(("README.txt", b"hi"), ("cat/.hidden.png", b"x"), ("cat/notes.md", b"x"), ("docs/a.txt", b"x"))
    found = formats.open_path(untouched(make_folder(files)))
    assert len(found) == 2 and found.classes == ("cat", "dog")
    note = next(note for note in found.notes if "ignored" in note)
    assert note.startswith("4 other")
    for name in ("README.txt", "cat/.hidden.png", "cat/notes.md", "docs/"):
        assert name in note


# Names and links -----------------------------------------------------------------------------------------------


def test_names_that_are_not_utf8_or_are_long(make_folder, untouched):
    root = make_folder(two())
    long = "x" * 246 + ".png"
    data = (root / "cat/1.png").read_bytes()
    (root / os.fsdecode(b"cat/caf\xe9.png")).write_bytes(data)
    (root / "dog" / long).write_bytes(data)
    found = formats.open_path(untouched(root))
    names = [found.images.name(i) for i in range(len(found))]
    assert names == ["cat/1.png", "cat/caf\\xe9.png", "dog/1.png", f"dog/{long}"]
    "".join(names).encode("utf-8")  # printable anywhere
    copy = pickle.loads(pickle.dumps(found.images))
    assert all(copy.read(i).shape == (4, 5, 3) for i in range(4))


def test_a_class_name_that_is_not_utf8(make_folder):
    root = make_folder(two())
    (root / "cat").rename(root / os.fsdecode(b"ch\xe2t"))
    found = formats.open_path(root)
    assert found.classes == ("ch\\xe2t", "dog")
    assert found.images.read(0).shape == (4, 5, 3)
    found.hash()


def test_link_loops_end_and_linked_files_count(make_folder, untouched):
    root = make_folder(two())
    (root / "cat/loop").symlink_to(root / "cat", target_is_directory=True)
    (root / "cat/up").symlink_to(root, target_is_directory=True)
    (root / "cat/self").symlink_to(root / "cat/self")
    (root / "cat/broken.png").symlink_to(root / "nowhere.png")
    (root / "dog/linked.png").symlink_to(root / "cat/1.png")
    found = formats.open_path(untouched(root))
    names = [found.images.name(i) for i in range(len(found))]
    assert "cat/1.png" in names and "dog/linked.png" in names
    assert "cat/broken.png" not in names
    assert not any("loop/loop" in name for name in names)


def test_folders_that_all_link_to_each_other(make_folder):
    """Following every path would take n! steps."""
    root = make_folder({f"a/{i}/1.png": DOT for i in range(10)} | {"b/1.png": DOT})
    for i in range(10):
        for j in range(10):
            if i != j:
                (root / f"a/{i}/to{j}").symlink_to(root / f"a/{j}", target_is_directory=True)
    assert len(formats.open_path(root)) == 11


def test_pipes_are_not_opened(make_folder):
    root = make_folder(two())
    os.mkfifo(root / "cat/pipe.png")
    assert len(formats.open_path(root)) == 2


# Refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "the folder is empty"),
        ({"a.txt": b"x", "b/c.txt": b"x"}, "no images.*2 other files"),
        ({"1.png": DOT, "2.png": DOT}, "2 images but no folder per class"),
        ({"cat/1.png": DOT}, "one class only, 'cat'"),
        ({"train/a/1.png": DOT, "train/b/1.png": DOT, "test/c/1.png": DOT}, "No training images in .*train for c"),
        ({"train/a/1.png": DOT, "train/b/x.txt": b"", "val/b/1.png": DOT}, "No training images in .*train for b"),
        ({"val/a/1.png": DOT, "test/a/1.png": DOT}, "parts val, test|parts test, val"),
        ({"train/a/1.png": DOT, "val/a/1.png": DOT, "dev/a/1.png": DOT}, "both mean the dev part"),
    ],
)
def test_what_is_missing_is_said(make_folder, untouched, files, message):
    with pytest.raises(UserError, match=message):
        formats.open_path(untouched(make_folder(files)))


def test_classes_that_a_later_part_lacks_are_noted(make_folder):
    root = make_folder({"train/a/1.png": DOT, "train/b/1.png": DOT, "val/a/1.png": DOT})
    found = formats.open_path(root)
    assert "no images in 'val' for b" in found.notes
    assert found.classes == ("a", "b")


def test_a_class_that_is_called_train(make_folder):
    found = formats.open_path(make_folder({"train/1.png": DOT, "bus/1.png": DOT}))
    assert found.classes == ("bus", "train") and found.splits == {}


@pytest.mark.parametrize("train, test", [("training_set", "test_set"), ("Train", "Test"), ("train_images", "testing"),
    ("seg_train/seg_train", "seg_test/seg_test")])  # fmt: skip
def test_names_of_parts(make_folder, train, test):
    names = [f"{train}/cat/1.png", f"{train}/dog/1.png", f"{test}/cat/1.png", f"{test}/dog/1.png"]
    found = formats.open_path(make_folder(dict.fromkeys(names, DOT)))
    assert found.classes == ("cat", "dog") and sorted(found.images.name(i) for i in range(4)) == sorted(names)
    index = found.splits["train"].tolist()
    assert [found.images.name(i) for i in index] == names[:2] and sorted(found.splits) == ["test", "train"]
    assert found.annotations["label"][index].tolist() == [0, 1]


def test_parts_inside_classes(make_folder):
    names = ["cat/train/1.png", "cat/val/2.png", "dog/train/1.png", "dog/val/1.png"]
    found = formats.open_path(make_folder(dict.fromkeys(names, DOT)))
    assert found.classes == ("cat", "dog") and found.annotations["label"].tolist() == [0, 0, 1, 1]
    assert {part: index.tolist() for part, index in found.splits.items()} == {"train": [0, 2], "dev": [1, 3]}
    loose = formats.open_path(make_folder({"cat/3.png": DOT}))  # not all are in parts: just folders
    assert loose.splits == {} and loose.classes == ("cat", "dog")


@pytest.mark.parametrize("around", ["data", "archive/My Data (1)", "a/b/c"])
@pytest.mark.parametrize("inside", [["cat/1.png", "dog/1.JPG"], ["train/cat/1.png", "train/dog/1.png"]])
def test_a_folder_around_the_data_set(make_folder, around, inside):
    root = make_folder({f"{around}/{name}": DOT for name in inside} | {"__MACOSX/x": b"", "README.txt": b"x"})
    found = formats.open_path(root)
    assert found.classes == ("cat", "dog") and found.source == str(root / around)
    assert f"the data set is in {around}, the only one in the folder" in found.notes


def test_parts_without_classes_are_no_classes(make_folder):
    with pytest.raises(UserError, match="test, train are called like parts"):
        formats.open_path(make_folder({"train/1.png": DOT, "test/1.png": DOT}))


def test_what_lies_beside_the_images_is_named(make_folder):
    root = make_folder({"images/1.png": DOT, "labels.xlsx": b"PK", "boxes.mat": b"x"})
    with pytest.raises(UserError, match=r"one class only.*labels\.xlsx is a spreadsheet.*boxes\.mat: files \.mat"):
        formats.open_path(root)
    (root / "1.json").write_text('{"version": "5", "shapes": [], "imagePath": "1.png"}')
    with pytest.raises(UserError, match="labelme"):
        formats.open_path(root)


def test_images_without_classes_beside_the_training_part(make_folder):
    found = formats.open_path(make_folder({"train/a/1.png": DOT, "train/b/1.png": DOT, "test/1.png": DOT}))
    assert set(found.splits) == {"train"}
    assert any("test/" in note for note in found.notes)


def test_missing_path_and_unknown_file(tmp_path):
    with pytest.raises(UserError, match="no file or folder"):
        formats.open_path(tmp_path / "nope")
    (tmp_path / "a.doc").write_text("x")
    with pytest.raises(UserError, match="no known layout"):
        formats.open_path(tmp_path / "a.doc")


def test_two_formats_that_fit_are_both_named(make_folder):
    root = make_folder(two(("train-images-idx3-ubyte", b"x"), ("train-labels-idx1-ubyte", b"x")))
    with pytest.raises(UserError, match=r"'folder'.*'idx'"):
        formats.open_path(root)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_unreadable_folder(make_folder):
    root = make_folder(two())
    (root / "cat").chmod(0)
    try:
        with pytest.raises(UserError, match="permissions"):
            formats.open_path(root)
    finally:
        (root / "cat").chmod(0o755)


def test_unreadable_folder_by_injection(make_folder, monkeypatch):
    root = make_folder(two())
    real = os.scandir

    def scandir(path):
        if str(path).endswith("cat"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(UserError, match="cat can't be read: Permission denied"):
        formats.open_path(root)


# Channels and depth ----------------------------------------------------------------------------------------------


def test_grey_folder_is_grey_and_colour_when_asked(make_folder):
    grey = np.full((4, 5), 100)
    root = make_folder({"a/1.png": grey, "b/1.png": grey})
    assert formats.open_path(root).images.read(0).shape == (4, 5, 1)
    assert formats.open_path(root, channels=3).images.read(0).shape == (4, 5, 3)
    mixed = make_folder({"a/1.png": grey, "b/1.png": DOT}, "mixed")
    assert formats.open_path(mixed).images.read(0).shape == (4, 5, 3)


@pytest.mark.data
def test_cifar10_dev(cifar10_dev, untouched):
    found = formats.open_path(untouched(cifar10_dev))
    assert len(found.classes) == 10 and found.classes[0] == "airplane"
    assert {name: len(index) for name, index in found.splits.items()} == {"train": 10_000, "test": 2_000}
    assert np.bincount(found.annotations["label"]).tolist() == [1200] * 10
    assert found.images.read(int(found.splits["test"][-1])).shape == (32, 32, 3)


@pytest.mark.data
def test_clothing_dev(clothing_dev, untouched):
    found = formats.open_path(untouched(clothing_dev))
    assert {name: len(index) for name, index in found.splits.items()} == {"train": 600, "dev": 186}

"""YOLO's layouts: those people have, and what data.yaml may say; what is refused or named."""

import contextlib
import os
import shutil

import pytest
from data_layouts import write_images
from hypothesis import given
from hypothesis import strategies as st
from small_sets import YOLO, YOLO_YAML, kinds, often

from hubel.data.formats import open_path, yolo
from hubel.data.formats.yolo_labels import label_file
from hubel.errors import UserError


def test_without_data_yaml(make):
    files = {k: v for k, v in YOLO.items() if k != "data.yaml"}
    root = make(files)
    found = yolo.read(root)
    assert found.classes == ("0", "1") and set(found.splits) == {"train", "dev"}
    assert any("no file names the classes" in note for note in found.notes)
    (root / "classes.txt").write_text("cat\r\nwild dog\r\n\r\n")
    assert yolo.read(root).classes == ("cat", "wild dog")
    (root / "data.yaml").write_text("names: [x, y, z]")  # settings without parts: the folders say these
    assert yolo.read(root).classes == ("x", "y", "z") and set(yolo.read(root).splits) == {"train", "dev"}


def test_folders_below_the_parts(make):
    yaml = "train: ../train/images\nval: ../valid/images\nnc: 1\nnames: ['x']"
    files = {"train/images/a.png": (9, 9), "train/labels/a.txt": "0 .5 .5 1 1", "valid/images/b.png": (9, 9)}
    root = make(files | {"valid/labels/b.txt": "", "data.yaml": yaml})
    found = yolo.read(root)
    assert {k: len(v) for k, v in found.splits.items()} == {"train": 1, "dev": 1} and not found.findings
    (root / "data.yaml").unlink()
    assert {k: len(v) for k, v in yolo.read(root).splits.items()} == {"train": 1, "dev": 1}


def test_a_part_without_labels(make):
    root = make({"train/images/a.png": (9, 9), "train/labels/a.txt": "0 .5 .5 1 1", "test/images/b.png": (9, 9)})
    found = yolo.read(root)
    assert {k: len(v) for k, v in found.splits.items()} == {"train": 1, "test": 1}
    assert found.annotations["objects"].counts.tolist() == [1, 0]


def test_text_files_beside_images(make):
    root = make({"a.png": (10, 20), "a.txt": "0 .5 .5 .5 .5", "b.png": (9, 9), "classes.txt": "cat"})
    assert yolo.recognise(root)
    found = yolo.read(root)
    assert found.annotations["objects"].boxes.tolist() == [[5, 2.5, 15, 7.5]] and found.classes == ("cat",)
    (root / "classes.txt").unlink()
    assert yolo.recognise(root) and yolo.read(root).classes == ("0",)
    (root / "b.txt").write_text("a cat on a mat")
    assert yolo.recognise(root) is None  # texts beside images may be anything


def test_darknet_s_folders(make):
    files = {
        "obj_train_data/a.png": (10, 20),
        "obj_train_data/a.txt": "1 .5 .5 .5 .5\r\n",
        "obj.names": "cat\r\ndog\r\n",
    }
    root = make(files | {"obj.data": "classes = 2\ntrain = data/train.txt", "train.txt": "data/obj_train_data/a.png"})
    found = open_path(root)
    assert (found.format, found.classes, found.splits) == ("yolo", ("cat", "dog"), {})
    assert found.annotations["objects"].labels.tolist() == [1]
    make({"obj_valid_data/b.png": (9, 9), "obj_valid_data/b.txt": "0 .5 .5 1 1"})
    assert {part: index.tolist() for part, index in yolo.read(root).splits.items()} == {"train": [0], "dev": [1]}


def test_label_files_in_capitals(make):
    found = yolo.read(make({"Train/Images/a.JPG": (10, 20), "Train/Labels/a.TXT": "0 .5 .5 .5 .5"}))
    assert found.annotations["objects"].boxes.tolist() == [[5, 2.5, 15, 7.5]]
    assert found.annotations["objects"].files[0] == b"Train/Labels/a.TXT"


def test_lists_of_images(make):
    root = make(YOLO | {"data.yaml": "train: lists/train.txt\nval: [lists/val.txt]\nnames: [cat, dog]"})
    lists = root / "lists"
    lists.mkdir()
    (lists / "train.txt").write_text(
        f"../images/train/a.png\r\n\n{root}/images/train/b.jpg\nimages\\train\\a.png\n../images/no.png\n"
    )
    (lists / "val.txt").write_text("D:\\data\\set\\images\\val\\c.png")
    found = yolo.read(root)
    assert {k: [found.images.name(i) for i in v] for k, v in found.splits.items()} == {
        "train": ["images/train/a.png", "images/train/b.jpg"], "dev": ["images/val/c.png"]}  # fmt: skip
    assert ("missing file", "lists/train.txt", 5) in kinds(found)
    assert any(f.kind == "listed twice" and "twice in the train part" in f.reason for f in found.findings)


def test_parts_that_overlap_are_named(make):
    found = yolo.read(make(YOLO | {"data.yaml": "train: images/train\nval: images/train\nnames: [a, b]"}))
    assert len(found) == 2 and found.splits["train"].tolist() == found.splits["dev"].tolist() == [0, 1]
    assert [f.reason for f in found.findings] == ["2 images are in train and in dev"]


def test_path_is_relative_to_data_yaml(make, monkeypatch):
    files = {f"inner/{k}" if k != "data.yaml" else k: v for k, v in YOLO.items()}
    root = make(files | {"data.yaml": "path: inner\n" + YOLO_YAML})
    monkeypatch.chdir(root / "inner")  # the working directory plays no part
    assert len(yolo.read(root)) == 3
    (root / "data.yaml").write_text("path: /data/of/another/machine\n" + YOLO_YAML.replace("images/", "inner/images/"))
    found = yolo.read(root)
    assert len(found) == 3 and any("is not here" in note for note in found.notes)


def test_nothing_outside_is_opened_unasked(make, tmp_path):
    make(YOLO, "elsewhere")
    root = make({"data.yaml": "path: ../elsewhere\n" + YOLO_YAML})
    with pytest.raises(UserError, match=r"line 1: path leads to .*outside"):
        yolo.read(root)
    assert len(yolo.read(root, root=tmp_path)) == 3
    (root / "data.yaml").write_text(
        f"train: {tmp_path}/elsewhere/images/train\nval: ../elsewhere/images/val\nnames: [a]"
    )
    with pytest.raises(UserError, match=r"no images found.*leads outside"):
        yolo.read(root)


def test_hostile_names(make, tmp_path):
    secret = make({"secret.png": (7, 7), "secret.txt": "0 .5 .5 .5 .5"}, "elsewhere")
    root = make(YOLO | {"data.yaml": "train: [images/train, list.txt]\nval: images/val\nnames: [cat, dog]"})
    (root / "images/train/link.png").symlink_to(secret / "secret.png")
    (root / "images/val/folder").symlink_to(secret)
    (root / "labels/train/b.txt").symlink_to(secret / "secret.txt")
    os.mkfifo(root / "labels/train/pipe.txt")
    shutil.copy(root / "images/train/a.png", root / "images/train/pipe.png")
    (root / "list.txt").write_text(f"../elsewhere/secret.png\n{secret}/secret.png\n/etc/passwd\na\0b.png\n")
    found = yolo.read(root)
    names = [found.images.name(i) for i in range(len(found))]
    assert names == ["images/train/a.png", "images/train/b.jpg", "images/train/pipe.png", "images/val/c.png"]
    outside = [(f.file, f.line) for f in found.findings if f.kind == "outside folder"]
    assert ("list.txt", 1) in outside and ("list.txt", 2) in outside and ("list.txt", 3) in outside
    assert ("images/train/link.png", 0) in outside and ("images/val/folder/secret.png", 0) in outside
    assert ("labels/train/b.txt", 0) in outside
    assert ("list.txt", 4) in [(f.file, f.line) for f in found.findings]
    assert ("missing file", "labels/train/pipe.txt", 0) in kinds(found)


def test_labels_without_an_image(make):
    found = yolo.read(make(YOLO | {"labels/train/gone.txt": "0 .5 .5 .5 .5", "labels/train/classes.txt": "cat"}))
    assert kinds(found) == [("missing file", "labels/train/gone.txt", 0)]


def test_two_images_with_one_label_file(make):
    found = yolo.read(make(YOLO | {"images/train/a.jpg": (9, 9)}))
    assert [f.kind for f in found.findings] == ["shared labels"]
    assert found.annotations["objects"].counts.tolist() == [2, 2, 0, 1]


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("images/a.jpg", "labels/a.txt"),
        ("train/images/x/a.b.jpg", "train/labels/x/a.b.txt"),
        ("images/images/a.jpg", "images/labels/a.txt"),
        ("Images/a.jpg", "Labels/a.txt"),
        ("photos/a.jpg", "photos/a.txt"),
        ("myimages/a.jpg", "myimages/a.txt"),
    ],
)
def test_label_file(image, label):
    assert label_file(image) == label


@pytest.mark.parametrize(
    ("yaml", "words"),
    [
        ("train: images\nnames: cat", "line 2: names must be"),
        ("train: images\nnames: {-1: cat}", "names must be"),
        ("train: images\nnames: {999999999: cat}", "names must be"),
        ("train: images\nnames: []", "names must be"),
        ("train: images\nnc: 0", "nc must be"),
        ("train: images\nnc: x", "nc must be"),
        ("train: images\nnames: [a]\nkpt_shape: [2, 4]", "line 3: kpt_shape must be"),
        ("train: images\nnames: [a]\nkpt_shape: 17", "kpt_shape must be"),
        ("train: images\nnames: [a]\nkpt_shape: [2, 3]\nflip_idx: [0, 0]", "flip_idx must be"),
        ("train: images\nnames: [a]\nkpt_shape: [2, 3]\nflip_idx: [1, 2]", "flip_idx must be"),
        ("train: {a: b}\nnames: [a]", "train must be"),
        ("train: nowhere\nnames: [a]", "no images found"),
        ("train: images\nnames: [a", "no valid YAML"),
    ],
)
def test_settings_that_cannot_be_understood(make, yaml, words):
    root = make({"data.yaml": yaml, "images/a.png": (9, 9), "labels/a.txt": "0 .5 .5 1 1"})
    with pytest.raises(UserError, match=words):
        yolo.read(root)


def test_names_and_counts_that_disagree(make):
    found = yolo.read(make(YOLO | {"data.yaml": "nc: 3\n" + YOLO_YAML}))
    assert kinds(found) == [("class count", "data.yaml", 1)] and found.classes == ("cat", "dog")
    found = yolo.read(make(YOLO | {"data.yaml": "train: images/train\nnames: {0: a, 2: a}"}))
    assert found.classes == ("a", "1", "a (2)")


def test_settings_that_are_misspelt(make):
    found = yolo.read(make(YOLO | {"data.yaml": YOLO_YAML.replace("names", "name") + "kpt_shapes: [1, 3]\nlicence: x"}))
    assert kinds(found) == [("unknown setting", "data.yaml", line) for line in (3, 4)]
    for one, meant in zip(found.findings, ("names", "kpt_shape"), strict=True):
        assert one.reason.endswith(f"; did you mean '{meant}'?")


def test_what_is_no_yolo(make, tmp_path):
    assert yolo.recognise(make({"cat/a.png": (9, 9), "dog/b.png": (9, 9)}, "folders")) is None
    assert (
        yolo.recognise(
            make({"images/a.png": (9, 9), "masks/a.png": (9, 9), "data.yaml": "names: [a]\ntrain: images"}, "m")
        )
        is None
    )
    assert yolo.recognise(tmp_path / "nothing") is None
    several = make(YOLO, "several")
    (several / "data.yaml").rename(several / "one.yaml")
    shutil.copy(several / "one.yaml", several / "two.yaml")
    with pytest.raises(UserError, match=r"several settings: one.yaml, two.yaml"):
        yolo.read(several)
    assert len(yolo.read(several / "two.yaml")) == 3


def test_text_that_is_anything(fresh):
    root = fresh()
    write_images(root / "images", [(4, 5)], False)
    (root / "labels").mkdir()
    (root / "labels/0.txt").write_text("0 .5 .5 .5 .5")

    @often
    @given(st.one_of(st.binary(max_size=50), st.text("0123456789.- enaif\n\r_+", max_size=60).map(str.encode)))
    def check(content):
        (root / "labels/0.txt").write_bytes(content)
        found = yolo.read(root)
        lines = [n for n, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").splitlines(), 1) if line.split()]
        told = [f.line for f in found.findings if f.kind == "syntax"]
        assert sorted({*told, *found.annotations["objects"].lines.tolist()}) == lines  # none is skipped in silence

    check()


def test_settings_that_are_anything(fresh):
    root = fresh()
    write_images(root / "images", [(4, 5)], False)

    @often
    @given(
        st.one_of(st.binary(max_size=40), st.text("train:vlnmesc[]{}, 0123/.\n'images", max_size=50).map(str.encode))
    )
    def check(content):
        (root / "data.yaml").write_bytes(b"train: images\n" + content)
        with contextlib.suppress(UserError):
            yolo.read(root / "data.yaml")

    check()

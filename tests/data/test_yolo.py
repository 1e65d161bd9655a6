"""YOLO: against a loop over lines of text; round trips bit for bit; layouts people have; what is refused or named."""

import contextlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from data_layouts import by_image, datasets, write_images
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from hubel.data.dataset import Dataset
from hubel.data.formats import open_path, yolo
from hubel.data.formats.yolo_labels import label_file
from hubel.data.formats.yolo_rows import Rows, box_texts, edges, point_texts
from hubel.data.images import ArrayImages
from hubel.data.objects import CROWD, Objects, Skeleton
from hubel.data.ragged import Ragged
from hubel.errors import UserError

often = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def make(tmp_path):
    """make({name: text or (height, width)}) writes a data set and returns its folder."""

    def write(files, name="set"):
        root = tmp_path / name
        for relative, content in files.items():
            path = root / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, tuple):
                Image.fromarray(np.zeros((*content, 3), np.uint8)).save(path)
            else:
                path.write_bytes(content.encode() if isinstance(content, str) else content)
        return root

    return write


@pytest.fixture
def fresh(tmp_path_factory):
    """A new folder each time it is called."""
    return lambda: Path(tmp_path_factory.mktemp("made"))


YAML = "train: images/train\nval: images/val\nnames: [cat, dog]\n"
PLAIN = {
    "data.yaml": YAML,
    "images/train/a.png": (20, 40),
    "images/train/b.jpg": (10, 10),
    "images/val/c.png": (30, 30),
    "labels/train/a.txt": "0 0.5 0.5 0.5 0.25\n1 0.25 0.5 0.1 0.2\n",
    "labels/val/c.txt": "1 0.1 0.1 0.2 0.2",
}


def kinds(dataset):
    return [(f.kind, f.file, f.line) for f in dataset.findings]


# Reading -------------------------------------------------------------------------------------------------------


def oracle(root, image):
    """Labels and boxes of one image by the plainest loop."""
    label = root / image.replace("images/", "labels/", 1).rsplit(".", 1)[0]
    path = label.with_suffix(".txt")
    if not path.exists():
        return []
    w, h = Image.open(root / image).size
    found = []
    for line in path.read_text().splitlines():
        c, x, y, bw, bh = (float(word) for word in line.split())
        found.append((int(c), [(x - bw / 2) * w, (y - bh / 2) * h, (x + bw / 2) * w, (y + bh / 2) * h]))
    return found


def test_against_a_loop(make, untouched):
    rng = np.random.default_rng(1)
    files = {"data.yaml": "train: images\nnames: {0: a, 1: b, 2: c}"}
    for i in range(30):
        files[f"images/{i}.png"] = tuple(rng.integers(2, 50, 2).tolist())
        rows = rng.random((rng.integers(0, 5), 4))
        files[f"labels/{i}.txt"] = "".join(f"{rng.integers(3)} {' '.join(map(repr, r.tolist()))}\n" for r in rows)
    root = untouched(make(files))
    found = yolo.read(root)
    objects = found.annotations["objects"]
    assert found.classes == ("a", "b", "c") and len(found) == 30 and not found.findings
    for i in range(30):
        assert found.images.name(i) == f"images/{i}.png"  # natural order
        rows = slice(objects.offsets[i], objects.offsets[i + 1])
        mine = list(zip(objects.labels[rows].tolist(), objects.boxes[rows].tolist(), strict=True))
        assert mine == oracle(root, f"images/{i}.png")
        assert objects.lines[rows].tolist() == list(range(1, len(mine) + 1))
        assert objects.files[i].decode() == f"labels/{i}.txt"


def test_parts_classes_and_source(make, untouched):
    root = untouched(make(PLAIN))
    found = yolo.read(root)
    assert (found.name, found.format, found.source) == ("set", "yolo", str(root))
    assert {part: index.tolist() for part, index in found.splits.items()} == {"train": [0, 1], "dev": [2]}
    assert found.annotations["objects"].counts.tolist() == [2, 0, 1]  # b has no label file: it shows nothing
    assert found.annotations["objects"].boxes[0].tolist() == [10, 7.5, 30, 12.5]
    assert yolo.read(root / "data.yaml").hash() == found.hash()
    assert yolo.recognise(root) and yolo.recognise(root / "data.yaml")


def test_polygons_and_boxes_mixed(make):
    root = make(PLAIN | {"labels/train/a.txt": "0 .5 .5 .5 .5\n1 0 0 .5 0 .25 1\n0 0 0 1 0 1 1 0 1"})
    objects = yolo.read(root).annotations["objects"]
    assert [len(rings) for rings in objects.outlines] == [0, 1, 1, 0]
    assert objects.outlines[1].values.tolist() == [[0, 0], [20, 0], [10, 20]]
    assert objects.boxes.tolist()[:3] == [[10, 5, 30, 15], [0, 0, 20, 20], [0, 0, 40, 20]]
    assert objects.outlines.values.values.dtype == np.float32


@pytest.mark.parametrize(("dims", "row"), [(3, ".5 .5 2 0 0 0 .25 .75 1"), (2, ".5 .5 0 0 .25 .75")])
def test_poses(make, dims, row):
    yaml = f"train: images\nnames: [person]\nkpt_shape: [3, {dims}]\nflip_idx: [0, 2, 1]\n"
    root = make({"data.yaml": yaml, "images/a.png": (20, 40), "labels/a.txt": f"0 .5 .5 1 1 {row}\n0 .5 .5 1 1\n"})
    objects = yolo.read(root).annotations["objects"]
    third = 1 if dims == 3 else 2
    assert objects.keypoints[0].tolist() == [[20, 10, 2], [0, 0, 0], [10, 15, third]]
    assert not objects.keypoints[1].any()
    assert objects.skeleton.mirrored().tolist() == [0, 2, 1] and objects.skeleton.names == ("1", "2", "3")


def test_wrong_lines_are_named_and_the_others_read(make):
    lines = [
        "0 .5 .5 .5 .5\r",
        "\r",
        "x .5 .5 .5 .5",
        "0 .5 .5 .5",
        "0 .5 .5 .5 .5 .9",
        "1.5 .5 .5 .5 .5",
        "0 1_0 .5 .5 .5",
    ]
    lines += ["2 .5 .5 .5 .5", "1.0 .5 .5 .5 .5", "-1 .5 .5 .5 .5", "0 .5 \xff .5 .5", "0 .5 .5 .5 nan"]
    text = "\n".join(lines)
    found = yolo.read(make(PLAIN | {"labels/train/a.txt": b"\xef\xbb\xbf" + text.encode("latin-1")}))
    file = "labels/train/a.txt"
    expected = [("syntax", file, n) for n in (3, 4, 5, 6, 7, 11)] + [("unknown class", file, n) for n in (8, 10)]
    assert kinds(found) == expected
    objects = found.annotations["objects"]
    assert objects.lines.tolist()[:5] == [1, 8, 9, 10, 12] and objects.labels.tolist()[:5] == [0, -1, 1, -1, 0]
    assert np.isnan(objects.boxes[4]).any()
    assert all(f.reason and f.action and f.image == 0 for f in found.findings)
    assert "�" not in found.findings[0].reason and "'x .5 .5 .5 .5'" in found.findings[0].reason


def test_poses_of_another_length_are_named(make):
    yaml = "train: images\nnames: [a]\nkpt_shape: [2, 3]\n"
    root = make({"data.yaml": yaml, "images/a.png": (9, 9), "labels/a.txt": "0 .5 .5 1 1 .5 .5 2\n0 0 0 1 0 1 1 0 1"})
    assert kinds(yolo.read(root)) == [("syntax", "labels/a.txt", 1), ("syntax", "labels/a.txt", 2)]


def test_an_image_that_cannot_be_read_has_objects_without_a_place(make):
    found = yolo.read(make(PLAIN | {"images/train/a.png": b"broken"}))
    objects = found.annotations["objects"]
    assert np.isnan(objects.boxes[:2]).all() and np.isfinite(objects.boxes[2]).all()


def test_sizes_follow_exif(make):
    root = make(PLAIN)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((10, 30, 3), np.uint8)).save(root / "images/train/b.jpg", exif=exif)
    (root / "labels/train/b.txt").write_text("0 .5 .5 1 1")
    found = yolo.read(root)
    assert found.annotations["objects"].boxes[2].tolist() == [0, 0, 10, 30]
    assert found.images.read(1).shape[:2] == (30, 10)


# Layouts -------------------------------------------------------------------------------------------------------


def test_without_data_yaml(make):
    files = {k: v for k, v in PLAIN.items() if k != "data.yaml"}
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
    root = make(PLAIN | {"data.yaml": "train: lists/train.txt\nval: [lists/val.txt]\nnames: [cat, dog]"})
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
    found = yolo.read(make(PLAIN | {"data.yaml": "train: images/train\nval: images/train\nnames: [a, b]"}))
    assert len(found) == 2 and found.splits["train"].tolist() == found.splits["dev"].tolist() == [0, 1]
    assert [f.reason for f in found.findings] == ["2 images are in train and in dev"]


def test_path_is_relative_to_data_yaml(make, monkeypatch):
    files = {f"inner/{k}" if k != "data.yaml" else k: v for k, v in PLAIN.items()}
    root = make(files | {"data.yaml": "path: inner\n" + YAML})
    monkeypatch.chdir(root / "inner")  # the working directory plays no part
    assert len(yolo.read(root)) == 3
    (root / "data.yaml").write_text("path: /data/of/another/machine\n" + YAML.replace("images/", "inner/images/"))
    found = yolo.read(root)
    assert len(found) == 3 and any("is not here" in note for note in found.notes)


def test_nothing_outside_is_opened_unasked(make, tmp_path):
    make(PLAIN, "elsewhere")
    root = make({"data.yaml": "path: ../elsewhere\n" + YAML})
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
    root = make(PLAIN | {"data.yaml": "train: [images/train, list.txt]\nval: images/val\nnames: [cat, dog]"})
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
    found = yolo.read(make(PLAIN | {"labels/train/gone.txt": "0 .5 .5 .5 .5", "labels/train/classes.txt": "cat"}))
    assert kinds(found) == [("missing file", "labels/train/gone.txt", 0)]


def test_two_images_with_one_label_file(make):
    found = yolo.read(make(PLAIN | {"images/train/a.jpg": (9, 9)}))
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
    found = yolo.read(make(PLAIN | {"data.yaml": "nc: 3\n" + YAML}))
    assert kinds(found) == [("class count", "data.yaml", 1)] and found.classes == ("cat", "dog")
    found = yolo.read(make(PLAIN | {"data.yaml": "train: images/train\nnames: {0: a, 2: a}"}))
    assert found.classes == ("a", "1", "a (2)")


def test_what_is_no_yolo(make, tmp_path):
    assert yolo.recognise(make({"cat/a.png": (9, 9), "dog/b.png": (9, 9)}, "folders")) is None
    assert (
        yolo.recognise(
            make({"images/a.png": (9, 9), "masks/a.png": (9, 9), "data.yaml": "names: [a]\ntrain: images"}, "m")
        )
        is None
    )
    assert yolo.recognise(tmp_path / "nothing") is None
    several = make(PLAIN, "several")
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


# Writing -------------------------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-1e15, 1e15), st.floats(-1e15, 1e15), st.integers(1, 5000)), min_size=1, max_size=5)
)
def test_every_box_comes_back_bit_for_bit(cases):
    low, high, size = (np.array(column) for column in zip(*cases, strict=True))
    centre, extent, lost = box_texts(low, high, size)
    rows = Rows()
    turned = [*zip(centre[1:], extent[1:], strict=True), (centre[0], extent[0])]  # the other axis, of another box
    for c, e, (d, f) in zip(centre, extent, turned, strict=True):
        assert not rows.parse(0, f"0 {c} {d} {e} {f}".encode())
    found = edges(rows, np.stack([np.roll(size, -1), size], axis=1))
    assert not lost.any()
    assert found[:, 0].tolist() == low.tolist() and found[:, 2].tolist() == high.tolist()
    assert found[:, 1].tolist() == np.roll(low, -1).tolist() and found[:, 3].tolist() == np.roll(high, -1).tolist()


def test_short_numbers_stay_short():
    """What was read from a few digits is written with as few."""
    rng = np.random.default_rng(3)
    c, e = np.round(rng.random(500), 4), np.round(rng.random(500), 4)
    size = rng.integers(1, 4000, 500)
    centre, extent, _ = box_texts((c - e / 2) * size, (c + e / 2) * size, size)
    assert centre == [repr(v) for v in c.tolist()] and extent == [repr(v) for v in e.tolist()]


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(-1e6, 1e6, width=32), st.integers(1, 5000)), min_size=1, max_size=8))
def test_every_point_comes_back(cases):
    values, size = np.array([v for v, _ in cases], np.float32), np.array([s for _, s in cases])
    back = (np.array([float(t) for t in point_texts(values, size)]) * size).astype(np.float32)
    assert back.tolist() == values.tolist()


@pytest.mark.parametrize("kind", ["boxes", "outlines", "keypoints"])
def test_round_trip(fresh, kind):
    @often
    @given(st.data())
    def check(data):
        options = {} if kind == "boxes" else {kind: True}
        made = data.draw(datasets(fresh(), **options))
        out = fresh() / "out"
        lost = yolo.write(made, out)
        back = yolo.read(out)
        assert back.classes == made.classes and not back.findings
        assert by_image(back) == by_image(made)
        assert not [sentence for sentence in lost if "differ" in sentence or "exactly" in sentence]
        mine, theirs = made.annotations["objects"].skeleton, back.annotations["objects"].skeleton
        assert kind != "keypoints" or not made.annotations["objects"].count or mine == theirs
        again = fresh() / "again"
        yolo.write(back, again)
        assert {p.relative_to(out): p.read_bytes() for p in out.rglob("*") if p.is_file()} == {
            p.relative_to(again): p.read_bytes() for p in again.rglob("*") if p.is_file()
        }

    check()


def simple(**columns):
    images = ArrayImages(np.random.default_rng(0).integers(0, 256, (2, 10, 20, 3)).astype(np.uint8))
    objects = Objects(np.array([0, 1, 2]), np.array([[0, 0, 5, 5], [1, 2, 3, 4.0]]), np.array([0, 1]), **columns)
    return Dataset("mem", images, {"objects": objects}, ("a", "b"))


def test_images_in_memory_become_png(fresh):
    made = simple()
    yolo.write(made, fresh() / "out")
    out = fresh() / "out"
    yolo.write(made, out)
    back = yolo.read(out)
    assert [back.images.name(i) for i in range(2)] == ["images/000000.png", "images/000001.png"]
    assert all(np.array_equal(back.images.read(i), made.images.read(i)) for i in range(2))
    assert back.annotations["objects"].boxes.tolist() == made.annotations["objects"].boxes.tolist()


def test_what_is_lost_is_named(fresh):
    square = np.array([[0, 0], [4, 0], [4, 4], [0, 4]], np.float32)
    rings = Ragged.pack_nested([[square, square + 6], []], np.empty((0, 2), np.float32))
    runs = Ragged.pack([np.empty(0, np.uint32), np.array([3, 4], np.uint32)], np.empty(0, np.uint32))
    made = simple(flags=np.array([0, CROWD], np.uint8), outlines=rings, runs=runs, areas=np.ones(2), ids=np.arange(2))
    lost = " | ".join(yolo.write(made, fresh() / "out"))
    for words in (
        "1 crowd flags",
        "1 run-length masks",
        "2 areas",
        "2 ids",
        "1 objects of several polygons",
        "1 boxes that differ",
    ):
        assert words in lost, lost
    lost = " | ".join(yolo.write(made, fresh() / "out", rows="boxes"))
    assert "lost: 1 outlines" in lost and "several polygons" not in lost
    assert yolo.write(simple(), fresh() / "out") == []
    lost = " | ".join(yolo.write(simple(keypoints=np.zeros((2, 1, 3), np.float32)), fresh() / "out", rows="boxes"))
    assert "2 objects' keypoints" in lost


def test_joined_polygons_keep_the_area(fresh):
    square = np.array([[0, 0], [4, 0], [4, 4], [0, 4]], np.float32)
    rings = Ragged.pack_nested([[square, square + 6, square * 0.5 + 12], []], np.empty((0, 2), np.float32))
    yolo.write(simple(outlines=rings), out := fresh() / "out")
    (ring,) = yolo.read(out).annotations["objects"].outlines[0]
    x, y = ring.T.astype(np.float64)
    assert abs(np.dot(x, np.roll(y, -1)) - np.dot(np.roll(x, -1), y)) / 2 == 16 + 16 + 4


def test_boxes_that_are_no_numbers(fresh):
    made = simple()
    made.annotations["objects"].boxes[0] = np.nan
    out = fresh() / "out"
    assert yolo.write(made, out) == []
    boxes = yolo.read(out).annotations["objects"].boxes
    assert np.isnan(boxes[0]).all() and boxes[1].tolist() == [1, 2, 3, 4]
    made.annotations["objects"].boxes[0] = [np.inf, 0, np.nan, 1]
    assert "can't be said exactly" in " ".join(yolo.write(made, fresh() / "out"))


def test_overlapping_parts_are_lists(fresh):
    made = simple().with_splits({"train": [0, 1], "dev": [1]})
    out = fresh() / "out"
    yolo.write(made, out)
    back = yolo.read(out)
    marks = [back.images.read(i).tobytes() for i in range(2)]
    real = [made.images.read(i).tobytes() for i in range(2)]
    assert {k: sorted(real.index(marks[i]) for i in v) for k, v in back.splits.items()} == {"train": [0, 1], "dev": [1]}


def test_nothing_is_overwritten(fresh):
    root = fresh()
    (root / "here.txt").write_text("mine")
    with pytest.raises(UserError, match="never overwritten"):
        yolo.write(simple(), root)
    with pytest.raises(UserError, match="rows is boxes"):
        yolo.write(simple(), fresh() / "out", rows="ovals")
    with pytest.raises(UserError, match="no objects"):
        yolo.write(Dataset("x", simple().images, {"label": np.zeros(2, np.int64)}, ("a",)), fresh() / "out")
    assert [p.name for p in root.iterdir()] == ["here.txt"]


def test_skeleton_round_trip(fresh):
    for skeleton in (Skeleton(("a", "b"), ((0, 1),), (1, 0)), Skeleton(("left x", "right x")), Skeleton(("a", "b"))):
        made = simple(keypoints=np.full((2, 2, 3), 2, np.float32), skeleton=skeleton)
        yolo.write(made, out := fresh() / "out")
        assert yolo.read(out).annotations["objects"].skeleton == skeleton

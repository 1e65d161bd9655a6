"""YOLO's rows: against a loop over lines of text; boxes, polygons, poses; what is wrong is named with its line."""

import numpy as np
import pytest
from PIL import Image
from small_sets import YOLO, kinds

from hubel.data.formats import yolo


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
    root = untouched(make(YOLO))
    found = yolo.read(root)
    assert (found.name, found.format, found.source) == ("photos", "yolo", str(root))
    assert {part: index.tolist() for part, index in found.splits.items()} == {"train": [0, 1], "dev": [2]}
    assert found.annotations["objects"].counts.tolist() == [2, 0, 1]  # b has no label file: it shows nothing
    assert found.annotations["objects"].boxes[0].tolist() == [10, 7.5, 30, 12.5]
    assert yolo.read(root / "data.yaml").hash() == found.hash()
    assert yolo.recognise(root) and yolo.recognise(root / "data.yaml")


def test_polygons_and_boxes_mixed(make):
    root = make(YOLO | {"labels/train/a.txt": "0 .5 .5 .5 .5\n1 0 0 .5 0 .25 1\n0 0 0 1 0 1 1 0 1"})
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
    found = yolo.read(make(YOLO | {"labels/train/a.txt": b"\xef\xbb\xbf" + text.encode("latin-1")}))
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
    found = yolo.read(make(YOLO | {"images/train/a.png": b"broken"}))
    objects = found.annotations["objects"]
    assert np.isnan(objects.boxes[:2]).all() and np.isfinite(objects.boxes[2]).all()


def test_sizes_follow_exif(make):
    root = make(YOLO)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((10, 30, 3), np.uint8)).save(root / "images/train/b.jpg", exif=exif)
    (root / "labels/train/b.txt").write_text("0 .5 .5 1 1")
    found = yolo.read(root)
    assert found.annotations["objects"].boxes[2].tolist() == [0, 0, 10, 30]
    assert found.images.read(1).shape[:2] == (30, 10)

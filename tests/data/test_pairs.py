"""Files of pairs: CSV with two columns of images, and pairs.txt as LFW writes it."""

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hubel.data.formats import csv_table, identities, pairs
from hubel.data.formats.class_folders import folder_names, in_folders
from hubel.data.shapes import shapes
from hubel.errors import UserError

DOT = np.zeros((4, 5, 3), np.uint8)


@pytest.fixture
def folder(tmp_path):
    def make(text, *images, name="pairs.csv"):
        root = tmp_path / "set"
        root.mkdir(exist_ok=True)
        for image in images:
            (root / image).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(DOT).save(root / image)
        (root / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return root

    return make


def named(dataset):
    """Pairs as file names."""
    return [(dataset.images.name(a), dataset.images.name(b), same) for a, b, same in dataset.tables["pairs"].tolist()]


LFW = [f"{name}/{name}_{k:04d}.jpg" for name in ("Ann_Lee", "Bo") for k in (1, 2, 4)]


def test_a_csv_of_pairs(folder):
    root = folder(
        "image_1,image_2,same\na/1.png,a/2.png,1\na/1.png,b/1.png,0\n", "a/1.png", "a/2.png", "b/1.png", "b/2.png"
    )
    assert "pairs.csv" in pairs.recognise(root) and csv_table.recognise(root) is None
    found = pairs.read(root)
    assert found.format == "pairs" and found.name == "set"
    assert named(found) == [("a/1.png", "a/2.png", 1), ("a/1.png", "b/1.png", 0)]
    assert len(found) == 4  # the others can be learnt from
    assert found.classes == ("a", "b") and found.annotations["label"].tolist() == [0, 0, 1, 1]
    assert found.traits["identities"] and "folds" not in found.tables and not found.findings
    alone = pairs.read(root / "pairs.csv")
    assert len(alone) == 3 and named(alone) == named(found)


@pytest.mark.parametrize(
    "header, yes, no", [("img1;img2;match", "true", "false"), ("left;right;label", "same", "different")]
)
def test_other_names(folder, header, yes, no):
    root = folder(f"{header}\n1;2;{yes}\n1;3;{no}\n", "x/1.jpg", "x/2.jpg", "x/3.jpg")
    assert named(pairs.read(root)) == [("x/1.jpg", "x/2.jpg", 1), ("x/1.jpg", "x/3.jpg", 0)]


def test_faults_have_their_lines(folder):
    text = "image1,image2,same\na.png,b.png,1\na.png,c.png,1\na.png,b.png,maybe\n../x.png,b.png,0\na.png,,1\nb.png\n"
    root = folder(text, "a.png", "b.png")
    (root.parent / "x.png").write_bytes((root / "a.png").read_bytes())
    found = pairs.read(root)
    assert named(found) == [("a.png", "b.png", 1)] and not found.classes
    assert sorted((f.kind, f.line) for f in found.findings) == [
        ("broken line", 7), ("missing file", 3), ("missing file", 6), ("not 0 or 1", 4), ("outside folder", 5),
    ]  # fmt: skip


def test_lfw_with_folds(folder):
    text = "2\t1\nAnn_Lee\t1\t4\nAnn_Lee\t1\tBo\t2\nBo\t1\t2\nBo\t4\tAnn_Lee\t2\n"
    root = folder(text, *(f"lfw/{name}" for name in LFW), name="pairs.txt")
    assert "pairs.txt" in pairs.recognise(root)
    found = pairs.read(root)
    assert named(found) == [
        ("lfw/Ann_Lee/Ann_Lee_0001.jpg", "lfw/Ann_Lee/Ann_Lee_0004.jpg", 1),
        ("lfw/Ann_Lee/Ann_Lee_0001.jpg", "lfw/Bo/Bo_0002.jpg", 0),
        ("lfw/Bo/Bo_0001.jpg", "lfw/Bo/Bo_0002.jpg", 1),
        ("lfw/Bo/Bo_0004.jpg", "lfw/Ann_Lee/Ann_Lee_0002.jpg", 0),
    ]
    assert found.tables["folds"].tolist() == [1, 1, 2, 2]
    assert len(found) == 6 and found.classes == ("lfw/Ann_Lee", "lfw/Bo")
    table, label = found.tables["pairs"], found.annotations["label"]
    assert ((label[table[:, 0]] == label[table[:, 1]]) == table[:, 2]).all()


def test_lfw_in_one_list_and_with_faults(folder):
    root = folder("2\nAnn_Lee 1 4\nBo 1 9\nBo x 1\nBo 1 2\n\nAnn_Lee 1 Bo 2\n", *LFW, name="pairsDevTest.txt")
    found = pairs.read(root)
    assert [same for _, _, same in named(found)] == [1, 1, 0] and "folds" not in found.tables
    assert sorted((f.kind, f.line) for f in found.findings) == [("broken line", 4), ("missing file", 3)]
    assert "Bo/Bo_0009.jpg" in found.findings[0].reason


def test_what_is_no_file_of_pairs(folder, tmp_path):
    assert pairs.recognise(tmp_path / "missing") is None and pairs.recognise(tmp_path) is None
    root = folder("image,label\na.png,x\n", "a.png")
    assert pairs.recognise(root) is None
    with pytest.raises(UserError, match="image_1,image_2,same"):
        pairs.read(root)
    root = folder("left,top,right,bottom,label\n1,2,3,4,cat\n", "a.png")  # boxes
    assert pairs.recognise(root) is None
    (root / "notes.txt").write_text("10\nnot pairs at all\n")
    assert pairs.recognise(root) is None
    root = folder("image_1,image_2,same\nq.png,r.png,1\n", "a.png")
    assert pairs.recognise(root) is None


def test_written_and_read_again(tmp_path):
    dataset = shapes(100, 16, kind="faces")
    told = pairs.write(dataset, tmp_path / "out")
    assert any("'objects' of 100 images" in one for one in told) and any("parts of 100" in one for one in told)
    found = pairs.read(tmp_path / "out")
    assert sorted(found.classes) == sorted(dataset.classes)
    for one, other in zip(found.tables["pairs"].tolist(), dataset.tables["pairs"].tolist(), strict=True):
        assert one[2] == other[2]
        for a, b in zip(one[:2], other[:2], strict=True):
            assert np.array_equal(found.images.read(a), dataset.images.read(b))
            assert found.classes[found.annotations["label"][a]] == dataset.classes[dataset.annotations["label"][b]]
    with pytest.raises(UserError, match="no pairs"):
        pairs.write(shapes(3, 16), tmp_path / "other")


def test_folders_of_classes_are_different_and_safe():
    classes = ("a", "A", "../x", "a:b", "a?b", "", " ", "x/y", "con.", "a")
    names = folder_names(classes)
    assert len({n.casefold() for n in names}) == len(names)
    assert names[0] == "a" and names[7] == "x/y"
    assert not any(".." in n.split("/") or n.startswith("/") or not n for n in names)
    placed = in_folders(["p/1.png", "q/1.png", "1.png", ".x"], np.array([0, 0, 7, 0]), classes)
    assert placed == ["a/1.png", "a/1_2.png", "x/y/1.png", "a/.x"]


PIECES = st.sampled_from([b"a.png", b"b.png", b",", b"\n", b"1", b"0", b"\t", b" ", b'"', b"\xff", b"same"])


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.binary(max_size=60), st.lists(PIECES, max_size=30).map(b"".join)))
def test_any_bytes_give_findings_or_a_user_error(tmp_path_factory, data):
    root = tmp_path_factory.mktemp("any")
    for name in ("a.png", "b.png"):
        Image.fromarray(DOT).save(root / name)
    for name, content in (
        ("pairs.csv", b"image_1,image_2,same\na.png,b.png,1\n" + data), ("pairs.txt", b"1\na 1 1\n" + data),
        ("pairs.csv", data), ("pairs.txt", data),
    ):  # fmt: skip
        (root / name).write_bytes(content)
        pairs.recognise(root)
        identities.recognise(root)
        with contextlib.suppress(UserError):
            pairs.read(root / name)
        (root / name).unlink()

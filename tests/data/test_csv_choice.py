"""Tables as people have them: several in a folder, one in each part, without a header, names spelt otherwise."""

import unicodedata

import numpy as np
import pytest
from PIL import Image

from hubel.data.formats import csv_table, open_path
from hubel.errors import UserError


@pytest.fixture
def make(tmp_path):
    """make({"labels.csv": text, …}, image, …): a folder with tables and images."""

    def made(tables, *images):
        for name, text in tables.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        for k, image in enumerate(images):
            (tmp_path / image).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((4, 5, 3), k, np.uint8)).save(tmp_path / image, format="PNG")
        return tmp_path

    return made


def names(found):
    return [found.images.name(i) for i in range(len(found))]


def said(found, words):
    return any(words in note for note in found.notes)


def test_a_competition_table_for_training_and_one_to_hand_in(make):
    tables = {"train.csv": "image_id,label\na1,cat\na2,dog\n", "sample_submission.csv": "image_id,label\nb1,cat\n"}
    found = open_path(make(tables, "train/a1.jpg", "train/a2.jpg", "test/b1.jpg"))
    assert found.format == "csv" and names(found) == ["train/a1.jpg", "train/a2.jpg"]
    assert said(found, "not read: sample_submission.csv") and not found.findings


def test_a_test_part_without_answers_takes_no_part(make):
    tables = {"train.csv": "id_code,diagnosis\na1,0\na2,1\n", "test.csv": "id_code\nb1\n"}
    found = open_path(make(tables, "train_images/a1.png", "train_images/a2.png", "test_images/b1.png"))
    assert names(found) == ["train_images/a1.png", "train_images/a2.png"] and sorted(found.splits) == ["train"]
    assert said(found, "test.csv has no column 'diagnosis': its 1 images take no part") and not found.findings


def test_tables_that_name_no_images_are_left_out(make):
    found = open_path(make({"labels.csv": "file,label\na.png,x\n", "costs.csv": "what,how much\nrent,3\n"}, "a.png"))
    assert names(found) == ["a.png"] and said(found, "not read: costs.csv")


def test_one_table_in_each_part_names_files_of_its_own_folder(make):
    text = "filename,width,height,class,xmin,ymin,xmax,ymax\n{0},5,4,cat,0,1,3,4\n{1},5,4,dog,1,1,2,2\n"
    tables = {
        "train/_annotations.csv": text.format("1.png", "2.png"),
        "valid/_annotations.csv": text.format("1.png", "3.png"),
    }
    found = open_path(make(tables, "train/1.png", "train/2.png", "valid/1.png", "valid/3.png"))
    assert names(found) == ["train/1.png", "train/2.png", "valid/1.png", "valid/3.png"]
    assert {part: index.tolist() for part, index in found.splits.items()} == {"train": [0, 1], "dev": [2, 3]}
    assert found.annotations["objects"].boxes[0].tolist() == [0, 1, 3, 4] and not found.findings


def test_a_fault_in_a_part_s_table_names_its_file(make):
    tables = {
        "train/_classes.csv": "filename, cat, dog\n1.png, 1, 0\n",
        "valid/_classes.csv": "filename, cat, dog\n9.png, 0, 1\n1.png,1,1\n",
    }
    found = open_path(make(tables, "train/1.png", "valid/1.png"))
    assert found.classes == ("cat", "dog") and found.annotations["labels"].tolist() == [[1, 0], [1, 1]]
    assert [(f.file, f.line, f.kind) for f in found.findings] == [("valid/_classes.csv", 2, "missing file")]


def test_part_folders_that_lead_outside_are_not_opened(make, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    Image.fromarray(np.zeros((4, 5, 3), np.uint8)).save(outside / "1.png")
    (outside / "t.csv").write_text("file,label\n1.png,cat\n")
    root = make({"train/t.csv": "file,label\n1.png,dog\n"}, "train/1.png")
    (root / "valid").symlink_to(outside)
    found = csv_table.read(root)
    assert names(found) == ["train/1.png"] and [f.kind for f in found.findings] == ["outside folder"]


@pytest.mark.parametrize(
    "text, labels", [("a.png,x\nb.png,y\nc.png,x\n", [0, 1, 0]), ("a.png;x\nb.png;y\nc.png;x\n", [0, 1, 0])]
)
def test_without_a_header_the_first_line_counts(make, text, labels):
    found = open_path(make({"labels.csv": text}, "a.png", "b.png", "c.png"))
    assert names(found) == ["a.png", "b.png", "c.png"] and found.annotations["label"].tolist() == labels
    assert said(found, "the first line names no columns")


def test_boxes_without_a_header(make):
    found = open_path(make({"boxes.csv": "a.png,1,2,3,4,cat\na.png,0,0,1.5,1,dog\n"}, "a.png"))
    objects = found.annotations["objects"]
    assert objects.boxes.tolist() == [[1, 2, 3, 4], [0, 0, 1.5, 1]] and objects.lines.tolist() == [1, 2]
    assert found.classes == ("cat", "dog")


def test_one_and_minus_one_say_yes_and_no(make):
    found = open_path(make({"attr.csv": "image_id,Smiling,Young\na.png,1,-1\nb.png,-1,-1\n"}, "a.png", "b.png"))
    assert found.annotations["labels"].tolist() == [[1, 0], [0, 0]] and said(found, "-1 means no")
    beside_zero = make({"attr.csv": "image_id,Smiling,Young\na.png,1,-1\nb.png,0,1\n"})
    assert np.isnan(open_path(beside_zero).annotations["labels"][0, 1])


@pytest.mark.parametrize("written, there", [("IMG 1.jpg", "img 1.JPG"), ("Images\\1.PNG", "images/1.png"),
    (unicodedata.normalize("NFC", "Bär.png"), unicodedata.normalize("NFD", "Bär.png"))])  # fmt: skip
def test_names_spelt_otherwise_than_their_files(make, written, there):
    found = open_path(make({"labels.csv": f"file,label\n{written},cat\nb.png,dog\n"}, there, "b.png"))
    assert names(found) == [there, "b.png"] and said(found, "1 names are spelt otherwise") and not found.findings


def test_a_name_that_is_there_wins_over_one_that_is_nearly_the_same(make):
    found = open_path(make({"labels.csv": "file,label\nA.png,cat\na.png,dog\n"}, "A.png", "a.png"))
    assert names(found) == ["A.png", "a.png"] and not said(found, "spelt")


@pytest.mark.parametrize("data, words", [
    ("file,label\na.png,Bär\n".encode("latin-1"), "labels.csv, line 2: .*UTF-8"),
    ("file,label\na.png,cat\n".encode("utf-16"), "labels.csv is UTF-16"),
    (b"file,label\nzz.png,cat\n", "zz.png"),
])  # fmt: skip
def test_a_table_that_can_not_be_used_is_named(make, data, words):
    with pytest.raises(UserError, match=words):
        open_path(make({"labels.csv": data}, "images/a.png"))


def test_two_tables_of_the_same_images_are_named(make):
    text = "file,label\na.png,cat\n"
    with pytest.raises(UserError, match=r"1\.csv, 2\.csv"):
        open_path(make({"1.csv": text, "2.csv": text}, "images/a.png"))

"""The quarantine list: what is an error is in it, and what is in it takes no part."""

import csv

import numpy as np
import pytest
from planted import plant

from hubel.data.dataset import Dataset
from hubel.data.findings import Finding
from hubel.data.formats import open_path
from hubel.data.images import FileImages, PackedNames
from hubel.data.inspect import inspect
from hubel.data.quarantine import Quarantine, as_csv
from hubel.errors import UserError

NAMES = ["a/1.png", "a/2.png", 'b/"odd", name\n.png']


def dataset():
    return Dataset(
        "three", FileImages("/nowhere", PackedNames.pack(NAMES)), {"label": np.array([0, 0, 1])}, ("a", "b"),
        {"train": np.array([0, 2]), "test": np.array([1])},
    )  # fmt: skip


def test_a_list_comes_back(tmp_path):
    findings = [
        Finding("truncated image", NAMES[2], 'cut, "here"', "Copy it.", image=2, severity="error"),
        Finding("blurred image", NAMES[1], "blurred", "Look.", image=1),
    ]
    path = tmp_path / "list.csv"
    path.write_text(as_csv(dataset(), findings))
    listed = Quarantine.read(path)
    assert listed == Quarantine({NAMES[2]: 'cut, "here"'})
    assert Quarantine.from_settings(listed.settings()) == listed


def test_listed_images_take_no_part():
    left = Quarantine({NAMES[2]: "cut"}).applied(dataset())
    assert left.weights.tolist() == [1, 1, 0]
    assert left.splits["train"].tolist() == [0] and left.splits["test"].tolist() == [1]
    assert [(one.name, one.reason) for one in left.quarantine] == [(NAMES[2], "cut")]
    assert left.traits["left_out"]["images"] == {NAMES[2]: "cut"}


def test_twice_is_once():
    listed = Quarantine({NAMES[2]: "cut"})
    once = listed.applied(dataset())
    assert listed.applied(once) is once


def test_a_faulty_object_goes_and_its_image_stays(tmp_path):
    data = open_path(plant(tmp_path / "data", "yolo zero"))
    found = inspect(data)
    rows = list(csv.DictReader(as_csv(data, found.findings).splitlines()))
    assert [(row["leave_out"], row["image"], row["line"]) for row in rows] == [("object", "images/1.png", "2")]
    path = tmp_path / "list.csv"
    path.write_text(as_csv(data, found.findings))
    left = Quarantine.read(path).applied(data)
    before, after = data.annotations["objects"], left.annotations["objects"]
    assert after.counts.tolist() == [2, 1, 2, 2] and before.counts.tolist() == [2, 2, 2, 2]
    assert after.lines[after.offsets[1] : after.offsets[2]].tolist() == [1]
    assert (left.weights == 1).all() and left.hash() != data.hash()


def test_nothing_wrong_needs_no_list():
    assert as_csv(dataset(), [Finding("blurred image", NAMES[1], "blurred", "Look.", image=1)]) is None


def test_the_list_of_a_run_and_a_short_one_do_too(tmp_path):
    path = tmp_path / "list.csv"
    for text in ("file,reason\na/1.png,bad\n", "image\na/1.png\n", "\ufeffimage,note\na/1.png,x\n"):
        path.write_text(text, encoding="utf-8")
        assert Quarantine.read(path).applied(dataset()).weights.tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "first line needs"),
        (b"name,reason\na,b\n", "first line needs"),
        (b"image,leave_out\na/1.png,row\n", "line 2: 'leave_out'"),
        (b"image,leave_out,line\na/1.png,object,x\n", "line 2: an object"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"image\nelsewhere.png\n", "no such image"),
    ],
)
def test_what_is_no_list_is_refused(content, words, tmp_path):
    path = tmp_path / "list.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=words):
        Quarantine.read(path).applied(dataset())


def test_a_missing_list_is_named(tmp_path):
    with pytest.raises(UserError, match="can't be read"):
        Quarantine.read(tmp_path / "none.csv")


def test_names_that_are_not_here_are_counted():
    left = Quarantine({NAMES[0]: "", "elsewhere.png": ""}).applied(dataset())
    assert "1 of its images are not here" in left.notes[-1]

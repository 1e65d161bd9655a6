"""Written COCO JSON: read again it is the same, bit for bit, and pycocotools reads it, too."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from coco_scenes import datasets, picture, save, scene
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO

from hubel.data.dataset import Dataset
from hubel.data.formats import coco
from hubel.data.formats.coco_numbers import inexact, plain, shortest, widths
from hubel.data.images import ArrayImages
from hubel.data.objects import CROWD, DIFFICULT, OCCLUDED, Objects, Skeleton
from hubel.data.ragged import Ragged
from hubel.errors import UserError

DATA = os.environ.get("HUBEL_DATA", "")
slow = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@slow
@given(dataset=datasets())
def test_what_is_written_comes_back(tmp_path_factory, dataset):
    out = tmp_path_factory.mktemp("out") / "set"
    told = coco.write(dataset, out)
    back = coco.read(out)
    assert scene(back) == scene(dataset)
    for column in ("image_id", "declared_size"):
        if column in dataset.annotations:
            assert sorted(back.annotations[column].tolist()) == sorted(dataset.annotations[column].tolist())
    if "category_id" in dataset.tables:
        assert back.tables["category_id"].tolist() == dataset.tables["category_id"].tolist()
    assert not [line for line in told if line.startswith("lost")]
    assert {one.kind for one in back.findings} <= {"malformed entry", "unknown class"}  # no box, no class


@slow
@given(dataset=datasets())
def test_written_twice_is_written_alike(tmp_path_factory, dataset):
    first, second = (tmp_path_factory.mktemp("out") / "set" for _ in range(2))
    coco.write(dataset, first)
    coco.write(coco.read(first), second)
    assert {p.relative_to(second) for p in second.rglob("*")} == {p.relative_to(first) for p in first.rglob("*")}
    for one in first.rglob("*.*"):
        assert (second / one.relative_to(first)).read_bytes() == one.read_bytes()


@pytest.mark.data
@pytest.mark.skipif(not DATA, reason="needs HUBEL_DATA")
@pytest.mark.parametrize("name", ["coco_inst_dev", "coco_kpt_dev", "coco_eval_parity"])
def test_real_sets_come_back(tmp_path, name):
    import tarfile

    with tarfile.open(Path(DATA) / f"{name}.tar") as archive:
        archive.extractall(tmp_path / "in", filter="data")
    dataset = coco.read(tmp_path / "in")
    told = coco.write(dataset, tmp_path / "out")
    back = coco.read(tmp_path / "out")
    assert not [line for line in told if line.startswith("lost")]
    assert back.annotations["objects"].digest() == dataset.annotations["objects"].digest()
    assert back.classes == dataset.classes
    assert {p: i.tolist() for p, i in back.splits.items()} == {p: i.tolist() for p, i in dataset.splits.items()}
    for column in ("image_id", "declared_size"):
        assert np.array_equal(back.annotations[column], dataset.annotations[column])
    assert np.array_equal(back.tables["category_id"], dataset.tables["category_id"])
    for i in range(len(dataset)):
        if Path(dataset.images.path(i)).exists():
            assert Path(back.images.path(i)).read_bytes() == Path(dataset.images.path(i)).read_bytes()


def small(**columns):
    objects = Objects(np.array([0, 1, 2]), np.array([[1.0, 1, 3, 4], [0, 0, 2, 2]]), np.array([0, 1]), **columns)
    return Dataset("small", ArrayImages(np.zeros((2, 6, 8, 3), np.uint8)), {"objects": objects}, ("cat", "dog"))


def test_pycocotools_reads_it(tmp_path):
    rings = [[np.array([[0, 0], [4, 0], [4, 4], [0, 4]], np.float32)], []]
    runs = Ragged.pack([np.zeros(0, np.uint32), np.array([10, 5, 33], np.uint32)], np.empty(0, np.uint32))
    made = small(outlines=Ragged.pack_nested(rings, np.empty((0, 2), np.float32)), runs=runs)
    told = coco.write(made, tmp_path / "out")
    peer = COCO(tmp_path / "out" / "annotations" / "instances.json")
    assert peer.getCatIds(catNms=["dog"]) == [2]
    first, second = peer.loadAnns([1, 2])
    assert (first["bbox"], first["area"], second["area"]) == ([1, 1, 2, 3], 16, 5)
    assert peer.annToMask(first).sum() == 16
    assert peer.annToMask(second).ravel(order="F").nonzero()[0].tolist() == [10, 11, 12, 13, 14]
    assert told == [
        "areas were not given: they are those of the polygon, the mask or the box",
        "objects had no ids: they are numbered from 1",
    ]


def test_crowds_are_written_as_numbers_and_other_masks_as_text(tmp_path):
    runs = Ragged.pack([np.array([1, 2, 45], np.uint32)] * 2, np.empty(0, np.uint32))
    coco.write(small(runs=runs, flags=np.array([CROWD, 0], np.uint8)), tmp_path / "out")
    found = json.loads((tmp_path / "out" / "annotations" / "instances.json").read_text())["annotations"]
    assert [one["segmentation"] for one in found] == [{"size": [6, 8], "counts": c} for c in ([1, 2, 45], "12]1")]


def test_what_is_lost_is_told_with_its_number(tmp_path):
    ring = [[np.array([[0, 0], [4, np.inf], [4, 4]], np.float32)], []]
    made = small(
        flags=np.array([DIFFICULT | CROWD, OCCLUDED | DIFFICULT], np.uint8), ids=np.array([1, 2]),
        areas=np.array([1.0, np.inf]), outlines=Ragged.pack_nested(ring, np.empty((0, 2), np.float32)),
        runs=Ragged.pack([np.array([48], np.uint32)] * 2, np.empty(0, np.uint32)),
        keypoints=np.ones((2, 2, 3), np.float32), skeleton=Skeleton(("a", "b"), swaps=(1, 0)),
    )  # fmt: skip
    made.annotations["objects"].boxes[0] = [2.0**-53, 0, 1 + 2.0**-52, 1]
    made = replace(
        made, annotations={**made.annotations, "label": np.array([0, 1]), "image_id": np.array([5, 5])},
        tables={"pairs": np.zeros((3, 3), np.int64)}, splits={"train": np.array([0, 1]), "test": np.array([1])},
    )  # fmt: skip
    assert coco.write(made, tmp_path / "out") == [
        "lost: 2 difficult flags",
        "lost: 1 occluded flags",
        "lost: 1 run-length masks of objects that have polygons, too",
        "lost: 2 objects' infinite numbers, which come back as no number",
        "lost: 1 pairs of keypoints that swap in a mirror and are not called left and right",
        "lost: 2 values of 'label'",
        "lost: 3 rows of 'pairs'",
        "1 boxes change in their last digit: COCO says their width and height",
        "the ids of images were not unique: they are numbered from 1",
        "images in several parts are written to the first of them only",
    ]


def test_nothing_is_overwritten_and_objects_are_needed(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").write_text("mine")
    with pytest.raises(UserError, match="never overwritten"):
        coco.write(small(), tmp_path / "full")
    plain_set = Dataset("plain", ArrayImages(np.zeros((1, 4, 4, 1), np.uint8)), {"label": np.array([0])}, ("a",))
    with pytest.raises(UserError, match="no objects for COCO"):
        coco.write(plain_set, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_names_keep_their_folders_and_bytes(tmp_path):
    for name in ("train2017/a/1.png", "train2017/b/1.png"):
        picture(tmp_path / "in" / name)
    images = [{"id": k, "file_name": n, "width": 8, "height": 6} for k, n in ((4, "b/1.png"), (2, "a/1.png"))]
    save(tmp_path / "in/annotations/instances_train2017.json", {"images": images, "annotations": [], "categories": []})
    coco.write(coco.read(tmp_path / "in"), tmp_path / "out")
    assert sorted(str(p.relative_to(tmp_path / "out")) for p in tmp_path.rglob("out/**/*.*")) == [
        "annotations/instances_train.json", "train/a/1.png", "train/b/1.png",
    ]  # fmt: skip
    back = coco.read(tmp_path / "out")
    assert [back.images.name(i) for i in range(2)] == ["train/b/1.png", "train/a/1.png"]
    assert back.annotations["image_id"].tolist() == [4, 2]
    assert back.splits["train"].tolist() == [0, 1]


# Numbers ---------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(width=32), max_size=8))
def test_float32_is_written_as_numpy_shows_it(values):
    given_values = np.array(values, np.float32)
    found = shortest(given_values)
    assert np.array_equal(found.astype(np.float32), given_values, equal_nan=True)
    for value, number in zip(given_values, found.tolist(), strict=True):
        assert len(repr(number)) <= len(repr(float(str(value))))


@given(st.lists(st.tuples(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9)), max_size=8))
def test_a_width_that_was_added_is_found_again(pairs):
    low, added = np.array(pairs, np.float64).reshape(-1, 2).T
    high = low + added
    assert np.array_equal(low + widths(low, high), high)


def test_widths_are_short():
    low, width = np.array([57.01, 0.1, 5.0]), np.array([160.43, 0.2, 0.0])
    assert widths(low, low + width).tolist() == [160.43, 0.2, 0.0]
    boxes = np.array([[0, 0, 1, np.nan], [np.nan] * 4, [0, 0, np.inf, 1], [2.0**-53, 0, 1 + 2.0**-52, 1]])
    assert inexact(boxes).tolist() == [False, False, True, True]
    assert plain(np.array([[1.5, np.nan], [np.inf, -2]])) == [[1.5, None], [None, -2.0]]

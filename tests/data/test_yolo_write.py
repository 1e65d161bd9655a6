"""YOLO written: round trips bit for bit, and what is lost is named."""

import numpy as np
import pytest
from data_layouts import by_image, datasets
from hypothesis import given, settings
from hypothesis import strategies as st
from small_sets import often

from hubel.data.dataset import Dataset
from hubel.data.formats import yolo
from hubel.data.formats.yolo_rows import Rows, box_texts, edges, point_texts
from hubel.data.images import ArrayImages
from hubel.data.objects import CROWD, Objects, Skeleton
from hubel.data.ragged import Ragged
from hubel.errors import UserError


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

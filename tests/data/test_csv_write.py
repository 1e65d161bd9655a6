"""CSV written and read again."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hubel.data.dataset import Dataset
from hubel.data.formats import csv_table
from hubel.data.images import ArrayImages
from hubel.data.objects import CROWD, OCCLUDED, TRUNCATED, Objects
from hubel.data.shapes import shapes
from hubel.errors import UserError


def same(found, expected, lost=()):
    assert found.classes == expected.classes
    for name, values in expected.annotations.items():
        if name in lost:
            continue
        if isinstance(values, Objects):
            again = found.annotations[name]
            assert again.offsets.tolist() == values.offsets.tolist()
            assert np.array_equal(again.boxes, values.boxes, equal_nan=True)
            assert again.labels.tolist() == values.labels.tolist()
            flags = values.flags if len(values.flags) else np.zeros(values.count, np.uint8)
            assert (again.flags if len(again.flags) else np.zeros(again.count, np.uint8)).tolist() == flags.tolist()
        else:
            assert np.array_equal(found.annotations[name], values, equal_nan=values.dtype.kind == "f")
    assert {k: v.tolist() for k, v in found.splits.items()} == {
        k: sorted(v.tolist()) for k, v in expected.splits.items()
    }
    assert np.array_equal(found.weights, expected.weights)
    for i in range(len(expected)):
        assert np.array_equal(found.images.read(i), expected.images.read(i))


WORDS = st.text("abcXYZ019 _-éß漢|;,'\".%", min_size=1, max_size=9).map(lambda t: " ".join(t.split())).filter(bool)


@st.composite
def datasets(draw):
    n, k = draw(st.integers(1, 7)), draw(st.integers(2, 5))
    classes = tuple(draw(st.lists(WORDS, min_size=k, max_size=k, unique=True)))
    columns = {}
    kind = draw(st.sampled_from(["label", "labels", "numbers", "objects", "label+numbers", "label+labels"]))
    ints = lambda low, high: draw(st.lists(st.integers(low, high), min_size=n, max_size=n))  # noqa: E731
    if "label" in kind.split("+"):
        columns["label"] = np.array(ints(0, k - 1))
    if "labels" in kind.split("+"):
        cells = draw(st.lists(st.sampled_from([0.0, 1.0, np.nan] if draw(st.booleans()) else [0.0, 1.0]),
                              min_size=n * k, max_size=n * k))  # fmt: skip
        columns["labels"] = np.array(cells, np.float32).reshape(n, k)
    if "numbers" in kind:
        d = draw(st.integers(1, 3))
        cells = draw(
            st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=n * d, max_size=n * d)
        )
        columns["numbers"] = np.array(cells, np.float32).reshape(n, d)
    if kind == "objects":
        counts = np.array(ints(0, 3))
        m = int(counts.sum())
        boxes = draw(st.lists(st.floats(), min_size=4 * m, max_size=4 * m))
        columns["objects"] = Objects(
            np.concatenate([[0], np.cumsum(counts)]), boxes=np.array(boxes, float).reshape(-1, 4),
            labels=np.array(draw(st.lists(st.integers(-1, k - 1), min_size=m, max_size=m)), np.int64),
            flags=np.array(draw(st.lists(st.integers(0, 15), min_size=m, max_size=m)), np.uint8),
        )  # fmt: skip
    if draw(st.booleans()):
        columns["group"] = np.array(ints(-5, 10**12))
    if draw(st.booleans()):
        columns["image_id"] = np.array(ints(0, 99))
    splits = {}
    if draw(st.booleans()):
        parts = np.array(ints(0, 4))
        splits = {
            p: np.flatnonzero(parts == i)
            for i, p in enumerate(("train", "train-dev", "dev", "test"))
            if (parts == i).any()
        }
    weights = np.array(draw(st.lists(st.floats(0, 100, width=32), min_size=n, max_size=n)), np.float32)
    if draw(st.booleans()):
        weights = np.ones(n, np.float32)
    rng = np.random.default_rng(n)
    images = ArrayImages(rng.integers(0, 256, (n, 4, 5, 3)).astype(np.uint8))
    return Dataset("set", images, columns, classes if kind != "numbers" else (), splits, weights)


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(datasets())
def test_what_is_written_is_read_again(tmp_path_factory, dataset):
    out = tmp_path_factory.mktemp("csv") / "out"
    lost = csv_table.write(dataset, out)
    assert not lost, lost
    found = csv_table.read(out)
    same(found, dataset)
    extra = set(found.annotations) - set(dataset.annotations)
    assert extra <= {"label"}  # exactly one 1 in each row is a label, too
    assert all(f.kind in ("empty label", "not a number") for f in found.findings)


@pytest.mark.parametrize("kind, lost", [("detection", 3), ("labels", 0), ("counts", 0), ("classes", 0), ("faces", 3)])
def test_drawn_data_written_and_read_again(tmp_path, kind, lost):
    dataset = shapes(20, 24, kind=kind)
    if kind == "counts":
        dataset = Dataset("counts", dataset.images, dataset.annotations)
    told = csv_table.write(dataset, tmp_path / "out")
    assert len(told) == lost, told
    found = csv_table.read(tmp_path / "out")
    same(found, dataset, {"label"} if kind == "faces" else ())
    if kind == "detection":
        count = dataset.annotations["objects"].count
        assert [f"lost: {what} of {count} objects" for what in ("outlines", "keypoints", "areas")] == told
        assert set(found.annotations["objects"].flags.tolist()) <= {0, OCCLUDED, TRUNCATED, OCCLUDED | TRUNCATED}


def test_files_are_copied_as_they_are(table, tmp_path):
    root = table(
        "file,label,split\nx/a.png,cat,train\ny/a.png,dog,train\nb.png,cat,test\n", "x/a.png", "y/a.png", "b.png"
    )
    found = csv_table.read(root)
    out = tmp_path / "out"
    assert csv_table.write(found, out) == []
    again = csv_table.read(out)
    same(again, found)
    for i in range(3):
        assert Path(again.images.path(i)).read_bytes() == Path(found.images.path(i)).read_bytes()
        assert again.images.name(i).endswith(found.images.name(i))
    with pytest.raises(UserError, match="never overwritten"):
        csv_table.write(found, out)


def test_what_is_lost_is_counted(tmp_path):
    dataset = shapes(6, 24, seed=1)
    objects = dataset.annotations["objects"]
    told = csv_table.write(dataset, tmp_path / "out")
    for words in ("'mask' of 6 images", "'labels' of 6", "'numbers' of 6", f"outlines of {objects.count} objects"):
        assert any(words in one for one in told), told
    assert CROWD == 1


@pytest.mark.parametrize(
    "classes", [("1.0", "2.0"), ("1.5", "2.5"), ("a|b", "c"), ("a;b", "c"), ("1,2", "3,4"), ("1 2", "3 4")]
)
def test_names_that_could_be_something_else_are_listed(tmp_path, classes):
    """Without classes.txt they would be numbers, or several labels in a cell."""
    images = ArrayImages(np.arange(4, dtype=np.uint8).reshape(4, 1, 1, 1))
    dataset = Dataset("made", images, {"label": np.array([0, 1, 1, 0])}, classes)
    assert csv_table.write(dataset, tmp_path / "out") == []
    found = csv_table.read(tmp_path / "out")
    assert found.classes == classes and found.annotations["label"].tolist() == [0, 1, 1, 0] and not found.findings
    (tmp_path / "out/classes.txt").unlink()
    assert csv_table.read(tmp_path / "out").classes != classes  # it is needed

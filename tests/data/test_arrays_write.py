"""NumPy archives and IDX files as they are written: what is read again is what was there, and the rest is named."""

import gzip

import numpy as np
import pytest

import hubel
from hubel.data.dataset import Dataset
from hubel.data.formats import open_path as read
from hubel.data.formats import write
from hubel.data.images import ArrayImages
from hubel.errors import UserError

RANDOM = np.random.default_rng(0)
SPLITS = {"train": np.array([6, 0, 3]), "dev": np.array([1]), "test": np.array([2, 5])}  # 4 is in no part
FLAGS = np.array([[0, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 1], [0, 1, 0], [0, 0, 1], [1, 1, 0]], np.float32)


def of(annotations, channels=1, kind=np.uint8, splits=SPLITS, weights=None, classes=("cat", "dog", "emu")) -> Dataset:
    pixels = RANDOM.integers(0, np.iinfo(kind).max, (7, 5, 4, channels), dtype=kind)
    return Dataset(
        "made", ArrayImages(pixels), annotations, classes, splits, np.ones(7) if weights is None else weights
    )


def same_parts(one: Dataset, other: Dataset, columns) -> None:
    """Each part has the same images in the order of their positions, with the same annotations and weights."""
    assert {k: len(v) for k, v in one.splits.items()} == {k: len(v) for k, v in other.splits.items()}
    for part in one.splits or {"all": None}:
        a = np.sort(one.splits[part]) if one.splits else np.arange(len(one))
        b = other.splits[part] if one.splits else np.arange(len(other))
        for i, j in zip(a, b, strict=True):
            np.testing.assert_array_equal(one.images.read(i), other.images.read(j))
        for name in columns:
            np.testing.assert_array_equal(one.annotations[name][a], other.annotations[name][b])
        np.testing.assert_array_equal(one.weights[a], other.weights[b])


UNKNOWN = np.where(FLAGS[:, ::-1] * FLAGS > 0, np.nan, FLAGS).astype(np.float32)
LABEL = np.array([2, 0, 0, 2, 0, 2, 2])  # no dog


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("splits", [SPLITS, {}])
@pytest.mark.parametrize(
    "annotations",
    [{"label": LABEL}, {"labels": FLAGS}, {"labels": UNKNOWN}, {"numbers": RANDOM.normal(size=(7, 2)).astype("f4")}],
    ids=["label", "labels", "unknown", "numbers"],
)
def test_an_archive_comes_back(tmp_path, kind, channels, splits, annotations):
    weights = np.array([1, 2, 0.5, 1, 1, 0, 3], np.float32)
    made = of(annotations, channels, kind, splits, weights, () if "numbers" in annotations else ("cat", "dog", "emu"))
    lost = write(made, tmp_path / "out", "npz")
    found = read(tmp_path / "out")
    assert found.format == "npz" and found.classes == made.classes and found.images.depth == made.images.depth
    assert found.annotations.keys() == annotations.keys()
    same_parts(made, found, annotations)
    assert lost == (["lost: 1 images in no part"] if splits else [])


@pytest.mark.parametrize("channels", [1, 3])
def test_idx_files_come_back(tmp_path, channels):
    made = of({"label": LABEL}, channels)
    lost = write(made, tmp_path / "out", "idx")
    found = read(tmp_path / "out")
    assert found.format == "idx" and found.classes == ("0", "1", "2")
    same_parts(made, found, ["label"])
    assert lost == ["lost: 1 images in no part", "lost: the names of 3 classes, which become numbers"]


def test_the_bytes_are_those_of_the_format(tmp_path):
    """Read by hand: zero, zero, 8, rank, sizes in big-endian, then the pixels."""
    made = of({"label": LABEL}, splits={})
    assert "there are no parts: all images are written as train" in write(made, tmp_path / "out", "idx")
    data = gzip.decompress((tmp_path / "out" / "train-images-idx3-ubyte.gz").read_bytes())
    assert data[:16] == bytes([0, 0, 8, 3, 0, 0, 0, 7, 0, 0, 0, 5, 0, 0, 0, 4])
    assert data[16:] == made.images.array.tobytes()
    labels = gzip.decompress((tmp_path / "out" / "train-labels-idx1-ubyte.gz").read_bytes())
    assert labels == bytes([0, 0, 8, 1, 0, 0, 0, 7, 2, 0, 0, 2, 0, 2, 2])


def test_what_is_lost_is_named(tmp_path):
    made = of({"label": LABEL, "group": np.arange(7)}, weights=np.array([1, 1, 1, 1, 1, 1, 2]))
    assert "lost: 'group' of 7 images" in write(made, tmp_path / "npz", "npz")
    lost = write(made, tmp_path / "idx", "idx")
    assert "lost: the weights of 1 images" in lost and "lost: 'group' of 7 images" in lost


def test_files_and_damaged_ones(tmp_path):
    """Images from files: their names are lost, one that can't be read is left out with its label."""
    source = tmp_path / "photos"
    write(of({"label": LABEL}, splits={}), source, "folder")
    bad = sorted((source / "cat").iterdir())[0]
    bad.write_bytes(bad.read_bytes()[:30])
    lost = write(read(source), tmp_path / "out", "npz")
    assert "1 images could not be read and were not written" in lost and "lost: the names of 7 files" in lost
    assert np.bincount(read(tmp_path / "out").annotations["label"]).tolist() == [2, 4]


@pytest.mark.parametrize(
    ("form", "made", "words"),
    [
        ("idx", of({"label": LABEL}, kind=np.uint16), "8 bits"),
        ("idx", of({"labels": FLAGS}), "one label"),
        ("idx", of({"label": LABEL}, classes=tuple(map(str, range(300)))), "256"),
        ("npz", of({"group": LABEL}), "no labels and no numbers"),
    ],
)
def test_what_can_not_be_said_is_refused(tmp_path, form, made, words):
    with pytest.raises(UserError, match=words):
        write(made, tmp_path / "out", form)
    assert not (tmp_path / "out").exists()


def test_several_sizes_are_refused(tmp_path):
    source = tmp_path / "photos"
    write(of({"label": LABEL}, splits={}), source, "folder")
    import cv2

    cv2.imwrite(str(source / "emu" / "large.png"), np.zeros((9, 9), np.uint8))
    with pytest.raises(UserError, match="4 x 5 and of 9 x 9 pixels"):
        write(read(source), tmp_path / "out", "npz")
    assert not (tmp_path / "out").exists()


def test_digits_by_command(tmp_path):
    assert hubel.convert_data("digits", tmp_path / "out", "idx") == [
        "there are no parts: all images are written as train"
    ]
    found = hubel.load_dataset(tmp_path / "out")
    digits = hubel.load_dataset("digits")
    np.testing.assert_array_equal(found.annotations["label"], digits.annotations["label"])
    np.testing.assert_array_equal(found.images.array, digits.images.array)

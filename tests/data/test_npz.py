"""NumPy archives: which arrays mean what, and what is refused."""

import numpy as np
import pytest

from hubel.data import formats
from hubel.errors import UserError

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (12, 5, 7, 3)).astype(np.uint8)
Y = np.arange(12) % 3


@pytest.fixture
def opened(tmp_path, untouched):
    def save(**arrays):
        np.savez(tmp_path / "some.npz", **arrays)
        return formats.open_path(untouched(tmp_path) / "some.npz")

    return save


@pytest.mark.parametrize("names", [("images", "labels"), ("x", "y"), ("X", "Y")])
def test_plain(opened, names):
    found = opened(**dict(zip(names, (X, Y), strict=True)))
    assert (found.name, found.format, found.classes) == ("some", "npz", ("0", "1", "2"))
    assert np.array_equal(found.images.array, X) and found.annotations["label"].tolist() == Y.tolist()
    assert found.splits == {}


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (X[..., 0], X[..., :1]),
        (X[..., :1], X[..., :1]),
        (X.transpose(0, 3, 1, 2), X),
        (X[..., :1].transpose(0, 3, 1, 2), X[..., :1]),
        (X.astype(np.int64), X),
        (X.astype(np.uint16) * 257, X.astype(np.uint16) * 257),
        (X.astype(np.int32) * 200, X.astype(np.uint16) * 200),
        (X > 100, np.where(X > 100, 255, 0)),
        (X / 255, X),
        ((X / 255).astype(np.float32), X),
    ],
)
def test_layouts_and_types(opened, x, expected):
    found = opened(images=x, labels=Y)
    assert np.array_equal(found.images.array, expected)
    assert found.images.array.dtype == (np.uint16 if expected.max() > 255 else np.uint8)


def test_fractions_become_sixteen_bits_never_eight(opened):
    x = RNG.random((12, 4, 4))
    found = opened(images=x, labels=Y)
    assert found.images.depth == 16 and any("16 bits" in note for note in found.notes)
    assert np.abs(found.images.array[..., 0] / 65535 - x).max() <= 0.5 / 65535 + 1e-12


@pytest.mark.parametrize("names", ["x_{0} y_{0}", "{0}_images {0}_labels", "images_{0} labels_{0}"])
def test_parts(opened, names):
    arrays = {}
    for part, rows in (("train", slice(0, 6)), ("val", slice(6, 9)), ("test", slice(9, 12))):
        arrays |= dict(zip(names.format(part).split(), (X[rows], Y[rows]), strict=True))
    found = opened(**arrays)
    parts = {"train": X[:6], "dev": X[6:9], "test": X[9:]}
    assert set(found.splits) == set(parts)
    for part, x in parts.items():
        assert np.array_equal(found.images.array[found.splits[part]], x)


def test_names_of_classes(opened):
    found = opened(images=X, labels=Y, classes=["ant", "bee", "cat", "dog"])
    assert found.classes == ("ant", "bee", "cat", "dog") and found.annotations["label"].max() == 2
    texts = opened(images=X, labels=np.array(["ant", "bee", "cat"])[Y])
    assert texts.classes == ("ant", "bee", "cat") and texts.annotations["label"].tolist() == Y.tolist()


def test_gaps_are_numbered_anew_and_announced(opened):
    found = opened(images=X, labels=Y * 5 + 1)
    assert found.classes == ("1", "6", "11") and found.annotations["label"].tolist() == Y.tolist()
    assert any("1 -> 0, 6 -> 1, 11 -> 2" in note for note in found.notes)


def test_numbers_and_several_labels(opened):
    numbers = opened(images=X, labels=RNG.random(12))
    assert numbers.annotations["numbers"].shape == (12, 1) and numbers.annotations["numbers"].dtype == np.float32
    assert opened(images=X, labels=RNG.random((12, 4))).annotations["numbers"].shape == (12, 4)
    several = RNG.integers(0, 2, (12, 4))
    several[0] = 1
    found = opened(images=X, labels=several)
    assert np.array_equal(found.annotations["labels"], several) and len(found.classes) == 4
    assert "label" not in found.annotations


def test_one_hot_rows_are_classes(opened):
    found = opened(images=X, labels=np.eye(3, dtype=int)[Y])
    assert found.annotations["label"].tolist() == Y.tolist()
    assert any("one 1 in each row" in note for note in found.notes)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pixels": X, "labels": Y}, "expected images and labels"),
        ({"images": X, "labels": Y, "x_train": X, "y_train": Y}, "expected images and labels"),
        ({"images": X, "labels": Y[:5]}, "12  ?images but 5 labels"),
        ({"images": X.reshape(12, -1), "labels": Y}, "shape"),
        ({"images": np.zeros((12, 4, 4, 2), np.uint8), "labels": Y}, "shape"),
        ({"images": X, "labels": Y - 1}, "-1 … 1"),
        ({"images": X, "labels": Y, "classes": ["a", "b"]}, "names 2"),
        ({"images": X, "labels": np.full((12, 3), 2)}, "0 or 1"),
        ({"images": X, "labels": np.where(Y == 0, np.nan, 1.0)}, "not finite"),
        ({"images": X / 255 - 0.5, "labels": Y}, "before normalisation"),
        ({"images": X.astype(float), "labels": Y}, "before normalisation"),
        ({"images": X.astype(int) - 1, "labels": Y}, "-1 …"),
        ({"images": X.astype(int) * 1000, "labels": Y}, "0 … 65535"),
        ({"images": X[:0], "labels": Y[:0]}, "no images"),
        ({"x_train": X, "y_train": Y, "x_test": X[:, :4], "y_test": Y}, "different kinds"),
        ({"x_train": X, "y_train": Y, "x_test": X.astype("u2"), "y_test": Y}, "different kinds"),
        ({"x_train": X, "y_train": Y, "x_test": X, "y_test": np.eye(3)[Y]}, "different shapes"),
        ({"images": X, "labels": np.array([{}] * 12)}, "Python objects"),
    ],
)
def test_refusals(opened, arrays, message):
    with pytest.raises(UserError, match=message):
        opened(**arrays)


def test_damaged_archives(tmp_path):
    path = tmp_path / "some.npz"
    np.savez_compressed(path, images=X, labels=Y)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match="no known layout"):
        formats.open_path(path)
    path.write_bytes(data[:200] + bytes(200) + data[400:])
    with pytest.raises(UserError, match="can't be read"):
        formats.open_path(path)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floating_point_zeros_and_ones_are_labels(opened, dtype):
    """Losses want them as floats, so that is how they are often saved."""
    several = RNG.integers(0, 2, (12, 4)).astype(dtype)
    several[0], several[1, 2] = 1, np.nan
    found = opened(images=X, labels=several, classes=["a", "b", "c", "d"])
    assert set(found.annotations) == {"labels"} and found.classes == ("a", "b", "c", "d")
    np.testing.assert_array_equal(found.annotations["labels"], several.astype(np.float32))
    one = opened(images=X, labels=np.eye(3, dtype=dtype)[Y])
    assert one.annotations["label"].tolist() == Y.tolist()
    other = opened(images=X, labels=np.where(several == 1, 1.5, 0))
    assert set(other.annotations) == {"numbers"}
    assert set(opened(images=X, labels=several[:, 0]).annotations) == {"numbers"}  # one column: numbers

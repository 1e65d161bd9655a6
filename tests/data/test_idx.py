"""IDX files, and Fashion-MNIST which comes as such."""

import gzip
import struct

import numpy as np
import pytest

from hubel.data import builtin, formats
from hubel.data.formats import idx
from hubel.errors import UserError

CODES = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}
RNG = np.random.default_rng(0)


def packed(array, code=None):
    """An IDX file, written value by value as its description says."""
    kind = array.dtype.str[1:]
    head = bytes([0, 0, code or CODES[kind], array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(">" + kind).tobytes()


def write(folder, train=12, test=5, zipped=True, **changes):
    folder.mkdir(exist_ok=True)
    for part, n in (("train", train), ("t10k", test)):
        images = RNG.integers(0, 256, (n, 4, 6)).astype(np.uint8)
        labels = (np.arange(n) % 3).astype(np.uint8)
        for name, array in ((f"{part}-images-idx3-ubyte", images), (f"{part}-labels-idx1-ubyte", labels)):
            data = changes.get(name.replace("-", "_"), packed(array))
            if data is None:
                continue
            (folder / (name + ".gz" * zipped)).write_bytes(gzip.compress(data) if zipped else data)
    return folder


@pytest.mark.parametrize("kind", CODES)
@pytest.mark.parametrize("zipped", [True, False])
def test_every_type_is_read(tmp_path, kind, zipped):
    array = RNG.integers(-100 if kind != "u1" else 0, 100, (3, 2, 5)).astype(kind)
    data = packed(array)
    path = tmp_path / "x"
    path.write_bytes(gzip.compress(data) if zipped else data)
    found = idx.read_array(path)
    assert found.dtype == np.dtype(kind) and np.array_equal(found, array)
    assert found.dtype.isnative


@pytest.mark.parametrize("zipped", [True, False])
def test_a_folder_of_idx_files(tmp_path, zipped, untouched):
    root = untouched(write(tmp_path / "mine", zipped=zipped))
    found = formats.open_path(root)
    assert (found.format, found.name, found.classes) == ("idx", "mine", ("0", "1", "2"))
    assert found.images.array.shape == (17, 4, 6, 1)
    assert found.splits["train"].tolist() == list(range(12)) and found.splits["test"].tolist() == list(range(12, 17))
    assert found.annotations["label"].tolist() == [0, 1, 2] * 4 + [0, 1, 2, 0, 1]


IMAGES = np.zeros((12, 4, 6), np.uint8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_images_idx3_ubyte": b"\x01\x02\x08\x03"}, "no IDX file"),
        ({"train_images_idx3_ubyte": b""}, "no IDX file"),
        ({"train_images_idx3_ubyte": b"\0\0\x08\x03\0\0"}, "ends in its header"),
        ({"train_images_idx3_ubyte": packed(IMAGES)[:-1]}, "announces 288 bytes"),
        ({"train_images_idx3_ubyte": packed(IMAGES) + b"x"}, "holds more"),
        ({"train_images_idx3_ubyte": b"\0\0\x08\x03" + b"\xff" * 12}, "far too small"),
        ({"train_images_idx3_ubyte": packed(IMAGES[:11])}, "11 train images but 12 labels"),
        ({"train_images_idx3_ubyte": packed(IMAGES.astype("f4"))}, "images are uint8"),
        ({"train_images_idx3_ubyte": packed(np.zeros((12, 5, 5), np.uint8))}, "different sizes"),
        ({"train_labels_idx1_ubyte": packed(np.arange(12, dtype="i2") - 1)}, "0 … 255"),
        ({"train_labels_idx1_ubyte": packed(np.full(12, 256, "i2"))}, "0 … 255"),
        ({"train_labels_idx1_ubyte": packed(np.zeros((12, 2), "u1"))}, "0 … 255"),
        ({"train_labels_idx1_ubyte": None}, "no train-labels file"),
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_damage_is_said(tmp_path, changes, message, zipped):
    root = write(tmp_path / "mine", zipped=zipped, **changes)
    with pytest.raises(UserError, match=message):
        formats.open_path(root)


def test_a_gzip_file_that_is_cut(tmp_path):
    root = write(tmp_path / "mine")
    path = root / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match="can't be read"):
        formats.open_path(root)


# Fashion-MNIST ---------------------------------------------------------------------------------------------------


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """No system package and an empty cache."""
    monkeypatch.setattr(builtin, "FASHION_SYSTEM", tmp_path / "system")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def test_where_it_is_looked_for(nowhere):
    with pytest.raises(UserError, match=r"dataset-fashion-mnist.*--download"):
        builtin.fashion_mnist()
    given = builtin.fashion_mnist(write(nowhere / "given", train=10, test=4))
    assert given.classes == builtin.FASHION_CLASSES and len(given) == 14
    assert given.traits["mirror"] is True and any("flip" in note for note in given.notes)
    cache = nowhere / "cache" / "hubel"
    cache.mkdir(parents=True)
    write(cache / "fashion-mnist", train=20)
    assert len(builtin.fashion_mnist().splits["train"]) == 20
    write(nowhere / "system", train=30)
    assert len(builtin.fashion_mnist().splits["train"]) == 30


def test_cache_folder(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    assert builtin.cache_folder() == builtin.Path.home() / ".cache" / "hubel"


@pytest.fixture
def origin(nowhere, monkeypatch):
    """The origin's address, served from a local folder, with the checksums of what lies there."""
    import hashlib
    import urllib.request

    served = write(nowhere / "served", train=10, test=4)
    sums = {p.name: hashlib.sha256(gzip.decompress(p.read_bytes())).hexdigest() for p in served.iterdir()}
    monkeypatch.setattr(builtin, "FASHION_FILES", sums)
    asked = []

    def opener(url):
        assert url.startswith("https://")
        asked.append(url.rpartition("/")[2])
        return urllib.request.urlopen((served / asked[-1]).as_uri())

    opener.asked, opener.served = asked, served
    return opener


def test_download_only_when_asked(nowhere, origin):
    with pytest.raises(UserError):
        builtin.fashion_mnist(opener=origin)
    assert origin.asked == []
    found = builtin.fashion_mnist(download=True, opener=origin)
    assert len(found) == 14 and len(origin.asked) == 4
    assert len(builtin.fashion_mnist()) == 14  # from the cache now
    assert not list((nowhere / "cache").rglob(".hubel-*"))


def test_a_wrong_checksum_keeps_nothing(nowhere, origin):
    (origin.served / "t10k-labels-idx1-ubyte.gz").write_bytes(b"an error page")
    with pytest.raises(UserError, match="SHA-256"):
        builtin.fashion_mnist(download=True, opener=origin)
    kept = {path.name for path in (nowhere / "cache").rglob("*") if path.is_file()}
    assert kept <= set(builtin.FASHION_FILES) - {"t10k-labels-idx1-ubyte.gz"}


def test_a_download_that_breaks_off(nowhere):
    def broken(url):
        raise OSError("no route to host")

    with pytest.raises(UserError, match=r"no route to host.*dataset-fashion-mnist"):
        builtin.fashion_mnist(download=True, opener=broken)
    assert not [path for path in (nowhere / "cache").rglob("*") if path.is_file()]


@pytest.mark.skipif(not builtin.FASHION_SYSTEM.is_dir(), reason="needs the Debian package dataset-fashion-mnist")
def test_the_real_one():
    found = builtin.fashion_mnist(builtin.FASHION_SYSTEM)
    assert {name: len(index) for name, index in found.splits.items()} == {"train": 60_000, "test": 10_000}
    for name, checksum in builtin.FASHION_FILES.items():
        assert builtin._content_hash(builtin.FASHION_SYSTEM / name) == checksum
    assert np.bincount(found.annotations["label"]).tolist() == [7000] * 10


# Digits ----------------------------------------------------------------------------------------------------------


def test_digits():
    from sklearn.datasets import load_digits

    found, source = builtin.digits(), load_digits()
    assert found.images.array.shape == (1797, 8, 8, 1) and found.images.array.dtype == np.uint8
    levels = [round(v * 255 / 16) for v in range(17)]
    assert found.images.read(5)[:, :, 0].tolist() == [[levels[int(v)] for v in row] for row in source.images[5]]
    assert np.array_equal(found.annotations["label"], source.target)
    assert found.traits["mirror"] is False
    assert found.hash() == builtin.digits().hash()

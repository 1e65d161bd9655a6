"""Crops from files of which only the first rows were decoded: bit for bit those from whole images."""

import cv2
import numpy as np
import pytest
from standins import targets

import hubel.data.jpeg
from hubel.data.augment import Augment
from hubel.data.formats import open_path
from hubel.data.loader import Loader
from hubel.data.pack_write import pack
from hubel.data.preprocess import Preprocess
from hubel.ops.crop import SMALLEST


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """24 photographs of several sizes, in two classes."""
    random, root = np.random.default_rng(0), tmp_path_factory.mktemp("photos")
    for i in range(24):
        small = random.integers(0, 256, (40, 30, 3), dtype=np.uint8)
        image = cv2.resize(small, (int(random.integers(150, 520)), int(random.integers(150, 520))))
        (root / "ab"[i % 2]).mkdir(exist_ok=True)
        cv2.imwrite(str(root / "ab"[i % 2] / f"{i}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 95 - 3 * (i % 5)])
    return root


@pytest.fixture(scope="module")
def packed_photos(folder, tmp_path_factory):
    return pack(open_path(folder), tmp_path_factory.mktemp("packed") / "p.pack", side=200, quality=90)


AUGMENTS = {
    "crops": Augment(crop=(0.05, 1.0), flip="random"),
    "either way up": Augment(crop=(0.05, 0.5), flip="random", vertical=True),
    "shifted, mirrored edges": Augment(crop=(0.05, 0.9), shift=9, border="mirror"),
}


@pytest.mark.parametrize("side", [SMALLEST - 16, SMALLEST, 100])
@pytest.mark.parametrize("augment", AUGMENTS.values(), ids=AUGMENTS)
@pytest.mark.parametrize("packed", [False, True], ids=["files", "pack"])
def test_same_bits_as_from_the_whole(folder, packed_photos, monkeypatch, packed, augment, side):
    dataset = open_path(packed_photos if packed else folder)
    first, seen = hubel.data.jpeg.PlainJpeg._first, []

    def read():
        with Loader(dataset, targets, Preprocess((side, side), 3), augment=augment, seed=3) as loader:
            return list(loader.batches(np.arange(24), 0, 8))

    monkeypatch.setattr(hubel.data.jpeg.PlainJpeg, "_first", lambda *a: seen.append(first(*a)) or seen[-1])
    parts = read()
    monkeypatch.setattr(hubel.data.jpeg.PlainJpeg, "_first", lambda *a: None)
    for part, whole in zip(parts, read(), strict=True):
        assert np.array_equal(part.images, whole.images) and np.array_equal(part.matrices, whole.matrices)
    assert any(image is not None for image in seen) == (side >= SMALLEST)

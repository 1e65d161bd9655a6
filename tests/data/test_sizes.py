"""Sizes of images from their headers, against decoding each; what is remembered, and when it is not believed."""

import numpy as np
import pytest
from PIL import Image

from hubel.data import sizes as module
from hubel.data.decode import decode
from hubel.data.images import ArrayImages, ConcatImages, FileImages, PackedNames
from hubel.data.sizes import image_sizes


@pytest.fixture
def images(tmp_path):
    rng = np.random.default_rng(0)
    names = []
    for i, (h, w) in enumerate(rng.integers(1, 40, (12, 2)).tolist()):
        name = f"{i}.{('png', 'jpg', 'bmp')[i % 3]}"
        exif = Image.Exif()
        exif[0x0112] = 6 if i % 6 == 1 else 1
        Image.fromarray(np.zeros((h, w, 3), np.uint8)).save(tmp_path / name, **({"exif": exif} if i % 3 == 1 else {}))
        names.append(name)
    return FileImages(str(tmp_path), PackedNames.pack(names))


def oracle(images):
    return [list(decode(images.path(i)).shape[:2]) for i in range(len(images))]


def test_sizes_are_those_of_the_decoded_images(images, tmp_path):
    expected = oracle(images)
    assert image_sizes(images, cache=tmp_path / "cache").tolist() == expected
    upright = [list(Image.open(images.path(i)).size[::-1]) for i in range(len(images))]
    assert upright != expected  # some are turned: the test would not see it otherwise


def test_remembered_until_a_file_changes(images, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    first = image_sizes(images, cache=cache)
    looked = []
    real = module.header
    monkeypatch.setattr(module, "header", lambda path, most: (looked.append(path), real(path, most))[1])
    assert image_sizes(images, cache=cache).tolist() == first.tolist() and not looked
    Image.fromarray(np.zeros((50, 60), np.uint8)).save(images.path(3))
    assert image_sizes(images, cache=cache)[3].tolist() == [50, 60] and looked == [images.path(3)]
    looked.clear()
    some = FileImages(images.root, images.names.take(np.array([5, 3])))  # another choice of files of the same root
    assert image_sizes(some, cache=cache).tolist() == [first[5].tolist(), [50, 60]] and not looked


def test_a_plain_jpeg_says_its_size_without_a_decoder(images, tmp_path, monkeypatch):
    looked = []
    real = module.header
    monkeypatch.setattr(module, "header", lambda path, most: (looked.append(path), real(path, most))[1])
    for i, options in enumerate([{}, {"progressive": True}, {"comment": b"x" * 3000}, {"icc_profile": b"p" * 9000}]):
        Image.fromarray(np.zeros((7 + i, 11, 3), np.uint8)).save(tmp_path / f"plain{i}.jpg", **options)
    names = PackedNames.pack([f"plain{i}.jpg" for i in range(4)])
    some = FileImages(str(tmp_path), names)
    assert image_sizes(some, cache=tmp_path / "cache").tolist() == [[7, 11], [8, 11], [9, 11], [10, 11]]
    assert looked == [some.path(3)]  # its size stands behind the first bytes
    few = FileImages(str(tmp_path), names, max_pixels=80)
    assert image_sizes(few, cache=tmp_path / "cache").tolist() == [[7, 11], [0, 0], [0, 0], [0, 0]]


def test_a_damaged_memory_is_not_believed(images, tmp_path):
    cache = tmp_path / "cache"
    expected = image_sizes(images, cache=cache).tolist()
    (store,) = cache.iterdir()
    store.write_bytes(store.read_bytes()[:100])
    assert image_sizes(images, cache=cache).tolist() == expected
    np.savez(store, prints=np.zeros((3, 2)), sizes=np.zeros((3, 2)))
    assert image_sizes(images, cache=cache).tolist() == expected


def test_unreadable_files_have_no_size_and_are_not_remembered(images, tmp_path):
    path = tmp_path / "4.jpg"
    whole = path.read_bytes()
    path.write_bytes(b"no image")
    cache = tmp_path / "cache"
    assert image_sizes(images, cache=cache)[4].tolist() == [0, 0]
    path.unlink()
    assert image_sizes(images, cache=cache)[4].tolist() == [0, 0]
    path.write_bytes(whole)
    assert image_sizes(images, cache=cache).tolist() == oracle(images)


def test_a_cache_that_cannot_be_written(images, tmp_path):
    (tmp_path / "cache").write_text("a file")
    assert image_sizes(images, cache=tmp_path / "cache").tolist() == oracle(images)


def test_images_in_memory_and_several_sources(images, tmp_path):
    arrays = ArrayImages(np.zeros((2, 5, 7, 1), np.uint8))
    assert image_sizes(arrays).tolist() == [[5, 7], [5, 7]]
    both = ConcatImages((arrays, images))
    assert image_sizes(both, cache=tmp_path / "cache").tolist() == [[5, 7], [5, 7], *oracle(images)]

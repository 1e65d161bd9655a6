"""The check before training: bad files are found, named, left out and remembered; nothing of the user's is written."""

import csv

import numpy as np
import pytest
from PIL import Image

from hubel.data import check, formats
from hubel.data.check import check_files, write_quarantine
from hubel.data.dataset import Bad
from hubel.errors import UserError

DOT = np.random.default_rng(0).integers(0, 256, (6, 7, 3))


@pytest.fixture
def root(make_folder):
    folder = make_folder({f"train/{c}/{i}.png": DOT for c in "ab" for i in range(6)} | {"test/a/0.png": DOT})
    whole = (folder / "train/a/0.png").read_bytes()
    (folder / "train/a/1.png").write_bytes(whole[: len(whole) // 2])
    (folder / "train/b/2.png").write_bytes(b"")
    (folder / "train/b/3.png").write_bytes(b"not an image")
    (folder / "test/a/1.jpg").write_bytes(whole)  # a PNG by content
    return folder


def test_bad_files_take_no_part(root, tmp_path, untouched):
    found = check_files(formats.open_path(untouched(root)), cache=tmp_path / "cache")
    bad = {entry.name: entry.reason for entry in found.quarantine}
    assert set(bad) == {"train/a/1.png", "train/b/2.png", "train/b/3.png"}
    assert "truncated" in bad["train/a/1.png"] and "empty" in bad["train/b/2.png"]
    assert "not an image" in bad["train/b/3.png"]
    left = {found.images.name(i) for index in found.splits.values() for i in index}
    assert not left & set(bad) and len(left) == 11
    assert {found.images.name(int(i)) for i in np.flatnonzero(found.weights == 0)} == set(bad)
    assert len(found) == 14  # positions stay


def test_what_was_good_is_remembered_until_it_changes(root, tmp_path, monkeypatch):
    looked = []
    real = check.decode
    monkeypatch.setattr(check, "decode", lambda path, **kw: looked.append(path) or real(path, **kw))
    cache = tmp_path / "cache"
    first = check_files(formats.open_path(root), cache=cache)
    assert len(looked) == 14
    looked.clear()
    second = check_files(formats.open_path(root), cache=cache)
    assert len(looked) == 3 and second.quarantine == first.quarantine  # the bad ones again
    looked.clear()
    (root / "train/a/5.png").write_bytes(b"now it is broken")
    third = check_files(formats.open_path(root), cache=cache)
    assert len(looked) == 4 and "train/a/5.png" in {entry.name for entry in third.quarantine}


def test_a_damaged_or_forbidden_cache_only_costs_time(root, tmp_path):
    cache = tmp_path / "cache"
    expected = check_files(formats.open_path(root), cache=cache).quarantine
    for file in cache.iterdir():
        file.write_bytes(b"rubbish")
    assert check_files(formats.open_path(root), cache=cache).quarantine == expected
    (tmp_path / "file").write_text("no folder")
    assert check_files(formats.open_path(root), cache=tmp_path / "file").quarantine == expected


def test_the_users_cache_is_used(root, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    check_files(formats.open_path(root))
    assert list((tmp_path / "xdg/hubel/checked").glob("*.npz"))


def test_mostly_bad_is_a_mistake_of_another_kind(make_folder, tmp_path):
    root = make_folder({"a/1.png": DOT, "b/1.png": b"x", "b/2.png": b"y"})
    with pytest.raises(UserError, match=r"2 of 3 files.*b/1.png"):
        check_files(formats.open_path(root), cache=tmp_path / "cache")


def test_channels_and_depth_become_exact(make_folder, tmp_path):
    """One colour image and one of 16 bits among many that a sample would miss."""
    root = make_folder({f"{c}/{i}.png": np.full((2, 2), 9) for c in "ab" for i in range(100)})
    Image.fromarray(np.full((2, 2), 40_000, np.uint16)).save(root / "a/1.png")
    Image.fromarray(np.full((2, 2, 3), 7, np.uint8)).save(root / "a/2.png")
    found = formats.open_path(root)
    assert (found.images.channels, found.images.depth) == (1, 8)
    checked = check_files(found, cache=tmp_path / "cache")
    assert (checked.images.channels, checked.images.depth) == (3, 16)
    assert checked.images.read(1).tolist() == [[[40_000] * 3] * 2] * 2
    assert checked.images.read(0)[0, 0].tolist() == [9 * 257] * 3
    assert any("1 of 200 images have colour" in note for note in checked.notes)
    again = check_files(formats.open_path(root), cache=tmp_path / "cache")  # from what is remembered
    assert (again.images.channels, again.images.depth) == (3, 16)
    asked = check_files(formats.open_path(root, channels=1), cache=tmp_path / "cache")
    assert asked.images.channels == 1


def test_quarantine_list(tmp_path):
    write_quarantine(tmp_path / "q.csv", (Bad('a "b", c.png', "empty"), Bad("ü\n.png", "truncated: x, y")))
    with (tmp_path / "q.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [
            ["file", "reason"],
            ['a "b", c.png', "empty"],
            ["ü\n.png", "truncated: x, y"],
        ]

"""What was looked at isn't decoded again, unless it changed; a broken or made-up cache changes nothing."""

import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from malformed import photo, saved
from planted import BASES, mask, save

from hubel.data.dataset import Dataset
from hubel.data.formats import open_path
from hubel.data.images import ArrayImages, ConcatImages, FileImages, PackedNames
from hubel.data.inspect import inspect
from hubel.data.seen import look_at

OLD = 1_600_000_000


@pytest.fixture
def folder(tmp_path):
    """Twelve photos, one of them cut short, changed long ago."""
    whole = {f"{k:02}.jpg": saved(photo(seed=k), "JPEG") for k in range(11)}
    root = save(tmp_path / "photos", whole | {"cut.jpg": saved(photo(seed=11), "JPEG")[:700]})
    aged(root)
    return root


def aged(root):
    for path in root.rglob("*"):
        os.utime(path, (OLD, OLD))


def files(root):
    return FileImages(str(root), PackedNames.pack(sorted(path.name for path in root.iterdir())))


def look(root, cache, **options):
    return look_at(files(root), cache=cache, workers=1, **options)


def same(a, b):
    assert np.array_equal(a.rows, b.rows) and np.array_equal(a.facts, b.facts) and np.array_equal(a.odd, b.odd)
    assert (a.faults, a.bombs, a.mask_faults, a.strange) == (b.faults, b.bombs, b.mask_faults, b.strange)
    assert np.array_equal(a.pixels, b.pixels) and a.tallied == b.tallied
    np.testing.assert_allclose(a.tally, b.tally, rtol=1e-12)


@pytest.fixture
def looked(monkeypatch):
    """Positions that are looked at."""
    from hubel.data.seen import _Eye

    found, real = [], _Eye.look
    monkeypatch.setattr(_Eye, "look", lambda eye, i: (found.append(i), real(eye, i))[1])
    return found


def test_a_second_look_reads_nothing(folder, tmp_path, looked):
    ticks = []
    first = look(folder, tmp_path / "cache")
    again = look(folder, tmp_path / "cache", tick=lambda: ticks.append(1))
    assert looked == list(range(12)) and len(ticks) == 12
    assert set(again.faults) == {11} and again.faults[11].startswith("truncated")
    same(first, again)
    same(again, look(folder, None))


CHANGES = {
    "content of the same length": lambda path: written(path, path.read_bytes()[::-1], OLD + 1),
    "length, the same time": lambda path: written(path, path.read_bytes() + b"x", OLD),
    "another file, the same length and time": lambda path: replaced(path),
    "time": lambda path: os.utime(path, (OLD, OLD + 5)),
}  # fmt: skip


def written(path, content, when):
    path.write_bytes(content)
    os.utime(path, (OLD, when))


def replaced(path):
    other = path.with_suffix(".tmp")
    other.write_bytes(path.read_bytes())
    os.utime(other, (OLD, OLD))
    other.replace(path)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_changed_is_looked_at(change, folder, tmp_path, looked):
    look(folder, tmp_path / "cache", train=np.arange(5))
    change(folder / "07.jpg")
    looked.clear()
    again = look(folder, tmp_path / "cache", train=np.arange(5))
    assert looked == [7]
    same(again, look(folder, None, train=np.arange(5)))


def test_a_file_that_changed_a_moment_ago_is_not_remembered(folder, tmp_path, looked):
    (folder / "07.jpg").touch()
    look(folder, tmp_path / "cache", train=np.arange(5))
    looked.clear()
    look(folder, tmp_path / "cache", train=np.arange(5))
    assert looked == [7]


def test_what_could_not_be_opened_is_tried_again(folder, tmp_path, looked):
    (folder / "03.jpg").rename(tmp_path / "03.jpg")
    names = files(tmp_path / "photos").names
    images = FileImages(str(folder), PackedNames.concat([names, PackedNames.pack(["03.jpg"])]))
    assert look_at(images, cache=tmp_path / "cache").faults[11].startswith("can't be read")
    (tmp_path / "03.jpg").rename(folder / "03.jpg")
    assert 11 not in look_at(images, cache=tmp_path / "cache").faults


def test_other_images_are_counted_after_another_split(folder, tmp_path):
    look(folder, tmp_path / "cache", train=np.arange(5))
    again = look(folder, tmp_path / "cache", train=np.arange(3, 8))
    same(again, look(folder, None, train=np.arange(3, 8)))


def test_files_beside_arrays(folder, tmp_path, looked):
    array = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    images = ConcatImages((files(folder), ArrayImages(array)))
    first = look_at(images, cache=tmp_path / "cache", train=np.arange(3), workers=1)
    looked.clear()
    again = look_at(images, cache=tmp_path / "cache", train=np.arange(3), workers=1)
    assert looked == [12, 13, 14, 15]
    same(first, again)
    look_at(ArrayImages(array), cache=tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_masks_are_remembered_with_their_meaning(tmp_path, looked):
    root = save(tmp_path / "masks", BASES["masks"] | {"masks/1.png": mask(9), "masks/2.png": mask(1)[:60]})
    aged(root)
    cache = tmp_path / "cache"

    def kinds():
        looked.clear()
        return inspect(open_path(root), workers=1, cache=cache).kinds

    first = kinds()
    assert first["unknown mask value"] == first["unreadable mask"] == 1
    assert len(looked) == 4
    assert kinds() == first and not looked
    (root / "masks/2.png").write_bytes(mask(1))
    os.utime(root / "masks/2.png", (OLD, OLD))
    assert "unreadable mask" not in kinds() and len(looked) >= 1
    (root / "data.yaml").write_text("names: {0: ground, 1: cat, 2: dog, 9: cow}\nignore: 255\n")
    assert "unknown mask value" not in kinds() and len(looked) == 4


# A cache that is none ------------------------------------------------------------------------------------------------


def arrays(path):
    with np.load(path) as stored:
        return dict(stored)


def rewritten(path, **changes):
    np.savez(path, **(arrays(path) | changes))


def field(path, name, value):
    rows = arrays(path)["rows"]
    rows[name][2] = value
    rewritten(path, rows=rows)


class Harm:
    def __reduce__(self):
        return (Path("harm").touch, ())


def pickled(path):
    file = io.BytesIO()
    np.savez(file, **(arrays(path) | {"words": np.array([Harm()], dtype=object)}))
    path.write_bytes(file.getvalue())


def words(text):
    return lambda path: rewritten(path, words=np.frombuffer(text.encode(), np.uint8))


BROKEN = {
    "empty": lambda path: path.write_bytes(b""),
    "noise": lambda path: path.write_bytes(np.random.default_rng(0).bytes(5000)),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a pickle": lambda path: path.write_bytes(pickle.dumps(Harm())),
    "a pickle inside": pickled,
    "compressed": lambda path: np.savez_compressed(path, **arrays(path)),
    "a part is missing": lambda path: np.savez(path, **{k: v for k, v in arrays(path).items() if k != "facts"}),
    "too few rows": lambda path: rewritten(path, rows=arrays(path)["rows"][:3]),
    "another kind": lambda path: rewritten(path, odd=arrays(path)["odd"].astype(np.int64)),
    "negative size": lambda path: field(path, "height", -5),
    "no size": lambda path: field(path, "width", 0),
    "no number": lambda path: field(path, "contrast", np.nan),
    "channels": lambda path: rewritten(path, facts=arrays(path)["facts"] + 4),
    "counts": lambda path: rewritten(path, tally=np.full((3, 256), -1.0)),
    "words of other rows": words('{"faults": {"99": "x"}, "bombs": {}, "mask_faults": {}, "strange": {}}'),
    "no words": words("[]"),
    "deep words": words("[" * 100_000),
}


@pytest.mark.parametrize("breaks", BROKEN.values(), ids=BROKEN)
def test_a_broken_cache_is_no_cache(breaks, folder, tmp_path, monkeypatch, looked):
    monkeypatch.chdir(tmp_path)
    look(folder, tmp_path / "cache")
    (store,) = (tmp_path / "cache").iterdir()
    breaks(store)
    looked.clear()
    again = look(folder, tmp_path / "cache")
    assert looked == list(range(12)) and not Path("harm").exists()
    same(again, look(folder, None))


def test_flipped_bits_harm_nothing(folder, tmp_path):
    """A cache with a changed byte is refused, or only what it says of an image differs; nothing is raised."""
    look(folder, tmp_path / "cache")
    (store,) = (tmp_path / "cache").iterdir()
    whole, random = store.read_bytes(), np.random.default_rng(0)
    for _ in range(60):
        data = bytearray(whole)
        data[random.integers(len(data))] ^= 1 << random.integers(8)
        store.write_bytes(data)
        found = inspect(Dataset("files", files(folder), {}, source=str(folder)), workers=1, cache=tmp_path / "cache")
        assert set(found.seen.faults) == {11}


def test_a_cache_that_cannot_be_written_only_costs_time(folder, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    same(look(folder, tmp_path / "cache"), look(folder, None))

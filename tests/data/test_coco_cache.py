"""Parsed COCO JSON in the cache: the same data set, read anew whenever file or cache are not what they were."""

import json
import os
import shutil

import numpy as np
import pytest
from coco_scenes import datasets, document, save, scene
from hypothesis import HealthCheck, given, settings

from hubel.data.formats import coco, coco_cache
from hubel.data.formats.coco_cache import load
from hubel.data.formats.coco_parse import parse

NOTE = "annotations come from the cache"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Every file is large enough; the cache is in the test's own folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(coco_cache, "LEAST", 0)
    return tmp_path / "cache" / "hubel" / "coco"


def everything(dataset):
    columns = {k: v.digest() if k == "objects" else v.tolist() for k, v in dataset.annotations.items()}
    o = dataset.annotations["objects"]
    names = [dataset.images.name(i) for i in range(len(dataset))]
    files = [o.files[i] for i in range(len(dataset))]
    parts = {part: index.tolist() for part, index in dataset.splits.items()}
    table = dataset.tables["category_id"].tolist()
    return columns, o.lines.tolist(), names, files, dataset.classes, parts, table, dataset.findings


def rich(tmp_path):
    """All kinds of columns, and a finding, in two parts."""
    skeleton = {"id": 3, "name": "cat", "keypoints": ["nose", "tail"], "skeleton": [[1, 2]]}
    first = document(3, categories=[skeleton])
    first["annotations"][0] |= {"segmentation": [[1, 1, 2, 1, 2, 2]], "keypoints": [1, 2, 2, 3, 4, 1]}
    first["annotations"][1] |= {"segmentation": {"size": [6, 8], "counts": [40, 8]}, "iscrowd": 1}
    first["annotations"][2] |= {"area": "6"}
    save(tmp_path / "set" / "train.json", first)
    save(tmp_path / "set" / "val.json", document(1))
    return tmp_path / "set"


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(dataset=datasets())
def test_the_second_opening_gives_the_same(tmp_path_factory, folder, dataset):
    out = tmp_path_factory.mktemp("out") / "set"
    coco.write(dataset, out)
    first, second = coco.read(out), coco.read(out)
    assert NOTE not in first.notes
    assert NOTE in second.notes
    assert everything(second) == everything(first)
    assert scene(second) == scene(dataset)


def test_all_columns_and_findings_come_back(tmp_path, folder):
    source = rich(tmp_path)
    first, second, without = coco.read(source), coco.read(source), coco.read(source, cache=False)
    assert everything(first) == everything(second) == everything(without)
    assert (NOTE in first.notes, NOTE in second.notes, NOTE in without.notes) == (False, True, False)
    objects = second.annotations["objects"]
    assert objects.skeleton == first.annotations["objects"].skeleton
    assert not objects.boxes.flags.writeable  # a view of the file
    assert not isinstance(objects.boxes, np.memmap)  # which would be pickled as a whole file


def test_a_changed_file_is_read_anew(tmp_path, folder):
    source = rich(tmp_path)
    coco.read(source)
    changed = json.loads((source / "val.json").read_text())
    changed["annotations"][0]["bbox"] = [2, 1, 2, 3]  # as many bytes
    before = (source / "val.json").stat()
    save(source / "val.json", changed)
    os.utime(source / "val.json", ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert (source / "val.json").stat().st_size == before.st_size
    found = coco.read(source)
    assert NOTE not in found.notes
    assert found.annotations["objects"].boxes[-1].tolist() == [2, 1, 4, 4]
    assert NOTE in coco.read(source).notes
    save(source / "other.json", changed)
    (source / "other.json").replace(source / "val.json")  # another inode
    os.utime(source / "val.json", ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert NOTE not in coco.read(source).notes
    assert len(list(folder.iterdir())) == 1  # what was stored before is gone


def _cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flip(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def _empty(path):
    path.write_bytes(b"")


def _other(path):
    with path.open("wb") as file:
        np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)


@pytest.mark.parametrize("damage", [_cut, _flip, _empty, _other, os.unlink], ids=lambda f: f.__name__.strip("_"))
def test_a_damaged_cache_is_read_anew(tmp_path, folder, damage):
    source = rich(tmp_path)
    expected = everything(coco.read(source))
    stored = next(folder.iterdir())
    for one in sorted(path.name for path in stored.iterdir()):
        damage(stored / one)
        found = coco.read(source)
        assert NOTE not in found.notes, one
        assert everything(found) == expected
        assert NOTE in coco.read(source).notes


@pytest.mark.parametrize(
    "change",
    [
        {"version": 0}, {"arrays": {}}, {"arrays": 3}, {"findings": [{"a": 1}]}, {"classes": 3}, {"skeleton": 5},
        {"key": None},
    ],
)  # fmt: skip
def test_a_cache_of_other_content_is_read_anew(tmp_path, folder, change):
    source = rich(tmp_path)
    expected = everything(coco.read(source))
    index = next(folder.iterdir()) / "index"
    _, text = index.read_text().split("\n", 1)
    for told in (json.dumps(json.loads(text) | change), "[" * 100_000):
        index.write_text(coco_cache._digest(told.encode()).decode() + "\n" + told)
        found = coco.read(source)
        assert NOTE not in found.notes
        assert everything(found) == expected


def test_offsets_that_do_not_fit_are_found(tmp_path, folder):
    """Damage that keeps the sum: two values that changed places."""
    source = rich(tmp_path)
    expected = everything(coco.read(source))
    path = next(folder.iterdir()) / "offsets.npy"
    values = np.load(path)
    values[[1, -1]] = values[[-1, 1]]
    np.save(path, values)
    found = coco.read(source)
    assert NOTE not in found.notes
    assert everything(found) == expected


def test_no_cache_is_no_fault(tmp_path, folder, monkeypatch):
    source = rich(tmp_path)
    folder.parent.mkdir(parents=True)
    folder.write_text("a file where the folder should be")
    assert everything(coco.read(source)) == everything(coco.read(source))
    assert NOTE not in coco.read(source).notes
    folder.unlink()
    monkeypatch.setattr(np, "save", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    assert everything(coco.read(source)) == everything(coco.read(source))
    assert not list(folder.iterdir())  # nothing half written


def test_small_files_are_not_stored(tmp_path, folder, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source = rich(tmp_path)
    coco.read(source)
    assert NOTE not in coco.read(source).notes
    assert not folder.exists()


def test_a_copied_set_has_a_cache_of_its_own(tmp_path, folder):
    source = rich(tmp_path)
    coco.read(source)
    shutil.copytree(source, tmp_path / "copy")
    assert NOTE not in coco.read(tmp_path / "copy").notes
    assert NOTE in coco.read(source).notes
    assert len(list(folder.iterdir())) == 2


def test_what_is_stored_is_what_was_parsed(tmp_path):
    path = rich(tmp_path) / "train.json"
    parsed = parse([path], ["train.json"])
    coco_cache.store(tmp_path / "stored", [{"name": "a"}], parsed)
    back = load(tmp_path / "stored", [{"name": "a"}])
    assert load(tmp_path / "stored", [{"name": "b"}]) is None
    assert load(tmp_path / "nothing", []) is None
    assert back.objects.digest() == parsed.objects.digest()
    assert back.findings == parsed.findings


def test_an_index_that_was_changed_by_hand_is_not_believed(tmp_path, folder):
    """It is whole JSON of the right form; only its digest tells."""
    source = rich(tmp_path)
    expected = everything(coco.read(source))
    index = next(folder.iterdir()) / "index"
    changed = index.read_bytes().replace(b'"cat"', b'"cow"')
    assert changed != index.read_bytes()
    index.write_bytes(changed)
    found = coco.read(source)
    assert NOTE not in found.notes and everything(found) == expected


def test_other_names_of_the_same_files_are_read_anew(tmp_path, folder):
    """Findings name the files as they were shown."""
    paths = [rich(tmp_path) / name for name in ("train.json", "val.json")]
    for shown, cached in ((["a", "b"], False), (["a", "b"], True), (["a", "c"], False)):
        parsed, found = coco_cache.parse_cached(paths, shown)
        assert found is cached and {one.file for one in parsed.findings} <= set(shown)


def test_what_is_written_to_while_it_is_read_is_not_stored(tmp_path, folder, monkeypatch):
    source = rich(tmp_path)

    def slow(paths, shown):
        found = parse(paths, shown)
        stat = paths[0].stat()
        os.utime(paths[0], ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
        return found

    with monkeypatch.context() as patch:
        patch.setattr(coco_cache, "parse", slow)
        coco.read(source)
    assert not folder.exists()
    assert NOTE not in coco.read(source).notes and NOTE in coco.read(source).notes

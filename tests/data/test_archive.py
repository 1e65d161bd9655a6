"""Archives are unpacked safely, once, and into the same files every time."""

import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hubel.data import archive
from hubel.data.archive import Limits, is_archive, stem, unpack
from hubel.errors import UserError

CONTENT = {"set/a/1.txt": b"one", "set/b/2.txt": b"two" * 1000, "set/README": b""}


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def files_below(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def make_tar(path, members, mode="w"):
    """members: (name, bytes) or a TarInfo."""
    with tarfile.open(path, mode) as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
                continue
            info = tarfile.TarInfo(member[0])
            info.size, info.mtime = len(member[1]), 1_500_000_000
            tar.addfile(info, io.BytesIO(member[1]))
    return path


def make_zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members:
            info = zipfile.ZipInfo(name, (2019, 5, 4, 3, 2, 0)) if isinstance(name, str) else name
            file.writestr(info, data, zipfile.ZIP_DEFLATED)
    return path


def special(kind, name, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("ending", ["tar", "tar.gz", "tar.bz2", "tar.xz", "tgz", "zip"])
def test_every_kind_gives_the_files_below_its_only_folder(tmp_path, cache, ending):
    path = tmp_path / f"photos.v2.{ending}"
    packing = {"gz": "w:gz", "tgz": "w:gz", "bz2": "w:bz2", "xz": "w:xz"}.get(ending.rpartition(".")[2], "w")
    make_zip(path, CONTENT.items()) if ending == "zip" else make_tar(path, CONTENT.items(), packing)
    before = path.read_bytes()
    assert is_archive(path)
    found = unpack(path, cache)
    assert found.folder.name == stem(path) == "photos.v2"
    assert files_below(found.folder) == {name.removeprefix("set/"): data for name, data in CONTENT.items()}
    assert str(found.folder) in found.notes[0]
    assert path.read_bytes() == before


def test_several_things_at_the_top_stay_there(tmp_path, cache):
    path = make_tar(tmp_path / "a.tar", [("x/1", b"1"), ("y/2", b"2")])
    assert set(files_below(unpack(path, cache).folder)) == {"x/1", "y/2"}
    path = make_tar(tmp_path / "b.tar", [("train/cat/1", b"1")])  # a name that says something is kept
    assert set(files_below(unpack(path, cache).folder)) == {"train/cat/1"}
    path = make_zip(tmp_path / "c.zip", [("x/1", b"1"), ("__MACOSX/x/._1", b"2")])
    assert set(files_below(unpack(path, cache).folder)) == {"1"}


def test_unpacked_once_and_again_when_it_changed(tmp_path, cache):
    path = make_tar(tmp_path / "a.tar", [("x", b"old")])
    told = []
    first = unpack(path, cache, say=told.append).folder
    inode = (first / "x").stat().st_ino
    assert unpack(path, cache, say=told.append).folder == first and (first / "x").stat().st_ino == inode
    assert len(told) == 1 and "a.tar" in told[0]
    make_tar(path, [("x", b"new, longer")])
    second = unpack(path, cache).folder
    assert second != first and (second / "x").read_bytes() == b"new, longer"
    assert not first.exists()  # superseded
    assert len(list(cache.rglob("x"))) == 1


def test_copies_long_unused_go(tmp_path, cache):
    one, other = (make_tar(tmp_path / f"{name}.tar", [("x", name.encode())]) for name in "ab")
    old = unpack(one, cache).folder
    os.utime(old.parent, (0, 0))
    fresh = unpack(other, cache).folder
    assert not old.exists() and fresh.exists()
    assert unpack(one, cache).folder == old and fresh.exists()


@pytest.mark.parametrize("ending", ["tar", "zip"])
def test_times_are_those_of_the_archive(tmp_path, cache, ending):
    make = make_tar if ending == "tar" else make_zip
    path = make(tmp_path / f"a.{ending}", [("x", b"1")])
    times = [(unpack(path, place).folder / "x").stat().st_mtime_ns for place in (cache, tmp_path / "other")]
    assert times[0] == times[1]
    assert times[0] == (1_500_000_000 if ending == "tar" else 1_556_938_920) * 10**9  # 2019-05-04 03:02 UTC


ESCAPES = ["/etc/x", "../x", "a/../../x", "..", "a/..", "\\x", "a\\..\\x", "C:x", "C:\\x"]


@pytest.mark.parametrize("name", ESCAPES)
def test_a_name_that_leads_out_refuses_all(tmp_path, cache, name):
    for path in (
        make_tar(tmp_path / "a.tar", [("good", b"1"), (name, b"evil")]),
        make_zip(tmp_path / "a.zip", [("good", b"1"), (name, b"evil")]),
    ):
        with pytest.raises(UserError, match="leads out"):
            unpack(path, cache)
        assert files_below(tmp_path).keys() == {"a.tar", "a.zip"} & {p.name for p in tmp_path.iterdir()}


@pytest.mark.parametrize("target", ["/etc/passwd", "../secret", "sub/../../secret", "gone", "self"])
@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_links_that_lead_out_are_refused(tmp_path, cache, kind, target):
    (tmp_path / "secret").write_bytes(b"s")
    path = make_tar(tmp_path / "a.tar", [("good", b"1"), special(kind, "self", target)])
    with pytest.raises(UserError, match="link"):
        unpack(path, cache)
    assert not list(cache.rglob("self")) and not list(cache.rglob("good"))


def test_a_link_to_a_folder_cannot_be_written_through(tmp_path, cache):
    path = make_tar(tmp_path / "a.tar", [special(tarfile.SYMTYPE, "d", str(tmp_path)), ("d/evil", b"1")])
    with pytest.raises(UserError, match="link"):
        unpack(path, cache)
    assert not (tmp_path / "evil").exists()


def test_links_inside_become_copies(tmp_path, cache):
    links = [special(tarfile.SYMTYPE, "b/link", "../a/1"), special(tarfile.LNKTYPE, "hard", "./a/1")]
    path = make_tar(tmp_path / "a.tar", [("a/1", b"one"), *links, special(tarfile.SYMTYPE, "twice", "b/link")])
    folder = unpack(path, cache).folder
    assert files_below(folder) == dict.fromkeys(["a/1", "b/link", "hard", "twice"], b"one")
    assert not any(p.is_symlink() for p in folder.rglob("*"))
    assert all(p.stat().st_nlink == 1 for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_devices_and_pipes_are_refused(tmp_path, cache, kind):
    path = make_tar(tmp_path / "a.tar", [("good", b"1"), special(kind, "null")])
    with pytest.raises(UserError, match="device or a pipe"):
        unpack(path, cache)


def test_links_in_zips_are_refused(tmp_path, cache):
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(UserError, match="link"):
        unpack(make_zip(tmp_path / "a.zip", [(info, b"/etc/passwd")]), cache)


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_limits(tmp_path, cache, make):
    bomb = make(tmp_path / ("a.zip" if make is make_zip else "a.tar"), [("x", bytes(2_000_000)), ("y", b"1")])
    with pytest.raises(UserError, match="stopped at 'x'"):
        unpack(bomb, cache, Limits(bytes=1_000_000))
    with pytest.raises(UserError, match="more than 1 files"):
        unpack(bomb, cache, Limits(files=1))
    if make is make_zip:
        with pytest.raises(UserError, match="stopped at 'x'"):
            unpack(bomb, cache, Limits(ratio=100, free=1000))
    assert not list(cache.rglob("x"))
    assert unpack(bomb, cache, Limits(bytes=2_000_001)).folder.is_dir()


def test_a_header_that_lies_about_the_size_is_not_believed(tmp_path, cache):
    path = make_zip(tmp_path / "a.zip", [("x", bytes(5_000_000))])
    data = path.read_bytes().replace((5_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    path.write_bytes(data)
    with pytest.raises(UserError, match="damaged"):
        unpack(path, cache)


def test_what_is_no_archive(tmp_path):
    for name, data in {"a.csv": b"file,label\n", "a.jpg": b"\xff\xd8\xff", "empty.tar": b"", "x.zip": b"junk"}.items():
        (tmp_path / name).write_bytes(data)
        assert not is_archive(tmp_path / name)
    make_zip(tmp_path / "arrays.npz", [("images.npy", b"")])
    make_zip(tmp_path / "renamed.zip", [("images.npy", b"")])
    assert not is_archive(tmp_path / "arrays.npz") and not is_archive(tmp_path / "renamed.zip")
    assert not is_archive(tmp_path) and not is_archive(tmp_path / "missing.tar")
    (tmp_path / "a.tar.zst").write_bytes(b"x")
    with pytest.raises(UserError, match="Unpack it"):
        is_archive(tmp_path / "a.tar.zst")


def test_a_failure_leaves_nothing_and_the_next_try_works(tmp_path, cache, monkeypatch):
    path = make_tar(tmp_path / "a.tar", [("x", b"1"), ("y", b"2")])
    real, calls = archive._copy, []

    def fail_at_the_second(*args):
        calls.append(1)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return real(*args)

    monkeypatch.setattr(archive, "_copy", fail_at_the_second)
    with pytest.raises(UserError, match="No space left"):
        unpack(path, cache)
    assert files_below(cache) == {}
    monkeypatch.undo()
    assert files_below(unpack(path, cache).folder) == {"x": b"1", "y": b"2"}


def test_another_process_was_faster(tmp_path, cache, monkeypatch):
    path = make_tar(tmp_path / "a.tar", [("x", b"1")])
    real = archive._write_all

    def overtaken(source, folder, limits):
        monkeypatch.setattr(archive, "_write_all", real)
        unpack(path, cache)
        real(source, folder, limits)

    monkeypatch.setattr(archive, "_write_all", overtaken)
    folder = unpack(path, cache).folder
    assert files_below(folder) == {"x": b"1"} and len(list(cache.rglob("x"))) == 1


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_archives_raise_only_user_errors(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damaged")
    kind = data.draw(st.sampled_from(["zip", "tar", "tar.gz", "tar.xz"]))
    path = folder / f"a.{kind}"
    if kind == "zip":
        make_zip(path, CONTENT.items())
    else:
        make_tar(path, CONTENT.items(), {"tar": "w", "tar.gz": "w:gz", "tar.xz": "w:xz"}[kind])
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw[: data.draw(st.integers(1, len(raw)))])
    outside = set(folder.parent.iterdir())
    try:
        if is_archive(path):
            unpack(path, folder / "cache")
    except UserError:
        pass
    assert set(folder.parent.iterdir()) == outside
    assert {p.name for p in folder.iterdir()} <= {path.name, "cache"}


@pytest.mark.data
def test_the_archives_of_the_development_sets(data_dir, cache):
    for path in sorted(p for p in data_dir.iterdir() if is_archive(p) and "cifar" not in p.name):
        folder = unpack(path, cache).folder
        assert folder.name == stem(path)
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as file:
                assert files_below(folder) == {i.filename: file.read(i) for i in file.infolist() if not i.is_dir()}
            continue
        with tarfile.open(path) as tar:
            assert files_below(folder) == {m.name: tar.extractfile(m).read() for m in tar.getmembers() if m.isfile()}


def test_stem():
    names = {"a.tar.gz": "a", "a.b.TAR": "a.b", "a.zip": "a", "noending": "noending", "x.tgz": "x"}
    assert {name: stem(Path(name)) for name in names} == names

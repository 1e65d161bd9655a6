"""What zip and tar archives hold, as one kind of thing: a name, a time, and the bytes of a plain file.

Devices, pipes and links that lead out of the archive raise UserError; a link to another member is that member's bytes.
"""

from __future__ import annotations

import calendar
import lzma
import posixpath
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from hubel.errors import UserError

FAULTS = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError, KeyError)


@dataclass(frozen=True)
class Member:
    """One file or folder of an archive."""

    name: str
    time: float  # seconds since 1970 (zip: its local time taken as UTC, so that it is the same everywhere)
    open: Callable[[], IO[bytes]] | None  # None: a folder


def is_zip(path: Path) -> bool:
    """A zip archive that is no NumPy archive."""
    if not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/")]
    except FAULTS:
        return True  # a damaged one: who opens it says so
    return not names or not all(name.endswith(".npy") for name in names)


def is_tar(path: Path) -> bool:
    """A tar archive, packed or not, with something in it."""
    try:
        with tarfile.open(path) as archive:
            return archive.next() is not None
    except (*FAULTS, OSError):
        return False


def members(path: Path) -> Iterator[Member]:
    """All of them in the archive's order; each must be read before the next is taken."""
    return _zipped(path) if zipfile.is_zipfile(path) else _tarred(path)


def _zipped(path: Path) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if info.flag_bits & 1:
                raise UserError(f"{path} is locked with a password. Unpack it yourself, and give the folder.")
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _refused(path, info.filename, "is a link or a device")
            yield Member(info.filename, _seconds(info), None if info.is_dir() else partial(archive.open, info))


def _seconds(info: zipfile.ZipInfo) -> float:
    try:
        return calendar.timegm((*info.date_time, 0, 0, 0))
    except ValueError:  # the 0th of a month
        return 0.0


def _tarred(path: Path) -> Iterator[Member]:
    with tarfile.open(path) as archive:
        for info in archive:
            when = float(min(max(info.mtime, 0), 2**32))
            if info.isdir():
                yield Member(info.name, when, None)
            elif info.isreg():
                yield Member(info.name, when, partial(_content, archive, info))
            elif info.issym() or info.islnk():
                yield Member(info.name, when, partial(_content, archive, _followed(path, archive, info)))
            else:
                raise _refused(path, info.name, "is a device or a pipe")


def _followed(path: Path, archive: tarfile.TarFile, info: tarfile.TarInfo) -> tarfile.TarInfo:
    """The plain file that a link names, in this archive. UserError where there is none."""
    first, seen = info, set()
    while info.issym() or info.islnk():
        beside = posixpath.dirname(info.name) if info.issym() else ""
        target = posixpath.normpath(posixpath.join(beside, info.linkname))
        if target.startswith(("/", "..")) or target in seen:
            raise _refused(path, first.name, f"is a link that leads out of the archive, to {info.linkname!r}")
        seen.add(target)
        found = [m for m in archive.getmembers() if posixpath.normpath(m.name) == target]
        if not found:
            raise _refused(path, first.name, f"is a link to {info.linkname!r}, which isn't in the archive")
        info = found[-1]
    if not info.isreg():
        raise _refused(path, first.name, "is a link to a folder or a device")
    return info


def _content(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    found = archive.extractfile(info)
    assert found is not None, "only plain files are asked for"
    return found


def _refused(path: Path, name: str, why: str) -> UserError:
    return UserError(
        f"{path}: the member {name!r} {why}; only files and folders are unpacked. Nothing was kept. Unpack it yourself "
        "where you trust it, and give the folder."
    )

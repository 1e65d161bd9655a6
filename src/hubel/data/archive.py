"""Archives (.zip, .tar, .tar.gz, .tar.bz2, .tar.xz) are unpacked into the user's cache, once, and opened from there.

    cache/unpacked/<hash of the archive's path>/<hash of its size, time, inode>/<stem>/…

What is written are plain files and folders below that place, nothing else: a member with an absolute name or a `..`,
a device, or a link that leads out refuses the whole archive; a link to another member becomes a copy of it. The number
of files, their bytes and the ratio to the archive's size are limited (zip bombs), by what is written and not by what
headers claim. Files get the times that the archive names, so a copy unpacked again is the same dataset.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from hubel.data.members import FAULTS, Member, is_tar, is_zip, members
from hubel.data.places import cache_folder
from hubel.errors import UserError

ENDINGS = (".tar.gz", ".tar.bz2", ".tar.xz", ".tgz", ".tbz2", ".txz", ".tar", ".zip")
UNKNOWN = (".tar.zst", ".tar.lz4", ".tzst", ".zst", ".7z", ".rar")
LITTER = ("__MACOSX", ".DS_Store")
PARTS = ("train", "training", "images")  # names that mean something, even alone at the top
BLOCK = 2**20
KEEP_DAYS = 30  # a copy that was not opened for so long goes when the next archive is unpacked


@dataclass(frozen=True)
class Limits:
    """What an archive may hold before it counts as a bomb."""

    files: int = 5_000_000
    bytes: int = 2**40
    ratio: float = 300.0  # of what is written to the archive's size; deflate alone reaches 1,000 on zeros
    free: int = 2**26  # bytes up to which the ratio does not matter


@dataclass(frozen=True)
class Unpacked:
    """Where an archive's content lies."""

    folder: Path
    notes: tuple[str, ...]


def is_archive(path: Path) -> bool:
    """Whether the file is an archive to unpack; a NumPy archive is none. UserError for kinds that can't be read."""
    if not path.is_file():
        return False
    name = path.name.lower()
    if name.endswith(UNKNOWN):
        raise UserError(f"{path} is an archive of a kind that can't be unpacked here. Unpack it, and give the folder.")
    if name.endswith(".npz"):
        return False
    return is_zip(path) or is_tar(path)


def stem(path: Path) -> str:
    """The archive's name without its ending: the name of the dataset."""
    ending = next((e for e in ENDINGS if path.name.lower().endswith(e)), path.suffix)
    return (path.name[: len(path.name) - len(ending)] if ending else path.name) or path.name


def unpack(
    path: Path, cache: Path | None = None, limits: Limits | None = None, say: Callable[[str], None] | None = None
) -> Unpacked:
    """The folder with the archive's content, named like the archive; unpacked where the cache hasn't got it yet.

    A single folder at the top is left out. `say` is told before work begins. Raises UserError for an archive that is
    damaged, unsafe or too large, and where the cache can't be written.
    """
    real = path.resolve()
    stat = real.stat()
    place = (cache or cache_folder()) / "unpacked" / _digest(os.fsencode(real))
    version = place / _digest(f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ino}".encode())
    folder = version / stem(path)
    if not folder.is_dir():
        if say is not None:
            say(f"unpacking {path.name} ({stat.st_size / 1e6:,.1f} MB) into {folder}")
        with _as_user_error(path, folder):
            _unpack_into(real, version, limits or Limits())
            _prune(version)
    with contextlib.suppress(OSError):
        os.utime(version)  # last use
    return Unpacked(folder, (f"{path.name} is unpacked in {folder}",))


@contextlib.contextmanager
def _as_user_error(path: Path, folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as fault:
        raise UserError(
            f"{path} can't be unpacked into {folder}: {fault.strerror or fault}. Free some space or set XDG_CACHE_HOME "
            "to a folder that can be written; or unpack it yourself, and give the folder."
        ) from fault


def _unpack_into(path: Path, version: Path, limits: Limits) -> None:
    """Into a temporary folder beside, renamed when whole: nobody ever sees half of it."""
    version.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=version.parent, prefix=".tmp-"))
    try:
        inside = temporary / "all"
        inside.mkdir()
        _write_all(path, inside, limits)
        top = _only_folder(inside)
        (temporary / "done").mkdir()
        top.rename(temporary / "done" / stem(path))
        with contextlib.suppress(OSError):  # another process was faster
            (temporary / "done").rename(version)
        if not version.is_dir():
            raise OSError(f"can't rename {temporary / 'done'} to {version}")
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _only_folder(folder: Path) -> Path:
    """The folder itself, or the only one in it, which an archive of a folder has."""
    entries = [entry for entry in folder.iterdir() if entry.name not in LITTER]
    alone = len(entries) == 1 and entries[0].is_dir() and entries[0].name.lower() not in PARTS
    return entries[0] if alone else folder


def _write_all(path: Path, folder: Path, limits: Limits) -> None:
    count = total = 0
    size = max(1, path.stat().st_size)
    times: list[tuple[Path, float]] = []
    space = shutil.disk_usage(folder).free
    try:
        for member in members(path):
            target = folder / _safe(path, member.name)
            count += 1
            if count > limits.files:
                raise UserError(
                    f"{path} holds more than {limits.files:,} files. Unpack it yourself, and give the folder."
                )
            if member.open is None:
                target.mkdir(parents=True, exist_ok=True)
                continue
            most = min(limits.bytes, space, int(max(size * limits.ratio, limits.free))) - total
            total += _write(path, member, target, most, size)
            times.append((target, member.time))
    except NotImplementedError as fault:
        raise UserError(f"{path}: {fault}. Unpack it yourself, and give the folder.") from fault
    except FAULTS as fault:
        raise UserError(f"{path} is damaged: {fault}. Copy or download it again.") from fault
    for target, when in times:
        with contextlib.suppress(FileNotFoundError):  # replaced by a later member
            os.utime(target, (when, when))


def _safe(path: Path, name: str) -> str:
    """A member's name as a path below the folder. UserError where it leads elsewhere."""
    parts = PurePosixPath(name).parts
    if "\0" in name or name.startswith(("/", "\\")) or ".." in parts or "\\" in name or name[1:2] == ":":
        raise UserError(
            f"{path} holds the name {name!r}, which leads out of the folder it is unpacked into. Nothing was kept; "
            "don't trust this archive."
        )
    return str(PurePosixPath(*parts))


def _write(path: Path, member: Member, target: Path, most: int, size: int) -> int:
    """Bytes written. Stops with UserError after `most`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)  # the same name twice: the last one counts, as everywhere
    assert member.open is not None
    with member.open() as source, target.open("xb") as file:
        written = _copy(source, file, most)
    if written > most:
        raise UserError(
            f"{path} ({size / 1e6:,.1f} MB) unpacks to more than the disk has room for, or to far more than images "
            f"ever do; stopped at {member.name!r}. Nothing was kept. If it is right, unpack it yourself."
        )
    return written


def _copy(source: IO[bytes], file: IO[bytes], most: int) -> int:
    written = 0
    while written <= most and (block := source.read(BLOCK)):
        file.write(block)
        written += len(block)
    return written


def _prune(version: Path) -> None:
    """Other versions of this archive go, and copies of any archive that were not opened for KEEP_DAYS."""
    for place in version.parent.parent.iterdir():
        with contextlib.suppress(OSError):  # somebody else may be pruning
            for other in list(place.iterdir()):
                idle = (time.time() - other.stat().st_mtime) / 86400
                old = place == version.parent and not other.name.startswith(".tmp-")
                if other != version and (old or idle > KEEP_DAYS):
                    shutil.rmtree(other, ignore_errors=True)
            place.rmdir()  # fails, and stays, where it is not empty


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=10).hexdigest()

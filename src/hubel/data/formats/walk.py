"""Which images lie below a folder: in natural order, by content where the name does not tell, links followed once.

Only ever reads: directories, and the headers of files without a telling name.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hubel.data.decode import BadImage, header
from hubel.errors import UserError

EXTENSIONS = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".gif", ".bmp", ".dib", ".webp", ".tif", ".tiff",
    ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".avif",
)  # fmt: skip
KNOWN_OTHERS = (
    ".txt", ".md", ".csv", ".json", ".xml", ".yaml", ".yml", ".html", ".pdf", ".zip", ".db", ".ini", ".py",
)  # fmt: skip


@dataclass
class Scan:
    """What lies under a folder, relative to the root, in natural order."""

    files: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)  # hidden, no images, broken links


def natural(name: str) -> tuple:
    """A sort key in which img2 comes before img10; ties (01, 1) by the name itself."""
    pieces = re.split(r"([0-9]+)", name)
    return tuple((0, int(p), "") if p.isdecimal() else (1, 0, p.casefold()) for p in pieces if p), name


def folders(path: Path) -> list[Path]:
    """Folders directly below, in natural order; hidden ones left out."""
    try:
        entries = [e for e in os.scandir(path) if not e.name.startswith((".", "__MACOSX")) and is_folder(e)]
    except OSError as fault:
        raise UserError(f"{path} can't be read: {os.strerror(fault.errno or 0)}. Check its permissions.") from fault
    return [Path(e.path) for e in sorted(entries, key=lambda e: natural(e.name))]


def scan(folder: Path, root: Path) -> Scan:
    """All files below `folder`, links followed, each real folder once."""
    found = Scan()
    prefix = os.path.join(root, "")  # noqa: PTH118
    for entry in walk(str(folder), above(folder)):
        (found.files if is_image(entry) else found.ignored).append(entry.path.removeprefix(prefix))
    return found


def above(folder: Path) -> set[tuple[int, int]]:
    """The folders that hold `folder`: a link back to one of them would bring its neighbours' images in."""
    found = set()
    for parent in {*folder.absolute().parents, *folder.resolve().parents}:
        with contextlib.suppress(OSError):
            stat = parent.stat()
            found.add((stat.st_dev, stat.st_ino))
    return found


def walk(folder: str, seen: set[tuple[int, int]]) -> Iterator[os.DirEntry[str]]:
    """Files in natural order. A folder that links lead to again is not walked again, so loops end."""
    try:
        stat = os.stat(folder)  # noqa: PTH116
        entries = sorted(os.scandir(folder), key=lambda e: natural(e.name))
    except OSError as fault:
        raise UserError(f"{folder} can't be read: {os.strerror(fault.errno or 0)}. Check its permissions.") from fault
    here = (stat.st_dev, stat.st_ino)
    if here in seen:
        return
    seen.add(here)
    for entry in entries:
        if not is_folder(entry):
            yield entry
        elif not entry.name.startswith((".", "__MACOSX")):
            yield from walk(entry.path, seen)


def is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that points at itself
        return False


def is_image(entry: os.DirEntry[str]) -> bool:
    """By extension where it is a known one; a file without a telling name is looked into."""
    name = entry.name.lower()
    try:
        if name.startswith(".") or not entry.is_file():  # is_file is False for pipes, devices and broken links
            return False
    except OSError:
        return False
    if name.endswith(EXTENSIONS):
        return True
    if name.endswith(KNOWN_OTHERS):
        return False
    try:
        header(entry.path)
    except BadImage as fault:
        return fault.reason.startswith("too large")
    return True


def has_images(folder: Path) -> bool:
    return any(is_image(entry) for entry in walk(str(folder), above(folder)))

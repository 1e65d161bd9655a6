"""Names that a data set's own files give: looked for below its root only, wherever `..`, `/` or links point.

Nothing outside is opened, not even asked for its size. Backslashes, as Windows writes them, part folders too.
"""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from collections.abc import Iterator
from pathlib import Path


def printable(name: str) -> str:
    """A file name as text: bytes that are not UTF-8 are shown as \\xNN."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


class Fence:
    """Which names lie below `root`. Paths that it gives are relative to the root, parted by /."""

    def __init__(self, root: str | Path):
        self.root, self._given = os.path.realpath(root), os.path.abspath(root)  # noqa: PTH100, as links lead, and as said
        self._within = os.path.join(self.root, "")  # noqa: PTH118
        self._folders: dict[str, bool] = {}  # real folder inside? asked once for each
        self._listed: dict[str, dict[str, str]] = {}  # {a way to spell a name: the name} of folders, asked once

    def relative(self, name: str, base: str = "") -> str | None:
        """`name`, said by a file in the folder `base` -> relative to the root; None where it leads outside."""
        if "\0" in name or re.match(r"[A-Za-z]:/", name):
            return None
        if os.path.isabs(name):  # noqa: PTH117
            plain = os.path.normpath(name)
            tops = [top for top in (self.root, self._given) if plain == top or plain.startswith(f"{top.rstrip('/')}/")]
            return os.path.relpath(plain, tops[0]) if tops else None
        found = os.path.normpath(os.path.join(base, name))  # noqa: PTH118
        return None if found == ".." or found.startswith("../") else found

    def inside(self, relative: str) -> bool:
        """Whether the path lies below the root when all links are followed. There may be nothing there."""
        path = os.path.join(self.root, relative)  # noqa: PTH118, hot: a Path per file is slow
        folder = os.path.dirname(path)  # noqa: PTH120
        if folder not in self._folders:
            self._folders[folder] = self._contains(os.path.realpath(folder))
        if not self._folders[folder]:
            return False
        return not os.path.islink(path) or self._contains(os.path.realpath(path))  # noqa: PTH114

    def _contains(self, real: str) -> bool:
        return real == self.root or real.startswith(self._within)

    def fault(self, relative: str) -> str:
        """Why the path may not be opened as a file, or "": "outside", "missing", "no file"."""
        if not self.inside(relative):
            return "outside"
        try:
            mode = os.stat(os.path.join(self.root, relative)).st_mode  # noqa: PTH116, PTH118
        except (OSError, ValueError):
            return "missing"
        return "" if stat.S_ISREG(mode) else "no file"

    def find(self, name: str, *bases: str) -> tuple[str | None, str]:
        """The first of `bases` below which the name exists: (path, ""), or (None, why not).

        A path of another machine, `C:\\data\\train\\a.jpg` or `../train/images`, is found by its end: the longest
        that exists below one of the bases; the second value is then "moved". Where only the spelling differs
        (`A.JPG` and `a.jpg`, or an umlaut as one character and as two) it is "spelt".
        """
        why = "outside"
        for spelt in (name, name.replace("\\", "/")) if "\\" in name else (name,):
            for base in bases:
                relative = self.relative(spelt, base)
                if relative is not None and self.inside(relative):
                    if self._exists(relative):
                        return relative, ""
                    why = "missing"
        plain = name.replace("\\", "/")
        for base in bases:
            relative = self.relative(plain, base)
            nearly = self.spelt(relative) if relative is not None else None
            if nearly is not None and self.inside(nearly):
                return nearly, "spelt"
        for tail in _tails(plain):
            for base in bases:
                relative = self.relative(tail, base)
                if relative is not None and self.inside(relative) and self._exists(relative):
                    return relative, "moved"
        return None, why

    def spelt(self, relative: str) -> str | None:
        """The path that is there, where capitals or the form of accents may differ; None where none is."""
        found = ""
        for part in relative.split("/"):
            if found not in self._listed:
                self._listed[found] = _spellings(os.path.join(self.root, found)) if self._is_inside(found) else {}  # noqa: PTH118
            known = self._listed[found].get(part) or self._listed[found].get(_plain(part))
            if known is None:
                return None
            found = f"{found}/{known}" if found else known
        return found

    def _is_inside(self, folder: str) -> bool:
        return self.inside(f"{folder}/x" if folder else "x")

    def kinds(self, folder: str) -> dict[str, str] | None:
        """{name: "file" | "link" | "no file"} of all in a folder, by listing it; {} where it can't be listed, None
        where it is outside. With 100,000 files far faster than asking for each."""
        if not self._is_inside(folder if folder != "." else ""):  # the folder itself may be a link
            return None
        try:
            with os.scandir(os.path.join(self.root, folder)) as entries:  # noqa: PTH118
                return {e.name: "link" if e.is_symlink() else "file" if e.is_file() else "no file" for e in entries}
        except (OSError, ValueError):
            return {}

    def _exists(self, relative: str) -> bool:
        try:
            return os.path.exists(os.path.join(self.root, relative))  # noqa: PTH110, PTH118
        except ValueError:
            return False


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _spellings(folder: str) -> dict[str, str]:
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208
    except (OSError, ValueError):
        return {}
    return {_plain(name): name for name in names} | {name: name for name in names}


def _tails(name: str) -> Iterator[str]:
    """a/b/c -> b/c, c; without the `..` at the beginning."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    for start in range(1, len(parts)):
        if ".." not in parts[start:]:
            yield "/".join(parts[start:])

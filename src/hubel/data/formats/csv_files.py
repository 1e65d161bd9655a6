"""From cells that name images to files below the root: as written, in a folder below, or without their ending.

Which of these holds is found on a sample, and said; a cell is then looked for in those places only.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from hubel.data.formats.fence import Fence
from hubel.data.formats.walk import EXTENSIONS
from hubel.data.images import evenly

SAMPLE = 48
ADDED = (".jpg", ".png", ".jpeg", ".JPG", ".tif", ".tiff", ".bmp", ".webp", ".gif")
MOST_FOLDERS = 100


@dataclass
class Finder:
    """Where the cells of a column are looked for."""

    fence: Fence
    folders: tuple[str, ...]  # relative to the root, "" the root itself: in this order
    ending: str = ""  # added to every name
    share: float = 0.0  # of the sample that was found
    moved: int = 0  # found by the end of their path only
    spelt: int = 0  # found with other capitals, or another form of accents

    def find(self, cell: str) -> tuple[str | None, str]:
        """(relative path, "") or (None, why not): "outside", "missing", "no file"."""
        found, why = self.fence.find(cell + self.ending, *self.folders)
        if found is None:
            return None, why
        fault = self.fence.fault(found)
        self.moved += why == "moved" and not fault
        self.spelt += why == "spelt" and not fault
        return (None, fault) if fault else (os.path.normpath(found), "")

    def notes(self) -> list[str]:
        notes = []
        if self.folders != ("",):
            notes.append(f"file names are relative to {' and '.join(f or 'the root' for f in self.folders)}")
        if self.ending:
            notes.append(f"file names are given without their ending {self.ending}")
        if self.moved:
            notes.append(f"{self.moved:,} paths are of another place; their files were found by the end of the path")
        if self.spelt:
            notes.append(f"{self.spelt:,} names are spelt otherwise than their files: capitals, or the form of accents")
        return notes


def finder(fence: Fence, cells: Sequence[str], below: Sequence[str]) -> Finder:
    """How most of the cells name files. `below` are folders that they may be in."""
    sample = [cells[i] for i in evenly(len(cells), SAMPLE) if cells[i] and len(cells[i]) < 4096]
    bare = not any(cell.lower().endswith(EXTENSIONS) for cell in sample)
    best = Finder(fence, ("",))
    for ending in ("", *ADDED) if bare else ("",):
        found: dict[str, int] = {}
        for cell in sample:
            place = next((f for f in ("", *below) if _there(fence, cell + ending, f)), None)
            if place is not None:
                found[place] = found.get(place, 0) + 1
        share = sum(found.values()) / max(1, len(sample))
        if share > best.share:
            best = Finder(fence, tuple(sorted(found, key=lambda f: -found[f])), ending, share)
    if not best.share:  # paths of another machine
        probe = Finder(fence, ("", *below))
        best.share = sum(probe.find(cell)[0] is not None for cell in sample) / max(1, len(sample))
        best = Finder(fence, probe.folders, "", best.share) if best.share else best
    return best


def _there(fence: Fence, name: str, base: str) -> bool:
    relative = fence.relative(name, base)
    if relative is None or not fence.inside(relative):
        return False
    if not fence.fault(relative):
        return True
    nearly = fence.spelt(relative)
    return nearly is not None and not fence.fault(nearly)


def folders_below(root: str) -> list[str]:
    """Folders of the root and of these, relative to it; so many at most that looking stays cheap."""
    found: list[str] = []
    level = [""]
    for _ in range(2):
        below: list[str] = []
        for one in level:
            try:
                with os.scandir(os.path.join(root, one)) as entries:  # noqa: PTH118
                    names = sorted(e.name for e in entries if not e.name.startswith((".", "__MACOSX")) and e.is_dir())
            except OSError:
                continue
            below += [os.path.join(one, name) for name in names]  # noqa: PTH118
        level = below[: MOST_FOLDERS - len(found)]
        found += level
    return found

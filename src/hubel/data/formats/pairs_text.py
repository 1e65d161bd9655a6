"""Files of pairs to names of images and back: CSV with two columns of files, or pairs.txt as LFW writes it."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hubel.data.findings import Finding
from hubel.data.formats.csv_columns import plain
from hubel.data.formats.csv_files import Finder, finder, folders_below
from hubel.data.formats.csv_text import Table, glance, read_table
from hubel.data.formats.csv_values import NO, YES
from hubel.data.formats.fence import Fence, printable
from hubel.data.formats.layout import Gathered, refusal
from hubel.errors import UserError

FIRST = ("image_1", "image1", "img_1", "img1", "image_a", "file_1", "file1", "path_1", "path1", "left", "first", "a")
SECOND = ("image_2", "image2", "img_2", "img2", "image_b", "file_2", "file2", "path_2", "path2", "right", "second", "b")
SAME = ("same", "is_same", "issame", "match", "label", "target", "is_match", "genuine", "y", "class")
SAYS_SAME, SAYS_OTHER = (*YES, "same", "match", "genuine"), (*NO, "different", "other", "impostor", "-1")
LFW_HEAD = re.compile(r"\d{1,9}([ \t]+\d{1,9})?\s*")
ENDINGS = (".jpg", ".png", ".jpeg")


@dataclass
class Pairs:
    """Pairs of file names below the root, as a file gives them."""

    left: list[str] = field(default_factory=list)
    right: list[str] = field(default_factory=list)
    same: list[int] = field(default_factory=list)
    folds: list[int] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def add(self, files: Sequence[str | None], same: bool, fold: int = 0) -> None:
        """A pair, where both files are there."""
        if files[0] is not None and files[1] is not None:
            self.left.append(files[0])
            self.right.append(files[1])
            self.same.append(int(same))
            self.folds.append(fold)

    def refuse(self, kind: str, file: str, reason: str, line: int) -> None:
        self.findings.append(Finding(kind, file, reason, "Correct the line.", line, severity="error"))


def file_of(path: Path) -> Path | None:
    """The file of pairs: the path itself, or the only one directly in the folder."""
    if path.is_file():
        return path if is_pairs(path) else None
    if not path.is_dir():
        return None
    found = [f for f in path.iterdir() if f.suffix.lower() in (".csv", ".tsv", ".txt") and f.is_file() and is_pairs(f)]
    return found[0] if len(found) == 1 else None


def read_pairs(file: Path, root: Path) -> Pairs:
    """The pairs of either kind of file, as names below the root; lines that can't be used become findings."""
    if _is_lfw(file):
        return _read_lfw(file, root)
    table = read_table(file, printable(file.name))
    return _read_csv(table, root)


def is_pairs(file: Path) -> bool:
    if _is_lfw(file):
        return True
    table = glance(file) if file.suffix.lower() != ".txt" else None
    if table is None or not table.rows or (places_ := _columns(table)) is None:
        return False
    fence = Fence(file.parent)
    return all(finder(fence, table.column(c), folders_below(fence.root)).share > 0 for c in places_[:2])


def _columns(table: Table) -> tuple[int, int, int] | None:
    names = [plain(name) for name in table.header]
    found = [next((names.index(w) for w in words if w in names), -1) for words in (FIRST, SECOND, SAME)]
    return None if -1 in found else (found[0], found[1], found[2])


def _read_csv(table: Table, root: Path) -> Pairs:
    where = _columns(table)
    if where is None:
        raise UserError(f"{table.file} has no columns such as image_1, image_2 and same.")
    fence = Fence(root)
    finders = [finder(fence, table.column(c), folders_below(fence.root)) for c in where[:2]]
    found = Pairs(findings=list(table.findings))
    for r, row in enumerate(table.rows):
        word = row[where[2]].lower()
        files = [_named(one, row[c], table, r, found) for one, c in zip(finders, where[:2], strict=True)]
        if word not in SAYS_SAME and word not in SAYS_OTHER:
            found.refuse("not 0 or 1", table.file, f"'{row[where[2]]}' is neither 1 (same) nor 0", table.lines[r])
        else:
            found.add(files, word in SAYS_SAME)
    return found


def _named(one: Finder, cell: str, table: Table, r: int, found: Pairs) -> str | None:
    name, why = one.find(cell) if cell else (None, "missing")
    if name is None:
        found.findings.append(refusal(cell, why, table.file, table.lines[r]))
    return name


def _is_lfw(file: Path) -> bool:
    """A first line with one or two numbers, and a second one of a name and two numbers."""
    if file.suffix.lower() != ".txt":
        return False
    try:
        with file.open("rb") as stream:
            head = stream.read(4096).decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        return False
    return len(head) > 1 and LFW_HEAD.fullmatch(head[0]) is not None and _lfw_line(head[1]) is not None


def _lfw_line(line: str) -> tuple[str, int, str, int] | None:
    """name number name number, the second name the same where the line has three words."""
    words = line.split("\t") if "\t" in line else line.split()
    if len(words) not in (3, 4) or not all(re.fullmatch(r"\d{1,9}", words[k].strip(), re.ASCII) for k in (1, -1)):
        return None
    return words[0], int(words[1]), words[0] if len(words) == 3 else words[2], int(words[-1])


def _read_lfw(file: Path, root: Path) -> Pairs:
    try:
        lines = file.read_bytes().decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as fault:
        raise UserError(f"{file} is not UTF-8 text. Save it as UTF-8.") from fault
    head = [int(word) for word in lines[0].split()]
    folds, each = (head[0], head[1]) if len(head) == 2 else (1, head[0])
    fence, found = Fence(root), Pairs()
    bases = ("", *folders_below(fence.root))
    for number, line in enumerate(lines[1:], start=2):
        pair = _lfw_line(line.rstrip("\r"))
        if pair is None and line.strip():
            reason = "expected a name and two numbers, or two names with a number each"
            found.refuse("broken line", printable(file.name), reason, number)
        if pair is None:
            continue
        files = [_lfw_file(fence, name, k, bases) for name, k in (pair[:2], pair[2:])]
        for (name, k), there in zip((pair[:2], pair[2:]), files, strict=True):
            if there is None:
                found.findings.append(refusal(f"{name}/{name}_{k:04d}.jpg", "missing", printable(file.name), number))
        found.add(files, pair[0] == pair[2], 1 + (number - 2) // (2 * each) if folds > 1 and each else 0)
    return found


def _lfw_file(fence: Fence, name: str, k: int, bases: tuple[str, ...]) -> str | None:
    for ending in ENDINGS:
        relative, why = fence.find(f"{name}/{name}_{k:04d}{ending}", *bases)
        if relative is not None and why == "" and not fence.fault(relative):
            return relative
    return None


def positions_of(pairs: Pairs, gathered: Gathered) -> np.ndarray:
    """(P, 3) int64 image, image, same; −1 for an image that is not among those gathered."""
    left, right = ([gathered.positions.get(name, -1) for name in names] for names in (pairs.left, pairs.right))
    return np.stack([left, right, pairs.same], axis=1).astype(np.int64).reshape(-1, 3)


def write_table(path: Path, pairs: np.ndarray, names: list[str]) -> None:
    """pairs (P, 3) as lines image_1,image_2,same."""
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("image_1", "image_2", "same"))
        rows.writerows((names[a], names[b], same) for a, b, same in pairs.tolist())

"""Cells to annotations: names to numbers of classes, several names in a cell, 0 and 1, decimal numbers.

What can't be understood is a fault (row, kind, reason, what to do); the caller turns it into a finding with file and
line. R cells, K classes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hubel.data.formats.walk import natural

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|nan|[+-]?inf(inity)?", re.ASCII | re.IGNORECASE)
WHOLE = re.compile(r"[+-]?\d{1,18}", re.ASCII)
YES, NO = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no")
MINUS = ("-1", "-1.0")  # unknown beside 0 and 1, and "no" where nothing else says it
UNKNOWN = ("", *MINUS, "nan", "?")
SEPARATORS = ("|", ";")


@dataclass(frozen=True)
class Fault:
    """Something wrong in the cell of row `row`."""

    row: int
    kind: str
    reason: str
    action: str
    severity: str = "error"  # "error": the image takes no part


@dataclass
class Values:
    """Annotations (R, …) by name, and how they were read."""

    columns: dict[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


def is_number(cell: str) -> bool:
    return NUMBER.fullmatch(cell) is not None


def has_fraction(cell: str) -> bool:
    """A number that is not whole."""
    return is_number(cell) and not float(cell).is_integer()


def separator_of(cells: Sequence[str], plural: bool, asked: str) -> tuple[str, str]:
    """What parts the names in a cell, "" for nothing, and the reason to say.

    A bar or semicolon always does. A comma or a space only where the column's name is a plural, or all parts are
    whole numbers: "golden retriever" and "tench, Tinca tinca" are one class each.
    """
    if asked:
        return asked, f"'{asked}' parts several labels in a cell, as asked"
    for mark in SEPARATORS:
        count = sum(mark in cell for cell in cells)
        if count:
            return mark, f"'{mark}' parts several labels in a cell ({count:,} cells have it)"
    for mark, word in ((",", "comma"), (" ", "space")):
        having = [cell for cell in cells if mark in cell]
        if having and plural:
            return mark, f"a {word} parts several labels in a cell ({len(having):,} cells; the column is called so)"
        if having and all(WHOLE.fullmatch(part.strip()) for cell in having for part in cell.split(mark)):
            return mark, f"a {word} parts several labels in a cell ({len(having):,} cells, all of whole numbers)"
    return "", ""


def one_label(cells: Sequence[str], known: Sequence[str]) -> Values:
    """(R,) int64 numbers of classes; −1 where there is none, or an unknown one. `known` lists classes in order."""
    names, numbers, shown = _classes(cells, known)
    label = np.array([numbers.get(cell, -1) for cell in cells], dtype=np.int64).reshape(-1)
    found = Values({"label": label}, names, shown)
    for r in np.flatnonzero(label < 0).tolist():
        found.faults.append(_no_class(r, cells[r]))
    return found


def several_labels(cells: Sequence[str], known: Sequence[str], mark: str) -> Values:
    """(R, K) float32 of 0 and 1. An empty cell has no label at all, which is said."""
    split = [[part for part in (p.strip() for p in cell.split(mark)) if part] for cell in cells]
    names, numbers, shown = _classes([part for parts in split for part in parts], known)
    labels = np.zeros((len(cells), len(names)), np.float32)
    found = Values({"labels": labels}, names, shown)
    for r, parts in enumerate(split):
        for part in parts:
            if part in numbers:
                labels[r, numbers[part]] = 1
            else:
                found.faults.append(_no_class(r, part))
    empty = [r for r, parts in enumerate(split) if not parts]
    action = "Give it a label, or leave it: it is read as having none."
    found.faults += [Fault(r, "empty label", "no label in the cell", action, "warning") for r in empty]
    return found


def hot_labels(table: Sequence[Sequence[str]], names: tuple[str, ...]) -> Values:
    """R rows of K cells of 0 and 1 -> (R, K) float32; NaN where a cell says nothing. One 1 in each row: label, too."""
    labels = np.full((len(table), len(names)), np.nan, np.float32)
    found = Values({"labels": labels}, names)
    seen = {cell.lower() for row in table for cell in row}
    signs = not seen & set(NO) and bool(seen & set(MINUS)) and bool(seen & set(YES))
    if signs:
        found.notes.append("1 and -1: -1 means no, since there is no 0")
    for r, row in enumerate(table):
        for k, cell in enumerate(row):
            low = cell.lower()
            if low in YES:
                labels[r, k] = 1
            elif low in NO or (signs and low in MINUS):
                labels[r, k] = 0
            elif low not in UNKNOWN:
                reason = f"'{cell}' for {names[k]}, expected 0, 1 or nothing"
                found.faults.append(Fault(r, "not 0 or 1", reason, "Write 0 or 1.", "warning"))
    unknown = int(np.isnan(labels).sum())
    if unknown:
        found.notes.append(f"{unknown:,} cells say neither 0 nor 1: unknown")
    if len(labels) and (labels.sum(axis=1) == 1).all():
        found.columns["label"] = labels.argmax(axis=1).astype(np.int64)
        found.notes.append(f"{len(names)} columns of 0 and 1, one 1 in each row: one of {len(names)} classes")
    else:
        found.notes.append(f"{len(names)} columns of 0 and 1: several labels per image")
    return found


def numbers(
    table: Sequence[Sequence[str]], names: Sequence[str], dtype: Any = np.float32
) -> tuple[np.ndarray, list[Fault]]:
    """R rows of D cells -> (R, D); NaN with a fault where a cell is no number."""
    values = np.full((len(table), len(names)), np.nan, np.float64)
    faults = []
    for r, row in enumerate(table):
        for d, cell in enumerate(row):
            if is_number(cell):
                values[r, d] = float(cell)
            else:
                faults.append(_no_number(r, cell, names[d]))
    return values.astype(dtype), faults


def whole_numbers(cells: Sequence[str]) -> np.ndarray:
    """(R,) int64: the numbers in the cells, or, where one is none, numbers for the words in natural order."""
    if all(WHOLE.fullmatch(cell) for cell in cells):
        return np.array([int(cell) for cell in cells], dtype=np.int64).reshape(-1)
    order = {word: k for k, word in enumerate(sorted(set(cells), key=natural))}
    return np.array([order[cell] for cell in cells], dtype=np.int64)


def _classes(cells: Sequence[str], known: Sequence[str]) -> tuple[tuple[str, ...], dict[str, int], list[str]]:
    """Names in order (as listed, else natural), the number of each spelling, and notes."""
    spell: Callable[[str], str] = str
    found = {cell for cell in cells if cell}
    if not known and found and all(is_number(cell) and float(cell).is_integer() for cell in found):
        spell = _whole  # 3.0, as a table with gaps writes 3
    names = tuple(known) or tuple(sorted({spell(cell) for cell in found}, key=natural))
    number = {name: k for k, name in enumerate(names)}
    notes = [] if spell is str else [f"{len(names)} classes, which are whole numbers"]
    return names, {cell: number[spell(cell)] for cell in found if spell(cell) in number}, notes


def _whole(cell: str) -> str:
    return cell if WHOLE.fullmatch(cell) else str(int(float(cell)))


def _no_class(r: int, cell: str) -> Fault:
    if not cell:
        return Fault(r, "empty label", "no label in the cell", "Give the image a label, or remove the line.")
    return Fault(r, "unknown class", f"'{cell}' is not listed in classes.txt", "Correct the name, or add it there.")


def _no_number(r: int, cell: str, name: str) -> Fault:
    if re.fullmatch(r"[+-]?\d+,\d+", cell):
        return Fault(r, "not a number", f"'{cell}' for {name} has a decimal comma", "Write a decimal point.")
    shown = f"'{cell}'" if cell else "nothing"
    return Fault(r, "not a number", f"{shown} for {name}, expected a number", "Give a number such as 3 or -0.25.")

"""What the rows of a CSV table say of their images: labels or numbers, one row an image; or objects, a row for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hubel.data.formats.csv_columns import PLURAL, PREFIX, Asked, named, plain
from hubel.data.formats.csv_rows import Rows
from hubel.data.formats.csv_values import (
    NO,
    UNKNOWN,
    YES,
    Fault,
    Values,
    has_fraction,
    hot_labels,
    is_number,
    numbers,
    one_label,
    separator_of,
    several_labels,
)  # fmt: skip
from hubel.data.images import PackedNames
from hubel.data.objects import Objects
from hubel.errors import UserError

MANY = 0.1  # of the images have lines with different labels: then each line gives one of several labels
JOINT = "\0"  # between labels of several lines


def targets_of(rows: Rows, known: Sequence[str], asked: Asked) -> Values:
    """Labels and numbers of the N images. Raises UserError where the columns left could be anything."""
    columns, table = rows.columns, rows.table
    if columns.label < 0 and not columns.hot and not columns.numbers:
        _use_rest(rows)
    elif columns.label >= 0 and not asked.label and _fractions(rows.cells(columns.label), known):
        columns.numbers, columns.label = [columns.label, *columns.numbers], -1
    found = Values()
    together = _check_again(rows)
    if columns.numbers:
        cells = [[table.rows[r][c] for c in columns.numbers] for r in rows.first.tolist()]
        found.columns["numbers"], found.faults = numbers(cells, [table.header[c] for c in columns.numbers])
        found.faults += _not_finite(found.columns["numbers"], found.faults)
    for part in _label_parts(rows, known, asked, together):
        found.columns = part.columns | found.columns
        found.classes = found.classes or part.classes
        found.notes += part.notes
        found.faults += part.faults
    rows.tell_all(found.faults, rows.first)
    if "label" in found.columns:
        found.columns["label"] = np.maximum(found.columns["label"], 0)  # those without one take no part
    return found


def _label_parts(rows: Rows, known: Sequence[str], asked: Asked, together: list[str]) -> list[Values]:
    columns, table, found = rows.columns, rows.table, []
    if columns.hot:
        marks = [[table.rows[r][c] for c in columns.hot] for r in rows.first.tolist()]
        found.append(hot_labels(marks, tuple(table.header[c].removeprefix(PREFIX) for c in columns.hot)))
    if columns.label >= 0:
        for one in found:  # what a column of its own says counts, not what the 0 and 1 would mean
            one.columns.pop("label", None)
        cells = rows.cells(columns.label)
        plural = plain(table.header[columns.label]) in PLURAL
        whole = columns.identities or (_names(cells, known) and not asked.separator)
        mark, why = ("", "") if whole else separator_of(cells, plural, asked.separator)
        if together:
            cells, mark, why = together, JOINT, "several lines for an image give its several labels"
        found.append(several_labels(cells, known, mark) if mark else one_label(cells, known))
        found[-1].notes += [why] if why else _many_classes(table.header[columns.label], found[-1], len(cells))
    return found


def _many_classes(name: str, found: Values, count: int) -> list[str]:
    if count > 4 and len(found.classes) > count / 2 and all(is_number(one) for one in found.classes):
        many = f"'{name}' has {len(found.classes):,} different whole numbers, read as classes"
        return [f"{many}; if they are to be predicted, say numbers={name}"]
    return []


def _names(cells: Sequence[str], known: Sequence[str]) -> bool:
    """Whether every cell is a listed class as it is, whatever it looks like."""
    listed = set(known)
    return bool(known) and all(cell in listed for cell in cells if cell)


def _fractions(cells: Sequence[str], known: Sequence[str]) -> bool:
    """Whether all cells that say something are numbers, and some are not whole."""
    full = [cell for cell in cells if cell]
    return (
        not _names(cells, known) and all(is_number(cell) for cell in full) and any(has_fraction(cell) for cell in full)
    )


def _use_rest(rows: Rows) -> None:
    """No name tells what is to be learnt: columns of 0 and 1, or of numbers, or the only one left."""
    columns, table = rows.columns, rows.table
    cells = {c: rows.cells(c) for c in columns.unused}
    if not cells:
        rows.notes.append("no column with labels")
        return
    rest = [*cells]
    if len(rest) > 1 and all(cell.lower() in (*YES, *NO, *UNKNOWN) for one in cells.values() for cell in one):
        columns.hot = rest
    elif all(is_number(cell) for one in cells.values() for cell in one if cell) and (
        len(rest) > 1 or any("." in cell or "e" in cell.lower() for cell in cells[rest[0]])
    ):
        columns.numbers = rest
    elif len(rest) == 1:
        columns.label = rest[0]
    else:
        raise UserError(
            f"{table.file} has the columns {named(table, rest)}, and none is called label. Say which holds the labels "
            f"with label={table.header[rest[0]]}, or numbers to predict with numbers=…"
        )
    columns.unused = []
    rows.notes.append(f"by its values, {named(table, rest)} is what is to be learnt")


def _not_finite(values: np.ndarray, faults: list[Fault]) -> list[Fault]:
    told = {fault.row for fault in faults}
    bad = [int(r) for r in np.flatnonzero(~np.isfinite(values).all(1)) if r not in told]
    return [Fault(r, "not a number", "a number to predict is not finite", "Give a finite number.") for r in bad]


def _check_again(rows: Rows) -> list[str]:
    """Images with several lines: names repeats and contradictions. N cells joined where lines give several labels."""
    columns, table = rows.columns, rows.table
    told = [c for c in (columns.label, *columns.hot, *columns.numbers) if c >= 0]
    again = np.setdiff1d(np.flatnonzero(rows.at >= 0), rows.first)
    other = [r for r in again.tolist() if any(table.rows[r][c] != table.rows[rows.first[rows.at[r]]][c] for c in told)]
    if columns.label >= 0 and len(set(rows.at[other].tolist())) > max(1, MANY * len(rows.names)):
        cells: list[list[str]] = [[] for _ in rows.names]
        for r in np.flatnonzero(rows.at >= 0).tolist():
            cells[rows.at[r]].append(table.rows[r][columns.label])
        return [JOINT.join(one) for one in cells]
    differing = set(other)
    for r in again.tolist():
        line = table.lines[rows.first[rows.at[r]]]
        same = r not in differing
        label = "the same label" if same else "another label"
        reason = f"{table.rows[r][columns.image]} stands in line {line} already, with {label}"
        kind, action = ("listed twice", "Remove one line.") if same else ("conflicting labels", "Keep the right line.")
        rows.told(Fault(0, kind, reason, action, "warning" if same else "error"), r)
    return []


# Objects ---------------------------------------------------------------------------------------------------------


def objects_of(rows: Rows, known: Sequence[str], asked: Asked) -> Values:
    """A box in each row; a row with an empty box and no label says that the image has no object."""
    columns, table = rows.columns, rows.table
    told = [c for c in (*columns.box, columns.label) if c >= 0]
    used = np.array([r for r in np.flatnonzero(rows.at >= 0) if any(table.rows[r][c] for c in told)], dtype=np.int64)
    cells = [table.rows[r] for r in used.tolist()]
    corners = [[row[c] for c in columns.box] for row in cells]
    values, faults = numbers(corners, [table.header[c] for c in columns.box], np.float64)
    boxes = values.reshape(-1, 4)
    if columns.sized:
        boxes[:, 2:] += boxes[:, :2]
    if columns.label >= 0:
        found = one_label([row[columns.label] for row in cells], known)
    else:
        found = Values({"label": np.zeros(len(used), np.int64)}, tuple(known[:1]) or ("object",))
        found.notes.append(f"no column with labels: all boxes are '{found.classes[0]}'")
    rows.tell_all([*faults, *found.faults], used)
    found.columns = {"objects": _pack(rows, used, boxes, found.columns["label"])}
    found.notes.append(f"{len(used):,} boxes")
    return found


def _pack(rows: Rows, used: np.ndarray, boxes: np.ndarray, labels: np.ndarray) -> Objects:
    table = rows.table
    flags = np.zeros(len(used), np.uint8)
    for c, bit in rows.columns.flags.items():
        flags |= np.array([bit * (table.rows[r][c].lower() in YES) for r in used.tolist()], np.uint8)
    packed = Objects.unsorted(
        rows.at[used],
        len(rows.names),
        boxes=boxes,
        labels=labels,
        flags=flags if flags.any() else np.empty(0),
        lines=np.array([table.lines[r] for r in used.tolist()], dtype=np.int64),
    )
    return replace(packed, files=PackedNames.pack([table.place(r) for r in rows.first.tolist()]))

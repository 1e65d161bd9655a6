"""Rows of a CSV table to images: which file each row names, which part, group and weight each image has.

R rows, N images in order of their first row.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from hubel.data.dataset import SPLITS
from hubel.data.findings import Finding
from hubel.data.formats.csv_columns import Columns
from hubel.data.formats.csv_text import Table
from hubel.data.formats.csv_values import Fault, numbers, whole_numbers
from hubel.data.formats.layout import PART_NAMES, refusal


@dataclass
class Rows:
    """A table with the image of each row."""

    table: Table
    columns: Columns
    names: list[str]  # N files, relative to the root
    at: np.ndarray  # (R,) int64: the image of each row; −1 where none is there
    first: np.ndarray  # (N,) int64: the first row of each image
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def cells(self, c: int) -> list[str]:
        """Column c in the first row of each image."""
        return [self.table.rows[r][c] for r in self.first.tolist()]

    def told(self, fault: Fault, row: int) -> None:
        """A fault in a row of the table becomes a finding."""
        place, line, image = self.table.place(row), self.table.lines[row], int(self.at[row])
        self.findings.append(Finding(fault.kind, place, fault.reason, fault.action, line, image, fault.severity))

    def tell_all(self, faults: list[Fault], rows: np.ndarray) -> None:
        """Faults whose row counts within `rows`."""
        for fault in faults:
            self.told(fault, int(rows[fault.row]))

    def splits(self) -> dict[str, np.ndarray]:
        """Positions of each part; {} where no cell names one."""
        c = self.columns.roles.get("split", -1)
        if c < 0:
            return {}
        cells = self.cells(c)
        parts = np.array([PART_NAMES.get(cell.lower(), "") for cell in cells])
        if not (parts != "").any():
            self.notes.append(f"'{self.table.header[c]}' names no parts such as train, dev and test: not used")
            return {}
        for k in np.flatnonzero(parts == "").tolist():
            if cells[k]:
                reason, action = f"'{cells[k]}' is no part; expected train, dev (or val) or test", "Correct the word."
                self.told(Fault(0, "unknown part", f"{reason}: the image is in none", action, "warning"), self.first[k])
        self._name_other_parts(c, cells)
        return {part: np.flatnonzero(parts == part) for part in SPLITS if (parts == part).any()}

    def _name_other_parts(self, c: int, cells: list[str]) -> None:
        """An image whose rows name several parts: the first one counts."""
        for r in np.flatnonzero(self.at >= 0).tolist():
            one, first = self.table.rows[r][c].lower(), cells[self.at[r]].lower()
            if PART_NAMES.get(one, one) != PART_NAMES.get(first, first):
                reason = f"'{self.table.rows[r][c]}', but '{cells[self.at[r]]}' in the image's first line"
                action = "Keep each image in one part only: scores would be too good."
                self.told(Fault(0, "in two parts", reason, action, "warning"), r)

    def weights(self) -> np.ndarray:
        """(N,) float32; 1 where the file says nothing, or nothing sensible."""
        c = self.columns.roles.get("weight", -1)
        if c < 0:
            return np.ones(len(self.names), np.float32)
        cells = [[cell or "1"] for cell in self.cells(c)]
        found, _ = numbers(cells, [self.table.header[c]])
        good = np.isfinite(found[:, 0]) & (found[:, 0] >= 0)
        for k in np.flatnonzero(~good).tolist():
            reason = f"the weight '{cells[k][0]}' is not 0 or more; 1 is taken"
            self.told(Fault(0, "bad weight", reason, "Give a number from 0.", "warning"), self.first[k])
        return np.where(good, found[:, 0], np.float32(1)).astype(np.float32)

    def facts(self) -> dict[str, np.ndarray]:
        """Columns that are the same in every format: group, image_id, declared_size."""
        found: dict[str, np.ndarray] = {}
        roles = self.columns.roles
        if "group" in roles:
            found["group"] = whole_numbers(self.cells(roles["group"]))
        if "image_id" in roles:
            found["image_id"] = whole_numbers(self.cells(roles["image_id"]))
        if "width" in roles:
            sides = [self.cells(roles[side]) for side in ("height", "width")]
            pairs = [[a if a.isdecimal() else "0" for a in pair] for pair in zip(*sides, strict=True)]
            size, _ = numbers(pairs, ("height", "width"), np.float64)
            found["declared_size"] = np.clip(size, 0, 2**31).astype(np.int64).reshape(-1, 2)
        return found


def listed(table: Table, columns: Columns) -> Rows:
    """The image of each row; what can't be opened becomes a finding."""
    positions: dict[str, int] = {}
    known: dict[str, tuple[str | None, str]] = {}
    at = np.full(len(table.rows), -1, dtype=np.int64)
    first: list[int] = []
    rows = Rows(table, columns, [], at, np.empty(0, np.int64), list(table.findings))
    for r, row in enumerate(table.rows):
        cell = row[columns.image]
        if cell not in known:
            known[cell] = columns.finder.find(cell) if cell else (None, "empty")
        name, why = known[cell]
        if name is None:
            rows.findings.append(_not_there(cell, why, table, r))
            continue
        if name not in positions:
            positions[name] = len(positions)
            first.append(r)
        at[r] = positions[name]
    rows.names, rows.first = list(positions), np.array(first, dtype=np.int64)
    return rows


def _not_there(cell: str, why: str, table: Table, r: int) -> Finding:
    if why == "empty":
        action = "Name the file, or remove the line."
        return Finding("missing file", table.place(r), "no file name", action, table.lines[r], severity="error")
    return refusal(cell, why, table.place(r), table.lines[r])

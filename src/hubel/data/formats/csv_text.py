"""Text of a CSV file to rows of cells, each with its line: UTF-8, separated by comma, semicolon or tab, with quotes.

A line that can't be read becomes a finding, and reading goes on with the next one.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from hubel.data.findings import Finding
from hubel.data.formats.walk import EXTENSIONS
from hubel.errors import UserError

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}
ENDINGS = (".csv", ".tsv")
GLANCE = 2**16  # bytes that recognising reads
SAMPLE = 40  # rows that show which character separates
MOST_BROKEN = 1000  # lines; with more, this is no CSV file
MOST_BYTES = 2**30
NUMBER = re.compile(r"-?\d+(\.\d+)?", re.ASCII)


@dataclass
class Table:
    """Rows of cells without spaces around them; cell [r][c] belongs to the column header[c]."""

    header: list[str]
    rows: list[list[str]]
    lines: list[int]  # of each row, from 1
    file: str  # as findings name it
    delimiter: str = ","
    findings: list[Finding] = field(default_factory=list)
    files: list[str] = field(default_factory=list)  # of each row, where there are several; else all are from `file`
    headless: bool = False  # the first line is a row like the others; the columns got names

    def column(self, c: int) -> list[str]:
        return [row[c] for row in self.rows]

    def place(self, r: int) -> str:
        """The file that row r stands in."""
        return self.files[r] if self.files else self.file


def read_table(path: Path, file: str, most: int = MOST_BYTES) -> Table:
    """The whole file. Raises UserError where it is not UTF-8, too large, or has no header."""
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= most else b""
    except OSError as fault:
        raise UserError(f"{path} can't be read: {fault.strerror}. Check its permissions.") from fault
    if size > most:
        raise UserError(f"{path} has {size / 1e9:.1f} GB; a CSV file may have {most / 1e9:.1f} GB. Split it.")
    return _parse(_text(data, path), path, file)


def glance(path: Path) -> Table | None:
    """The header and the first rows; None where this is no CSV text."""
    try:
        with path.open("rb") as stream:
            data = stream.read(GLANCE)
        whole = data if len(data) < GLANCE else data[: data.rfind(b"\n") + 1]
        return _parse(_text(whole, path), path, path.name)
    except (OSError, UserError):
        return None


def merged(tables: list[Table], column: str, values: list[str]) -> Table:
    """Tables one after the other, with one more column that says which each row came from."""
    header = list(dict.fromkeys(name for table in tables for name in table.header))
    rows, lines, files, findings = [], [], [], []
    for table, value in zip(tables, values, strict=True):
        where = [table.header.index(name) if name in table.header else -1 for name in header]
        rows += [[row[c] if c >= 0 else "" for c in where] + [value] for row in table.rows]
        lines += table.lines
        files += [table.file] * len(table.rows)
        findings += table.findings
    return replace(tables[0], header=[*header, column], rows=rows, lines=lines, files=files, findings=findings)


def _text(data: bytes, path: Path) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UserError(f"{path} is UTF-16 text. Save it as UTF-8.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        line = data[: fault.start].count(b"\n") + 1
        raise UserError(
            f"{path}, line {line}: the byte 0x{data[fault.start]:02x} is no UTF-8. Save the file as UTF-8 text."
        ) from fault


def _parse(text: str, path: Path, file: str) -> Table:
    delimiter = _sniff(text)
    table = Table([], [], [], file, delimiter)
    for line, cells in _records(text, delimiter, table.findings, path, file):
        row = [cell.strip() for cell in cells]
        if not any(row):
            continue
        if not table.header:
            table.headless = any(cell.lower().endswith(EXTENSIONS) for cell in row)
            table.header = _names(row) if table.headless else row
            if not table.headless:
                continue
        if len(row) < len(table.header) or any(row[len(table.header) :]):
            table.findings.append(_broken(file, line, f"{len(row)} cells, the header has {len(table.header)} columns"))
        else:
            table.rows.append(row[: len(table.header)])
            table.lines.append(line)
    if not table.header:
        raise UserError(f"{path} is empty. Its first line names the columns, such as image,label.")
    return table


def _names(row: list[str]) -> list[str]:
    """Of the columns of a table without a header: image, label, or image, four edges and label; else by number."""
    first = row[0].lower().endswith(EXTENSIONS)
    if first and len(row) == 2:
        return ["image", "label"]
    if first and len(row) == 6 and all(not cell or NUMBER.fullmatch(cell) for cell in row[1:5]):
        return ["image", "xmin", "ymin", "xmax", "ymax", "label"]
    at = next(c for c, cell in enumerate(row) if cell.lower().endswith(EXTENSIONS))
    return ["image" if c == at else f"column {c + 1}" for c in range(len(row))]


def _records(
    text: str, delimiter: str, findings: list[Finding], path: Path, file: str
) -> Iterator[tuple[int, list[str]]]:
    """(line, cells) of each record. After a broken one, reading begins anew at the line after its first."""
    lines = list(io.StringIO(text, newline=""))  # ends of lines as they are: within quotes they belong to the cell
    start, broken = 0, 0
    while start < len(lines):
        rows = csv.reader((lines[k] for k in range(start, len(lines))), delimiter=delimiter, strict=True)
        before = 0
        try:
            for cells in rows:
                yield start + before + 1, cells
                before = rows.line_num
            return
        except csv.Error as fault:
            line = start + before + 1
            findings.append(_broken(file, line, str(fault)))
            start, broken = line, broken + 1
        if broken > MOST_BROKEN:
            raise UserError(f"{path}: more than {MOST_BROKEN:,} lines can't be read. Is it a CSV file?")


def _broken(file: str, line: int, reason: str) -> Finding:
    action = "Put cells that hold separators or quotes into quotes, and double the quotes inside."
    return Finding("broken line", file, reason, action, line, severity="error")


def _sniff(text: str) -> str:
    """The separator that gives most lines as many cells as the first, and more than one; a comma where none does."""
    best, most = ",", (0.0, 1)
    text = text[:GLANCE]
    for delimiter in DELIMITERS:
        try:
            rows = list(islice(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), SAMPLE))
        except csv.Error:
            continue
        widths = [len(row) for row in rows if row]
        if len(widths) and widths[0] > 1:
            score = sum(width == widths[0] for width in widths) / len(widths), widths[0]
            if score > most or most == (0.0, 1):
                best, most = delimiter, score
    return best

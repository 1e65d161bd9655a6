"""history.csv: a row per epoch, columns as they come; numbers come back as the numbers that they were."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hubel.training.atomic import write_atomically


def read(path: Path) -> list[dict[str, Any]]:
    """Rows without their empty cells; [] where there is no file."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return []
    rows = csv.DictReader(io.StringIO(text))
    return [{key: _number(word) for key, word in row.items() if word not in ("", None)} for row in rows]


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Always whole: a new column, or a crash, can't spoil what is there."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, out.getvalue().encode())


def _number(word: str) -> Any:
    try:
        number = float(word)
    except ValueError:
        return word
    return int(word) if word.lstrip("-").isdigit() else number

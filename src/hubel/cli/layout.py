"""How results are laid out: tables by rich, numbers and paths as words, and the one JSON document of --json."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

WIDE = 200  # columns where the output is a file or a pipe: a row stays one line


def as_text(value: Any) -> str:
    """JSON that any reader takes: numbers that are not finite become null."""
    return json.dumps(_plain(value), indent=1, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace").decode()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist") and not isinstance(value, str):  # numpy and torch
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


def table(*columns: str, right: Sequence[str] = ()) -> Any:
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name in columns:
        made.add_column(name, justify="right" if name in right else "left", overflow="fold")
    return made


def print_parts(*parts: Any) -> None:
    """Text is data, not markup: a class may be called [red]."""
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = WIDE
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, str))


def text_of(value: Any) -> Any:
    from rich.text import Text

    return Text("" if value is None else str(value))


def number(value: Any) -> str:
    if value is None or value != value:  # not measured: a class that no image shows
        return "–"
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) < 1000 else f"{value:,.1f}"
    return str(value)


def duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def near(place: str) -> str:
    """A path below the current folder without that folder: what is typed, and short enough for a table."""
    path = Path(place)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else place


def words_of(value: Any) -> str:
    """As it would be written on the command line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {words_of(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ",".join(map(words_of, value))
    if value is None or isinstance(value, bool):
        return "–" if value is None else str(value).lower()
    return f"{value:.4g}" if isinstance(value, float) else str(value)

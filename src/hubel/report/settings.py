"""The configuration and the manifest as rows of text: each value beside where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hubel.report.text import shorten
from hubel.report.values import ReportData

ROWS = 1000  # of a table: a page is no database


def configuration(data: ReportData) -> dict[str, list[dict[str, str]]] | None:
    """The options that somebody or something chose, and those that stayed at their default."""
    if not data.configuration:
        return None
    rows = [
        {"key": r.key, "value": shorten(_plain(r.value), 2000), "source": r.source, "reason": shorten(r.reason, 2000)}
        for r in data.configuration
    ]
    return {
        "chosen": [row for row in rows if row["source"] != "default"],
        "default": [row for row in rows if row["source"] == "default"],
    }


def manifest(data: ReportData) -> list[tuple[str, str]]:
    """Nested values as flat rows: ("versions.torch", "2.11")."""
    return [(key, shorten(value, 2000)) for key, value in _flat("", data.manifest)][:ROWS]


def _flat(prefix: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        parts = [_flat(f"{prefix}.{key}" if prefix else str(key), item) for key, item in value.items()]
        return [row for rows in parts for row in rows]
    return [(prefix, _plain(value))]


def _plain(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, list | tuple):
        return ", ".join(_plain(item) for item in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)

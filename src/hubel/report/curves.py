"""The section of curves: loss and the primary metric over epochs, from the rows of the history.

What auxiliary heads add to a training's loss stands in lines of its own, so that train compares with dev.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from hubel.report import figures
from hubel.report.text import finite, is_share, metric_name
from hubel.report.values import ReportData

SPLITS = ("train", "train-dev", "dev", "test")
EARLY = "auxiliary_"  # what the terms of auxiliary heads are called; see tasks/auxiliary.py


def curve_figures(data: ReportData) -> list[Any]:
    """Loss and the primary metric over epochs, where they were recorded."""
    rows, found = [_own(row) for row in data.history], []
    for metric in dict.fromkeys(("loss", data.primary)):
        columns = {f"{split}.{metric}": split for split in SPLITS}
        if metric == "loss":
            columns |= {name: _name(name) for row in rows for name in row if _early(name)}
        series = [line for line in (_series(rows, *pair) for pair in columns.items()) if line is not None]
        if series:
            found.append(figures.curves(series, metric_name(metric), percent=is_share(metric), best=data.best_epoch))
    return found


def not_finite(data: ReportData) -> int:
    """How many recorded values of the plotted columns are NaN, infinite or too large to draw."""
    columns = [f"{split}.{metric}" for split in SPLITS for metric in {"loss", data.primary}]
    values = [row[column] for row in data.history for column in columns if row.get(column) not in (None, "")]
    return sum(math.isnan(finite(value)) for value in values)


def _own(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with the training's loss without what auxiliary heads added to it."""
    extra = sum(finite(value) for name, value in row.items() if _early(name))
    return {**row, "train.loss": finite(row["train.loss"]) - extra} if extra and "train.loss" in row else dict(row)


def _early(column: str) -> bool:
    return column.startswith("train.") and column.rpartition(".")[2].startswith(EARLY)


def _name(column: str) -> str:
    """train.auxiliary_1 -> aux-1: short enough for the legend, and a class in CSS."""
    return column.removeprefix("train.").replace(EARLY, "aux-").replace(".", "-")


def _series(rows: list[dict[str, Any]], column: str, name: str) -> figures.Series | None:
    points = [(finite(row.get("epoch", i)), finite(row.get(column))) for i, row in enumerate(rows, 1)]
    return figures.Series(name, points) if any(not math.isnan(y) for _, y in points) else None

"""What each section of the page prints: from a ReportData to the rows, figures and plots of the template.

Each function returns None (or nothing) where its data is missing, and the template leaves the section out.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hubel.ops.palette import BACKGROUND, COLOURS
from hubel.report import figures
from hubel.report.text import (
    DASH,
    duration,
    figure,
    finite,
    interval_text,
    metric_name,
    metric_text,
    percent,
    shorten,
)
from hubel.report.values import ClassRow, Interval, ReportData
from hubel.report.verdict import measured

ROWS = 1000  # of a table: a page is no database
NUMBERED = 20  # up to so many classes the confusion matrix shows its numbers
SPLITS = ("train", "train-dev", "dev", "test")
NAMES = {"precision": "precision", "recall": "recall", "f1": "F1"}


def tiles(data: ReportData) -> list[dict[str, str]]:
    """The key figures: name, value, and a small line below."""
    found = []
    judged = measured(data, data.split)
    if judged is not None:
        bounds = interval_text(data.primary, judged.interval)
        note = f"interval {bounds}" if bounds else "interval not measured"
        found.append(_tile(f"{data.split} {metric_name(data.primary)}", metric_text(data.primary, judged.value), note))
    train = measured(data, "train")
    if train is not None:
        note = train.how.lstrip(", ") or f"n = {train.n:,}"
        found.append(_tile(f"train {metric_name(data.primary)}", metric_text(data.primary, train.value), note))
    if data.model.parameters is not None:
        size = " × ".join(str(side) for side in data.model.input or ())
        found.append(_tile("parameters", figure(data.model.parameters), f"input {size}" if size else ""))
    last = max((finite(row.get("epoch")) for row in data.history), default=math.nan)
    if data.best_epoch is not None:
        note = "" if math.isnan(last) else f"of {last:.0f}"
        found.append(_tile("kept epoch", str(data.best_epoch), note))
    speed = data.throughput
    if speed is not None and speed.seconds is not None:
        found.append(_tile("training time", duration(speed.seconds), shorten(speed.device, 80)))
    if speed is not None:
        note = "" if speed.wait_share is None else f"{percent(speed.wait_share)} waiting for data"
        found.append(_tile("images per second", figure(round(speed.images_per_second)), note))
    return found


def _tile(name: str, value: str, note: str) -> dict[str, str]:
    return {"name": name, "value": value, "note": note}


def metrics(data: ReportData) -> dict[str, Any] | None:
    """Every metric on every split: {"splits": [(name, n)], "rows": [(metric, [(value, interval)])]}."""
    splits = [name for name in SPLITS if data.metrics.get(name)]
    splits += [name for name in data.metrics if name not in SPLITS and data.metrics[name]]
    names = list(dict.fromkeys(name for split in splits for name in data.metrics[split]))
    if not names:
        return None
    rows = []
    for name in sorted(names, key=lambda name: name != data.primary)[:ROWS]:
        cells = []
        for split in splits:
            value = data.metrics[split].get(name)
            interval = data.intervals.get(split, {}).get(name)
            text = "" if value is None else metric_text(name, value)
            cells.append((text, interval_text(name, interval)))
        rows.append((name, cells))
    return {"splits": [(name, data.n.get(name)) for name in splits], "rows": rows}


def confusion(data: ReportData) -> dict[str, Any] | None:
    """A table with numbers up to NUMBERED classes, a picture above, and the most frequent confusions."""
    if data.confusion is None or not np.asarray(data.confusion).sum():
        return None
    counts = np.asarray(data.confusion)
    totals, names = counts.sum(1), list(data.dataset.classes)
    names += [f"#{i}" for i in range(len(names), len(counts))]
    few = len(counts) <= NUMBERED
    pixels = data.unit == "pixels"
    rows = [_confusion_row(counts[i], i, names[i], pixels) for i in range(len(counts))] if few else []
    wrong = counts * (1 - np.eye(len(counts), dtype=counts.dtype))
    order = np.argsort(-wrong, axis=None, kind="stable")[:12]
    pairs = [divmod(int(at), len(counts)) for at in order]
    return {
        "names": names[: len(counts)],
        "rows": rows,
        "picture": None if few else figures.matrix(counts),
        "k": len(counts),
        "pairs": [
            (names[i], names[j], int(wrong[i, j]), percent(wrong[i, j] / totals[i]))
            for i, j in pairs
            if wrong[i, j] > 0
        ],
    }


def _confusion_row(row: np.ndarray, i: int, name: str, percentages: bool) -> dict[str, Any]:
    """Counts, or percentages of the row: pixels are too many to be read."""
    total = int(row.sum())
    shares = np.rint(100 * row / max(total, 1)).astype(np.int64)
    kinds = ["right" if i == j else "wrong" for j in range(len(row))]
    shown = shares if percentages else row
    cells = [
        (int(text), f"{kind} s{figures.level(int(n), total)}") for n, text, kind in zip(row, shown, kinds, strict=True)
    ]
    return {"name": name, "total": total, "cells": cells}


def per_class(data: ReportData) -> dict[str, Any] | None:
    """A row per class with its precision, recall and F1, their intervals and bars on one common axis."""
    if not data.per_class:
        return None
    rows = (
        sorted(data.per_class, key=lambda row: finite(row.f1))[:ROWS] if len(data.per_class) > ROWS else data.per_class
    )
    dense = any(row.iou is not None for row in rows)
    names = {"iou": "IoU", "recall": "recall", "precision": "precision", "boundary_f": "boundary F"} if dense else NAMES
    cells = {name: [_counted(row, name) for row in rows] for name in names}
    known = [(v, i) for column in cells.values() for v, i in column if not math.isnan(finite(v))]
    smallest = min((finite(end) for value, interval in known for end in (value, *(interval or ())[:1])), default=0.0)
    low = max(0.0, min(0.9, math.floor(smallest * 10) / 10))
    table = [
        {"name": row.name, "n": row.n, "cells": [_class_cell(*cells[name][i], low) for name in cells]}
        for i, row in enumerate(rows)
    ]
    return {
        "rows": table,
        "columns": list(names.values()),
        "dense": dense,
        "low": percent(low, 0),
        "total": len(data.per_class),
    }


def _counted(row: ClassRow, name: str) -> tuple[float, Interval | None]:
    """A figure with its interval; NaN where it counts nothing: no image of the class, or no answer with it."""
    interval: Interval | None = getattr(row, f"{name}_interval", None)
    nothing = interval == (0.0, 1.0) or (row.n == 0 and name != "precision")
    return (math.nan, None) if nothing else (finite(getattr(row, name)), interval)


def _class_cell(value: float, interval: Any, low: float) -> dict[str, Any]:
    known = not math.isnan(finite(value))
    return {
        "text": percent(value) if known else "–",
        "interval": interval_text("recall", interval) if known else "",
        "sort": repr(float(value)) if known else "",
        "bar": figures.bar(value, interval, low),
    }


def places(data: ReportData) -> list[dict[str, str]]:
    """Where in the images the errors are: a row for each kind of pixel."""
    total = sum(place.n for place in data.places[:2]) or 1  # near borders and inside are all there is
    return [
        {"name": p.name, "share": percent(p.n / total), "right": percent(p.right) if p.n else DASH} for p in data.places
    ]


def legend(data: ReportData) -> list[tuple[str, int]]:
    """Names of the classes with the numbers of their colours, where pictures show them; the background has none."""
    classes = data.dataset.classes if data.unit == "pixels" else ()
    return [(name, k % COLOURS) for k, name in enumerate(classes) if name != BACKGROUND]


def calibration(data: ReportData) -> dict[str, Any] | None:
    bins = data.calibration
    if bins is None or not sum(bins.count):
        return None
    return {"picture": figures.calibration(bins), "ece": percent(bins.ece), "bins": len(bins.count)}


def scatters(data: ReportData) -> list[Any]:
    """One plot per number that is predicted, at most six."""
    if data.scatter is None:
        return []
    truth, prediction = (np.asarray(a, float) for a in (data.scatter.truth, data.scatter.prediction))
    truth, prediction = (a.reshape(len(a), -1) for a in (truth, prediction))
    names = [*data.scatter.names, *(f"number {i}" for i in range(len(data.scatter.names), truth.shape[1]))]
    names = names if truth.shape[1] > 1 or data.scatter.names else ["value"]
    return [figures.scatter(truth[:, i], prediction[:, i], names[i]) for i in range(min(truth.shape[1], 6))]


def counts(data: ReportData) -> dict[str, Any] | None:
    """Images per split, and per class where there are classes."""
    splits = [name for name in SPLITS if name in data.n] + [name for name in data.n if name not in SPLITS]
    if not splits:
        return None
    by_class = {name: data.dataset.counts[name] for name in splits if name in data.dataset.counts}
    classes = list(data.dataset.classes)
    whole = all(len(column) == len(classes) for column in by_class.values())
    rows = [(name, [int(by_class[s][i]) for s in by_class]) for i, name in enumerate(classes)] if whole else []
    return {
        "splits": [(name, int(data.n[name])) for name in splits],
        "columns": list(by_class),
        "rows": rows[:ROWS] if by_class else [],
        "classes": len(classes),
    }


def throughput(data: ReportData) -> dict[str, Any] | None:
    """Images/s, the share of time spent waiting for data, and what to do about it."""
    speed = data.throughput
    if speed is None:
        return None
    wait = finite(speed.wait_share)
    if math.isnan(wait):
        advice = "How long the network waited for data was not measured."
    elif wait <= 0.02:
        advice = f"The network waited for data {percent(wait)} of the time: loading is not what limits the speed."
    else:
        advice = (
            f"The network waited for data {percent(wait)} of the time; without the waiting the training would be up "
            f"to {1 / (1 - min(wait, 0.99)):.2f} times as fast. More --workers, smaller or packed images on a "
            "fast disk help; so does a larger network, which computes more per image."
        )
    return {
        "speed": figure(round(speed.images_per_second)),
        "advice": advice,
        "share": speed.wait_share,
        "device": speed.device,
    }

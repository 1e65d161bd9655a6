"""What each section of the page on data prints: from an Inspection to rows, figures and plots of the template."""

from __future__ import annotations

from typing import Any

import numpy as np

from hubel.data.inspect import SEVERITIES, Inspection
from hubel.data.quality import class_counts
from hubel.report import data_figures
from hubel.report.text import figure, percent

ROWS = 400  # classes of a table
WORDS = {"error": ("error", "errors"), "warning": ("warning", "warnings"), "note": ("note", "notes")}


def counted(count: int, word: str, plural: str | None = None) -> str:
    return f"{count:,} {word if count == 1 else plural or word + 's'}"


def verdict(found: Inspection) -> str:
    """One or two sentences: how much was found, and of what kinds."""
    images = counted(len(found.dataset), "image")
    numbers = {level: sum(one.severity == level for one in found.findings) for level in SEVERITIES}
    told = [counted(numbers[level], *WORDS[level]) for level in ("error", "warning") if numbers[level]]
    if not told:
        return f"Nothing wrong was found in {images}."
    kinds = [f"{kind} ({count:,})" if count > 1 else kind for kind, count in _grave(found).items()]
    more = f" and {len(kinds) - 6} other kinds" if len(kinds) > 6 else ""
    return f"{' and '.join(told)} in {images}: {', '.join(kinds[:6])}{more}."


def _grave(found: Inspection) -> dict[str, int]:
    counts: dict[str, int] = {}
    for one in found.findings:
        if one.severity != "note":
            counts[one.kind] = counts.get(one.kind, 0) + 1
    return counts


def tiles(found: Inspection) -> list[dict[str, str]]:
    """The key figures: name, value, and a small line below."""
    data = found.dataset
    parts = ", ".join(f"{name} {len(index):,}" for name, index in data.splits.items())
    rows = [("images", figure(len(data)), parts or "not split yet")]
    if data.classes:
        rows.append(("classes", figure(len(data.classes)), ""))
    if found.objects is not None:
        each = found.objects.count / max(1, len(data))
        empty = int((found.objects.counts == 0).sum())
        note = f"{each:.3g} an image" + (f"; {empty:,} images have none" if empty else "")
        rows.append(("objects", figure(found.objects.count), note))
    rows.append(("size in pixels", *_size_words(found)))
    if found.seen.facts[:, 0].any():
        images = data.images
        rows.append(("channels", "grey" if images.channels == 1 else "colour", f"{images.depth} bits"))
    return [{"name": name, "value": value, "note": note} for name, value, note in rows]


def _size_words(found: Inspection) -> tuple[str, str]:
    known = found.sizes[(found.sizes > 0).all(1)]
    if not len(known):
        return "unknown", "no image can be read"
    if (known == known[0]).all():
        return f"{known[0][1]} × {known[0][0]}", "all alike"
    short = known.min(1)
    return f"{int(np.median(known[:, 1]))} × {int(np.median(known[:, 0]))}", (
        f"median; shorter sides {short.min():,} to {short.max():,}"
    )


# Classes -----------------------------------------------------------------------------------------------------------


def _parts(found: Inspection) -> dict[str, np.ndarray]:
    return dict(found.dataset.splits) or {"all": np.arange(len(found.dataset))}


def classes(found: Inspection) -> dict[str, Any] | None:
    """A row per class: how often it occurs in each part, with its share as a bar."""
    data, parts = found.dataset, _parts(found)
    counts = {name: row for name, index in parts.items() if (row := class_counts(data, index)) is not None}
    if not counts or not data.classes:
        return None
    what = "images" if "label" in data.annotations or "labels" in data.annotations else "objects"
    return _table(data.classes, counts, what)


def _table(names: Any, counts: dict[str, np.ndarray], what: str) -> dict[str, Any]:
    shares = {name: row / max(1, row.sum()) for name, row in counts.items()}
    most = max((float(row.max(initial=0)) for row in shares.values()), default=1.0)
    total = np.sum(list(counts.values()), axis=0)
    order = range(len(names)) if len(names) <= ROWS else np.argsort(-total, kind="stable")[:ROWS].tolist()
    rows = [
        {
            "name": names[k],
            "cells": [
                {"n": int(row[k]), "share": percent(float(shares[name][k])),
                 "bar": data_figures.bar(float(shares[name][k]), most, _colour(name))}
                for name, row in counts.items()
            ],
        }
        for k in order
    ]  # fmt: skip
    return {
        "rows": rows, "columns": list(counts), "what": what, "total": len(names),
        "sums": [int(row.sum()) for row in counts.values()],
    }  # fmt: skip


def _colour(part: str) -> str:
    return {"dev": "dev", "test": "test"}.get(part, "")


def mask_classes(found: Inspection) -> dict[str, Any] | None:
    """The same for pixels of masks, with the number of images that show the class."""
    if found.masks is None or not found.seen.pixels.size:
        return None
    names = [*found.masks.classes, "(none, or ignored)"]
    counts = {name: found.seen.pixels[index].sum(0) for name, index in _parts(found).items()}
    table = _table(names, counts, "pixels")
    shown = {name: (found.seen.pixels[index] > 0).sum(0) for name, index in _parts(found).items()}
    for k, row in enumerate(table["rows"]):
        for cell, name in zip(row["cells"], counts, strict=True):
            cell["images"] = int(shown[name][k])
    return table


def numbers(found: Inspection) -> list[dict[str, str]]:
    """Of numbers to predict: range, mean and deviation in the training part."""
    values = found.dataset.annotations.get("numbers")
    if values is None:
        return []
    rows = []
    for k, column in enumerate(np.asarray(values, np.float64).T[:50]):
        known = column[np.isfinite(column)]
        name = found.dataset.classes[k] if len(found.dataset.classes) == values.shape[1] else f"number {k + 1}"
        told = [figure(f(known)) if len(known) else "–" for f in (np.min, np.mean, np.std, np.max)]
        rows.append(dict(zip(("name", "low", "mean", "std", "high", "missing"),
                             (name, *told, figure(len(column) - len(known))), strict=True)))  # fmt: skip
    return rows


# Sizes -------------------------------------------------------------------------------------------------------------


def size_plots(found: Inspection) -> list[Any]:
    """Images and objects: how large, which proportions, how many."""
    known = found.sizes[(found.sizes > 0).all(1)]
    plots = []
    if len(known) and (known != known[0]).any():
        plots.append(data_figures.sizes(known, "images", ("image width", "image height")))
        aspects = known[:, 1] / known[:, 0]
        if np.ptp(aspects) > 0.01:
            plots.append(data_figures.histogram(aspects, "width / height", "images"))
    return plots + (_object_plots(found) if found.objects is not None and found.objects.count else [])


def _object_plots(found: Inspection) -> list[Any]:
    assert found.objects is not None
    boxes = found.objects.boxes.reshape(-1, 4)
    extent = boxes[:, 2:] - boxes[:, :2]
    good = np.isfinite(extent).all(1) & (extent > 0).all(1)
    plots = [data_figures.histogram(found.objects.counts.astype(float), "objects in an image", "images", whole=True)]
    if good.any():
        some = extent[good][:: max(1, int(good.sum()) // 3000)]
        plots.append(data_figures.sizes(np.round(some[:, ::-1], 1), "boxes", ("box width", "box height")))
        sides = np.sqrt(extent[good].prod(1))
        plots.append(data_figures.histogram(sides, "side of a box, √area in pixels", "boxes"))
    return plots


def extents(given: dict[str, Any] | None) -> dict[str, Any] | None:
    """Sides in pixels of a network's input, and for each of its maps what it sees of them."""
    if given is None:
        return None
    rows = [{"stride": f"{row['stride']:g}", "field": f"{row['field']:g}", "whole": percent(row["whole"]),
             "below": percent(row["below_stride"])} for row in given["maps"]]  # fmt: skip
    label = f"side at {given['input'][0]}×{given['input'][1]}, √area in pixels"
    plot = data_figures.histogram(given["sides"], label, given["what"]) if len(given["sides"]) else None
    return {"model": given["model"], "sentence": given["sentence"], "rows": rows, "plot": plot}


def channels(found: Inspection) -> dict[str, Any] | None:
    """Mean and deviation of each channel, and a plot of its values; of the training part."""
    seen = found.seen
    if not seen.tallied:
        return None
    tally = seen.tally / seen.tallied
    levels = np.arange(256)
    mean = tally @ levels
    std = np.sqrt(np.maximum(tally @ levels**2 - mean**2, 0))
    grey = found.dataset.images.channels == 1
    names = ("grey",) if grey else data_figures.CHANNELS
    rows = [
        {"name": name, "mean": f"{mean[c] / 255:.4f}", "std": f"{std[c] / 255:.4f}", "level": f"{mean[c]:.1f}",
         "black": percent(float(tally[c, 0])), "white": percent(float(tally[c, 255]))}
        for c, name in enumerate(names)
    ]  # fmt: skip
    part = "the training part" if "train" in found.dataset.splits else "all images"
    return {"rows": rows, "plot": data_figures.values(tally, grey), "n": seen.tallied, "part": part}

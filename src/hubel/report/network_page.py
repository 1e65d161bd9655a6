"""The page on a network: its volumes, what it costs, and what its cells see; or on several, side by side.

A document of `hubel info --json` (and a photo as the network gets it) -> HTML: one offline file under 5 MB.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from hubel.report.figures import TOP
from hubel.report.page import fill
from hubel.report.svg import Frame, coordinate, element, fit, wants_log
from hubel.report.text import figure, is_share, metric_name, percent, shorten
from hubel.report.thumbnails import data_uri, is_small
from hubel.report.volumes import drawing
from hubel.training.atomic import write_atomically

STYLES = ("report.css", "data.css", "network.css")
ROWS = 1500  # of a table
SIDE = 360  # pixels of the photo


def write(document: Mapping[str, Any], path: Path, photo: np.ndarray | None = None) -> Path:
    """Write the page on one network to `path`, whole or not at all. `photo`: (H, W, C) uint8."""
    write_atomically(path, render(document, photo).encode("utf-8"))
    return path


def write_comparison(documents: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Write the page on several networks."""
    write_atomically(path, render_comparison(documents).encode("utf-8"))
    return path


def render(document: Mapping[str, Any], photo: np.ndarray | None = None) -> str:
    context = {
        "document": document,
        "verdict": verdict(document),
        "tiles": tiles(document),
        "drawing": drawing(document),
        "fields": [] if photo is None else fields(document, photo),
        "layers": [_row(layer) for layer in document["layers"][:ROWS]],
        "total": len(document["layers"]),
        "training": document["training_bytes"] is not None,
    }
    return fill("network.html", context, STYLES)


def verdict(document: Mapping[str, Any]) -> str:
    shape = "×".join(map(str, document["input"]))
    field = document["receptive_field"]
    seen = f" A cell of its last map sees {_axes(field['size'])} pixels." if field else ""
    counts = (f"{figure(document[name])} {name}" for name in ("parameters", "multiplications"))
    return f"{' and '.join(counts)} for an image of {shape}.{seen}"


def tiles(document: Mapping[str, Any]) -> list[dict[str, str]]:
    kinds = {kind: row for kind, row in document["kinds"].items() if row["parameters"]}
    found = []
    for name in ("parameters", "multiplications"):
        shares = [f"{kind} {percent(row[name] / document[name])}" for kind, row in kinds.items() if row[name]]
        found.append({"name": name, "value": short(document[name]), "note": ", ".join(shares)})
    kept = f"{megabytes(document['output_bytes'])} with the outputs of activation functions"
    found.append({"name": "activations", "value": megabytes(document["activation_bytes"]), "note": kept})
    if document["training_bytes"] is not None:
        found.append({"name": "in training", "value": megabytes(document["training_bytes"]),
                      "note": "per image, kept for the way back"})  # fmt: skip
    run = document.get("run")
    if run is not None and run["score"] is not None:
        found.append({"name": f"{metric_name(run['metric'])} on {run['split']}", "value": _score(run), "note": ""})
    return found


def _score(run: Mapping[str, Any]) -> str:
    return percent(run["score"]) if is_share(run["metric"]) else figure(run["score"])


def megabytes(count: float) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e5 else f"{count / 1e3:,.1f} kB"


def short(number: float) -> str:
    """1,234,567 -> "1.23 M"."""
    for factor, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= factor * (1 if factor > 1e3 else 10):
            value = number / factor
            return f"{value:.{2 if value < 10 else 1}f}{unit}"
    return f"{number:,.0f}"


def _row(layer: Mapping[str, Any]) -> dict[str, Any]:
    field = layer["receptive_field"]
    seen = ["", "", ""] if field is None else [_axes(field[name]) for name in ("size", "jump", "start")]
    return {
        "layer": layer,
        "shape": "not used" if layer["output"] is None else "×".join(map(str, layer["output"])),
        "share": percent(layer["share"]) if layer["multiplications"] else "",
        "memory": megabytes(layer["activation_bytes"]) if layer["activation_bytes"] else "",
        "training": megabytes(layer["training_bytes"]) if layer["training_bytes"] else "",
        "seen": seen,
        "whole": field is not None and field["whole"],
    }


def _axes(values: Sequence[float]) -> str:
    words = [f"{value:.1f}".rstrip("0").rstrip(".") for value in values]
    return words[0] if words[0] == words[1] else "×".join(words)


# Receptive fields on a photo -------------------------------------------------------------------------------------


def fields(document: Mapping[str, Any], photo: np.ndarray) -> list[dict[str, Any]]:
    """A picture per map, finest first: dots where its cells stand, and what the cell in the middle sees."""
    known = [field for field in document["maps"] if field is not None]
    return [{"picture": seen(field, photo), "jump": _axes(field["jump"]), "size": _axes(field["size"]),
             "start": _axes(field["start"]), "cells": "×".join(map(str, field["cells"])), "whole": field["whole"]}
            for field in known]  # fmt: skip


def seen(field: Mapping[str, Any], photo: np.ndarray) -> Markup:
    """The photo, a dot in the centre of each cell, the field of the middle one as a box, and its neighbour's."""
    height, width = photo.shape[:2]
    scale = SIDE / max(height, width)
    axes = zip(field["start"], field["jump"], field["cells"], strict=True)
    rows, columns = ([(start + i * jump) * scale for i in range(cells)] for start, jump, cells in axes)
    places = [(x, y) for y in rows for x in columns] if _sparse(field, scale) else []
    middle = len(rows) // 2, len(columns) // 2
    y, x = rows[middle[0]], columns[middle[1]]
    boxes = [element("path", class_="box seen", d=_box(x, y, field, scale))]
    if middle[1] + 1 < len(columns):
        boxes.insert(0, element("path", class_="box beside-it", d=_box(columns[middle[1] + 1], y, field, scale)))
    ground = element("image", href=data_uri(photo, SIDE), width=width * scale, height=height * scale,
                     preserveAspectRatio="none")  # fmt: skip
    dots = element("path", class_="cells", d=_dots(places))
    marks = element("g", dots, *boxes, element("path", class_="cell", d=_dots([(x, y)])), class_="fields")
    margin = SIDE * 0.12  # a field may be larger than the image
    box = " ".join(coordinate(v) for v in (-margin, -margin, width * scale + 2 * margin, height * scale + 2 * margin))
    alt = f"receptive field of {_axes(field['size'])} pixels on the photo"
    return element("svg", ground, marks, class_="drawn small" if is_small(photo) else "drawn", viewBox=box, role="img",
                   aria_label=alt)  # fmt: skip


def _sparse(field: Mapping[str, Any], scale: float) -> bool:
    """Are dots far enough from each other to be told apart?"""
    return min(field["jump"]) * scale >= 4


def _dots(places: Sequence[tuple[float, float]]) -> str:
    """A path of no length with a round cap is a dot."""
    return "".join(f"M{coordinate(x)},{coordinate(y)}h0" for x, y in places)


def _box(x: float, y: float, field: Mapping[str, Any], scale: float) -> str:
    high, wide = (size * scale / 2 for size in field["size"])
    left, right, top, bottom = map(coordinate, (x - wide, x + wide, y - high, y + high))
    return f"M{left},{top}H{right}V{bottom}H{left}Z"


# Several networks ------------------------------------------------------------------------------------------------


def render_comparison(documents: Sequence[Mapping[str, Any]]) -> str:
    labels = _labels(documents)
    cheapest = min(documents, key=lambda one: one["multiplications"])
    most = max(documents, key=lambda one: one["multiplications"])
    ratio = most["multiplications"] / max(cheapest["multiplications"], 1)
    context = {
        "names": labels,
        "verdict": f"{len(documents)} networks; the most expensive, {labels[documents.index(most)]}, multiplies "
                   f"{ratio:,.1f} times as often as {labels[documents.index(cheapest)]}.",
        "rows": [_compared(one, label) for one, label in zip(documents, labels, strict=True)],
        "scored": any(_has_score(one) for one in documents),
        "plots": plots(documents, labels),
        "drawings": [(label, drawing(one)) for one, label in zip(documents, labels, strict=True)],
    }  # fmt: skip
    return fill("networks.html", context, STYLES)


def _has_score(document: Mapping[str, Any]) -> bool:
    return document.get("run") is not None and document["run"]["score"] is not None


def _labels(documents: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names, with the run where one is; a run is known by its folder's last two parts."""
    return ["/".join(Path(one["run"]["path"]).parts[-2:]) if one.get("run") else one["model"] for one in documents]


def _compared(document: Mapping[str, Any], label: str) -> dict[str, Any]:
    field, training = document["receptive_field"], document["training_bytes"]
    return {
        "label": label,
        "document": document,
        "input": "×".join(map(str, document["input"])),
        "memory": megabytes(document["activation_bytes"]),
        "training": "" if training is None else megabytes(training),
        "field": "" if field is None else _axes(field["size"]) + ("+" if field["whole"] else ""),
        "score": f"{_score(document['run'])} ({document['run']['split']})" if _has_score(document) else "",
    }


def plots(documents: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> list[Markup]:
    """Score over multiplications and over parameters where runs were given; else parameters over multiplications."""
    pairs = list(zip(documents, labels, strict=True))
    scored = [(one, label) for one, label in pairs if _has_score(one)]
    metrics = {one["run"]["metric"] for one, _ in scored}
    if len(metrics) != 1:
        points = [(one["multiplications"], one["parameters"], label) for one, label in pairs]
        return [_plot(points, "multiplications", "parameters", False)]
    metric = metrics.pop()
    found = []
    for cost in ("multiplications", "parameters"):
        points = [(one[cost], one["run"]["score"], label) for one, label in scored]
        found.append(_plot(points, cost, metric_name(metric), is_share(metric)))
    return found


def _plot(points: Sequence[tuple[float, float, str]], x_label: str, y_label: str, share: bool) -> Markup:
    points = [(x, y, label) for x, y, label in points if x > 0]
    xs, ys = [x for x, _, _ in points], [y for _, y, _ in points]
    x = fit(xs, 64.0, 560.0, log=wants_log(xs), pad=0.12)
    spare = [min(ys) - 0.01, max(ys) + 0.01] if share and ys else []  # a hundredth of a point is not drawn as a gulf
    y = fit([*ys, *spare], 318.0, TOP, log=wants_log(ys), pad=0.12)
    frame = Frame(600, 360, x, y, percent_y=share)
    dots = element(
        "path", class_="dots few", d="".join(f"M{coordinate(x(a))},{coordinate(y(b))}h0" for a, b, _ in points)
    )
    words = _labels_beside([(x(a), y(b), shorten(label, 34)) for a, b, label in points])
    title = f"{y_label} over {x_label}: " + ", ".join(label for _, _, label in points)
    logs = " (log scale)" if x.log else ""
    return frame.picture(
        title, frame.axes(f"{x_label}{logs}", y_label + (" (log scale)" if y.log else "")), dots, *words
    )


def _labels_beside(points: Sequence[tuple[float, float, str]]) -> list[Markup]:
    """Each label at the first place beside its dot where it covers no other: right or left of it, above or below."""
    taken: list[tuple[float, float, float, float]] = [(x - 4, y - 4, x + 4, y + 4) for x, y, _ in points]
    found = []
    for x, y, label in points:
        wide = 6.4 * len(label)
        spots = [(x + (8 if right else -8 - wide), y + down) for down in (-5, 14, -18, 27) for right in (True, False)]
        boxes = [(left, top - 11, left + wide, top + 3) for left, top in spots]
        inside = [box for box in boxes if box[0] > 40 and box[2] < 598] or boxes
        box = next((box for box in inside if not any(_overlap(box, other) for other in taken)), inside[0])
        taken.append(box)
        found.append(element("text", label, class_="label", x=box[0], y=box[3] - 3))
    return found


def _overlap(a: Sequence[float], b: Sequence[float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]

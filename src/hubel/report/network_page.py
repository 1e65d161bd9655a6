"""The page on a network: its volumes, what it costs, and what its cells see; networks_page.py is on several.

A document of `hubel info --json` (and a photo as the network gets it) -> HTML: one offline file under 5 MB.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from hubel.report.page import fill
from hubel.report.svg import coordinate, element
from hubel.report.text import figure, is_share, metric_name, percent
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
    seen = f" A cell of its last map sees {per_axis(field['size'])} pixels." if field else ""
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
        found.append({"name": f"{metric_name(run['metric'])} on {run['split']}", "value": score(run), "note": ""})
    return found


def score(run: Mapping[str, Any]) -> str:
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
    seen = ["", "", ""] if field is None else [per_axis(field[name]) for name in ("size", "jump", "start")]
    return {
        "layer": layer,
        "shape": "not used" if layer["output"] is None else "×".join(map(str, layer["output"])),
        "share": percent(layer["share"]) if layer["multiplications"] else "",
        "memory": megabytes(layer["activation_bytes"]) if layer["activation_bytes"] else "",
        "training": megabytes(layer["training_bytes"]) if layer["training_bytes"] else "",
        "seen": seen,
        "whole": field is not None and field["whole"],
    }


def per_axis(values: Sequence[float]) -> str:
    words = [f"{value:.1f}".rstrip("0").rstrip(".") for value in values]
    return words[0] if words[0] == words[1] else "×".join(words)


# Receptive fields on a photo -------------------------------------------------------------------------------------


def fields(document: Mapping[str, Any], photo: np.ndarray) -> list[dict[str, Any]]:
    """A picture per map, finest first: dots where its cells stand, and what the cell in the middle sees."""
    known = [field for field in document["maps"] if field is not None]
    return [{"picture": seen(field, photo), "jump": per_axis(field["jump"]), "size": per_axis(field["size"]),
             "start": per_axis(field["start"]), "cells": "×".join(map(str, field["cells"])), "whole": field["whole"]}
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
    alt = f"receptive field of {per_axis(field['size'])} pixels on the photo"
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

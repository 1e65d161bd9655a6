"""Joints of several objects in one image: each box is cut out as in training, and its joints moved back.

Boxes are x0, y0, x1, y1 in pixels of the image as it is shown. From a file: `.json`, {"a.jpg": [[x0, y0, x1, y1], …]},
or `.csv` with the columns image, x0, y0, x1, y1, a row for each box. Images go by their path as it is given, or by its
last part.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hubel.data.cutouts import cut, squares
from hubel.errors import UserError, looked_for
from hubel.tasks.joints import Joints
from hubel.tasks.joints_shown import words

Boxes = Mapping[str, Sequence[Sequence[float]]]
COLUMNS = ("image", "x0", "y0", "x1", "y1")
Pixels = Sequence[tuple[str, np.ndarray]]


@dataclass(frozen=True)
class Squares:
    """A square around each box, as in training: what is cut out of the images, and where its joints lie in them."""

    rows: list[tuple[int, list[float]]]  # the number of its image, and the box
    windows: np.ndarray  # (M, 4) int64 x0, y0, x1, y1

    def cut(self, images: Pixels) -> list[tuple[str, np.ndarray]]:
        return [(images[i][0], cut(images[i][1], own)) for (i, _), own in zip(self.rows, self.windows, strict=True)]

    def moved(self, found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """What is said of each cut-out, with "box"; joints in pixels of the image."""
        return [
            moved(said, window[:2].tolist()) | {"box": list(box)}
            for said, window, (_, box) in zip(found, self.windows, self.rows, strict=True)
        ]


def squares_of(task: Any, names: Sequence[str], boxes: Boxes) -> Squares:
    """Of the images of these names. Raises UserError for a task without joints, or that was trained on whole images,
    and images without boxes.
    """
    if not isinstance(task, Joints) or task.whole:
        own = "trained on whole images (task.whole)" if isinstance(task, Joints) else f"of the task '{task.name}'"
        raise UserError(f"Boxes are for networks that find joints in one object, cut out; this one is {own}.")
    rows = [(i, box) for i, name in enumerate(names) for box in _of(name, boxes)]
    sides = np.array([box for _, box in rows], np.float64).reshape(-1, 4)
    return Squares(rows, squares(sides, task.margin))


def moved(said: dict[str, Any], corner: Sequence[int]) -> dict[str, Any]:
    """The joints of a square in pixels of the image that it is cut out of."""
    x, y = corner
    joints = [{**joint, "x": round(joint["x"] + x, 2), "y": round(joint["y"] + y, 2)} for joint in said["joints"]]
    return {**said, "joints": joints, "prediction": words([(one["name"], one["x"], one["y"]) for one in joints])}


def known_boxes(boxes: str | Path | Boxes | None) -> Boxes | None:
    """Boxes by image, from a file where one is named."""
    return boxes if boxes is None or isinstance(boxes, Mapping) else read_boxes(boxes)


def _of(name: str, boxes: Boxes) -> list[list[float]]:
    own = boxes.get(name, boxes.get(Path(name).name))
    if own is None:
        known = ", ".join(list(boxes)[:3]) or "none"
        raise UserError(
            f"There are no boxes of '{name}'; there are some of: {known}. An empty list says that it has none."
        )
    found = [[float(v) for v in box] for box in own]
    for box in found:
        fine = len(box) == 4 and np.isfinite(box).all() and box[0] < box[2] and box[1] < box[3]
        if not fine:
            raise UserError(f"A box is x0, y0, x1, y1 with x0 < x1 and y0 < y1, in pixels; '{name}' has {box}.")
    return found


def read_boxes(path: str | Path) -> dict[str, list[list[float]]]:
    """Boxes by image from a .json or .csv file; see the module. Raises UserError naming the line at fault."""
    path = Path(path).expanduser()
    if not path.exists():
        raise UserError(f"There is no file of boxes '{path}'{looked_for(path)}.")
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        raise UserError(f"The boxes {path} can't be read: {fault}.") from fault
    return _from_csv(path, text) if path.suffix.lower() == ".csv" else _from_json(path, text)


def _from_json(path: Path, text: str) -> dict[str, list[list[float]]]:
    try:
        found = json.loads(text)
        return {str(name): [[float(v) for v in box] for box in own] for name, own in found.items()}
    except (ValueError, TypeError, AttributeError) as fault:
        raise UserError(f'{path} is no JSON of boxes by image, {{"a.jpg": [[x0, y0, x1, y1], …]}}: {fault}.') from fault


def _from_csv(path: Path, text: str) -> dict[str, list[list[float]]]:
    rows = csv.DictReader(text.splitlines())
    if rows.fieldnames is None or not set(COLUMNS) <= set(rows.fieldnames):
        raise UserError(f"{path} needs the columns {', '.join(COLUMNS)}; it has {', '.join(rows.fieldnames or ())}.")
    found: dict[str, list[list[float]]] = {}
    for row in rows:
        try:
            found.setdefault(row["image"], []).append([float(row[name]) for name in COLUMNS[1:]])
        except (TypeError, ValueError) as fault:
            raise UserError(f"{path}, line {rows.line_num}: a box needs four numbers ({fault}).") from fault
    return found

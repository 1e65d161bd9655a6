"""Writes labels.csv beside images/, which gives the same labels, numbers and boxes when read.

One row an image: label, or labels a|b, or a column of 0 and 1 for each class; number_1 …. Datasets with objects: one
row for each object, an image without any has a row with empty cells. classes.txt keeps the order of the classes where
it is not the natural one, and says which names are one where they look like several or like numbers.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hubel.data.dataset import Dataset
from hubel.data.formats.copies import (
    REST,
    Places,
    copy_images,
    new_folder,
    one_line,
    overlapping,
    places,
    write_text,
)  # fmt: skip
from hubel.data.formats.csv_columns import FLAGS, IDENTITY, IMAGE, LABEL, NUMBERS, PREFIX, ROLES, plain
from hubel.data.formats.csv_values import SEPARATORS, is_number
from hubel.data.formats.walk import natural
from hubel.data.objects import Objects

Column = tuple[str, list[str]]  # name, and a cell for each row
BOX = ("xmin", "ymin", "xmax", "ymax")
BITS = {bit: name for name, bit in FLAGS.items()}  # "iscrowd" for the crowd, as COCO calls it
SAID = ("label", "labels", "numbers", "objects", "group", "image_id", "declared_size")
RESERVED = {*IMAGE, *LABEL, *IDENTITY, *BOX, *FLAGS, *(word for words in ROLES.values() for word in words), ""}


def write(dataset: Dataset, out: Path) -> list[str]:
    """The dataset in the new folder `out`; gives what was lost, one sentence each. UserError for a folder in use."""
    out = new_folder(Path(out))
    where = places(dataset)
    classes, renamed = one_line(dataset.classes)
    objects = dataset.annotations.get("objects")
    image = np.arange(len(dataset))  # of each row
    columns: list[Column] = []
    used: Sequence[str] | set[str]
    if isinstance(objects, Objects):
        image = np.repeat(image, np.maximum(objects.counts, 1))
        columns, used = _boxes(objects, classes)
    else:
        columns, used = _targets(dataset, classes)
    names = _names(where)
    facts = [("image", names), *_facts(dataset, where)]
    columns = [(name, [cells[i] for i in image]) for name, cells in facts] + columns
    with (out / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow([name for name, _ in columns])
        rows.writerows(zip(*(cells for _, cells in columns), strict=True))
    if classes and not isinstance(used, set) and (list(used) != classes or any(map(_ambiguous, classes))):
        write_text(out / "classes.txt", classes)
    lost = [f"{renamed:,} names of classes were changed to fit into a line"] if renamed else []
    return lost + _lost(dataset, where) + copy_images(dataset, [out / name for name in names])


def _names(where: Places) -> list[str]:
    both = zip(where.parts, where.names, strict=True)
    return ["/".join(p for p in ("images", part, name) if p) for part, name in both]


def _facts(dataset: Dataset, where: Places) -> list[Column]:
    """Columns that every dataset may have, N cells each."""
    found: list[Column] = []
    if dataset.splits:
        found.append(("split", ["" if part == REST else part for part in where.parts]))
    for name in ("group", "image_id"):
        if name in dataset.annotations:
            found.append((name, [str(v) for v in dataset.annotations[name].tolist()]))
    if "declared_size" in dataset.annotations:
        height, width = dataset.annotations["declared_size"].T.tolist()
        found += [("image_width", [str(w) for w in width]), ("image_height", [str(h) for h in height])]
    if len(dataset) and (dataset.weights != 1).any():
        found.append(("weight", [_shortest(w) for w in dataset.weights]))
    return found


def _shortest(value: np.floating) -> str:
    """The fewest digits that give the same number back in its own precision."""
    return "" if np.isnan(value) else str(value)


def _targets(dataset: Dataset, classes: Sequence[str]) -> tuple[list[Column], Sequence[str] | set[str]]:
    """Columns of one row for each image; the classes as a reader orders them, or a set where columns name them."""
    columns: list[Column] = []
    used: Sequence[str] | set[str] = set()
    numbers = dataset.annotations.get("numbers")
    if numbers is not None:
        heads = ["number"] if numbers.shape[1] == 1 else [f"number_{d + 1}" for d in range(numbers.shape[1])]
        columns += [(head, [_shortest(v) for v in numbers[:, d]]) for d, head in enumerate(heads)]
    label, labels = dataset.annotations.get("label"), dataset.annotations.get("labels")
    if label is not None and (labels is None or not _same(label, labels)):
        columns.append(
            ("identity" if dataset.traits.get("identities") else "label", [classes[k] for k in label.tolist()])
        )
        used = sorted({classes[k] for k in label.tolist()}, key=natural)
    if labels is not None and label is None and _fits_cells(labels, classes):
        columns.append(("labels", ["|".join(classes[k] for k in np.flatnonzero(row).tolist()) for row in labels]))
        used = sorted({classes[k] for k in np.flatnonzero(labels.any(0)).tolist()}, key=natural)
    elif labels is not None:
        alone = not columns and not any(plain(name) in RESERVED or NUMBERS.fullmatch(plain(name)) for name in classes)
        alone = alone and len({plain(name) for name in classes}) == len(classes) > 1
        heads = [name if alone and not name.startswith(PREFIX) else PREFIX + name for name in classes]
        cells = np.where(np.isnan(labels), "", np.where(labels > 0, "1", "0"))
        columns += [(head, cells[:, k].tolist()) for k, head in enumerate(heads)]
    return columns, used


def _ambiguous(name: str) -> bool:
    """Whether a cell with this name could be taken for several names, or for a number."""
    return is_number(name) or any(mark in name for mark in (*SEPARATORS, ",", " "))


def _same(label: np.ndarray, labels: np.ndarray) -> bool:
    """Whether both say the same: one 1 in each row, for the label."""
    return bool((labels == np.eye(labels.shape[1], dtype=labels.dtype)[label]).all())


def _fits_cells(labels: np.ndarray, classes: Sequence[str]) -> bool:
    """Whether names in a cell say it: 0 and 1 only, some cell with two, no name with a separator."""
    plain_names = not any(mark in name for name in classes for mark in SEPARATORS)
    return plain_names and not np.isnan(labels).any() and bool((labels.sum(1) > 1).any())


def _boxes(objects: Objects, classes: Sequence[str]) -> tuple[list[Column], Sequence[str]]:
    """Columns of one row for each object, and one for each image without objects."""
    empty = objects.counts == 0
    rows = np.cumsum(np.maximum(objects.counts, 1)) - np.maximum(objects.counts, 1)  # the first row of each image
    total = int(np.maximum(objects.counts, 1).sum())
    at = np.ones(total, bool)
    at[rows[empty]] = False  # rows with an object

    def column(cells: Sequence[str]) -> list[str]:
        filled = np.full(total, "", dtype=object)
        filled[at] = cells
        return filled.tolist()

    boxes = objects.boxes.reshape(-1, 4)
    columns = [(name, column([repr(v) for v in boxes[:, k].tolist()])) for k, name in enumerate(BOX)]
    names = [classes[k] if k >= 0 else "" for k in objects.labels.tolist()]
    columns.append(("label", column(names)))
    for bit in (1, 2, 4, 8):
        if len(objects.flags) and (objects.flags & bit).any():
            columns.append((BITS[bit], column([str(int(f & bit > 0)) for f in objects.flags.tolist()])))
    return columns, sorted({name for name in names if name}, key=natural)


def _lost(dataset: Dataset, where: Places) -> list[str]:
    """What a CSV file can't say, each with a count."""
    said = []
    objects = dataset.annotations.get("objects")
    if isinstance(objects, Objects):
        said = _lost_of(objects)
        beside = [name for name in ("label", "labels", "numbers") if name in dataset.annotations]
        said += [f"'{name}' of {len(dataset):,} images" for name in beside]
    said += [f"'{name}' of {len(dataset):,} images" for name in dataset.annotations if name not in SAID]
    said += [f"the table '{name}' of {len(table):,} rows" for name, table in dataset.tables.items() if len(table)]
    if overlapping(dataset):
        said.append("images in several parts are in the first of them only")
    if where.renamed:
        said.append(f"{where.renamed:,} images have a new name")
    return [one if " are in " in one or " have a " in one else f"lost: {one}" for one in said]


def _lost_of(objects: Objects) -> list[str]:
    counts = {
        "outlines": 0 if objects.outlines is None else int((objects.outlines.counts > 0).sum()),
        "run-length masks": 0 if objects.runs is None else int((objects.runs.counts > 0).sum()),
        "keypoints": int((objects.keypoints[..., 2] > 0).any(1).sum()) if len(objects.keypoints) else 0,
        "areas": int(np.isfinite(objects.areas).sum()) if len(objects.areas) else 0,
        "numbers (ids)": len(objects.ids),
    }
    return [f"{name} of {count:,} objects" for name, count in counts.items() if count]

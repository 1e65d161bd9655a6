"""Writes COCO JSON: annotations/instances_<part>.json and <part>/…, or annotations/instances.json and images/….

Numbers are written with as few digits as give them back: float32 points come back bit for bit, and a box's width w is
the shortest number with x + w equal to the right edge.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import json

from hubel.data import rle
from hubel.data.dataset import SPLITS, Dataset
from hubel.data.formats.coco_find import PART
from hubel.data.formats.coco_lost import lost
from hubel.data.formats.coco_numbers import plain, shortest, widths
from hubel.data.formats.copies import REST, Places, copy_images, new_folder, places
from hubel.data.objects import CROWD, Objects
from hubel.data.rings import ring_areas
from hubel.data.sizes import image_sizes
from hubel.errors import UserError

CHUNK = 4096  # objects that are Python objects at the same time
FOLDER = {"dev": "val", "": "images"}  # as COCO calls the parts; the others are called alike


def write(dataset: Dataset, out: Path) -> list[str]:
    """The data set in the new folder `out`; gives what is lost or changed, one sentence each.

    Raises UserError where there are no objects, or something stands in `out`.
    """
    objects = dataset.annotations.get("objects")
    if not isinstance(objects, Objects):
        known = ", ".join(dataset.annotations) or "nothing"
        raise UserError(f"{dataset.name} has no objects for COCO JSON, only {known}. Choose another format.")
    out = new_folder(Path(out))
    where = _without_years(places(dataset))
    parts = np.array(where.parts, dtype=object)
    images = _Images(dataset, where.names)
    classes = _Classes(dataset, objects)
    missing = copy_images(dataset, [out / FOLDER.get(p, p) / n for p, n in zip(where.parts, where.names, strict=True)])
    for part in _parts(dataset, where.parts):
        index = np.flatnonzero(parts == part)
        word = f"_{FOLDER.get(part, part)}" if part else ""
        path = out / "annotations" / f"instances{word}.json"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_file(path, images, classes, objects, index)
        except OSError as fault:
            raise UserError(
                f"{path} can't be written: {fault.strerror}. Make room, or choose another folder."
            ) from fault
    return lost(dataset, objects, images.renumbered, where.renamed) + classes.notes + missing


def _without_years(where: Places) -> Places:
    """train2017/1.jpg -> 1.jpg, where all images of a part lie there: the folder of the part takes its place."""
    names = list(where.names)
    for part in set(where.parts):
        own = [i for i, other in enumerate(where.parts) if other == part]
        above = {names[i].partition("/")[0] if "/" in names[i] else "" for i in own}
        if len(above) == 1 and PART.fullmatch(above.pop().lower()):
            for i in own:
                names[i] = names[i].partition("/")[2]
    return replace(where, names=tuple(names))


def _parts(dataset: Dataset, parts: Sequence[str]) -> list[str]:
    if not dataset.splits:
        return [""]
    return [name for name in SPLITS if name in dataset.splits] + [REST] * (REST in parts)


def _write_file(path: Path, images: _Images, classes: _Classes, objects: Objects, index: np.ndarray) -> None:
    with path.open("wb") as file:
        file.write(b'{\n"info": {"description": "written by hubel"},\n"licenses": [],\n"images": [')
        for k, entry in enumerate(images.entries(index)):
            file.write((b",\n" if k else b"\n") + json.encode(entry))
        file.write(b'\n],\n"annotations": [')
        first = True
        for start in range(0, len(index), CHUNK):
            for entry in _objects(objects, index[start : start + CHUNK], images, classes):
                file.write((b"\n" if first else b",\n") + json.encode(entry))
                first = False
        file.write(
            b'\n],\n"categories": [\n' + b",\n".join(json.encode(one) for one in classes.entries()) + b"\n]\n}\n"
        )


# Images and classes ----------------------------------------------------------------------------------------------


class _Images:
    """Ids, names and sizes of the N images."""

    def __init__(self, dataset: Dataset, names: Sequence[str]):
        n = len(dataset)
        given = dataset.annotations.get("image_id")
        ids = np.arange(1, n + 1) if given is None else np.asarray(given)
        self.renumbered = not _unique_in_parts(ids, dataset)
        self.ids = np.arange(1, n + 1) if self.renumbered else ids
        self.names = names
        declared = np.asarray(dataset.annotations.get("declared_size", np.zeros((n, 2), np.int64)))
        known = (declared > 0).all(1)
        self.sizes = declared if known.all() else np.where(declared > 0, declared, image_sizes(dataset.images))

    def entries(self, index: np.ndarray) -> Iterator[dict[str, Any]]:
        for i in index.tolist():
            height, width = self.sizes[i].tolist()
            size = ({"width": width} if width else {}) | ({"height": height} if height else {})
            yield {"id": int(self.ids[i]), "file_name": self.names[i]} | size


def _unique_in_parts(ids: np.ndarray, dataset: Dataset) -> bool:
    parts = [*dataset.splits.values()] or [np.arange(len(ids))]
    rest = np.setdiff1d(np.arange(len(ids)), np.concatenate(parts))
    return all(len(np.unique(ids[part])) == len(np.unique(part)) for part in (*parts, rest))


class _Classes:
    """Numbers, names and keypoints of the K classes."""

    def __init__(self, dataset: Dataset, objects: Objects):
        self.names = [name.encode("utf-8", "backslashreplace").decode() for name in dataset.classes]
        given = np.asarray(dataset.tables.get("category_id", np.zeros(0)))
        k, self.notes = len(self.names), []
        kept = len(given) == k and len(np.unique(given)) == k
        self.numbers = np.asarray(given if kept else np.arange(1, k + 1), np.int64)
        self.none = next(n for n in range(-1, -k - 3, -1) if n not in self.numbers)
        self.skeleton, self.posed = objects.skeleton, _posed(objects, k)
        unknown = int((objects.labels < 0).sum())
        if unknown:
            self.notes.append(f"{unknown:,} objects without a known class have the category_id {self.none}")

    def entries(self) -> Iterator[dict[str, Any]]:
        for k, name in enumerate(self.names):
            entry: dict[str, Any] = {"id": int(self.numbers[k]), "name": name, "supercategory": ""}
            if self.skeleton is not None and self.posed[k]:
                entry["keypoints"] = list(self.skeleton.names)
                entry["skeleton"] = [[a + 1, b + 1] for a, b in self.skeleton.edges]
            yield entry


def _posed(objects: Objects, classes: int) -> np.ndarray:
    """(K,) bool: the classes whose objects have keypoints; all of them where none has one that is marked."""
    posed = np.zeros(classes, bool)
    if len(objects.keypoints):
        posed[objects.labels[(objects.keypoints != 0).any((1, 2)) & (objects.labels >= 0)]] = True
    return posed if posed.any() else ~posed


# Objects ---------------------------------------------------------------------------------------------------------


def _objects(all_objects: Objects, index: np.ndarray, images: _Images, classes: _Classes) -> Iterator[dict[str, Any]]:
    """The entries of the objects in the images `index`."""
    objects = all_objects.take(index)
    owners = index[objects.images]
    first = all_objects.offsets[:-1][index]  # the number of an object without one: its row
    rows = np.arange(objects.count) - objects.offsets[:-1][objects.images] + first[objects.images] + 1
    ids = (objects.ids if len(objects.ids) else rows).tolist()
    kinds = np.concatenate([classes.numbers, [classes.none]])[objects.labels]  # the last one for −1
    boxes, areas = _boxes(objects), _areas(objects)
    masks, points = _segmentations(objects, images.sizes[owners]), _points(objects)
    for m in range(objects.count):
        entry: dict[str, Any] = {} if ids[m] == -1 else {"id": ids[m]}
        entry |= {"image_id": int(images.ids[owners[m]]), "category_id": int(kinds[m])}
        if boxes[m] is not None:
            entry["bbox"] = boxes[m]
        if areas[m] is not None:
            entry["area"] = areas[m]
        entry["iscrowd"] = int(bool(len(objects.flags)) and bool(objects.flags[m] & CROWD))
        entry["segmentation"] = masks[m]
        if points is not None and (objects.labels[m] < 0 or classes.posed[objects.labels[m]]):
            entry["keypoints"] = points[m]
            entry["num_keypoints"] = int((objects.keypoints[m, :, 2] > 0).sum())
        yield entry


def _boxes(objects: Objects) -> list[list[float | None] | None]:
    """x, y, width, height; None where an object has no box."""
    boxes = objects.boxes.reshape(-1, 4)
    xywh = np.column_stack([boxes[:, :2], widths(boxes[:, 0], boxes[:, 2]), widths(boxes[:, 1], boxes[:, 3])])
    return [None if gone else box for box, gone in zip(plain(xywh), np.isnan(boxes).all(1).tolist(), strict=True)]


def _areas(objects: Objects) -> list[float | None]:
    """As they are; where no object has one, of its outline, its run lengths or its box."""
    if len(objects.areas):
        return plain(objects.areas)
    x0, y0, x1, y1 = objects.boxes.reshape(-1, 4).T
    with np.errstate(invalid="ignore", over="ignore"):
        found = np.abs((x1 - x0) * (y1 - y0))
    if objects.outlines is not None:
        rings = objects.outlines.values
        outlined = np.bincount(objects.outlines.owners, ring_areas(rings), minlength=objects.count)
        found = np.where(objects.outlines.counts > 0, outlined, found)
    if objects.runs is not None:
        found = np.where(objects.runs.counts > 0, rle.areas(objects.runs), found)
    return plain(found)


def _segmentations(objects: Objects, sizes: np.ndarray) -> list[Any]:
    """Polygons, else run lengths, else an empty list: programs expect the key."""
    found: list[Any] = [[] for _ in range(objects.count)]
    if objects.runs is not None:
        for m in np.flatnonzero(objects.runs.counts).tolist():
            found[m] = _run_lengths(objects, m, sizes[m].tolist())
    if objects.outlines is not None:
        rings = objects.outlines.values
        numbers, ends = plain(shortest(rings.values).ravel()), (2 * rings.offsets).tolist()
        of = objects.outlines.offsets.tolist()
        for m in np.flatnonzero(objects.outlines.counts).tolist():
            found[m] = [numbers[ends[r] : ends[r + 1]] for r in range(of[m], of[m + 1])]
    return found


def _run_lengths(objects: Objects, m: int, size: list[int]) -> dict[str, Any]:
    """Numbers for crowds, as in COCO's own files, text for all others."""
    counts = objects.runs[m]  # type: ignore[index]
    crowd = bool(len(objects.flags)) and bool(objects.flags[m] & CROWD)
    size = size if all(size) else [int(counts.sum(dtype=np.int64)), 1]
    return {"size": size, "counts": counts.tolist() if crowd else rle.to_text(counts)}


def _points(objects: Objects) -> list[list[float | None]] | None:
    if not len(objects.keypoints):
        return None
    return plain(shortest(objects.keypoints).reshape(objects.count, -1))

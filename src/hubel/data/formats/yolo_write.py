"""Writes YOLO: images/<part>/…, labels/<part>/… and a data.yaml beside them, which gives the same objects when read.

All lines are boxes, or poses where the objects have keypoints; an object with an outline becomes a polygon. Each image
gets a label file, an empty one where it shows nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hubel.data.dataset import Dataset
from hubel.data.formats.copies import REST, Places, copy_images, filled, new_folder, overlapping, places, write_text
from hubel.data.formats.yolo_rows import box_texts, point_texts
from hubel.data.objects import CROWD, DIFFICULT, OCCLUDED, TRUNCATED, Objects
from hubel.data.ragged import Ragged
from hubel.data.sizes import image_sizes
from hubel.data.yaml_file import write_yaml
from hubel.errors import UserError

FLAGS = {"crowd": CROWD, "difficult": DIFFICULT, "truncated": TRUNCATED, "occluded": OCCLUDED}
FOLDER = {"dev": "val"}  # as YOLO calls the parts; the others are called alike


def write(dataset: Dataset, out: Path, *, rows: str = "auto") -> list[str]:
    """The data set as YOLO in the new folder `out`; gives what was lost, one sentence each.

    `rows`: "boxes", "polygons", "poses", or "auto": poses where there are keypoints, else polygons where there are
    outlines. Raises UserError where there are no objects, or something stands in `out`.
    """
    objects = dataset.annotations.get("objects")
    if not isinstance(objects, Objects):
        known = ", ".join(dataset.annotations) or "nothing"
        raise UserError(f"{dataset.name} has no objects for YOLO's label files, only {known}. Choose another format.")
    kind = _kind(objects, rows)
    out = new_folder(Path(out))
    where = places(dataset)
    said, lost = _lines(objects, image_sizes(dataset.images), kind)
    stems = [f"{FOLDER.get(part, part)}/{where.stem(i)}".lstrip("/") for i, part in enumerate(where.parts)]
    names = [
        f"{FOLDER.get(part, part)}/{name}".lstrip("/") for part, name in zip(where.parts, where.names, strict=True)
    ]
    lost += copy_images(dataset, [out / "images" / name for name in names])
    for i, stem in enumerate(stems):
        write_text(out / "labels" / f"{stem}.txt", said[objects.offsets[i] : objects.offsets[i + 1]])
    settings = _parts(dataset, out, where, names) | _settings(dataset, objects, kind)
    write_yaml(out / "data.yaml", settings)
    return _lost(dataset, objects, kind, where) + lost


def _kind(objects: Objects, rows: str) -> str:
    if rows not in ("auto", "boxes", "polygons", "poses"):
        raise UserError(f"rows is boxes, polygons, poses or auto; got '{rows}'.")
    if rows == "poses" and not len(objects.keypoints):
        raise UserError("There are no keypoints to write poses of. Choose boxes or polygons.")
    if rows != "auto":
        return rows
    if len(objects.keypoints):
        return "poses"
    return "polygons" if objects.outlines is not None and objects.outlines.counts.any() else "boxes"


def _parts(dataset: Dataset, out: Path, where: Places, names: Sequence[str]) -> dict[str, str]:
    """{key of data.yaml: a folder, or a list of files where an image is in several parts}."""
    found = {}
    for part in filled(dataset):
        key = FOLDER.get(part, part)
        found[key] = f"images/{key}"
        if overlapping(dataset):
            found[key] = f"{key}.txt"
            write_text(out / found[key], [f"./images/{names[i]}" for i in dataset.splits[part].tolist()])
    if REST in where.parts:
        found[REST] = f"images/{REST}"
    return found


def _settings(dataset: Dataset, objects: Objects, kind: str) -> dict[str, Any]:
    settings: dict[str, Any] = {"nc": len(dataset.classes)}
    if kind == "poses":
        joints = objects.keypoints.shape[1]
        settings["kpt_shape"] = [joints, 3]
        if objects.skeleton is not None:
            settings["flip_idx"] = objects.skeleton.mirrored().tolist()
            settings["skeleton"] = [list(pair) for pair in objects.skeleton.edges]
            settings["kpt_names"] = {k: list(objects.skeleton.names) for k in range(max(1, len(dataset.classes)))}
    return settings | {"names": dict(enumerate(dataset.classes))}


# Lines ---------------------------------------------------------------------------------------------------------


def _lines(objects: Objects, sizes: np.ndarray, kind: str) -> tuple[list[str], list[str]]:
    """The line of each object, and sentences on those that can't come back."""
    mine = np.where(sizes[objects.images] > 0, sizes[objects.images], 1)
    labels = [str(label) for label in objects.labels.tolist()]
    outlined = _outlined(objects) if kind == "polygons" else np.zeros(objects.count, bool)
    boxes, lost = _box_words(objects, mine)
    lines = [f"{label} {box}" for label, box in zip(labels, boxes, strict=True)]
    if kind == "poses":
        poses = _pose_words(objects.keypoints, mine)
        lines = [f"{line} {pose}" for line, pose in zip(lines, poses, strict=True)]
    for m in np.flatnonzero(outlined).tolist():
        ring = _joined(objects.outlines[m])  # type: ignore[index]
        xy = [point_texts(ring[:, k], np.broadcast_to(mine[m, 1 - k], len(ring))) for k in (0, 1)]
        lines[m] = f"{labels[m]} " + " ".join(f"{x} {y}" for x, y in zip(*xy, strict=True))
    blind = int((sizes[objects.images] == 0).any(1).sum())
    notes = [f"{blind:,} objects have no place, because the size of their image can't be read"] * bool(blind)
    gone = int((lost & ~outlined & (sizes[objects.images] > 0).all(1)).sum())
    return lines, notes + [f"{gone:,} boxes with coordinates that are no numbers can't be said exactly"] * bool(gone)


def _box_words(objects: Objects, sizes: np.ndarray) -> tuple[list[str], np.ndarray]:
    x0, y0, x1, y1 = objects.boxes.reshape(-1, 4).T
    x, w, lost_x = box_texts(x0, x1, sizes[:, 1])
    y, h, lost_y = box_texts(y0, y1, sizes[:, 0])
    whole = np.isnan(objects.boxes.reshape(-1, 4)).all(1)  # NaN as a whole comes back
    return [" ".join(words) for words in zip(x, y, w, h, strict=True)], (lost_x | lost_y) & ~whole


def _pose_words(keypoints: np.ndarray, sizes: np.ndarray) -> list[str]:
    joints = keypoints.shape[1]
    x, y = (point_texts(keypoints[..., k].ravel(), np.repeat(sizes[:, 1 - k], joints)) for k in (0, 1))
    seen = [f"{v:.9g}" for v in keypoints[..., 2].ravel().tolist()]
    words = [" ".join(triple) for triple in zip(x, y, seen, strict=True)]
    return [" ".join(words[m * joints : (m + 1) * joints]) for m in range(len(keypoints))]


def _outlined(objects: Objects) -> np.ndarray:
    """(M,) objects whose outline a line can say: at least three points."""
    if objects.outlines is None:
        return np.zeros(objects.count, bool)
    rings = objects.outlines.values
    points = np.bincount(objects.outlines.owners, rings.counts, minlength=objects.count)
    return points >= 3


def _joined(rings: Ragged) -> np.ndarray:
    """Several rings as one: there and back along lines from each first point to the next, which add no area."""
    parts = [ring for ring in rings if len(ring)]
    if len(parts) == 1:
        return parts[0]
    there = [np.concatenate([ring, ring[:1]]) for ring in parts]
    back = [ring[:1] for ring in parts[-2:0:-1]]
    return np.concatenate([*there, *back])


# What is lost --------------------------------------------------------------------------------------------------


def _lost(dataset: Dataset, objects: Objects, kind: str, where: Places) -> list[str]:
    """One sentence for each kind of thing that YOLO has no place for, with how many there are."""
    told = [
        (int((objects.flags & bit > 0).sum()) if len(objects.flags) else 0, f"{name} flags")
        for name, bit in FLAGS.items()
    ]
    several = 0
    if objects.outlines is not None:
        rings = objects.outlines.counts
        told.append(
            (
                int((rings > 0).sum()) if kind != "polygons" else int(((rings > 0) & ~_outlined(objects)).sum()),
                "outlines",
            )
        )
        several = int((rings > 1).sum()) if kind == "polygons" else 0
        told.append(
            (_other_boxes(objects) if kind == "polygons" else 0, "boxes that differ from the extent of their polygon")
        )
    told.append((int((objects.runs.counts > 0).sum()) if objects.runs is not None else 0, "run-length masks"))
    told.append((len(objects.keypoints) if kind != "poses" else 0, "objects' keypoints"))
    told += [(len(objects.areas), "areas"), (len(objects.ids), "ids of objects")]
    told += [(len(dataset), f"values of '{name}'") for name in dataset.annotations if name != "objects"]
    told += [(len(table), f"rows of '{name}'") for name, table in dataset.tables.items()]
    sentences = [f"lost: {count:,} {what}" for count, what in told if count]
    sentences += [f"{several:,} objects of several polygons became one polygon each, joined by lines"] * bool(several)
    return sentences + [f"{where.renamed:,} images got another name"] * bool(where.renamed)


def _other_boxes(objects: Objects) -> int:
    m = np.flatnonzero(_outlined(objects))
    points = [np.concatenate(list(objects.outlines[k])) for k in m.tolist()]  # type: ignore[index]
    extents = np.array([[*p.min(0), *p.max(0)] for p in points], dtype=np.float64).reshape(-1, 4)
    return int((extents != objects.boxes[m]).any(1).sum())

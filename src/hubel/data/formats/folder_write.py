"""Writes a folder per class: OUT/<part>/<class>/…, or OUT/<class>/… where the data set has no parts."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import numpy as np

from hubel.data.dataset import Dataset
from hubel.data.formats.copies import REST, copy_images, new_folder, overlapping, places
from hubel.data.formats.folder import SPLITS
from hubel.data.formats.walk import natural
from hubel.errors import UserError

FOLDER = {"dev": "val"}  # as most tools call it; the others are called alike


def write(dataset: Dataset, out: Path) -> list[str]:
    """The data set as folders in the new folder `out`; gives what was lost, one sentence each.

    Raises UserError where images have no single label, or something stands in `out`.
    """
    labels = dataset.annotations.get("label")
    if labels is None:
        known = ", ".join(dataset.annotations) or "nothing"
        raise UserError(
            f"{dataset.name} has no single label for its images, only {known}: folders can't say that. Choose another "
            "format: coco, yolo, voc, masks or csv."
        )
    out = new_folder(Path(out))
    where, folders = places(dataset), folder_names(dataset.classes)
    parted = "train" in where.parts
    targets = []
    for part, name, label in zip(where.parts, where.names, labels.tolist(), strict=True):
        inner = _below_class(name, dataset.classes[label], folders[label])
        targets.append(Path(FOLDER.get(part, part) if parted else "", folders[label], inner))
    lost = _lost(dataset, where.parts, folders, parted)
    lost += [f"{where.renamed:,} files have other names"] * bool(where.renamed)
    return lost + copy_images(dataset, [out / target for target in _unique(targets)])


def folder_names(classes: tuple[str, ...]) -> list[str]:
    """A folder for each class: its name where a folder can be called so, all different on any disk."""
    found: list[str] = []
    taken = {*SPLITS, REST, ""}
    for k, name in enumerate(classes):
        plain = re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff<>:\"/\\|?*]", "_", name).strip().strip(".")[:150]
        wish, number = plain or f"class {k}", 1
        new = wish
        while new.casefold() in taken:
            number += 1
            new = f"{wish} ({number})"
        taken.add(new.casefold())
        found.append(new)
    return found


def _below_class(name: str, label: str, folder: str) -> str:
    """ "cat/a/1.jpg" of the class cat -> "a/1.jpg"."""
    first, *rest = PurePosixPath(name).parts
    return str(PurePosixPath(*rest)) if rest and first in (label, folder) else name


def _unique(targets: list[Path]) -> list[Path]:
    """Files of two sources may meet in one class: the later ones get a number."""
    taken: set[str] = set()
    found = []
    for target in targets:
        new, number = target, 1
        while str(new).casefold() in taken:
            number += 1
            new = target.with_name(f"{target.stem}_{number}{target.suffix}")
        taken.add(str(new).casefold())
        found.append(new)
    return found


def _untrained(dataset: Dataset) -> list[str]:
    """Classes that a later part has and the training part hasn't: as folders they are identities, or an error."""
    label = dataset.annotations["label"]
    seen = set(label[dataset.splits["train"]].tolist())
    later = {k for part, index in dataset.splits.items() if part != "train" for k in label[index].tolist()} - seen
    if not later:
        return []
    names = ", ".join(dataset.classes[k] for k in sorted(later)[:5])
    return [f"{len(later):,} classes have no training image, which folders of classes must have: {names}"]


def _lost(dataset: Dataset, parts: tuple[str, ...], folders: list[str], parted: bool) -> list[str]:
    """Sentences on what folders can't say."""
    lost = [
        f"lost: '{name}' of {len(dataset):,} images"
        for name in dataset.annotations
        if name not in ("label", "image_id")
    ]
    lost += [f"lost: the table '{name}' of {len(table):,} rows" for name, table in dataset.tables.items() if len(table)]
    lost += _untrained(dataset) if parted else []
    changed = [f"'{a}' as '{b}'" for a, b in zip(dataset.classes, folders, strict=True) if a != b]
    if changed:
        lost.append(f"{len(changed):,} classes have other names as folders: {', '.join(changed[:5])}")
    empty = np.flatnonzero(np.bincount(dataset.annotations["label"], minlength=len(dataset.classes)) == 0)
    if len(empty):
        names = ", ".join(dataset.classes[k] for k in empty[:5].tolist())
        lost.append(f"{len(empty):,} classes without images are not there: {names}")
    if sorted(folders, key=natural) != folders:
        lost.append("the order of the classes: folders are read in natural order")
    if dataset.splits and not parted:
        lost.append(f"the parts {', '.join(dataset.splits)}: folders need a train part")
    if overlapping(dataset):
        lost.append("images in several parts, or twice in one: each is there once")
    if parted and REST in parts:
        lost.append(f"{parts.count(REST):,} images in no part lie in {REST}/, which is not read with the parts")
    if (dataset.weights != 1).any():
        lost.append(f"the weights of {int((dataset.weights != 1).sum()):,} images")
    return lost

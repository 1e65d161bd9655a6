"""A folder per class: ROOT/<class>/*.jpg, ROOT/<split>/<class>/*.jpg, or ROOT/<class>/<split>/*.jpg.

Splits are train, test, and val | valid | validation | dev, which all mean dev; also training_set, test_images and the
like, and a folder within one of the same name. Images may lie in folders below their class. Classes are in natural
order (1, 2, 10). Nothing is ever written here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hubel.data.dataset import Dataset
from hubel.data.decode import MAX_PIXELS
from hubel.data.formats.walk import Scan, folders, has_images, is_folder, natural, scan
from hubel.data.images import FileImages, PackedNames, survey
from hubel.errors import UserError

WORDS = {"train": "train", "training": "train", "test": "test", "testing": "test"} | dict.fromkeys(
    ("val", "valid", "validation", "dev"), "dev"
)
FORMS = ("{}", "{}_set", "{}-set", "{}set", "{}_images", "{}_img", "{}_data", "seg_{}")
SPLITS = {form.format(word): part for word, part in WORDS.items() for form in FORMS} | {"train-dev": "train-dev"}
PART_LIKE = re.compile(  # train, test2, train_masks, valannot … but not trainer or valley
    r"(seg_)?(train(ing)?|test(ing)?|val(id(ation)?)?|dev)(?=$|[^a-z]|annot|mask|label|image|set)", re.IGNORECASE
)
LISTED = 5  # names in a message, before "and … more"


def recognise(path: Path) -> str | None:
    """Why this is a folder of classes, or None: some folder below it holds images."""
    if not path.is_dir():
        return None
    parts = split_folders(path)
    if parts:
        return f"classes in {', '.join(parts)}"
    classes = [f for f in folders(path) if has_images(f)]
    return f"{len(classes)} folders with images" if classes else None


def read(path: Path, channels: int | None = None, max_pixels: int = MAX_PIXELS) -> Dataset:
    """The folder as a dataset. Raises UserError where classes are missing or the parts don't fit together."""
    root = path.resolve()
    found = {part: _classes(path, part) for part in split_folders(path) or ("",)}
    classes = tuple(sorted({c for scans in found.values() for c, one in scans.items() if one.files}, key=natural))
    _check_classes(path, classes, found)
    names, labels, splits = _flatten(found, classes)
    inside = {} if splits else _parts_in_classes(names)
    splits = splits or inside
    images, look = _images(root, names, channels, max_pixels)
    printable = tuple(os.fsencode(c).decode("utf-8", "backslashreplace") for c in classes)
    return Dataset(
        os.fsencode(root.name).decode("utf-8", "backslashreplace"),
        images,
        {"label": labels},
        printable,
        splits,
        source=str(root),
        format="folder",
        notes=tuple(_notes(path, found, printable, len(names)) + _inside_notes(inside) + look),
    )


def split_folders(path: Path) -> dict[str, str]:
    """{folder's name: split}, where one of them is a training part; else these names are classes like others."""
    below = folders(path)
    found = {f.name: SPLITS[f.name.lower()] for f in below if f.name.lower() in SPLITS and _has_classes(f)}
    if "train" not in found.values():
        if found and len(found) == len(below):
            raise UserError(f"{path} has the parts {', '.join(found)} but no train part. Add the folder 'train'.")
        return {}
    for name, split in found.items():
        twin = [other for other, same in found.items() if same == split and other != name]
        if twin:
            raise UserError(f"{path}: '{name}' and '{twin[0]}' both mean the {split} part. Keep one, or merge them.")
    return found


def _has_classes(folder: Path) -> bool:
    return any(has_images(inner) for inner in folders(_inner(folder)))


def _inner(folder: Path) -> Path:
    """A part's folder, or the only one in it where that has the same name (seg_train/seg_train)."""
    below = folders(folder)
    return below[0] if len(below) == 1 and below[0].name == folder.name else folder


def why_not(path: Path) -> str:
    """Why a folder that was not recognised is no folder of classes: one sentence and what to do."""
    found = scan(path, path)
    if not found.files and not found.ignored:
        return "the folder is empty."
    if not found.files:
        return f"the folder holds no images ({len(found.ignored):,} other files: {_some(found.ignored)})."
    return f"{len(found.files):,} images but no folder per class. Make one folder per class and move the images in."


# Putting together ----------------------------------------------------------------------------------------------


def _classes(path: Path, part: str) -> dict[str, Scan]:
    return {folder.name: scan(folder, path) for folder in folders(_inner(path / part) if part else path)}


def _check_classes(path: Path, classes: tuple[str, ...], found: Mapping[str, Mapping[str, Scan]]) -> None:
    if len(classes) < 2:
        raise UserError(
            f"{path} has one class only, '{_some(list(classes))}'; there is nothing to tell apart. Add a folder of "
            "images that are something else."
        )
    if "" in found and all(PART_LIKE.match(name) for name in classes):
        raise UserError(
            f"{path}: {_some(list(classes))} are called like parts, and hold images without a folder per class. Make a "
            "folder for each class inside them."
        )
    for part, scans in found.items():
        full = {name for name, one in scans.items() if one.files}
        missing = [c for c in classes if c not in full]
        if missing and SPLITS.get(part.lower(), "train") == "train":
            raise UserError(
                f"No training images in {path / part} for {_some(missing)}, which other parts have. Add some, or "
                "remove these folders."
            )


def _flatten(
    found: Mapping[str, Mapping[str, Scan]], classes: tuple[str, ...]
) -> tuple[list[str], np.ndarray, dict[str, np.ndarray]]:
    names: list[str] = []
    labels: list[int] = []
    splits: dict[str, np.ndarray] = {}
    for part, scans in found.items():
        start = len(names)
        for label, name in enumerate(classes):
            files = scans[name].files if name in scans else []
            names += files
            labels += [label] * len(files)
        if part and len(names) > start:
            splits[SPLITS[part.lower()]] = np.arange(start, len(names))
    return names, np.array(labels, dtype=np.int64), splits


def _parts_in_classes(names: list[str]) -> dict[str, np.ndarray]:
    """Positions of each part where all images are in CLASS/PART/…, one of the parts for training; else {}."""
    parts = [SPLITS.get(name.split("/")[1].lower(), "") for name in names if name.count("/") > 1]
    if len(parts) < len(names) or "" in parts or "train" not in parts:
        return {}
    return {part: np.flatnonzero(np.array(parts) == part) for part in dict.fromkeys(parts)}


def _inside_notes(parts: Mapping[str, np.ndarray]) -> list[str]:
    told = ", ".join(f"{part} {len(index):,}" for part, index in parts.items())
    return [f"the folders in each class are parts: {told}"] if parts else []


def _images(root: Path, names: list[str], channels: int | None, max_pixels: int) -> tuple[FileImages, list[str]]:
    """Grey where all files that were looked at are grey; 16 bits where one has them. The check makes it exact."""
    seen, depth = survey([str(root / name) for name in names], max_pixels=max_pixels)
    notes = ["16 bits per value are kept"] if depth == 16 else []
    return FileImages(str(root), PackedNames.pack(names), channels or seen, depth, max_pixels, bool(channels)), notes


def _notes(
    path: Path,
    found: Mapping[str, Mapping[str, Scan]],
    classes: tuple[str, ...],
    total: int,
) -> list[str]:
    notes = [f"a folder per class: {len(classes)} classes, {total:,} images"]
    notes += [f"folder '{part}' is the {SPLITS[part.lower()]} part" for part in found if part]
    for part, scans in found.items():
        without = [c for c in classes if c not in scans or not scans[c].files]
        if without:
            notes.append(f"no images in '{part or path.name}' for {_some(without)}")
    ignored = [name for scans in found.values() for one in scans.values() if one.files for name in one.ignored]
    ignored += [f"{part}/{f}" if part else f for part in found for f in _outside(path / part, full=set(classes))]
    if "" not in found:
        ignored += _outside(path, full=set(found))
    if ignored:
        notes.append(f"{len(ignored):,} other files and folders ignored: {_some(ignored)}")
    return notes


def _outside(folder: Path, full: set[str]) -> list[str]:
    """Files directly in `folder`, and folders that are neither classes nor parts."""
    entries = sorted(os.scandir(folder), key=lambda e: natural(e.name))
    return [e.name + "/" * is_folder(e) for e in entries if not (is_folder(e) and e.name in full)]


def _some(names: list[str]) -> str:
    shown = [os.fsencode(n).decode("utf-8", "backslashreplace") for n in names[:LISTED]]
    return ", ".join(shown) + (f" and {len(names) - LISTED:,} more" if len(names) > LISTED else "")

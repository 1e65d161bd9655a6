"""Masks: images/ and masks/ with a class for every pixel, a PNG of the same name for each image.

ROOT/<part>/images + ROOT/<part>/masks, or ROOT/images + ROOT/masks with parts below both, or with lists (train.txt …)
or a data.yaml that names the parts; also ROOT/train + ROOT/train_masks (trainannot, …). A mask may also be called
NAME_mask.png, NAME_label.png … What its values mean: `masks_meaning`; names, colors and ignore come from options,
data.yaml or classes.txt. Nothing is read but a sample.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from hubel.data.dataset import Dataset
from hubel.data.decode import MAX_PIXELS
from hubel.data.findings import Finding
from hubel.data.formats.fence import Fence, printable
from hubel.data.formats.layout import PART_NAMES, Gathered, Pair, holds, pairs, subfolders
from hubel.data.formats.masks_meaning import look, meaning, numbered
from hubel.data.formats.masks_write import write
from hubel.data.formats.parts import PARTS, gather_parts, name_misspelt, read_lists
from hubel.data.formats.walk import scan
from hubel.data.images import PackedNames
from hubel.data.masks import LOSSLESS, Masks
from hubel.data.yaml_file import YamlFile, read_text, read_yaml
from hubel.errors import UserError

__all__ = ["read", "recognise", "write"]

FOLDERS = ("masks", "mask", "labels", "annotations")  # only those with files that can be masks
SUFFIXES = ("", "_mask", "_label", "_labels", "_seg", "_gt", "_L", "-mask")
SIBLINGS = ("_masks", "_mask", "masks", "annot", "_annot", "_labels", "_annotations", "_gt")
SETTINGS = ("data.yaml", "data.yml")


def recognise(path: Path) -> str | None:
    """Why these are images with masks, or None."""
    home = path.parent if path.is_file() and path.name.lower() in SETTINGS else path
    found = _pairs(home)
    return f"images in {printable(found[0].images)}, masks in {printable(found[0].partner)}" if found else None


def read(
    path: Path, *, channels: int | None = None, max_pixels: int = MAX_PIXELS, names: Any = None, colors: Any = None,
    ignore: Any = None,
) -> Dataset:  # fmt: skip
    """The data set, with the column "mask". Options as in data.yaml, and before it: `names` and `colors` a list or
    {value: …}, `ignore` a value, several, or a colour. Raises UserError where values can't be told apart.
    """
    home = path.parent if path.is_file() else path
    found = Gathered(Fence(home))
    folders = _pairs(home)
    settings = _settings(found, home)
    if settings is not None:
        name_misspelt(found, settings, ("names", "colors", "ignore"))
    if settings is not None and any(key in settings for key in PARTS):
        gather_parts(found, settings)
    else:
        for pair in folders:
            found.add_folder(pair.images, PART_NAMES.get(pair.part.lower(), ""))
    if not found.names:
        raise UserError(f"{path}: no images found in {', '.join(pair.images for pair in folders) or 'images/'}.")
    if settings is None or not any(key in settings for key in PARTS):
        read_lists(found, (".", "splits", "lists", "ImageSets/Segmentation"))
    files = _mask_files(found, folders)
    said = _said(found, settings, {"names": names, "colors": colors, "ignore": ignore})
    where = str(settings.path if settings else path)
    root = found.fence.root
    known = meaning(said, look([os.path.join(root, f) for f in files if f], max_pixels), where)  # noqa: PTH118
    _say(found, files, known.classes, known.ignore, known.coloured)
    found.notes += known.notes
    splits = found.splits()
    images = found.images(channels, max_pixels)
    mask = Masks(
        root, PackedNames.pack(files), images.names, known.classes, known.values, known.ignore, known.coloured,
        known.colours, max_pixels,
    )  # fmt: skip
    return Dataset(
        printable(Path(root).name), images, {"mask": mask}, known.classes, splits, source=str(path.resolve()),
        format="masks", notes=tuple(found.notes), findings=tuple(found.findings),
    )  # fmt: skip


def _pairs(home: Path) -> list[Pair]:
    found = pairs(home, FOLDERS[:2], (*LOSSLESS, ".jpg", ".jpeg")) or pairs(home, FOLDERS[2:], LOSSLESS)
    return found or _siblings(home)


def _siblings(home: Path) -> list[Pair]:
    """ROOT/train + ROOT/train_masks or ROOT/trainannot, for each part that has both."""
    below = {folder.name: folder for folder in subfolders(home)}
    found = []
    for name in (name for name in below if name.lower() in PART_NAMES):
        partner = next((name + end for end in SIBLINGS if name + end in below), None)
        if partner is not None and holds(below[partner], LOSSLESS):
            found.append(Pair(name, name, partner))
    return found


def _settings(found: Gathered, home: Path) -> YamlFile | None:
    for name in SETTINGS:
        if found.may_open(name):
            return read_yaml(home / name)
    return None


def _said(found: Gathered, settings: YamlFile | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """What options say, else data.yaml, else classes.txt: only what was said at all."""
    said: dict[str, Any] = {}
    for key, given in options.items():
        if given is not None:
            said[key] = given if key == "ignore" else numbered(given, key)
        elif settings is not None and key in settings:
            read_in = settings.names() if key == "names" else settings.numbered(key) if key == "colors" else None
            said[key] = settings.values[key] if key == "ignore" else read_in
    if "names" not in said and found.may_open("classes.txt"):
        lines = [line.strip() for line in read_text(Path(found.fence.root, "classes.txt"), 2**20).splitlines()]
        said["names"] = dict(enumerate(line for line in lines if line))
        found.notes.append("classes are those of classes.txt")
    return said


# Which mask belongs to which image -----------------------------------------------------------------------------


def _mask_files(found: Gathered, folders: Sequence[Pair]) -> list[str]:
    """The mask of each image, "" where there is none; masks without an image are named."""
    there = {pair.partner: _listing(found, pair) for pair in folders}
    used: set[str] = set()
    files = []
    for name in found.names:
        file = next((f for pair in folders if (f := _partner(name, pair, there[pair.partner]))), "")
        fault = found.fence.fault(file) if file else ""
        if fault:
            found.refuse(file, fault)
        used.add(file)
        files.append("" if fault else file)
    for pair in folders:
        _orphans(found, there[pair.partner], used, pair)
    return files


def _listing(found: Gathered, pair: Pair) -> dict[str, str]:
    """{path below the folder of masks, without its ending: file}."""
    root = Path(found.fence.root)
    if not found.fence.inside(pair.partner):
        found.refuse(pair.partner, "outside")
        return {}
    if not (root / pair.partner).is_dir():
        return {}
    files = [os.path.normpath(f) for f in scan(root / pair.partner, root).files]
    if files and not any(f.lower().endswith(LOSSLESS) for f in files):
        raise UserError(f"{root / pair.partner}: JPEG files change values and can't be masks. Save the masks as PNG.")
    kept = sorted((f for f in files if f.lower().endswith(LOSSLESS)), key=lambda f: f.lower().endswith(".png"))
    return {os.path.splitext(os.path.relpath(f, pair.partner))[0]: f for f in kept}  # noqa: PTH122


def _partner(name: str, pair: Pair, there: Mapping[str, str]) -> str:
    path = PurePosixPath(name)
    if not path.is_relative_to(pair.images):
        return ""
    stem = os.path.splitext(path.relative_to(pair.images))[0]  # noqa: PTH122
    return next((there[stem + suffix] for suffix in SUFFIXES if stem + suffix in there), "")


def _orphans(found: Gathered, there: Mapping[str, str], used: set[str], pair: Pair) -> None:
    """Masks of images that are not there. Images that no part names are there, so their masks are no fault."""
    folder = Path(found.fence.root, pair.images)
    left = sorted(set(there.values()) - used)
    known = {os.path.splitext(os.path.relpath(f, folder))[0] for f in scan(folder, Path()).files} if left else set()  # noqa: PTH122
    for file in left:
        stem = os.path.splitext(os.path.relpath(file, pair.partner))[0]  # noqa: PTH122
        if not any(stem.endswith(suffix) and stem.removesuffix(suffix) in known for suffix in SUFFIXES):
            reason, action = "a mask of an image that is not there", "Add the image, or remove the mask."
            found.findings.append(Finding("missing file", printable(file), reason, action))


def _say(found: Gathered, files: Sequence[str], classes: Sequence[str], ignore: Sequence[int], coloured: bool) -> None:
    have = sum(map(bool, files))
    found.notes.insert(0, f"masks: {len(files):,} images, {have:,} with a mask; {len(classes)} classes")
    for part in dict.fromkeys(found.parts):
        found.notes.append(f"{len(found.parts[part]):,} images are the {part} part")
    if have < len(files):
        found.notes.append(f"{len(files) - have:,} images have no mask: all their pixels are ignored")
    if ignore:
        shown = [f"#{value:06x}" if coloured else str(value) for value in ignore]
        found.notes.append(f"pixels of {', '.join(shown)} are ignored")

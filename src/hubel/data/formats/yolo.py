"""YOLO: a text file of boxes, polygons or poses beside each image, and a data.yaml that names classes and parts.

data.yaml: `names` (a list, or {0: cat}), `nc`, `train` / `val` / `test` (a folder, several, or a .txt that lists
images), `path` (relative to data.yaml, and to nothing else), `kpt_shape: [J, 2 or 3]`, `flip_idx`. The labels of
images/a/1.jpg are in labels/a/1.txt, those of an image in no folder `images` beside it. Without data.yaml: images/ and
labels/, or text files beside images (also in obj_train_data/ …), with the names of the classes in classes.txt or
obj.names. Lines: `yolo_rows`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from hubel.data.dataset import Dataset
from hubel.data.decode import MAX_PIXELS
from hubel.data.findings import Finding
from hubel.data.formats.fence import Fence, printable
from hubel.data.formats.layout import PART_NAMES, Gathered, holds, pairs
from hubel.data.formats.parts import PARTS, gather_parts, name_misspelt
from hubel.data.formats.yolo_labels import name_orphans, read_objects
from hubel.data.formats.yolo_rows import Rows
from hubel.data.formats.yolo_settings import CLASS_FILES, SETTINGS, class_names
from hubel.data.formats.yolo_write import write
from hubel.data.yaml_file import YamlFile, read_yaml
from hubel.errors import UserError

__all__ = ["read", "recognise", "write"]

DARKNET = {"obj_train_data": "train", "obj_valid_data": "dev", "obj_test_data": "test"}
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
LOOKS = 20  # text files that recognising opens
NAMED = ("data.yaml", "data.yml", "dataset.yaml")  # settings without parts: folders say these


def recognise(path: Path) -> str | None:
    """Why this is a YOLO data set, or None: a data.yaml with parts, or folders images and labels."""
    if path.is_file():
        named = path.suffix.lower() in (".yaml", ".yml") and _says_parts(path)
        return "a YOLO data.yaml with parts" if named and not _only_masks(path.parent) else None
    if not path.is_dir():
        return None
    settings = _yaml_files(path)
    if settings and not _only_masks(path):
        return f"{settings[0].name} with YOLO's parts"
    if pairs(path, ("labels",), (".txt",)):
        return "images/ and labels/ with text files"
    return "text files of boxes beside images" if _beside(path) else None


def read(
    path: Path, *, channels: int | None = None, max_pixels: int = MAX_PIXELS, root: str | Path | None = None
) -> Dataset:
    """The data set of a folder or of its data.yaml. `root`: files elsewhere, but below it, may be opened too.

    Raises UserError where no image is found, or data.yaml can't be understood.
    """
    home = path if path.is_dir() else path.parent
    found = Gathered(Fence(root or home))
    settings = _settings(path)
    if settings is not None:
        name_misspelt(found, settings, SETTINGS)
    if settings is not None and any(key in settings for key in PARTS):
        gather_parts(found, settings)
    else:
        _gather_folders(found, home)
    if not found.names:
        raise UserError(f"{path}: no images found. {_first(found.findings)}")
    names = class_names(found, settings, home)
    splits = found.splits()
    images = found.images(channels, max_pixels)
    objects, classes = read_objects(found, settings, images, names)
    name_orphans(found)
    return Dataset(
        printable(Path(os.path.realpath(home)).name), images, {"objects": objects}, classes, splits,
        source=str(path.resolve()), format="yolo", notes=tuple(found.notes), findings=tuple(found.findings),
    )  # fmt: skip


def _first(findings: Sequence[Finding]) -> str:
    return f"{findings[0].file}: {findings[0].reason}. {findings[0].action}" if findings else "Check the path."


# Recognising ---------------------------------------------------------------------------------------------------


def _says_parts(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(2**16)
    except OSError:
        return False
    return bool(re.search(rb"^(\xef\xbb\xbf)?(train|train-dev|val|test)[ \t]*:", head, re.MULTILINE))


def _yaml_files(folder: Path) -> list[Path]:
    """Settings files that name parts; data.yaml alone where it is one of them."""
    try:
        found = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".yaml", ".yml") and p.is_file())
    except OSError:
        return []
    found = [p for p in found[:50] if _says_parts(p)]
    return [p for p in found if p.stem.lower() == "data"][:1] or found


def _only_masks(folder: Path) -> bool:
    """images/ + masks/ whose data.yaml names the parts: that is the format `masks`."""
    return bool(pairs(folder, ("masks", "mask"), (".png",))) and not pairs(folder, ("labels",), (".txt",))


def _beside(folder: Path) -> bool:
    """Text files of boxes directly beside images: what labelling tools leave, mostly with a file of classes.

    Without one, each of the first text files that belong to an image has to be one of boxes.
    """
    if any((folder / name).is_file() for name in CLASS_FILES):
        inner = next((folder / name for name in DARKNET if (folder / name).is_dir()), folder)
        texts = [p for p in sorted(inner.glob("*.txt"))[:LOOKS] if p.name not in CLASS_FILES]
        return holds(inner, PICTURES, deep=False) and any(_is_label(p) for p in texts)
    if not holds(folder, (".txt",), deep=False):
        return False
    images = {p.stem for p in folder.iterdir() if p.suffix.lower() in PICTURES}
    full = [p for p in sorted(folder.glob("*.txt")) if p.stem in images and p.stat().st_size][:LOOKS]
    return bool(full) and all(_is_label(p) for p in full)


def _is_label(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            line = file.readline(2**16)
    except OSError:
        return False
    return bool(line.split()) and not Rows().parse(0, line)


def _settings(path: Path) -> YamlFile | None:
    if path.is_file():
        return read_yaml(path)
    found = _yaml_files(path)
    if len(found) > 1:
        raise UserError(
            f"{path} has several settings: {', '.join(p.name for p in found[:5])}. Open one of these files."
        )
    found = found or [path / name for name in NAMED if (path / name).is_file()]
    return read_yaml(found[0]) if found else None


# Which images --------------------------------------------------------------------------------------------------


def _gather_folders(found: Gathered, home: Path) -> None:
    base = os.path.relpath(os.path.realpath(home), found.fence.root)
    folders = pairs(home, ("labels",), (".txt",))
    for pair in folders:
        part = PART_NAMES.get(pair.part.lower(), "")
        names = found.add_folder(os.path.normpath(f"{base}/{pair.images}"), part)
        found.notes.append(
            f"YOLO: {len(names):,} images in {printable(pair.images)}, labels in {printable(pair.partner)}"
        )
    beside = [name for name in DARKNET if (home / name).is_dir()] or ["."]
    for name in beside if not folders else ():
        part = DARKNET[name] if len(beside) > 1 else ""  # one alone is no part but all there is
        names = found.add_folder(os.path.normpath(f"{base}/{name}"), part, deep=False)
        found.notes.append(f"YOLO: {len(names):,} images with text files beside them" + f" in {name}" * (name != "."))

"""YOLO: a text file of boxes, polygons or poses beside each image, and a data.yaml that names classes and parts.

data.yaml: `names` (a list, or {0: cat}), `nc`, `train` / `val` / `test` (a folder, several, or a .txt that lists
images), `path` (relative to data.yaml, and to nothing else), `kpt_shape: [J, 2 or 3]`, `flip_idx`. The labels of
images/a/1.jpg are in labels/a/1.txt, those of an image in no folder `images` beside it. Without data.yaml: images/ and
labels/, or text files beside images, with the names of the classes in classes.txt. Lines: `yolo_rows`.
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
from hubel.data.formats.yolo_labels import name_orphans, read_objects
from hubel.data.formats.yolo_rows import Rows
from hubel.data.formats.yolo_settings import CLASS_FILES, class_names
from hubel.data.formats.yolo_write import write
from hubel.data.yaml_file import YamlFile, read_text, read_yaml
from hubel.errors import UserError

__all__ = ["read", "recognise", "write"]

PARTS = {"train": "train", "train-dev": "train-dev", "val": "dev", "valid": "dev", "validation": "dev", "dev": "dev",
         "test": "test", "unsplit": ""}  # fmt: skip
NAMED = ("data.yaml", "data.yml", "dataset.yaml")  # settings without parts: folders say these
MAX_LIST = 2**28  # bytes of a list of images


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
    if settings is not None and any(key in settings for key in PARTS):
        _gather_parts(found, settings)
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
    return bool(re.search(rb"^(\xef\xbb\xbf)?(train|val|test)[ \t]*:", head, re.MULTILINE))


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
    """Text files of boxes directly beside images, with a file of classes: what labelling tools leave."""
    if not any((folder / name).is_file() for name in CLASS_FILES):
        return False
    texts = [p for p in sorted(folder.glob("*.txt"))[:20] if p.name not in CLASS_FILES]
    return holds(folder, (".jpg", ".jpeg", ".png", ".bmp"), deep=False) and any(_is_label(p) for p in texts)


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
    if not folders:
        names = found.add_folder(base, deep=False)
        found.notes.append(f"YOLO: {len(names):,} images with text files beside them")


def _gather_parts(found: Gathered, settings: YamlFile) -> None:
    base, place = _base(found, settings)
    for key, part in PARTS.items():
        for entry in settings.words(key):
            name, how = found.fence.find(entry, base, place)
            if name is None:
                found.refuse(entry, how, settings.path.name, settings.lines[key])
                continue
            before = len(found.parts.get(part, ())) if part else len(found.names)
            _gather_entry(found, name, part, base)
            count = (len(found.parts.get(part, ())) if part else len(found.names)) - before
            what = f"the {part} part" if part else "in no part"
            moved = f" ('{entry}' was written elsewhere)" if how == "moved" else ""
            found.notes.append(f"{key}: {count:,} images of {printable(name)}, {what}{moved}")


def _base(found: Gathered, settings: YamlFile) -> tuple[str, str]:
    """The folder that `path` names, and that of data.yaml, relative to the root."""
    place = os.path.relpath(os.path.realpath(settings.path.parent), found.fence.root)
    place = "" if place == "." else place
    if "path" not in settings:
        return place, place
    said = settings.words("path")[0].replace("\\", "/")
    base = found.fence.relative(said, place)
    if base is not None and found.fence.inside(base) and Path(found.fence.root, base).is_dir():
        return base, place
    there = Path(settings.path.parent, said)
    if (
        base is None
        and _is_dir(there)
        and not found.fence.inside(os.path.relpath(os.path.realpath(there), found.fence.root))
    ):
        raise UserError(
            f"{settings.where('path')} leads to {there}, outside {found.fence.root}, where nothing is opened unasked. "
            "Move data.yaml into that folder, or give a folder that holds both as `root`."
        )
    found.notes.append(f"path: {printable(said)} is not here; the folder of {settings.path.name} is taken")
    return place, place


def _is_dir(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def _gather_entry(found: Gathered, name: str, part: str, base: str) -> None:
    path = Path(found.fence.root, name)
    if path.is_dir():
        found.add_folder(name, part)
    elif name.lower().endswith(".txt"):
        folder = os.path.dirname(name)  # noqa: PTH120
        for number, line in enumerate(read_text(path, MAX_LIST).splitlines(), start=1):
            if line.strip():
                image, how = found.fence.find(line.strip(), folder, base)
                if image is None:
                    found.refuse(line.strip(), how, name, number)
                else:
                    found.add(image, part, name, number)
    else:
        found.add(name, part)

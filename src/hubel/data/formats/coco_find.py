"""Which JSON files of a folder are COCO data sets, which part each one is, and what the others are.

Looked at are ROOT/*.json, ROOT/annotations/*.json and those in folders of parts, also below ROOT/images: by the first
and the last 64 KiB of each, never by its name alone. Names say the part: instances_train2017.json, val.json, or the
folder that the file is in (train/_annotations.coco.json).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hubel.data.formats.copies import REST
from hubel.data.formats.fence import printable
from hubel.data.formats.layout import PART_NAMES, subfolders
from hubel.data.formats.walk import natural
from hubel.errors import UserError

GLANCE = 2**16  # bytes at either end
MOST = 64  # files of one folder that are looked at
ANNOTATIONS = ("annotations", "annotation", "labels")
OTHERS = {
    "captions": "captions", "panoptic": "panoptic masks", "detections": "a list of detections",
    "no objects": "images without objects",
}  # fmt: skip
WORDS = "train[_-]dev|training|train|validation|valid|val|dev|testing|test"
PART = re.compile(rf"(?:^|[_\-. ])(({WORDS})(?:-dev)?[_-]?(\d*))(?=$|[_\-. ])")


@dataclass(frozen=True)
class Source:
    """One file of annotations."""

    path: Path
    part: str  # "train", "train-dev", "dev", "test", or "" where nothing says it
    word: str  # the same as the file writes it: "train2017"
    group: str  # its name without the part: "instances"


def kind_of(path: Path) -> str | None:
    """ "objects", one of OTHERS, or None for what is no COCO JSON."""
    try:
        with path.open("rb") as file:
            head = file.read(GLANCE)
            file.seek(max(GLANCE, os.fstat(file.fileno()).st_size - GLANCE))
            tail = file.read(GLANCE)
    except OSError:
        return None
    start, both = head.removeprefix(b"\xef\xbb\xbf").lstrip(), head + b"\n" + tail
    if start[:1] == b"[":
        return "detections" if b'"image_id"' in head and b'"category_id"' in head else None
    if start[:1] != b"{":
        return None
    images = bool(re.search(rb'"images"\s*:\s*\[', both)) or (b'"file_name"' in both and b'"height"' in both)
    if b'"segments_info"' in both:
        return "panoptic" if images else None
    if b'"caption"' in both and b'"category_id"' not in both:
        return "captions" if images else None
    if not images:
        return None
    objects = re.search(rb'"annotations"\s*:\s*\[', both) or b'"image_id"' in both
    classes = re.search(rb'"categories"\s*:\s*\[', both)
    return "objects" if objects else "no objects" if classes else None


def candidates(folder: Path) -> dict[Path, str]:
    """{file: its kind} of all COCO files that belong to the folder, in natural order."""
    found = {}
    for place in _places(folder):
        for path in _jsons(place):
            kind = kind_of(path)
            if kind is not None:
                found[path] = kind
    return found


def _places(folder: Path) -> Iterator[Path]:
    yield folder
    for below in subfolders(folder):
        name = below.name.lower()
        if name in ANNOTATIONS or _is_part(name):
            yield below
        if name == "images":
            yield from (inner for inner in subfolders(below) if _is_part(inner.name.lower()))


def _is_part(name: str) -> bool:
    return name == REST or bool(PART.fullmatch(name))


def _jsons(folder: Path) -> list[Path]:
    """Files *.json directly in the folder; the likely ones first where there are very many."""
    try:
        with os.scandir(folder) as entries:
            names = [e.name for e in entries if e.name.lower().endswith(".json") and not e.name.startswith(".")]
    except OSError:
        return []
    names.sort(key=lambda name: (not re.search("coco|instances|annotations|keypoints", name.lower()), natural(name)))
    return sorted((folder / name for name in names[:MOST]), key=lambda path: natural(path.name))


def source(path: Path, home: Path) -> Source:
    """The part of a file, by its name, or else by its folder's."""
    stem = path.stem.lower().removesuffix(".coco")
    found = PART.search(stem)
    if found is not None:
        name = (stem[: found.start()] + stem[found.end() :]).strip("_-. ")
        return Source(path, _part(found[2]), found[1], name)
    if stem.endswith(f"_{REST}"):
        return Source(path, "", REST, stem.removesuffix(f"_{REST}"))
    above = path.parent.name.lower() if path.parent != home else ""
    found = PART.fullmatch(above)
    return Source(path, _part(found[2]) if found else "", above if found else "", stem.strip("_-. "))


def _part(word: str) -> str:
    return PART_NAMES[word.replace("_", "-")]


def sources(folder: Path, only: str | None = None) -> tuple[list[Source], list[str]]:
    """The files to read, at most one per part, and notes. `only`: how their names begin, "person_keypoints".

    Raises UserError where there is none, or where several fit and nothing says which.
    """
    found = candidates(folder)
    objects = [source(path, folder) for path, kind in found.items() if kind == "objects"]
    objects = objects or [source(path, folder) for path, kind in found.items() if kind == "no objects"]
    if only is not None:
        objects = [one for one in objects if one.path.name.startswith(only)]
    if not objects:
        raise UserError(f"{folder}: {_none(found, only, folder)}")
    chosen = _one_group(objects, folder)
    _check_parts(chosen, folder)
    rest = [path for path in found if path not in {one.path for one in chosen}]
    return chosen, [_ignored(path, found[path], folder) for path in rest]


def _none(found: dict[Path, str], only: str | None, folder: Path) -> str:
    if only is not None:
        return f"no COCO file whose name begins with '{only}'; there are {_names(list(found), folder)}."
    if not found:
        return "no COCO JSON here. Give the JSON file itself."
    path, kind = next(iter(found.items()))
    return (
        f"{path.relative_to(folder)} holds {OTHERS[kind]}, which can't be trained on as they are. Give the "
        "instances or keypoints JSON of the same images."
    )


def _ignored(path: Path, kind: str, folder: Path) -> str:
    what = OTHERS.get(kind, "other annotations; give the file itself, or annotations=, to read it")
    return f"{printable(str(path.relative_to(folder)))} is ignored: {what}"


def _one_group(objects: Sequence[Source], folder: Path) -> list[Source]:
    """instances_…, where several kinds of annotations stand beside each other."""
    groups = {one.group for one in objects}
    if len(groups) > 1:
        named = [one for one in objects if one.group == "instances"] or [o for o in objects if o.group in _COMMON]
        if not named:
            raise UserError(
                f"{folder} has several COCO files and nothing says which belong together: "
                f"{_names([one.path for one in objects], folder)}. Give one file, or annotations= and how their names "
                "begin."
            )
        return [one for one in objects if one.group == named[0].group]
    return list(objects)


_COMMON = ("annotations", "", "coco", "labels")


def _check_parts(chosen: Sequence[Source], folder: Path) -> None:
    seen: dict[str, Path] = {}
    for one in chosen:
        key = one.part or one.word
        if key in seen:
            both = _names([seen[key], one.path], folder)
            what = f"both are the {one.part} part" if one.part else "neither says which part it is"
            raise UserError(f"{folder}: {both}: {what}. Give one file, or move the other one away.")
        seen[key] = one.path


def _names(paths: Sequence[Path], folder: Path) -> str:
    shown = [printable(str(path.relative_to(folder))) for path in paths[:6]]
    return ", ".join(shown) + (f" and {len(paths) - 6} more" if len(paths) > 6 else "")

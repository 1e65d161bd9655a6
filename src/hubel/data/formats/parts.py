"""Which images are in which part, as a data.yaml or lists of names say.

data.yaml: `train`, `val`, `test` (a folder, several, or a .txt that lists images, one a line) and `path`, the folder
that they start from, itself relative to data.yaml and to nothing else. Lists: train.txt, val.txt, one image a line.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from hubel.data.findings import Finding
from hubel.data.formats.fence import printable
from hubel.data.formats.layout import PART_NAMES, Gathered, refusal
from hubel.data.yaml_file import YamlFile, read_text
from hubel.errors import UserError, close_to

PARTS = {"train": "train", "train-dev": "train-dev", "val": "dev", "valid": "dev", "validation": "dev", "dev": "dev",
         "test": "test", "unsplit": ""}  # fmt: skip
MAX_LIST = 2**28  # bytes of a list of images
SPELT = 0.8  # of the letters of two names: alike enough for a slip


def gather_parts(found: Gathered, settings: YamlFile) -> None:
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


def name_misspelt(found: Gathered, settings: YamlFile, known: Iterable[str]) -> None:
    """Settings that mean nothing here, but are spelt almost like one that does and isn't given."""
    known = (*known, *PARTS, "path")
    missing = [key for key in known if key not in settings.values]
    for key in settings.values:
        hint = close_to(key, missing, SPELT) if key not in known else ""
        if hint:
            reason = f"'{printable(key)}' means nothing here{hint}"
            action = "Correct the name, or leave it if it is for another program."
            found.findings.append(
                Finding("unknown setting", settings.path.name, reason, action, settings.lines.get(key, 0))
            )


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
    fault = "" if path.is_dir() else found.fence.fault(name)
    if fault:
        found.refuse(name, fault)
    elif path.is_dir():
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


# Lists of names ------------------------------------------------------------------------------------------------


def read_lists(found: Gathered, folders: tuple[str, ...]) -> bool:
    """Parts from lists in the first of `folders` that has some; an entry is a path, or a name without its ending.

    `trainval` counts where there is no `train`. False where there are no lists; then the parts are as they were.
    """
    for folder in folders:
        lists = _lists(found, folder)
        if lists:
            found.parts.clear()
            by_name = _by_name(found)
            for file, part in lists:
                _read_list(found, file, part, by_name)
            unlisted = len(found.names) - len({i for index in found.parts.values() for i in index})
            found.notes += [f"{unlisted:,} images are in no list and in no part"] * bool(unlisted)
            return True
    return False


def _lists(found: Gathered, folder: str) -> list[tuple[str, str]]:
    """(file, part), those that may be opened."""
    path = Path(found.fence.root, folder)
    files = {p.stem.lower(): os.path.normpath(f"{folder}/{p.name}") for p in sorted(path.glob("*.txt"))}
    wanted = [name for name in files if PART_NAMES.get(name)]
    wanted += ["trainval"] if "trainval" in files and not {"train", "training"} & set(wanted) else []
    return [(files[name], PART_NAMES.get(name, "train")) for name in wanted if found.may_open(files[name])]


def _by_name(found: Gathered) -> dict[str, int]:
    """{each way to write an image: its position}: its path, that below its first folder, its name; with or without
    ending. Where two images could be meant, the longer way is the surer one."""
    known: dict[str, int] = {}
    for way in (lambda name: PurePosixPath(name).name, lambda name: name.split("/", 1)[-1], lambda name: name):
        for position in range(len(found.names) - 1, -1, -1):
            said = way(found.names[position])
            known[said] = known[os.path.splitext(said)[0]] = position  # noqa: PTH122
    return known


def _read_list(found: Gathered, file: str, part: str, by_name: dict[str, int]) -> None:
    count = 0
    for number, line in enumerate(read_text(Path(found.fence.root, file), MAX_LIST).splitlines(), start=1):
        position = next((by_name[way] for way in _ways(line) if way in by_name), None)
        if position is not None:
            found.parts.setdefault(part, []).append(position)
            count += 1
        elif line.strip():
            found.findings.append(refusal(line.strip(), "missing", file, number))
    found.notes.append(f"{printable(file)}: {count:,} images, the {part} part")


def _ways(line: str) -> Iterator[str]:
    """What a line may name: all of it, or its first word (`ID 1`, or `image mask`); Windows' separators too."""
    for said in (line.strip(), *line.split(maxsplit=1)[:1]):
        plain = os.path.normpath(said.replace("\\", "/")).lstrip("/")
        yield from (plain, os.path.splitext(plain)[0]) if said else ()  # noqa: PTH122

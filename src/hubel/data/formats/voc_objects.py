"""What the XML files of a VOC data set say -> Objects: read by threads, packed, with what is wrong in them named."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hubel.data.findings import Finding
from hubel.data.formats.fence import Fence, printable
from hubel.data.formats.layout import Gathered, refusal
from hubel.data.formats.voc_xml import CORNERS, MARK, Annotation, Refused, Thing, edge, parse
from hubel.data.formats.walk import natural
from hubel.data.images import PackedNames
from hubel.data.objects import Objects
from hubel.data.yaml_file import read_text, unique_names

CLASS_FILES = ("classes.txt", "labels.txt", "predefined_classes.txt")
MAX_BYTES = 16 * 2**20  # of one XML file
BLOCK = 256  # files per task


def read_annotations(found: Gathered, xmls: dict[int, str]) -> list[Annotation | None]:
    """One for each image; None where there is none, or it is no annotation, which is named."""
    read_in: list[Annotation | None] = [None] * len(found.names)
    for (image, file), content in zip(xmls.items(), _all_contents(found.fence, list(xmls.values())), strict=True):
        if isinstance(content, str):
            found.findings.append(refusal(file, content))
            continue
        try:
            read_in[image] = parse(content)
        except Refused as fault:
            action = "Correct the file: until then the image counts as one without objects."
            found.findings.append(Finding("syntax", printable(file), fault.reason, action, fault.line, image, "error"))
    _say_unread(found, [thing for one in read_in if one for thing in one.things])
    return read_in


def _all_contents(fence: Fence, files: Sequence[str]) -> Iterator[bytes | str]:
    def block(part: Sequence[str]) -> list[bytes | str]:
        return [content(fence, file) for file in part]

    with ThreadPoolExecutor(max(4, os.cpu_count() or 1)) as pool:  # a disk far away answers several at once
        for contents in pool.map(block, [files[start : start + BLOCK] for start in range(0, len(files), BLOCK)]):
            yield from contents


def content(fence: Fence, file: str) -> bytes | str:
    """The bytes of a file, or why it is not opened; of one that is too large only so many that parsing fails."""
    fault = fence.fault(file)
    if fault:
        return fault
    try:
        with open(os.path.join(fence.root, file), "rb") as opened:  # noqa: PTH118, PTH123, hot
            return opened.read(MAX_BYTES)
    except OSError:
        return "no file"


def _say_unread(found: Gathered, things: Sequence[Thing]) -> None:
    counts = Counter(key for thing in things for key in thing.unread())
    if counts:
        told = ", ".join(f"{key} ({count:,})" for key, count in counts.most_common(8))
        found.notes.append(f"not read, of so many objects: {told}")


def class_names(
    found: Gathered, home: Path, read_in: Sequence[Annotation | None]
) -> tuple[tuple[str, ...], dict[str, int]]:
    """Names in the order of classes.txt, or those that occur in natural order; and the number of each."""
    for name in CLASS_FILES:
        if found.may_open(name):
            lines = [line.strip() for line in read_text(home / name, 2**22).splitlines() if line.strip()]
            classes, _ = unique_names(lines)
            found.notes.append(f"classes are those of {name}")
            return classes, {name: k for k, name in enumerate(classes)}
    things = [thing for one in read_in if one for thing in one.things]
    names = {thing.values.get("name", "") for thing in things} - {""}
    classes = tuple(sorted(names, key=natural))
    return classes, {name: k for k, name in enumerate(classes)}


@dataclass
class _Columns:
    images: list[int] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    flags: list[int] = field(default_factory=list)
    boxes: list[list[float]] = field(default_factory=list)


def pack_objects(
    found: Gathered,
    xmls: dict[int, str],
    read_in: Sequence[Annotation | None],
    numbers: dict[str, int],
    origin: int | None,
) -> Objects:
    less = _origin(found, read_in) if origin is None else origin
    columns = _Columns()
    for image, one in enumerate(read_in):
        for thing in one.things if one else ():
            _add(found, columns, image, xmls[image], thing, numbers, less)
    counts = np.bincount(np.array(columns.images, dtype=np.int64), minlength=len(read_in))
    found.notes.append(f"{len(columns.labels):,} boxes")
    return Objects(
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        np.array(columns.boxes, dtype=np.float64).reshape(-1, 4),
        np.array(columns.labels, dtype=np.int64),
        np.array(columns.flags, dtype=np.uint8),
        lines=np.array(columns.lines, dtype=np.int64),
        files=PackedNames.pack(xmls.get(i, "") for i in range(len(read_in))),
    )


def _add(
    found: Gathered, columns: _Columns, image: int, file: str, thing: Thing, numbers: dict[str, int], less: int
) -> None:
    said = [thing.values.get(f"bndbox/{corner}", "") for corner in CORNERS]
    try:
        box = [edge(text, less if k < 2 else 0) for k, text in enumerate(said)]
    except ValueError:
        reason = f"expected the numbers {', '.join(CORNERS)} in <bndbox>, got '{' '.join(said)[:80]}'"
        action = "Correct the box: the object is left out."
        found.findings.append(Finding("syntax", printable(file), reason, action, thing.line, image, "error"))
        return
    name = thing.values.get("name", "")
    if name not in numbers:
        reason = f"the class '{name[:80]}' is not in the list of classes" if name else "an object without <name>"
        action = "Add the class to the list, or correct its name."
        found.findings.append(Finding("unknown class", printable(file), reason, action, thing.line, image, "error"))
    if less and (said[0] == said[2] or said[1] == said[3]):
        reason = f"the box ({', '.join(said)}) begins and ends on the same pixel"
        action = "It is kept as one pixel wide or high. Correct or remove it where that was not meant."
        found.findings.append(Finding("zero area", printable(file), reason, action, thing.line, image))
    columns.images.append(image)
    columns.lines.append(thing.line)
    columns.labels.append(numbers.get(name, -1))
    columns.flags.append(thing.flags)
    columns.boxes.append(box)


def _origin(found: Gathered, read_in: Sequence[Annotation | None]) -> int:
    """1, as VOC counts, unless a file holds a coordinate of 0 and none says that it is VOC's."""
    known = [one for one in read_in if one]
    if any(one.values.get("source/annotation", "").upper().startswith(MARK) for one in known):
        found.notes.append("pixels count from 1, as the files say (VOC): edges are xmin - 1, ymin - 1, xmax, ymax")
        return 1
    zeros = sum(_is_zero(t.values.get(f"bndbox/{c}", "")) for one in known for t in one.things for c in CORNERS[:2])
    if zeros:
        found.notes.append(f"pixels count from 0, because {zeros:,} coordinates are 0: edges are as they are written")
        return 0
    found.notes.append(
        "pixels count from 1 (VOC's convention; no coordinate is 0): edges are xmin - 1, ymin - 1, xmax, ymax"
    )
    return 1


def _is_zero(text: str) -> bool:
    try:
        return 0 <= float(text) < 1
    except ValueError:
        return False

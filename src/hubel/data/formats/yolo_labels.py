"""The label files of a YOLO data set -> Objects: which file belongs to an image, all of them read, packed in pixels.

A polygon's box is its extent. Lines that are none, label files without an image, and classes without a name become
findings; the objects of an image whose size can't be read have no place (NaN).
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from hubel.data.findings import Finding
from hubel.data.formats.fence import Fence, printable
from hubel.data.formats.layout import Gathered, refusal
from hubel.data.formats.walk import EXTENSIONS
from hubel.data.formats.yolo_block import parse_block
from hubel.data.formats.yolo_rows import Rows, edges
from hubel.data.formats.yolo_settings import CLASS_FILES, MAX_CLASSES, pose_shape, skeleton
from hubel.data.images import FileImages, PackedNames
from hubel.data.objects import Objects
from hubel.data.ragged import Ragged
from hubel.data.sizes import image_sizes
from hubel.data.yaml_file import YamlFile, unique_names

MAX_BYTES = 64 * 2**20  # of one label file
BLOCK = 256  # files per task, and parsed at once
FIRST = 2**16  # bytes of one reading


def label_file(image: str) -> str:
    """images/a/1.jpg -> labels/a/1.txt, by the last folder called images; else beside the image."""
    folder, slash, name = image.rpartition("/")
    return f"{_label_folder(folder)}{slash}{_stem(name)}.txt"


@functools.lru_cache(maxsize=4096)
def _label_folder(folder: str) -> str:
    return "/".join(_swapped(folder.split("/"), "images", "labels"))


def _stem(name: str) -> str:
    dot = name.rfind(".")
    return name[:dot] if 0 < dot < len(name) - 1 else name


def _swapped(folders: Sequence[str], old: str, new: str) -> list[str]:
    """The last folder called `old` becomes `new`, spelt alike: Images -> Labels."""
    found = list(folders)
    for k in reversed(range(len(found))):
        if found[k].lower() == old:
            found[k] = {old.upper(): new.upper(), old.title(): new.title()}.get(found[k], new)
            break
    return found


def read_objects(
    found: Gathered, settings: YamlFile | None, images: FileImages, names: list[str] | None
) -> tuple[Objects, tuple[str, ...]]:
    rows, files = Rows(*pose_shape(settings)), []
    start = 0
    for block in _contents(found):
        files += [name if isinstance(data, bytes) else "" for name, data in block]
        good = [k for k, (_, data) in enumerate(block) if isinstance(data, bytes)]
        quick = parse_block(rows, [start + k for k in good], [block[k][1] for k in good])  # type: ignore[misc]
        for k, (name, data) in enumerate(block):
            _read_one(found, rows, start + k, name, data, quick)
        start += len(block)
    _shared_labels(found, files)
    classes, labels = _classes(found, rows, names, files)
    _say(found, rows, files)
    return _packed(rows, labels, image_sizes(images), files, settings), classes


def _read_one(found: Gathered, rows: Rows, image: int, name: str, data: bytes | str, quick: bool) -> None:
    """What is wrong with a label file; its objects too, where they weren't added with those of its block."""
    if isinstance(data, str):
        if data != "missing":
            found.findings.append(refusal(name, data) if data != "large" else _large(name, image))
    elif not quick:
        for line, reason in rows.parse(image, data):
            action = "Correct the line, or remove it: it is left out."
            found.findings.append(Finding("syntax", printable(name), reason, action, line, image, "error"))


def _large(name: str, image: int) -> Finding:
    reason = f"more than {MAX_BYTES:,} bytes for one image; it is not read"
    return Finding("syntax", printable(name), reason, "Check that this is a label file.", 0, image, "error")


def _contents(found: Gathered) -> Iterator[list[tuple[str, bytes | str]]]:
    """Each image's label file and its bytes, or why there are none, in blocks; files are read by threads."""
    listed: dict[str, dict[str, str]] = {}
    files = []
    for image in found.names:
        name = label_file(image)
        folder, slash, last = name.rpartition("/")
        if folder not in listed:
            listed[folder] = found.fence.kinds(folder) or {}
        kind = listed[folder].get(last)
        if kind is None and (upper := f"{last[:-4]}.TXT") in listed[folder]:
            name, kind = f"{folder}{slash}{upper}", listed[folder][upper]
        files.append((name, kind))

    def block(part: list[tuple[str, str | None]]) -> list[tuple[str, bytes | str]]:
        return [(name, _bytes(found.fence, name, kind)) for name, kind in part]

    with ThreadPoolExecutor(max(4, os.cpu_count() or 1)) as pool:  # a disk far away answers several at once
        yield from pool.map(block, (files[start : start + BLOCK] for start in range(0, len(files), BLOCK)))


def _bytes(fence: Fence, name: str, kind: str | None) -> bytes | str:
    fault = "" if kind == "file" else fence.fault(name)  # a plain file in a folder that is inside
    if fault:
        return fault
    try:
        file = os.open(os.path.join(fence.root, name), os.O_RDONLY | os.O_NONBLOCK)  # noqa: PTH118
    except OSError:
        return "no file"
    try:
        data = os.read(file, FIRST)
        while data and len(data) <= MAX_BYTES and (more := os.read(file, FIRST)):
            data += more
    except OSError:
        return "no file"
    finally:
        os.close(file)
    return data if len(data) <= MAX_BYTES else "large"


def _shared_labels(found: Gathered, files: Sequence[str]) -> None:
    """a.jpg and a.png have one label file: the objects are those of both."""
    first: dict[str, int] = {}
    for i, file in enumerate(files):
        if file and first.setdefault(file, i) != i:
            reason = f"the label file of {found.label(first[file])} and of {found.label(i)}"
            action = "Rename one of the images, and give it a label file of its own."
            found.findings.append(Finding("shared labels", printable(file), reason, action, 0, i))


def _classes(
    found: Gathered, rows: Rows, names: list[str] | None, files: Sequence[str]
) -> tuple[tuple[str, ...], np.ndarray]:
    """Names of the classes, and labels (M,) with −1 for numbers that have none."""
    labels = np.array(rows.labels, dtype=np.int64)
    if names is None:
        known = labels[(labels >= 0) & (labels < MAX_CLASSES)]
        names = [str(k) for k in range(int(known.max(initial=-1)) + 1)]
        found.notes.append(f"no file names the classes: {len(names)} numbers are taken as names")
    classes, again = unique_names(names)
    if again:
        found.notes.append(f"names that stand twice were numbered: {', '.join(again[:5])}")
    unknown = (labels < 0) | (labels >= len(classes))
    for m in np.flatnonzero(unknown).tolist():
        image, line = rows.images[m], rows.lines[m]
        reason = f"class {labels[m]}, but the classes are 0 … {len(classes) - 1}"
        action = "Add the class to names, or correct the number."
        found.findings.append(Finding("unknown class", printable(files[image]), reason, action, line, image, "error"))
    return classes, np.where(unknown, -1, labels)


def _say(found: Gathered, rows: Rows, files: Sequence[str]) -> None:
    polygons = sum(1 for count in rows.counts if count)
    kind = f"poses of {rows.joints} keypoints" if rows.joints else "boxes"
    shapes = f"{len(rows.labels) - polygons:,} {kind}" + f" and {polygons:,} polygons" * bool(polygons)
    empty = sum(1 for file in files if not file)
    found.notes.append(f"{shapes}" + f"; {empty:,} images without a label file show nothing" * bool(empty))


def _packed(rows: Rows, labels: np.ndarray, sizes: np.ndarray, files: list[str], settings: YamlFile | None) -> Objects:
    images = np.array(rows.images, dtype=np.int64)
    mine = np.where(sizes[images] > 0, sizes[images].astype(np.float64), np.nan)  # no size: no pixels
    columns: dict[str, Any] = {"boxes": edges(rows, mine), "lines": np.array(rows.lines, dtype=np.int64)}
    counts = np.array(rows.counts, dtype=np.int64)
    if counts.any():
        columns["outlines"] = _outlines(rows, counts, mine)
        outlined = np.flatnonzero(counts)
        columns["boxes"][outlined] = _extents(columns["outlines"], outlined)
    if rows.joints:
        columns["keypoints"] = _keypoints(rows, mine)
        columns["skeleton"] = skeleton(settings, rows.joints)  # type: ignore[arg-type]
    offsets = np.concatenate([[0], np.cumsum(np.bincount(images, minlength=len(files)))]).astype(np.int64)
    return Objects(offsets, labels=labels, files=PackedNames.pack(files), **columns)


def _outlines(rows: Rows, counts: np.ndarray, sizes: np.ndarray) -> Ragged:
    """One ring for each polygon, in pixels."""
    owners = np.repeat(np.arange(len(counts)), counts)
    with np.errstate(all="ignore"):
        points = (np.array(rows.points, dtype=np.float64).reshape(-1, 2) * sizes[owners][:, ::-1]).astype(np.float32)
    rings = np.concatenate([[0], np.cumsum(counts[counts > 0])]).astype(np.int64)
    return Ragged(Ragged(points, rings), np.concatenate([[0], np.cumsum(counts > 0)]).astype(np.int64))


def _extents(outlines: Ragged, which: np.ndarray) -> np.ndarray:
    """(m, 4) the least box around each polygon."""
    rings = outlines.values
    starts = rings.offsets[outlines.offsets[which]]
    low, high = np.minimum.reduceat(rings.values, starts), np.maximum.reduceat(rings.values, starts)
    return np.concatenate([low, high], axis=1).astype(np.float64)


def _keypoints(rows: Rows, sizes: np.ndarray) -> np.ndarray:
    """(M, J, 3) x, y in pixels and visibility; without one, (0, 0) is a keypoint that is not labelled."""
    values = np.array(rows.poses, dtype=np.float64).reshape(-1, rows.joints, rows.dims)
    with np.errstate(all="ignore"):
        places = values[..., :2] * sizes[:, None, ::-1]
    seen = values[..., 2:] if rows.dims == 3 else 2.0 * (values != 0).any(-1, keepdims=True)
    return np.concatenate([places, seen], axis=-1).astype(np.float32)


def name_orphans(found: Gathered) -> None:
    """Findings for label files without an image, in every folder of labels that the images have."""
    folders = {name.rpartition("/")[0] or "." for name in found.names}
    for folder in sorted(folders):
        partner = str(PurePosixPath(*_swapped(PurePosixPath(folder).parts, "images", "labels")))
        if partner == folder or not found.fence.inside(partner):
            continue
        stems = _stems(Path(found.fence.root, folder), EXTENSIONS)
        for stem, name in sorted(_stems(Path(found.fence.root, partner), (".txt",)).items()):
            if stem not in stems and name not in CLASS_FILES:
                reason, action = "labels of an image that is not there", "Add the image, or remove the file."
                found.findings.append(Finding("missing file", printable(f"{partner}/{name}"), reason, action))


def _stems(folder: Path, endings: tuple[str, ...]) -> dict[str, str]:
    """{name without ending: name} of the files directly in a folder; without a telling ending, if any may do."""
    try:
        names = os.listdir(folder)  # noqa: PTH208, hot
    except OSError:
        return {}
    return {name[: name.rfind(".")]: name for name in names if name.lower().endswith(endings)}

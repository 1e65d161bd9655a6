"""COCO JSON into packed arrays: entries in chunks, so that Python's numbers never pile up.

A typed decoder cuts a file into its entries and reads 2,048 of them at a time; their numbers go to flat arrays at once.
A chunk with an entry that is not as it should be is read again entry by entry, and what is wrong is told.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from msgspec import DecodeError, Raw
from msgspec.json import Decoder

from hubel.data.findings import Finding
from hubel.data.formats.coco_classes import Classes
from hubel.data.formats.coco_entries import NO_CLASS, Entry, RunLengths
from hubel.data.formats.coco_file import cut
from hubel.data.formats.coco_image_list import CHUNK, MEND, ImageList, joined
from hubel.data.formats.coco_log import Log
from hubel.data.formats.coco_mend import mend
from hubel.data.formats.coco_pack import Columns, Table, doubtful
from hubel.data.images import PackedNames
from hubel.data.objects import Objects


@dataclass(frozen=True)
class Parsed:
    """What one or several files say about N images, M objects and K classes; images are not looked for yet."""

    names: PackedNames  # N, as written
    files: np.ndarray  # (N,) int64: which of the files names the image
    image_ids: np.ndarray  # (N,) int64
    sizes: np.ndarray  # (N, 2) int64 height, width; 0 where unknown
    objects: Objects
    classes: tuple[str, ...]
    category_ids: np.ndarray  # (K,) int64
    findings: tuple[Finding, ...]


def parse(paths: Sequence[Path], shown: Sequence[str]) -> Parsed:
    """The files one after the other; `shown`: their names in findings. Raises UserError as `cut` does."""
    reading = _Reading()
    with _no_collection():
        for path, name in zip(paths, shown, strict=True):
            reading.log.file = name
            _read_file(reading, path)
    return reading.parsed()


@contextmanager
def _no_collection() -> Iterator[None]:
    """Millions of short-lived lists and no cycles: looking for those costs a third of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@dataclass
class _Reading:
    log: Log = field(default_factory=Log)
    classes: Classes = field(default_factory=Classes)
    columns: Columns = field(default_factory=Columns)
    names: list[str] = field(default_factory=list)
    image_ids: list[np.ndarray] = field(default_factory=list)
    sizes: list[np.ndarray] = field(default_factory=list)

    def parsed(self) -> Parsed:
        skeleton = self.classes.skeleton(self.columns.most_keypoints())
        objects = self.columns.objects(len(self.names), skeleton)
        files = np.repeat(np.arange(len(self.image_ids)), [len(ids) for ids in self.image_ids])
        return Parsed(
            PackedNames.pack(self.names),
            files.astype(np.int64),
            np.concatenate([np.zeros(0, np.int64), *self.image_ids]),
            np.concatenate([np.zeros((0, 2), np.int64), *self.sizes]),
            objects,
            tuple(self.classes.names),
            np.array(self.classes.numbers, dtype=np.int64),
            self.log.closed(),
        )


def _read_file(reading: _Reading, path: Path) -> None:
    entries = cut(path, reading.log)
    images = ImageList(entries.images, len(reading.names), reading.log)
    reading.names += images.names
    reading.image_ids.append(images.numbers)
    reading.sizes.append(images.sizes)
    categories = reading.classes.read(entries.categories, entries.annotations, reading.log)
    orphans = 0
    for start in range(0, len(entries.annotations), CHUNK):
        found, lines = _entries(reading.log, images, entries.annotations[start : start + CHUNK], start + 1)
        orphans += _add(reading, images, categories, found, lines)
    if orphans:
        reading.log.add(
            "unknown image", f"{orphans:,} objects belong to images that were left out", "Correct these images.",
            severity="error",
        )  # fmt: skip


# Objects ---------------------------------------------------------------------------------------------------------


DECODER = Decoder(list[Entry])
ONE = Decoder(Entry)


def _entries(log: Log, images: ImageList, raws: Sequence[Raw], first: int) -> tuple[list[Entry], np.ndarray]:
    """What the entries say, and the number of each."""
    try:
        found = DECODER.decode(joined(raws))
        if not doubtful(found):
            return found, np.arange(first, first + len(raws))
    except (DecodeError, UnicodeDecodeError):
        pass
    mended = [(_entry(log, images, raw, first + k), first + k) for k, raw in enumerate(raws)]
    kept = [(entry, line) for entry, line in mended if entry is not None]
    return [entry for entry, _ in kept], np.array([line for _, line in kept], dtype=np.int64)


def _entry(log: Log, images: ImageList, raw: Raw, number: int) -> Entry | None:
    try:
        entry = ONE.decode(raw)
        if not doubtful([entry]):
            return entry
    except (DecodeError, UnicodeDecodeError):
        pass
    told: list[str] = []
    found = mend(bytes(raw), images.by_text, told.append)
    if told:
        reason = f"annotations, entry {number}: " + "; ".join(told) + ("; it is left out" if found is None else "")
        position = -1 if found is None else int(images.table.find(np.array([found.image_id]))[0])
        severity = "error" if found is None else "warning"
        log.add("malformed entry", reason, MEND, number, position, severity)
    return found


def _add(reading: _Reading, images: ImageList, categories: Table, entries: list[Entry], lines: np.ndarray) -> int:
    """Entries to columns; gives how many belong to images that were left out."""
    numbers = np.array([e.image_id for e in entries], np.int64)
    positions = images.table.find(numbers)
    orphans = 0
    if (positions < 0).any():
        orphans = _name_strays(reading.log, images, numbers, positions, lines)
        entries = [e for e, position in zip(entries, positions.tolist(), strict=True) if position >= 0]
        positions, lines = positions[positions >= 0], lines[positions >= 0]
    kinds = np.array([e.category_id for e in entries], np.int64)
    labels = categories.find(kinds)
    for k in np.flatnonzero((labels < 0) & (kinds != NO_CLASS)).tolist():
        reason = f"annotations, entry {lines[k]}: category_id {kinds[k]} is not in the list of categories"
        action = "Add the class to the list of categories, or correct the number."
        reading.log.add("unknown class", reason, action, int(lines[k]), int(positions[k]), "error")
    _name_poses(reading, entries, positions, labels, lines)
    faults = reading.columns.add(entries, positions, labels, lines)
    _name_masks(reading.log, images, entries, positions, lines, faults)
    return orphans


def _name_poses(
    reading: _Reading, entries: Sequence[Entry], positions: np.ndarray, labels: np.ndarray, lines: np.ndarray
) -> None:
    """Poses of fewer or more keypoints than their class names: all but those that are counted are a guess."""
    if not reading.classes.joints:
        return
    for k, (entry, label) in enumerate(zip(entries, labels.tolist(), strict=True)):
        count, wanted = len(entry.keypoints or ()) // 3, reading.classes.joints.get(label, 0)
        if count and wanted and count != wanted:
            what = "those that are missing count as not labelled" if count < wanted else "the others have no name"
            reason = f"annotations, entry {lines[k]}: {count} keypoints, its class has {wanted}: {what}"
            action = "Give x, y, v for each keypoint of the class, 0, 0, 0 for those that are not labelled."
            reading.log.add("keypoint count", reason, action, int(lines[k]), int(positions[k]))


def _name_strays(log: Log, images: ImageList, numbers: np.ndarray, positions: np.ndarray, lines: np.ndarray) -> int:
    orphans = 0
    for k in np.flatnonzero(positions < 0).tolist():
        if int(numbers[k]) in images.left_out:
            orphans += 1
            continue
        reason = f"annotations, entry {lines[k]}: image_id {numbers[k]} is not in the list of images; it is left out"
        log.add("unknown image", reason, "Add the image, or remove the object.", int(lines[k]), severity="error")
    return orphans


def _name_masks(
    log: Log,
    images: ImageList,
    entries: Sequence[Entry],
    positions: np.ndarray,
    lines: np.ndarray,
    faults: Sequence[str],
) -> None:
    """Masks that can't be read, and those for another shape of the same number of pixels, which no later check sees."""
    masks = [(k, e.segmentation) for k, e in enumerate(entries) if type(e.segmentation) is RunLengths]
    for k, mask in masks:
        where, size = f"annotations, entry {lines[k]}: ", images.sizes[positions[k] - images.first].tolist()
        if faults[k]:
            reason = f"{where}its run lengths can't be read: {faults[k]}; it has no mask"
            log.add("malformed entry", reason, MEND, int(lines[k]), int(positions[k]))
        elif list(mask.size) != size and 0 < size[0] * size[1] == mask.size[0] * mask.size[1]:
            reason = f"{where}its mask is {mask.size[1]} x {mask.size[0]} pixels, its image {size[1]} x {size[0]}"
            log.add("mask of another size", reason, MEND, int(lines[k]), int(positions[k]), "error")

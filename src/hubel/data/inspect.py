"""Everything that can be said of a data set before a training: all checks, put together.

Dataset -> Inspection: the data set without the images that can't be read, what was measured of each, and findings,
errors first. Nothing is written and nothing is raised for one bad entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from hubel.data.check import settled
from hubel.data.dataset import Dataset
from hubel.data.faults import object_faults
from hubel.data.findings import Finding
from hubel.data.formats.walk import natural
from hubel.data.looks import Looks
from hubel.data.masks import Masks
from hubel.data.objects import Objects
from hubel.data.odd import odd_findings
from hubel.data.quality import COMMON, class_findings, copy_findings, image_findings
from hubel.data.seen import Seen, look_at

SEVERITIES = ("error", "warning", "note")
FEW = 3  # images that are named one by one, however few there are in all
NAMED = 5  # values of a mask in a message


@dataclass(frozen=True)
class Inspection:
    """A data set that was looked at."""

    dataset: Dataset
    seen: Seen
    findings: tuple[Finding, ...]
    objects: Objects | None = None
    masks: Any = None
    sizes: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.int64))  # (N, 2) height and width, 0 unread

    @property
    def looks(self) -> Looks:
        return self.seen.looks

    @property
    def kinds(self) -> dict[str, int]:
        """{kind: how many findings}, in the order of the findings."""
        counts: dict[str, int] = {}
        for one in self.findings:
            counts[one.kind] = counts.get(one.kind, 0) + 1
        return counts

    def settings(self) -> dict[str, Any]:
        """What `hubel data --json` prints of it."""
        data = self.dataset
        found: dict[str, Any] = {
            "name": data.name,
            "source": data.source,
            "format": data.format,
            "notes": list(data.notes),
            "images": len(data),
            "classes": list(data.classes),
            "splits": {name: len(index) for name, index in data.splits.items()},
            "findings": [one.settings() for one in self.findings],
        }
        return found | ({"objects": self.objects.count} if self.objects is not None else {})


def inspect(
    dataset: Dataset, *, workers: int | None = None, tick: Callable[[], None] = lambda: None, cache: Path | None = None
) -> Inspection:
    """Look at every image, mask and annotation. `tick` is called after each image.

    With a folder `cache` what was seen is remembered there, and files that haven't changed are not read again.
    """
    objects = dataset.annotations.get("objects")
    objects = objects if isinstance(objects, Objects) else None
    masks = dataset.annotations.get("mask")
    train = dataset.splits.get("train")
    seen = look_at(dataset.images, masks, train=train, workers=workers, tick=tick, cache=cache)
    clean = settled(dataset, seen.facts, seen.faults)
    sizes = seen.looks.sizes
    findings = [
        *_unread(dataset, seen),
        *odd_findings(dataset.images, seen.odd),
        *(object_faults(objects, sizes, dataset.images.name) if objects is not None else ()),
        *_declared(dataset, sizes),
        *_without_mask(dataset, masks),
        *_mask_findings(masks, seen),
        *image_findings(clean, seen.looks),
        *copy_findings(clean, seen.looks),
        *class_findings(clean),
    ]
    return Inspection(clean, seen, _in_order(_once(dataset.findings, findings)), objects, masks, sizes)


def _once(read: Sequence[Finding], checked: Sequence[Finding]) -> list[Finding]:
    """What reader and check both found stands once, in the reader's words, who knows those of the file."""
    told = dict.fromkeys(read)  # (finding): the same entry may have several faults
    kinds = {(one.kind, one.file, one.line) for one in told if one.line}
    places: dict[tuple[str, int], Finding] = {(one.file, one.line): one for one in told if one.line}
    found: dict[Any, Finding] = {}
    for one in checked:
        reader = places.get((one.file, one.line))
        if reader is not None and (one.kind == "unknown class" or (one.kind, one.file, one.line) in kinds):
            found[reader] = _graver(found.get(reader, reader), one)
            continue
        place = (one.kind, one.file, one.line) if one.line else (one.kind, one.file, one.image, one.other, one.reason)
        found.setdefault(place, one)
    return [found.pop(one, one) for one in told] + list(found.values())


def _graver(reader: Finding, check: Finding) -> Finding:
    """The reader's words; the graver of both, and the image that the check knows."""
    level = min(reader.severity, check.severity, key=SEVERITIES.index)
    return replace(reader, severity=level, image=check.image)


def _in_order(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The gravest first, kinds together, files in natural order."""
    gravest: dict[str, int] = {}
    for one in findings:
        gravest[one.kind] = min(gravest.get(one.kind, 9), SEVERITIES.index(one.severity))
    return tuple(sorted(findings, key=lambda one: (
        gravest[one.kind], one.kind, SEVERITIES.index(one.severity), natural(one.file), one.line
    )))  # fmt: skip


# What the look found -----------------------------------------------------------------------------------------------


def _unread(dataset: Dataset, seen: Seen) -> Iterator[Finding]:
    told = [one for one in dataset.findings if one.kind == "missing file"]
    known = {one.image for one in told}
    none = len(seen.faults) == len(dataset) and any(one.severity == "error" for one in told)  # said once, of all
    for i, reason in sorted(seen.faults.items()):
        kind, action = _what(reason)
        if i not in known and not (none and kind == "missing file"):
            yield Finding(kind, dataset.images.name(i), reason, action, image=i, severity="error")
    for i, reason in sorted(seen.bombs.items()):
        yield Finding(
            "decompression bomb", dataset.images.name(i), reason,
            "It was not decoded here, but a training would: remove it, unless you know that it is right.", image=i,
        )  # fmt: skip


def _what(reason: str) -> tuple[str, str]:
    """The kind of a file that can't be decoded, and what to do about it."""
    words = {
        "truncated": ("truncated image", "Copy or download it again: its end is missing."),
        "too large": ("decompression bomb", "Make it smaller, or remove it: no such image is decoded."),
        "the file is empty": ("empty file", "Copy or download it again."),
        "can't be read: No such file": ("missing file", "Add the file, or remove its entry."),
        "can't be read": ("unreadable file", "Check its permissions and the disk."),
        "not an image": ("no image", "Remove it, or save it as JPEG or PNG."),
    }
    for start, told in words.items():
        if reason.startswith(start):
            return told
    return "damaged image", "Copy or download it again, or save it anew with another program."


def _declared(dataset: Dataset, sizes: np.ndarray) -> Iterator[Finding]:
    """The size that the annotations name against the image's own."""
    declared = dataset.annotations.get("declared_size")
    if declared is None:
        return
    objects = dataset.annotations.get("objects")
    wrong = (declared > 0).all(1) & (sizes > 0).all(1) & (declared != sizes).any(1)
    for i in np.flatnonzero(wrong).tolist():
        (h, w), (height, width) = declared[i].tolist(), sizes[i].tolist()
        turned = " (turned by a quarter: see its EXIF tag)" if (h, w) == (width, height) else ""
        file = _file_of(objects, i) or dataset.images.name(i)
        where = "" if file == dataset.images.name(i) else f" {dataset.images.name(i)}"
        yield Finding(
            "another size", file, f"it says {w} x {h} pixels, the image{where} has {width} x {height}{turned}",
            "Correct the size, and look whether the annotations lie where they should.", image=i,
        )  # fmt: skip


def _file_of(objects: Any, i: int) -> str:
    files = getattr(objects, "files", None)
    return "" if files is None else files[i].decode("utf-8", "backslashreplace")


def _without_mask(dataset: Dataset, masks: Any) -> Iterator[Finding]:
    """Images beside which no mask lies; one finding where they are many: then only some were meant to have one."""
    if not isinstance(masks, Masks):
        return
    bare = np.flatnonzero(np.diff(masks.names.offsets) == 0)
    action = "Add the mask, or leave the image out: without one its pixels take no part."
    if len(bare) > max(FEW, COMMON * len(dataset)):
        reason = f"{len(bare):,} of {len(dataset):,} images have no mask"
        yield Finding("missing mask", "", reason, action, image=int(bare[0]), severity="note")
        return
    for i in bare.tolist():
        yield Finding("missing mask", dataset.images.name(i), "no mask lies beside this image", action, image=i)


def _mask_findings(masks: Any, seen: Seen) -> Iterator[Finding]:
    for i, reason in sorted(seen.mask_faults.items()):
        if i in seen.faults:  # without the image there is no size to compare with
            continue
        other = reason.startswith("the mask has")
        kind, action = ("mask of another size", "Make the mask as large as its image.") if other else (
            "unreadable mask", "Save the mask anew as PNG.")  # fmt: skip
        yield Finding(kind, _mask_name(masks, i), reason, action, image=i, severity="error")
    for i, values in sorted(seen.strange.items()):
        shown = ", ".join(f"{value} ({pixels:,} pixels)" for value, pixels in list(values.items())[:NAMED])
        more = f" and {len(values) - NAMED:,} more" if len(values) > NAMED else ""
        yield Finding(
            "unknown mask value", _mask_name(masks, i), f"values that are no class: {shown}{more}",
            "Add them to the names, or name the ignore value. These pixels take no part.", image=i,
        )  # fmt: skip


def _mask_name(masks: Any, i: int) -> str:
    return masks.name(i) if hasattr(masks, "name") else f"#{i}"

"""The pictures of the page on data: samples with their annotations, augmented views, and what findings are about.

Pictures are made one by one, the gravest and the first of each kind first, until their room is used up.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image

from hubel.data import libtiff
from hubel.data.decode import BadImage, opened
from hubel.data.findings import Finding
from hubel.data.formats.copies import source_file
from hubel.data.inspect import SEVERITIES, Inspection
from hubel.data.masks import Masks
from hubel.data.objects import Objects
from hubel.report.draw import COLOURS, Marks, drawn
from hubel.report.text import figure, percent, shorten

SAMPLES, SIDE = 24, 240
VIEW_SIDE = 160
FINDING_SIDE = 150
LISTED = 1200  # findings on a page, over all kinds
OPEN = 6  # findings of a kind that are not folded
PICTURED = 40  # of a kind
LENIENT = 30_000_000  # pixels of a damaged image that is drawn as far as it goes
END_OF_JPEG = b"\xff\xd9"  # so that the decoder gives what it has of a progressive one; others ignore it
LEGEND = 5  # classes named below a picture


@dataclass(eq=False)
class Room:
    """Bytes that pictures may still take."""

    left: float

    def take(self, picture: Markup) -> Markup | None:
        if len(picture) > self.left:
            return None
        self.left -= len(picture)
        return picture


class Gallery:
    """Pictures of one inspection."""

    def __init__(self, found: Inspection):
        self.found, self.data = found, found.dataset
        self.part = {int(i): name for name, index in self.data.splits.items() for i in index.tolist()}
        ground = [k for k, name in enumerate(getattr(found.masks, "classes", ())) if name.lower() == "background"]
        self.ground = ground[0] if ground else None
        self.one_class = len(self.data.classes) <= 1

    # Samples -----------------------------------------------------------------------------------------------------

    def chosen(self, most: int) -> list[int]:
        """Positions of up to `most` images: all classes in turn, or evenly spaced among those that show something."""
        usable = self.data.usable()
        usable = usable[self.found.looks.rows["read"][usable]]
        labels = self.data.annotations.get("label")
        if labels is not None:
            return _in_turn(usable, labels[usable], most)
        if self.found.objects is not None:
            full = usable[self.found.objects.counts[usable] > 0]
            usable = full if len(full) else usable
        if not len(usable):
            return []
        return usable[np.unique(np.linspace(0, len(usable) - 1, min(most, len(usable))).round().astype(int))].tolist()

    def samples(self, room: Room) -> list[dict[str, Any]]:
        found = []
        for i in self.chosen(SAMPLES):
            image, marks = self.image(i), self.marks(i)
            if image is None:
                continue
            name = self.data.images.name(i)
            picture = room.take(drawn(image, marks, f"sample {shorten(name, 80)}", SIDE))
            if picture is not None:
                found.append({
                    "picture": picture, "name": name, "part": self.part.get(i, ""), "words": self.words(i),
                    "legend": self.legend(marks),
                })  # fmt: skip
        return found

    def image(self, i: int) -> np.ndarray | None:
        """The image, or as much of a damaged one as can be seen."""
        try:
            return self.data.images.read(i)
        except (BadImage, OSError):
            return lenient(source_file(self.data.images, i))

    def marks(self, i: int) -> Marks:
        objects, masks = self.found.objects, self.found.masks
        one = objects.take(np.array([i])) if objects is not None else None
        mask = None
        if masks is not None:
            with contextlib.suppress(BadImage, OSError):
                mask = self.without_ground(masks.read(i))
        return Marks(one, mask, by_object=self.one_class)

    def without_ground(self, mask: np.ndarray) -> np.ndarray:
        return mask if self.ground is None else np.where(mask == self.ground, np.uint8(255), mask)

    def words(self, i: int) -> str:
        """What is said of the whole image: its class, its classes, its numbers."""
        columns, classes = self.data.annotations, self.data.classes
        if "label" in columns:
            return classes[int(columns["label"][i])]
        if "labels" in columns:
            return ", ".join(classes[k] for k in np.flatnonzero(columns["labels"][i] > 0.5).tolist()) or "no label"
        if "numbers" in columns:
            return ", ".join(figure(float(v)) for v in columns["numbers"][i][:4].tolist())
        return ""

    def legend(self, marks: Marks) -> dict[str, Any]:
        """The classes of a picture, the most frequent first, each with its colour."""
        rows: list[tuple[int, str, str]] = []
        if marks.objects is not None and marks.objects.count:
            labels = marks.objects.labels
            for k in _by_count(labels):
                name = self.data.classes[k] if 0 <= k < len(self.data.classes) else "unknown class"
                rows.append((max(0, k), name, f"{int((labels == k).sum())}"))
        elif marks.mask is not None:
            for k in _by_count(marks.mask[marks.mask != 255]):
                rows.append((k, self.found.masks.classes[k], percent(float((marks.mask == k).mean()), 0)))
        shown = [
            {"colour": "" if self.one_class else f"k{k % COLOURS}", "name": name, "count": count}
            for k, name, count in rows[:LEGEND]
        ]
        return {"rows": shown, "more": max(0, len(rows) - LEGEND)}

    # Findings ------------------------------------------------------------------------------------------------------

    def groups(self, room: Room) -> list[dict[str, Any]]:
        """Findings by kind, gravest first; each kind with what to do, the first ones with pictures."""
        kinds: dict[str, list[Finding]] = {}
        for one in self.found.findings:
            kinds.setdefault(one.kind, []).append(one)
        share = max(OPEN, LISTED // max(1, len(kinds)))
        found = [_group(kind, members, share) for kind, members in kinds.items()]
        for rank in range(PICTURED):
            for group, members in zip(found, kinds.values(), strict=True):
                if rank < min(len(members), share) and room.left > 0:
                    group["items"][rank]["pictures"] = self._about(members[rank], room)
        return found

    def _about(self, one: Finding, room: Room) -> list[dict[str, Any]]:
        """The pictures of a finding: its image, and the one that it is compared with."""
        pairs = [(one.other, "first"), (one.image, "second")] if one.other >= 0 else [(one.image, "")]
        found = []
        for i, _ in pairs:
            if i < 0:
                continue
            image = self.image(i)
            alt = f"{one.kind}: {shorten(self.data.images.name(i), 80)}"
            if image is not None:
                picture = room.take(drawn(image, self._fault_marks(one, i), alt, FINDING_SIDE))
                caption = self.caption(i) if one.other >= 0 else ""
                found.append({"picture": picture, "caption": caption})
        return [entry for entry in found if entry["picture"] is not None]

    def caption(self, i: int) -> str:
        return " · ".join(word for word in (self.part.get(i, ""), self.words(i)) if word)

    def _fault_marks(self, one: Finding, i: int) -> Marks:
        """The object that a finding names, or the pixels; other findings are about the image alone."""
        objects, masks = self.found.objects, self.found.masks
        if one.kind == "unknown mask value" and isinstance(masks, Masks):
            with contextlib.suppress(BadImage, OSError):
                raw = masks.raw(i)
                known = np.isin(raw, [*masks.values.tolist(), *masks.ignore])
                return Marks(mask=np.where(known, np.uint8(255), np.uint8(0)))
        if objects is None or not one.line or not len(objects.lines):
            return Marks()
        mine: Objects = objects.take(np.array([i]))
        rows = np.flatnonzero(mine.lines == one.line).tolist()
        return Marks(mine, None, frozenset(rows)) if rows else Marks()


def _in_turn(index: np.ndarray, labels: np.ndarray, most: int) -> list[int]:
    """One of each class, then a second of each …, evenly spaced within a class; in the order of classes."""
    kinds = np.unique(labels)
    if len(kinds) > most:
        kinds = kinds[np.linspace(0, len(kinds) - 1, most).round().astype(int)]
    each = max(1, most // max(1, len(kinds)))
    found: list[int] = []
    for k in kinds.tolist():
        own = index[labels == k]
        found += own[np.unique(np.linspace(0, len(own) - 1, min(each, len(own))).round().astype(int))].tolist()
    return found


def _by_count(labels: np.ndarray) -> list[int]:
    values, counts = np.unique(labels, return_counts=True)
    return values[np.argsort(-counts, kind="stable")].tolist()


def _group(kind: str, members: Sequence[Finding], share: int) -> dict[str, Any]:
    actions = {one.action for one in members}
    level = min((one.severity for one in members), key=SEVERITIES.index)
    items = [
        {"file": one.file, "line": one.line, "reason": one.reason, "pictures": [],
         "action": "" if len(actions) == 1 else one.action}
        for one in members[:share]
    ]  # fmt: skip
    return {
        "kind": kind, "severity": level, "count": len(members), "items": items, "open": OPEN,
        "action": members[0].action if len(actions) == 1 else "", "more": len(members) - len(items),
    }  # fmt: skip


def lenient(path: str | None) -> np.ndarray | None:
    """What can be seen of a damaged file: (H, W, 3) uint8, or None."""
    if path is None:
        return None
    with warnings.catch_warnings(), contextlib.suppress(Exception):  # decoders raise whatever they like
        warnings.filterwarnings("ignore", module="PIL")
        data = Path(path).read_bytes()
        with opened(io.BytesIO(data + END_OF_JPEG), LENIENT) as image:
            image.draft("RGB", (2 * SIDE, 2 * SIDE))
            libtiff.listen()
            with contextlib.suppress(Exception):  # Pillow keeps what was decoded before the damage
                image.load()
            pixels = np.array(Image.Image()._new(image.im).convert("RGB"))
        return pixels if pixels.any() else None
    return None

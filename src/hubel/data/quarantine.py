"""The quarantine list: a CSV file of images and objects that take no part in a training, written by `hubel data`.

    leave_out,image,kind,reason,file,line
    image,cat/12.jpg,truncated image,truncated: the JPEG's end marker is missing,cat/12.jpg,
    object,a.jpg,zero area,"the box (3, 4, 3, 9) has no area",labels/a.txt,7

A user may strike lines out, or add some: the column image (or file) is enough.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from hubel.data.dataset import Bad, Dataset
from hubel.data.findings import Finding
from hubel.data.objects import Objects
from hubel.errors import UserError

COLUMNS = ("leave_out", "image", "kind", "reason", "file", "line")
MOST = 200_000_000  # bytes of a list


@dataclass(frozen=True)
class Quarantine:
    """Images {name: reason} and objects {(name of the image, line)} that take no part."""

    images: Mapping[str, str]
    objects: frozenset[tuple[str, int]] = frozenset()

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Raises UserError where the file is missing, no CSV, or has neither a column image nor file."""
        path = Path(path).expanduser()
        rows = csv.DictReader(io.StringIO(_text(path), newline=""))
        try:
            named = [name for name in ("image", "file") if name in (rows.fieldnames or ())]
            if not named:
                raise UserError(
                    f"{path} is no quarantine list: its first line needs the column 'image' or 'file', it has "
                    f"{', '.join(rows.fieldnames or ()) or 'nothing'}. `hubel data SOURCE` writes such lists."
                )
            return cls.of([_row(row, named[0], path, rows.line_num) for row in rows])
        except csv.Error as fault:
            raise UserError(f"{path} is no CSV file, line {rows.line_num}: {fault}.") from fault

    @classmethod
    def of(cls, rows: Sequence[tuple[str, int, str]]) -> Self:
        """From (image, line of the object or 0, reason)."""
        images = {name: reason for name, line, reason in rows if name and not line}
        return cls(images, frozenset((name, line) for name, line, _ in rows if name and line))

    def settings(self) -> dict[str, Any]:
        """What a run's manifest keeps."""
        return {"images": dict(self.images), "objects": sorted(map(list, self.objects))}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        objects = frozenset((str(name), int(line)) for name, line in settings.get("objects", ()))
        return cls(dict(settings.get("images", {})), objects)

    def applied(self, dataset: Dataset) -> Dataset:
        """The data set without them; what it does not have is counted in the notes.

        Raises UserError where the list names nothing of this data set.
        """
        wanted = {*self.images, *(name for name, _ in self.objects)}
        if not wanted:
            return dataset
        places: dict[str, list[int]] = {name: [] for name in wanted}
        for i in range(len(dataset)):
            name = dataset.images.name(i)
            if name in places:
                places[name].append(i)
        missing = [name for name, found in places.items() if not found]
        if len(missing) == len(wanted):
            raise UserError(
                f"The quarantine list names {missing[0]!r}{' and others' if len(missing) > 1 else ''}, and no such "
                f"image is in {dataset.source or dataset.name}. Give the list that was made for this data."
            )
        if dataset.traits.get("left_out") == self.settings():  # folds come here again
            return dataset
        dataset = self._without_objects(self._without_images(dataset, places), places)
        note = f"quarantine list: {len(self.images):,} images and {len(self.objects):,} objects take no part"
        note += f"; {len(missing):,} of its images are not here" if missing else ""
        return replace(dataset, notes=(*dataset.notes, note), traits={**dataset.traits, "left_out": self.settings()})

    def _without_images(self, dataset: Dataset, places: Mapping[str, list[int]]) -> Dataset:
        told = [(i, reason) for name, reason in self.images.items() for i in places[name] if dataset.weights[i] > 0]
        bad = tuple(Bad(dataset.images.name(i), reason or "quarantine list") for i, reason in told)
        return dataset.without(np.array([i for i, _ in told], dtype=np.int64), bad)

    def _without_objects(self, dataset: Dataset, places: Mapping[str, list[int]]) -> Dataset:
        objects = dataset.annotations.get("objects")
        if not self.objects or not isinstance(objects, Objects) or not len(objects.lines):
            return dataset
        keep = np.ones(objects.count, bool)
        for name, line in self.objects:
            for i in places[name]:
                own = slice(*objects.offsets[i : i + 2].tolist())
                keep[own] &= objects.lines[own] != line
        return replace(dataset, annotations={**dataset.annotations, "objects": objects.where(keep)})


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MOST:
            raise UserError(f"{path} is larger than {MOST / 1e6:.0f} MB and no quarantine list.")
        return path.read_text(encoding="utf-8-sig")
    except OSError as fault:
        raise UserError(f"The quarantine list {path.absolute()} can't be read: {fault.strerror}.") from fault
    except UnicodeDecodeError as fault:
        raise UserError(f"{path} is not UTF-8 (byte {fault.start}); save it as UTF-8.") from fault


def _row(row: Mapping[Any, Any], column: str, path: Path, number: int) -> tuple[str, int, str]:
    what, line = (row.get("leave_out") or "image").strip().lower(), (row.get("line") or "").strip()
    if what not in ("image", "object"):
        raise UserError(f"{path}, line {number}: 'leave_out' is image or object, got '{what}'.")
    if what == "object" and not line.isdecimal():
        raise UserError(f"{path}, line {number}: an object needs the number of its line, got '{line}'.")
    return row.get(column) or "", int(line) if what == "object" else 0, row.get("reason") or ""


# Writing ---------------------------------------------------------------------------------------------------------


def as_csv(dataset: Dataset, findings: Sequence[Finding]) -> str | None:
    """The list of what is an error, as text; None where nothing is."""
    objects = dataset.annotations.get("objects")
    rows = []
    for one in findings:
        if one.severity == "error" and one.image >= 0:
            what = "object" if _is_object(objects, one) else "image"
            line = one.line or ""
            rows.append((what, dataset.images.name(one.image), one.kind, one.reason, one.file, line))
    if not rows:
        return None
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerows([COLUMNS, *dict.fromkeys(rows)])
    return out.getvalue()


def _is_object(objects: Any, one: Finding) -> bool:
    """Whether the finding is about one object of its image, and not about the image."""
    return isinstance(objects, Objects) and one.line > 0

"""The categories of COCO JSON files as one list of classes, and the skeleton of their keypoints."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

import numpy as np
from msgspec import DecodeError, Raw
from msgspec.json import Decoder

from hubel.data.formats.coco_entries import Category
from hubel.data.formats.coco_log import Log
from hubel.data.formats.coco_mend import mend_category
from hubel.data.formats.coco_pack import Table
from hubel.data.objects import Skeleton


@dataclass
class Classes:
    """Classes by name, in the order of the files; numbers are those that the first file with the class gives it."""

    names: list[str] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    points: list[str] = field(default_factory=list)  # names of keypoints
    edges: tuple[tuple[int, int], ...] = ()
    joints: dict[int, int] = field(default_factory=dict)  # {class: how many keypoints its category names}, where some

    def read(self, raws: Sequence[Raw], annotations: Sequence[Raw], log: Log) -> Table:
        """The categories of one more file; from its numbers to classes."""
        found = [one for k, raw in enumerate(raws, 1) if (one := _category(raw, k, log)) is not None]
        if not raws and annotations:
            found = _from_objects(annotations, log)
        found = _first_ones(found, log)
        self._add_skeletons(found, log)
        positions = [self._class(one, log) for one in found]
        self.joints |= {k: len(one.keypoints) for k, one in zip(positions, found, strict=True) if one.keypoints}
        order = np.argsort([one.id for one in found]).astype(np.int64)
        numbers = np.array([one.id for one in found], dtype=np.int64)
        return Table(numbers[order], np.array(positions, dtype=np.int64)[order])

    def _class(self, category: Category, log: Log) -> int:
        if category.name not in self.names:
            self.names.append(category.name)
            free = category.id not in self.numbers
            self.numbers.append(category.id if free else next(k for k in count(1) if k not in self.numbers))
            if not free:
                self._differs(category, log)
            return len(self.names) - 1
        position = self.names.index(category.name)
        if self.numbers[position] != category.id:
            self._differs(category, log)
        return position

    def _differs(self, category: Category, log: Log) -> None:
        number = self.numbers[self.names.index(category.name)]
        log.add(
            "class numbers differ",
            f"the class '{category.name}' has the number {category.id} here and {number} elsewhere: classes go by name",
            "Give it the same number in all files, if programs that go by numbers read them.",
            severity="note",
        )

    # Keypoints ---------------------------------------------------------------------------------------------------

    def _add_skeletons(self, categories: Sequence[Category], log: Log) -> None:
        for one in categories:
            points = one.keypoints or []
            if points and self.points and points != self.points:
                log.add(
                    "several skeletons",
                    f"the class '{one.name}' has {len(points)} keypoints of its own: they take the places and names "
                    f"of '{', '.join(self.points[:3])}' …",
                    "Keep classes with different keypoints in data sets of their own.",
                )
            self.points += points[len(self.points) :]
            if one.skeleton and not self.edges:
                self.edges = _edges(one, len(points), log)

    def skeleton(self, most: int) -> Skeleton | None:
        """For objects of up to `most` keypoints; those without a name are called by their number."""
        names = self.points + [str(k + 1) for k in range(len(self.points), most)]
        return Skeleton(tuple(names), self.edges) if names else None


def _category(raw: Raw, number: int, log: Log) -> Category | None:
    try:
        return Decoder(Category).decode(raw)
    except (DecodeError, UnicodeDecodeError):
        pass
    told: list[str] = []
    found = mend_category(bytes(raw), told.append)
    if told:
        reason = f"categories, entry {number}: " + "; ".join(told) + ("; it is left out" if found is None else "")
        log.add("malformed entry", reason, "Correct this entry.", number, severity="warning" if found else "error")
    return found


def _from_objects(annotations: Sequence[Raw], log: Log) -> list[Category]:
    pattern = re.compile(rb'"category_id"\s*:\s*(-?[0-9]{1,18})\b')
    numbers = sorted({int(n) for raw in annotations for n in pattern.findall(bytes(raw))})
    log.add(
        "no classes", f'there is no list "categories": the {len(numbers)} classes are called by their numbers',
        'Add "categories": [{"id": 1, "name": "cat"}, …].',
    )  # fmt: skip
    return [Category(n, str(n)) for n in numbers]


def _first_ones(categories: Sequence[Category], log: Log) -> list[Category]:
    """Each number once, each name once."""
    found: dict[int, Category] = {}
    names: set[str] = set()
    for one in categories:
        if one.id in found:
            reason = f"the number {one.id} belongs to '{found[one.id].name}' and to '{one.name}': the first one has it"
            log.add("duplicate class", reason, "Give each class a number of its own.", severity="error")
            continue
        if one.name in names:
            name = f"{one.name} ({one.id})"
            reason = f"two classes are called '{one.name}': the one with the number {one.id} becomes '{name}'"
            log.add("duplicate class", reason, "Give each class a name of its own, or make them one.")
            one = Category(one.id, name, one.keypoints, one.skeleton)
        found[one.id] = one
        names.add(one.name)
    return list(found.values())


def _edges(category: Category, points: int, log: Log) -> tuple[tuple[int, int], ...]:
    """Pairs counted from 1 -> from 0. Pairs with a 0 in them are taken to be counted from 0."""
    edges = category.skeleton or []
    low = 0 if any(0 in edge for edge in edges) else 1
    kept = tuple((a - low, b - low) for a, b in edges if min(a, b) >= low and (not points or max(a, b) < points + low))
    if low == 0:
        log.add(
            "malformed entry", f"the skeleton of '{category.name}' counts keypoints from 0, expected from 1",
            "Count from 1; it was read as it is meant.",
        )  # fmt: skip
    if len(kept) < len(edges):
        log.add(
            "malformed entry", f"the skeleton of '{category.name}' joins keypoints that it does not have",
            "Remove these pairs.",
        )  # fmt: skip
    return kept

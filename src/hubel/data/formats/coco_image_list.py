"""The list "images" of a COCO JSON: names, sizes, and which position each number stands for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import count, islice
from typing import Any

import numpy as np
from msgspec import DecodeError, Raw
from msgspec.json import Decoder

from hubel.data.formats.coco_entries import ImageEntry
from hubel.data.formats.coco_log import Log
from hubel.data.formats.coco_mend import mend_image
from hubel.data.formats.coco_pack import Table

CHUNK = 2048  # entries that are Python objects at the same time
MEND = "Correct this entry of the list (the first one is number 1)."


def joined(raws: Sequence[Any]) -> bytes:
    """Entries as one list again."""
    return b"[" + b",".join(raws) + b"]"


class ImageList:
    """Names, numbers and sizes of n images, and the position of each number; positions start at `first`."""

    def __init__(self, raws: Sequence[Raw], first: int, log: Log):
        self.log, self.first = log, first
        self.by_text: dict[str, int] = {}  # the number given to an image whose id is text
        self.left_out: set[int] = set()
        rows = self._rows(raws)
        numbers = self._numbers([row[0] for row in rows])
        keep = self._first_ones(numbers, [row[4] for row in rows])
        self.numbers = numbers[keep]
        self.table = Table.of(self.numbers, first)
        self.sizes = np.array([row[2:4] for row in rows], np.int64).reshape(-1, 2)[keep]
        self.names = [rows[k][1] for k in keep]
        self._name_twins()

    def _rows(self, raws: Sequence[Raw]) -> list[tuple[int | str, str, int, int, int]]:
        """(id, name, height, width, number of the entry) of all that can be read."""
        rows: list[tuple[int | str, str, int, int, int]] = []
        decoder = Decoder(list[ImageEntry])
        for start in range(0, len(raws), CHUNK):
            chunk = raws[start : start + CHUNK]
            try:
                found = decoder.decode(joined(chunk))
            except (DecodeError, UnicodeDecodeError):
                found = []
            if len(found) == len(chunk) and all(map(_is_sound, found)):
                rows += [(e.id, e.file_name, e.height or 0, e.width or 0, start + k) for k, e in enumerate(found, 1)]
            else:
                rows += filter(None, (self._row(raw, start + k) for k, raw in enumerate(chunk, 1)))
        return rows

    def _row(self, raw: Raw, number: int) -> tuple[int | str, str, int, int, int] | None:
        told: list[str] = []
        found = mend_image(bytes(raw), told.append)
        if told:
            reason = f"images, entry {number}: " + "; ".join(told) + ("; it is left out" if found is None else "")
            self.log.add("malformed entry", reason, MEND, number, severity="error" if found is None else "warning")
        if found is None:
            self.left_out |= {int(n) for n in re.findall(rb'"id"\s*:\s*"?(-?[0-9]{1,18})\b', bytes(raw))}
            return None
        return (*found, number)

    def _numbers(self, ids: Sequence[int | str]) -> np.ndarray:
        """Images whose id is text have the number in it, or are numbered with what is free."""
        texts = list(dict.fromkeys(one for one in ids if isinstance(one, str)))
        if texts:
            used = {one for one in ids if isinstance(one, int)}
            said = [int(text) if text.isdecimal() and len(text) < 19 else 0 for text in texts]
            free = (k for k in count(1) if k not in used)
            good = len({*said, 0}) == len(texts) + 1 and not used & set(said)
            self.by_text = dict(zip(texts, said if good else islice(free, len(texts)), strict=True))
            reason = f"{len(texts):,} images have text as id ('{texts[0][:40]}' …), expected numbers"
            action = "Nothing has to be done: objects find their images all the same."
            self.log.add("malformed entry", reason, action, severity="note")
        return np.array([self.by_text[one] if isinstance(one, str) else one for one in ids], dtype=np.int64)

    def _first_ones(self, numbers: np.ndarray, lines: Sequence[int]) -> list[int]:
        """Positions of images whose number was not there before."""
        _, first = np.unique(numbers, return_index=True)
        for k in np.setdiff1d(np.arange(len(numbers)), first).tolist():
            reason = f"images, entry {lines[k]}: the id {numbers[k]} belongs to another image; this one is left out"
            self.log.add("duplicate id", reason, "Give each image a number of its own.", lines[k], severity="error")
        return np.sort(first).tolist()

    def _name_twins(self) -> None:
        if len(set(self.names)) == len(self.names):
            return
        seen: dict[str, int] = {}
        for k, name in enumerate(self.names):
            if seen.setdefault(name, k) != k:
                reason = f"'{name}' is listed as two images, {self.first + seen[name]} and {self.first + k}"
                self.log.add("listed twice", reason, "Keep one, with all its objects.", image=self.first + k)


def _is_sound(entry: ImageEntry) -> bool:
    return bool(entry.file_name) and "\0" not in entry.file_name and min(entry.height or 0, entry.width or 0) >= 0

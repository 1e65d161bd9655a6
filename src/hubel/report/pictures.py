"""The galleries: examples with their thumbnails, as many as fit into a number of bytes.

The worst mistakes come first, so what does not fit is the least wrong.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from markupsafe import escape

from hubel.report.text import clean, figure, finite, percent
from hubel.report.thumbnails import SIDE, data_uri, is_small
from hubel.report.values import Example, ReportData

SHARES = {"mistakes": 0.42, "galleries": 0.3, "samples": 0.14, "quarantined": 0.08, "filters": 0.06}  # of the room
MOST = {"mistakes": 1000, "samples": 60, "quarantined": 200, "filters": 128}
SORTS = ("loss", "confidence", "truth", "prediction")
MARKUP = 900  # bytes around one picture
WIDE = 560  # pixels of the longer side where several pictures stand side by side


class Pictures:
    """Encodes every picture once; `within` picks."""

    def __init__(self, data: ReportData):
        self.data = data

    def within(self, room: float) -> dict[str, Any]:
        """The template's `mistakes`, `samples`, `quarantined` and `filters`, at most `room` bytes in all."""
        chosen: dict[str, Any] = {}
        left = 0.0
        for kind in ("filters", "quarantined", "samples", "mistakes"):  # what is left over goes to the mistakes
            entries = self._entries[kind]
            allowed = room * SHARES[kind] + left
            shown, used = _fitting(entries, allowed)
            left = allowed - used
            chosen[kind] = {"shown": shown, "total": self._totals[kind]}
            if kind == "samples":
                chosen["galleries"], left = self._within_galleries(room * SHARES["galleries"] + left)
        shown = chosen["mistakes"]["shown"]
        sorts = [key for key in SORTS if any(entry[key] for entry in shown)]
        choices = _choices(shown) if self.data.unit == "images" else {"truth": [], "prediction": []}  # shares differ
        return chosen | {"choices": choices, "sorts": sorts}

    def _within_galleries(self, room: float) -> tuple[list[dict[str, Any]], float]:
        """Each with what fits of it, and the bytes that are left over."""
        found = []
        for number, gallery in enumerate(self._galleries):
            shown, used = _fitting(gallery["entries"], room / (len(self._galleries) - number))
            room -= used
            found += [{"title": gallery["title"], "shown": shown}] if shown else []
        return found, room

    @cached_property
    def _galleries(self) -> list[dict[str, Any]]:
        graded = self.data.scatter is None and self.data.unit == "images"
        return [{"title": g.title, "entries": [_entry(e, graded) for e in g.examples]} for g in self.data.galleries]

    @cached_property
    def _totals(self) -> dict[str, int]:
        mistakes = len(self.data.mistakes or ())
        return {
            "mistakes": max(self.data.mistake_count or 0, mistakes),
            "samples": len(self.data.samples or ()),
            "quarantined": len(self.data.quarantine),
            "filters": len(self.data.filters or ()),
        }

    @cached_property
    def _entries(self) -> dict[str, list[dict[str, Any]]]:
        graded = self.data.scatter is None and self.data.unit == "images"  # a number or a map is only near or far
        worst = sorted(self.data.mistakes or (), key=_by_loss)[: MOST["mistakes"]]
        bad = list(self.data.quarantine)[: MOST["quarantined"]]
        names = list(self.data.filter_names)
        filters = list(self.data.filters or ())[: MOST["filters"]]
        return {
            "mistakes": [_entry(example, graded) for example in worst],
            "samples": [_entry(example, graded) for example in list(self.data.samples or ())[: MOST["samples"]]],
            "quarantined": [_picture(q.image) | {"name": q.name, "reason": q.reason} for q in bad],
            "filters": [_picture(f) | {"name": names[i] if i < len(names) else f"{i}"} for i, f in enumerate(filters)],
        }


def _by_loss(example: Example) -> float:
    loss = finite(example.loss)
    return math.inf if math.isnan(loss) else -loss


def _picture(image: np.ndarray | None, wide: bool = False) -> dict[str, Any]:
    if image is None or not np.asarray(image).size:
        return {"uri": None, "small": False}
    return {"uri": data_uri(image, WIDE if wide else SIDE), "small": is_small(np.asarray(image))}


def _entry(example: Example, graded: bool) -> dict[str, Any]:
    confidence, loss = finite(example.confidence), finite(example.loss)
    return _picture(example.image, example.wide) | {
        "name": example.name,
        "truth": example.truth,
        "prediction": example.prediction,
        "grade": ("good" if example.truth == example.prediction else "bad") if graded else "",
        "confidence": None if math.isnan(confidence) else percent(confidence),
        "loss": None if math.isnan(loss) else f"{example.measure} {figure(round(loss, 3))}",
        "sort_confidence": "" if math.isnan(confidence) else repr(confidence),
        "sort_loss": "" if math.isnan(loss) else repr(loss),
    }


def _fitting(entries: Sequence[dict[str, Any]], room: float) -> tuple[list[dict[str, Any]], float]:
    """The longest beginning of `entries` within `room` bytes, and its bytes (each word stands in four places)."""
    shown, used = [], 0.0
    for entry in entries:
        words = "".join(str(entry.get(key, "")) for key in ("name", "truth", "prediction", "reason"))
        size = len(entry["uri"] or "") + MARKUP + 4 * len(escape(clean(words)).encode())
        if used + size > room:
            break
        shown.append(entry)
        used += size
    return shown, used


def _choices(entries: Sequence[dict[str, Any]]) -> dict[str, list[str]]:
    """What the gallery can be filtered by: truths and predictions, where they repeat."""
    found = {}
    for key in ("truth", "prediction"):
        words = list(dict.fromkeys(entry[key] for entry in entries))
        found[key] = sorted(words, key=_natural) if 1 < len(words) <= max(20, len(entries) // 2) else []
    return found


def _natural(word: str) -> tuple[int, float, str]:
    number = finite(word)
    return (1, 0.0, word) if math.isnan(number) else (0, number, word)

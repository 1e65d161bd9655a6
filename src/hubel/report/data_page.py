"""The page on data: what was found before a training, in the look of the report: one offline file under 5 MB.

Inspection (and augmented views) -> HTML. Names of files and classes are hostile text: escaped, shortened.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hubel.data.inspect import Inspection
from hubel.data.preview import View
from hubel.data.preview_mixed import Mixture
from hubel.report import data_sections as sections
from hubel.report import data_views
from hubel.report.data_pictures import Gallery, Room
from hubel.report.page import LIMIT, fill
from hubel.training.atomic import write_atomically

STYLES = ("report.css", "data.css")
SHARES = {"samples": 0.3, "views": 0.25, "findings": 0.45}  # of the room for pictures
PICTURES = 3_200_000  # bytes


@dataclass(frozen=True)
class Augmented:
    """Views of a policy: its name, why it is so, and a row of views for each image."""

    policy: str
    why: str
    rows: Iterable[Sequence[View]]
    mixed: Iterable[Mixture] = ()  # of several images in one


def render(
    found: Inspection, augmented: Augmented | None = None, files: Sequence[str] = (),
    extents: dict[str, Any] | None = None,
) -> str:  # fmt: skip
    """The page as text (it encodes to UTF-8, at most LIMIT bytes). `files`: what was written beside it; `extents`:
    how large things are against what a network sees (see extents.py)."""
    gallery, context = Gallery(found), _context(found) | {"files": list(files), "extents": sections.extents(extents)}
    bare = fill("data.html", context | _pictures(gallery, augmented, 0), STYLES)
    room = min(PICTURES, LIMIT - len(bare.encode()) - 100_000)
    page = fill("data.html", context | _pictures(gallery, augmented, max(0, room)), STYLES)
    return page if len(page.encode()) <= LIMIT else bare


def write(
    found: Inspection, path: Path, augmented: Augmented | None = None, files: Sequence[str] = (),
    extents: dict[str, Any] | None = None,
) -> Path:  # fmt: skip
    """Write the page to `path`, whole or not at all."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")  # of damage and size: findings say it
        write_atomically(path, render(found, augmented, files, extents).encode("utf-8"))
    return path


def _context(found: Inspection) -> dict[str, Any]:
    data = found.dataset
    return {
        "name": data.name,
        "source": data.source,
        "format": data.format,
        "notes": list(data.notes),
        "images": len(data),
        "verdict": sections.verdict(found),
        "tiles": sections.tiles(found),
        "classes": sections.classes(found),
        "mask_classes": sections.mask_classes(found),
        "numbers": sections.numbers(found),
        "sizes": sections.size_plots(found),
        "channels": sections.channels(found),
        "marked": found.objects is not None or found.masks is not None,
    }


def _pictures(gallery: Gallery, augmented: Augmented | None, room: float) -> dict[str, Any]:
    """Samples, views and findings within `room` bytes; what one leaves over goes to the next."""
    samples = Room(room * SHARES["samples"])
    shown = gallery.samples(samples) if room else []
    views = Room(samples.left + room * SHARES["views"])
    rows = data_views.rows(gallery, augmented.rows, views) if augmented is not None and room else []
    mixed = data_views.mixed(gallery, augmented.mixed, views) if augmented is not None and room else []
    told = {"policy": augmented.policy, "why": augmented.why} if augmented is not None else {}
    return {
        "samples": shown,
        "views": told | {"rows": rows, "mixed": mixed},
        "groups": gallery.groups(Room(views.left + room * SHARES["findings"])),
    }

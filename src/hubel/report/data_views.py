"""The pictures of augmentation on the page on data: rows of views with their annotations drawn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from markupsafe import Markup

from hubel.data.preview import View
from hubel.data.preview_mixed import Mixture
from hubel.report.data_pictures import VIEW_SIDE, Gallery, Room
from hubel.report.draw import Marks, drawn


def rows(gallery: Gallery, found: Iterable[Sequence[View]], room: Room) -> list[list[Markup]]:
    """One list of pictures per image: as fitted, then as drawn."""
    pictures = (_row(gallery, row, ["as fitted", *(f"draw {k}" for k in range(1, len(row)))], room) for row in found)
    return [row for row in pictures if row]


def mixed(gallery: Gallery, kinds: Iterable[Mixture], room: Room) -> list[dict[str, Any]]:
    """Per way to put images together its option, what it does, and pictures."""
    pictures = ((kind, _row(gallery, kind.views, [kind.option] * len(kind.views), room)) for kind in kinds)
    return [{"option": kind.option, "words": kind.words, "pictures": row} for kind, row in pictures if row]


def _row(gallery: Gallery, views: Sequence[View], alts: Sequence[str], room: Room) -> list[Markup]:
    pictures = []
    for view, alt in zip(views, alts, strict=True):
        mask = None if view.mask is None else gallery.without_ground(view.mask)
        marks = Marks(view.objects, mask, by_object=gallery.one_class)
        picture = room.take(drawn(view.image, marks, alt, VIEW_SIDE))
        if picture is not None:
            pictures.append(picture)
    return pictures

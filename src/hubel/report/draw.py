"""An image with what is annotated in it: an SVG whose boxes, outlines, keypoints and mask lie on the thumbnail.

Annotations are in source pixels; the picture is `side` pixels on its longer side, and lines stay sharp at any zoom.
Class k has the colour k everywhere on a page (ops/palette.py).
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from markupsafe import Markup
from PIL import Image

from hubel.data import rle
from hubel.data.objects import Objects
from hubel.ops.palette import COLOURS, PALETTE, STRENGTH
from hubel.report.svg import coordinate, element
from hubel.report.thumbnails import data_uri, is_small

MOST = 300  # objects that are drawn in one picture
ROOM = 0.5  # of the image's side: how far beyond the image a picture shows a box that lies outside
FAINT = round(255 * STRENGTH)  # opacity of a mask


@dataclass(frozen=True, eq=False)
class Marks:
    """What is drawn on one image: its objects, one image's worth, and the class of every pixel."""

    objects: Objects | None = None
    mask: np.ndarray | None = None  # (H, W) uint8, 255 where none is given
    faulty: frozenset[int] = frozenset()  # rows of `objects` that are drawn strongly, the others faintly
    by_object: bool = False  # a colour for each object, not for each class

    def colour(self, m: int) -> int:
        """Of object m, 0 … COLOURS − 1."""
        assert self.objects is not None
        return (m if self.by_object else max(0, int(self.objects.labels[m]))) % COLOURS


def drawn(image: np.ndarray, marks: Marks, alt: str, side: int) -> Markup:
    """(H, W, C) with its marks -> an <svg>."""
    height, width = image.shape[:2]
    scale = min(1.0, side / max(height, width))
    w, h = width * scale, height * scale
    layers = [element("image", href=data_uri(image, side), width=w, height=h, preserveAspectRatio="none")]
    overlay = [*_mask_layer(marks, w, h, height, width), *_object_layers(marks, scale)]
    if overlay:
        layers.append(element("g", *overlay, class_="marks"))
    kind = "drawn small" if is_small(image) else "drawn"
    x0, y0, x1, y1 = _view(marks, scale, w, h)
    box = " ".join(coordinate(v) for v in (x0, y0, x1 - x0, y1 - y0))
    return element("svg", *layers, class_=kind, viewBox=box, role="img", aria_label=alt)


def _view(marks: Marks, scale: float, w: float, h: float) -> tuple[float, float, float, float]:
    """The image, and what faulty objects need beyond it."""
    view = np.array([0.0, 0.0, w, h])
    if marks.objects is None:
        return tuple(view.tolist())
    for m in marks.faulty:
        box = marks.objects.boxes[m] * scale
        if np.isfinite(box).all():
            low, high = np.minimum(box[:2], box[2:]), np.maximum(box[:2], box[2:])
            view[:2] = np.minimum(view[:2], np.maximum(low - 2, [-ROOM * w, -ROOM * h]))
            view[2:] = np.maximum(view[2:], np.minimum(high + 2, [(1 + ROOM) * w, (1 + ROOM) * h]))
    return tuple(view.tolist())


# Masks -----------------------------------------------------------------------------------------------------------


def _mask_layer(marks: Marks, w: float, h: float, height: int, width: int) -> Iterator[Markup]:
    """Classes of pixels, and run-length masks of objects, as one transparent picture."""
    mask = marks.mask
    if mask is None and (marks.objects is None or marks.objects.runs is None or not marks.objects.runs.counts.any()):
        return
    size = max(1, round(w)), max(1, round(h))
    small = np.full(size[::-1], 255, np.uint8)
    if mask is not None:
        small = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)
    if marks.objects is not None and marks.objects.runs is not None:
        _lay_runs(small, marks, height, width)
    if (small != 255).any():
        yield element("image", class_="mask", href=mask_uri(small), width=w, height=h, preserveAspectRatio="none")


def _lay_runs(small: np.ndarray, marks: Marks, height: int, width: int) -> None:
    objects = marks.objects
    assert objects is not None and objects.runs is not None
    for m in range(min(objects.count, MOST)):
        runs = objects.runs[m]
        if len(runs) and int(runs.sum(dtype=np.int64)) == height * width:
            shape = cv2.resize(rle.decode(runs, height, width), small.shape[::-1], interpolation=cv2.INTER_NEAREST)
            small[shape > 0] = marks.colour(m)


def mask_uri(mask: np.ndarray) -> str:
    """(h, w) uint8 numbers of classes -> a PNG with a palette, transparent where the number is 255."""
    known = mask[mask != 255]
    clear = min(int(known.max(initial=0)) + 1, COLOURS)  # the number behind the last colour that is needed
    picture = Image.fromarray(np.where(mask == 255, clear, mask).astype(np.uint8), "P")
    picture.putpalette([v for colour in (*PALETTE[:clear], (0, 0, 0)) for v in colour])
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=True, transparency=bytes([FAINT] * clear + [0]))
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


# Objects ---------------------------------------------------------------------------------------------------------


def _object_layers(marks: Marks, scale: float) -> Iterator[Markup]:
    """One path per class and kind of mark: the shortest way to write many."""
    objects = marks.objects
    if objects is None:
        return
    rows = [*range(min(objects.count, MOST)), *(m for m in marks.faulty if m >= MOST)]
    paths: dict[str, list[str]] = {}
    for m in rows:
        grade = "" if not marks.faulty else " faulty" if m in marks.faulty else " faint"
        colour = f"k{marks.colour(m)}{grade}"
        rings = [] if objects.outlines is None else [ring for ring in objects.outlines[m] if len(ring)]
        if rings:
            paths.setdefault(f"outline {colour}", []).extend(_ring(ring, scale) for ring in rings)
        if not rings or grade == " faulty":
            paths.setdefault(f"box {colour}", []).append(_box(objects.boxes[m] * scale))
        if len(objects.keypoints):
            edges = () if objects.skeleton is None else objects.skeleton.edges
            paths.setdefault(f"bones {colour}", []).append(_bones(objects.keypoints[m], edges, scale))
            paths.setdefault(f"joints {colour}", []).append(_joints(objects.keypoints[m], scale))
    for kind in ("outline", "box", "bones", "joints"):
        for name, words in sorted(paths.items(), key=lambda item: "faulty" in item[0]):
            if name.startswith(kind) and any(words):
                yield element("path", class_=name, d="".join(words))


def _box(box: np.ndarray) -> str:
    """A rectangle; a cross through it where it has no area, so that it can be seen."""
    if not np.isfinite(box).all():
        return ""
    box = np.clip(box, -1e5, 1e5)
    x0, y0, x1, y1 = (coordinate(v) for v in box.tolist())
    if box[0] == box[2] or box[1] == box[3]:
        x, y = (box[:2] + box[2:]).tolist()[0] / 2, (box[1] + box[3]) / 2
        cross = f"M{coordinate(x - 6)},{coordinate(y)}h12M{coordinate(x)},{coordinate(y - 6)}v12"
        return f"{cross}M{x0},{y0}H{x1}V{y1}"
    return f"M{x0},{y0}H{x1}V{y1}H{x0}Z"


def _ring(ring: np.ndarray, scale: float) -> str:
    """A closed line, without points that the picture can't show."""
    points = np.asarray(ring, np.float32) * np.float32(scale)
    points = np.clip(points[np.isfinite(points).all(1)], -1e5, 1e5)
    if len(points) > 8:
        points = cv2.approxPolyDP(points.reshape(-1, 1, 2), 0.35, closed=True)[:, 0]
    return "M" + "L".join(f"{coordinate(round(x, 1))},{coordinate(round(y, 1))}" for x, y in points.tolist()) + "Z"


def _bones(keypoints: np.ndarray, edges: Sequence[tuple[int, int]], scale: float) -> str:
    places = keypoints[:, :2] * scale
    there = (keypoints[:, 2] > 0) & np.isfinite(keypoints).all(1)
    lines = [(places[a], places[b]) for a, b in edges if max(a, b) < len(places) and there[a] and there[b]]
    return "".join(
        f"M{coordinate(float(x0))},{coordinate(float(y0))}L{coordinate(float(x1))},{coordinate(float(y1))}"
        for (x0, y0), (x1, y1) in lines
    )


def _joints(keypoints: np.ndarray, scale: float) -> str:
    """A path of no length with a round cap is a dot."""
    there = (keypoints[:, 2] > 0) & np.isfinite(keypoints).all(1)
    places = np.clip(keypoints[there, :2] * scale, -1e5, 1e5)
    return "".join(f"M{coordinate(float(x))},{coordinate(float(y))}h0" for x, y in places)

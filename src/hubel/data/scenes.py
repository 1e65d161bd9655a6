"""Scenes of figures, and exactly what is where in them: a pure function of (seed, position), whatever the count.

Figures lie over one another; a pixel belongs to the topmost one whose outline holds the pixel's centre. Box, outline
and mask describe the visible part: the box is tight, and the outline filled by the same rule is the mask. At least
half of every figure is visible, in one piece or several but without holes; the first is the largest, by far.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import cv2
import numpy as np

from hubel.data.figures import NAMES, Figure, area, figures
from hubel.data.paint import Colour, background, contrasting, grain, ramp, rimmed, shadow, stripes
from hubel.data.polygons import contains, fill, trace

TRIES = 8  # places that are tried for one figure before the scene does without it
VISIBLE = 0.5  # of each figure, at least
FIRST, OTHERS = (0.28, 0.42), (0.16, 0.7)  # sizes: of the image's shorter side; of that, and of the first one's size
TURN = np.pi / 6  # figures are turned by up to 30 degrees


@dataclass(frozen=True)
class Placed:
    """One figure in a scene; later ones lie on top."""

    kind: int  # position in figures.NAMES
    outline: np.ndarray  # (P, 2) float64 pixels, all of it
    keypoints: np.ndarray  # (5, 2) float64 pixels
    size: float  # it covers size² pixels


@dataclass(frozen=True)
class Scene:
    """Figures and the pixels that are theirs."""

    placed: tuple[Placed, ...]
    owner: np.ndarray  # (H, W) uint8: 0 the background, k + 1 the figure placed[k]

    def visible(self, k: int) -> np.ndarray:
        """(H, W) bool: the pixels of figure k."""
        return self.owner == k + 1

    def classes(self) -> np.ndarray:
        """(H, W) uint8: 0 the background, k + 1 the figures of kind k."""
        return np.array([0, *(one.kind + 1 for one in self.placed)], np.uint8)[self.owner]

    def box(self, k: int) -> tuple[int, int, int, int]:
        """x0, y0, x1, y1: tight around the visible pixels."""
        mask = self.visible(k)
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1

    @functools.cached_property
    def hidden(self) -> tuple[tuple[bool, bool], ...]:
        """Of each figure: whether it is covered by another one, and whether it leaves the image."""
        h, w = self.owner.shape
        left = np.bincount(self.owner.ravel(), minlength=len(self.placed) + 1)
        covered = [int(fill(one.outline, h, w).sum()) > left[k + 1] for k, one in enumerate(self.placed)]
        leaves = [(o.outline.min(0) < 0).any() or (o.outline.max(0) > (w, h)).any() for o in self.placed]
        return tuple((bool(c), bool(o)) for c, o in zip(covered, leaves, strict=True))

    def whole(self, k: int) -> bool:
        """Whether nothing of figure k is covered or outside."""
        return not any(self.hidden[k])

    def rings(self, k: int) -> list[np.ndarray]:
        """(P, 2) float32 each: its own outline where it is whole, else along the edges of its visible pixels."""
        return [self.placed[k].outline.astype(np.float32)] if self.whole(k) else trace(self.visible(k))

    def keypoints(self, k: int) -> np.ndarray:
        """(5, 3) float32 x, y, v: 2 visible, 1 under another figure, 0 (at 0, 0) outside the image."""
        h, w = self.owner.shape
        above = () if self.whole(k) else self.placed[k + 1 :]
        found = np.zeros((5, 3), np.float32)
        for j, (x, y) in enumerate(self.placed[k].keypoints):
            if 0 <= x < w and 0 <= y < h:
                found[j] = x, y, 1 if any(contains(other.outline, x, y) for other in above) else 2
        return found


def random_scene(rng: np.random.Generator, height: int, width: int, classes: int, most: int) -> Scene:
    """1 … `most` figures of the first `classes` kinds."""
    scene = Scene((), np.zeros((height, width), np.uint8))
    short = min(height, width)
    wanted = 1 + int(rng.random() * most)
    first = short * _between(rng, *FIRST)
    for k in range(wanted):
        for _ in range(TRIES):
            size = first if k == 0 else _between(rng, OTHERS[0] * short, max(OTHERS[0] * short, OTHERS[1] * first))
            tried = _add(scene, _place(rng, figures()[int(rng.random() * classes)], size, height, width))
            if tried is not None:
                scene = tried
                break
    if not scene.placed:  # every first try lay too far outside
        figure = figures()[int(rng.random() * classes)]
        placed = _at(figure, first, 0.0, width / 2, height / 2)
        scene = Scene((placed,), fill(placed.outline, height, width).astype(np.uint8))
    return scene


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(rng.random())


def _place(rng: np.random.Generator, figure: Figure, size: float, height: int, width: int) -> Placed:
    x, y, turn = rng.random(3)
    return _at(figure, size, TURN * (2 * turn - 1) * figure.turns, (0.05 + 0.9 * x) * width, (0.05 + 0.9 * y) * height)


def _at(figure: Figure, size: float, turn: float, x: float, y: float) -> Placed:
    matrix = size * np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    kind = NAMES.index(figure.name)  # not by identity: threads that ask at once get figures of their own
    outline = (figure.outline @ matrix + (x, y)).astype(np.float32)  # as annotations hold it: masks follow from that
    return Placed(kind, outline.astype(np.float64), figure.keypoints @ matrix + (x, y), size)


def _add(scene: Scene, placed: Placed) -> Scene | None:
    """With one more figure on top; None where too little of it, or of another one, would be seen."""
    h, w = scene.owner.shape
    mask = fill(placed.outline, h, w)
    if mask.sum() < VISIBLE * area(placed.outline):
        return None
    number = len(scene.placed) + 1
    owner = np.where(mask, np.uint8(number), scene.owner)
    touched = np.unique(scene.owner[mask])
    left = np.bincount(owner.ravel(), minlength=number)
    for k in touched[touched > 0] - 1:
        if left[k + 1] < VISIBLE * area(scene.placed[k].outline) or _has_hole(owner == k + 1):
            return None
    return replace(scene, placed=(*scene.placed, placed), owner=owner)


def _has_hole(mask: np.ndarray) -> bool:
    outside = np.pad(~mask, 1, constant_values=True).astype(np.uint8)
    return cv2.connectedComponents(outside, connectivity=8)[0] > 2  # the figure's complement, in one piece


# Painting --------------------------------------------------------------------------------------------------------


def draw(rng: np.random.Generator, scene: Scene) -> np.ndarray:
    """(H, W, 3) uint8: the scene in colours that tell its figures from what lies under them."""
    height, width = scene.owner.shape
    canvas, mean = background(rng, height, width)
    used = [mean]
    for one in scene.placed:
        used.append(contrasting(rng, used))
        shadow(canvas, one.outline, 0.07 * one.size)
        shade = _shaded(rng, used[-1], one, height, width)
        rimmed(canvas, one.outline, shade, 0.6 * used[-1], max(0.6, 0.04 * one.size))
    return grain(rng, canvas, 1 + 3 * float(rng.random()))


def _shaded(rng: np.random.Generator, base: Colour, one: Placed, height: int, width: int) -> np.ndarray:
    """A colour, or a canvas with a slope or stripes of it."""
    style, angle, strength = rng.random(3)
    if style < 0.35:
        return base
    if style < 0.7:
        pattern = 2 * ramp(height, width, float(angle * 2 * np.pi)) - 1
        return base + np.float32(30 + 40 * strength) * pattern[..., None]
    pattern = stripes(height, width, float(angle * np.pi), max(3.0, one.size / (2 + 3 * strength)))
    return base + np.float32(18) * pattern[..., None]

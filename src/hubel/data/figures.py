"""The figures that scenes are made of: outlines and keypoints in a frame of their own, all with area 1.

x to the right, y down: a figure of size s covers s² pixels. Each is symmetric left to right: its mirror image is the
figure itself, with its keypoints left and right exchanged.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from hubel.data.objects import Skeleton

SKELETON = Skeleton(("centre", "top", "left", "bottom", "right"), ((0, 1), (0, 2), (0, 3), (0, 4)))
NAMES = ("circle", "square", "triangle", "star", "cross", "heart", "moon", "arrow")


@dataclass(frozen=True)
class Figure:
    """One kind of figure."""

    name: str
    outline: np.ndarray  # (P, 2) float64
    keypoints: np.ndarray  # (5, 2) float64: centre, top, left, bottom, right
    turns: bool = True  # False: turned it looks the same, so it is left upright


@functools.cache
def figures() -> tuple[Figure, ...]:
    """All of them, in the order of NAMES."""
    drawn = (_circle(), _square(), _triangle(), _star(), _cross(), _heart(), _moon(), _arrow())
    return tuple(_unit(name, *one) for name, one in zip(NAMES, drawn, strict=True))


def area(outline: np.ndarray) -> float:
    """Of a polygon (P, 2), by the shoelace formula."""
    x, y = outline.T
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2


def _unit(name: str, outline: np.ndarray, keypoints: list[tuple[float, float]]) -> Figure:
    """Area 1, centred on its centre of mass."""
    x, y = outline.T
    cross = x * np.roll(y, -1) - np.roll(x, -1) * y
    middle = np.array([((v + np.roll(v, -1)) * cross).sum() for v in (x, y)]) / (3 * cross.sum())
    scale = area(outline) ** -0.5
    points = np.array(keypoints, dtype=np.float64)
    return Figure(name, (outline - middle) * scale, (points - middle) * scale, name != "circle")


def _arc(start: float, end: float, count: int, radius: float = 1.0, y: float = 0.0) -> np.ndarray:
    """Points on a circle around (0, y); degrees, clockwise from the right."""
    t = np.radians(np.linspace(start, end, count))
    return np.stack([radius * np.cos(t), y + radius * np.sin(t)], axis=1)


Drawn = tuple[np.ndarray, list[tuple[float, float]]]


def _circle() -> Drawn:
    return _arc(0, 360, 49)[:-1], [(0, 0), (0, -1), (-1, 0), (0, 1), (1, 0)]


def _square() -> Drawn:
    return np.array([(-1, -1), (1, -1), (1, 1), (-1, 1.0)]), [(0, 0), (0, -1), (-1, 0), (0, 1), (1, 0)]


def _triangle() -> Drawn:
    half = 3**0.5 / 2
    corners = np.array([(0, -1), (half, 0.5), (-half, 0.5)])
    return corners, [(0, 0), (0, -1), (-half, 0.5), (0, 0.5), (half, 0.5)]


def _star() -> Drawn:
    tips, notches = _arc(-90, 198, 5), _arc(-54, 234, 5, 0.45)
    outline = np.stack([tips, notches], axis=1).reshape(10, 2)
    return outline, [(0, 0), tuple(tips[0]), tuple(tips[4]), tuple(notches[2]), tuple(tips[1])]


def _cross() -> Drawn:
    a, b = 0.34, 1.0
    arm = [(-a, -b), (a, -b), (a, -a), (b, -a), (b, a), (a, a), (a, b), (-a, b), (-a, a), (-b, a), (-b, -a), (-a, -a)]
    return np.array(arm), [(0, 0), (0, -b), (-b, 0), (0, b), (b, 0)]


def _heart() -> Drawn:
    t = np.linspace(0, 2 * np.pi, 61)[:-1]
    x = 16 * np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    side = float(y[15])  # where x is largest
    return np.stack([x, y], axis=1), [(0, 0), (0, -5), (-16, side), (0, 17), (16, side)]


def _moon() -> Drawn:
    """A crescent that lies on its back, horns up."""
    horn = _arc(-20, 200, 31)  # the outer edge, from the right horn by the bottom to the left one
    x, y = horn[-1]
    lift = -0.62  # centre of the inner circle, which passes through both horns
    radius = float(np.hypot(x, y - lift))
    angle = float(np.degrees(np.arctan2(y - lift, -x)))  # of the right horn, seen from there
    inner = _arc(180 - angle, angle, 25, radius, lift)[1:-1]
    low = lift + radius
    outline = np.concatenate([horn, inner])
    return outline, [(0, (low + 1) / 2), (0, low), (float(x), float(y)), (0, 1), (-float(x), float(y))]


def _arrow() -> Drawn:
    head, shaft, neck = 0.85, 0.32, -0.05
    side = [(head, neck), (shaft, neck), (shaft, 1.0)]
    outline = np.array([(0, -1.0), *side, *((-x, y) for x, y in reversed(side))])
    return outline, [(0, 0), (0, -1), (-head, neck), (0, 1), (head, neck)]

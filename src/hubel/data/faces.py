"""Drawn faces: one per identity, seen in any pose, light and expression, before any background.

What an identity keeps: the head's shape, the colours of skin, hair and eyes, the hair's cut, the places and sizes of
brows, eyes, nose and mouth, glasses, a beard. What changes from picture to picture: turn (yaw), nod, tilt, place, size,
light, smile, gaze, background. Both are pure functions of (seed, identity) and of (seed, position of the picture).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hubel.data.objects import Skeleton
from hubel.data.paint import Colour, background, grain, polygon, ramp

SKELETON = Skeleton(
    ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth"), ((0, 2), (1, 2), (2, 3), (2, 4), (3, 4))
)  # left and right as in the picture
SKINS = ((247, 214, 190), (232, 184, 148), (206, 150, 112), (168, 114, 80), (132, 86, 60), (98, 64, 48))
HAIRS = ((30, 24, 22), (74, 46, 30), (128, 84, 48), (196, 156, 88), (168, 76, 40), (150, 150, 152), (232, 226, 214))
EYES = ((70, 44, 28), (104, 74, 40), (60, 96, 60), (64, 104, 150), (110, 124, 132))
DARK = np.array((38, 28, 28), np.float32)
WHITE = np.array((246, 244, 240), np.float32)


@dataclass(frozen=True)
class Person:
    """What an identity keeps. Lengths in half heads: the face is 2 high."""

    skin: Colour
    hair: Colour
    eyes: Colour
    width: float  # of the face
    jaw: float  # 0 round … 1 pointed
    traits: np.ndarray  # (16,) in [0, 1]: everything else

    def span(self, k: int, low: float, high: float) -> float:
        """Trait k as a length or an angle between two."""
        return low + (high - low) * float(self.traits[k])


@dataclass(frozen=True)
class View:
    """How a face is seen: places on the head become pixels."""

    x: float
    y: float
    scale: float  # pixels per half head
    yaw: float  # radians; features move along the head's roundness
    nod: float
    tilt: float
    smile: float  # −0.4 … 1
    gaze: float  # −1 … 1

    def turned(self, points: np.ndarray) -> np.ndarray:
        """(P, 2) on the flat face -> as the head's turn and nod shift it, still upright and in half heads."""
        x, y = points[:, 0], points[:, 1]
        depth = np.sqrt(np.clip(1.3 - x**2 - 0.5 * y**2, 0.05, None))  # a round head
        return np.stack([x * np.cos(self.yaw) + depth * np.sin(self.yaw), y + 0.5 * depth * np.sin(self.nod)], axis=1)

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """Half heads -> pixels, tilted."""
        c, s = np.cos(self.tilt), np.sin(self.tilt)
        return self.scale * points @ np.array([[c, s], [-s, c]]) + (self.x, self.y)


def person(rng: np.random.Generator) -> Person:
    """A new identity."""
    u = rng.random(8)
    skin = np.array(SKINS[int(u[0] * len(SKINS))], np.float32) * np.float32(0.94 + 0.12 * u[1])
    hair = np.array(HAIRS[int(u[2] * len(HAIRS))], np.float32) * np.float32(0.85 + 0.3 * u[3])
    eyes = np.array(EYES[int(u[4] * len(EYES))], np.float32)
    return Person(np.minimum(skin, 255), hair, eyes, 0.66 + 0.2 * float(u[5]), float(u[6]), rng.random(16))


def view(rng: np.random.Generator, height: int, width: int) -> View:
    """A pose that keeps the face in the picture."""
    u = 2 * rng.random(8) - 1
    scale = min(height, width) * (0.335 + 0.055 * u[0])
    x, y = width / 2 + 0.05 * width * u[1], height * (0.53 + 0.03 * u[2])
    return View(x, y, scale, 0.27 * u[3], 0.16 * u[4], 0.2 * u[5], float(0.3 + 0.7 * u[6]), float(u[7]))


def draw(rng: np.random.Generator, who: Person, seen: View, height: int, width: int) -> np.ndarray:
    """(H, W, 3) uint8: the face in random light before a random background."""
    canvas, _ = background(rng, height, width)
    u = rng.random(8)
    light = 0.72 + 0.36 * u[0] + 0.4 * (ramp(height, width, float(u[1] * 2 * np.pi)) - 0.5)
    tint = 1 + 0.1 * (u[2:5] - 0.5)
    shade = _Shade(canvas, (light[..., None] * tint).astype(np.float32), seen)
    _head(shade, who, seen, np.array(u[5:8] * 200 + 30, np.float32))
    _features(shade, who, seen)
    return grain(rng, canvas, 1 + 3 * float(rng.random()))


def keypoints(who: Person, seen: View) -> np.ndarray:
    """(5, 2) float64 pixels: eyes, nose, corners of the mouth."""
    place = _places(who, seen)
    return seen.pixels(seen.turned(place))


def outline(who: Person, seen: View) -> np.ndarray:
    """(P, 2) float64 pixels: the face, without hair and ears."""
    return seen.pixels(_face(who))


def _places(who: Person, seen: View) -> np.ndarray:
    """(5, 2) half heads on the flat face, as SKELETON names them."""
    apart, high = who.span(0, 0.27, 0.38), who.span(1, -0.22, -0.06)
    nose, mouth = who.span(2, 0.16, 0.32), who.span(3, 0.48, 0.6)
    half = who.span(4, 0.2, 0.34) * (1 + 0.15 * seen.smile)
    lift = 0.05 * seen.smile
    return np.array([(-apart, high), (apart, high), (0, nose), (-half, mouth - lift), (half, mouth - lift)])


class _Shade:
    """Polygons in the light of the picture."""

    def __init__(self, canvas: np.ndarray, light: np.ndarray, seen: View):
        self.canvas, self.light, self.seen = canvas, light, seen

    def flat(self, points: np.ndarray, colour: Colour, opacity: float = 1.0) -> None:
        """Points in half heads that don't turn with the face: head, hair, shoulders."""
        polygon(self.canvas, self.seen.pixels(points), np.clip(self.light * colour, 0, 255), opacity)

    def on_face(self, points: np.ndarray, colour: Colour, opacity: float = 1.0) -> None:
        self.flat(self.seen.turned(points), colour, opacity)


def _oval(x: float, y: float, half_width: float, half_height: float, power: float = 2.0, count: int = 32) -> np.ndarray:
    t = np.linspace(0, 2 * np.pi, count, endpoint=False)
    c, s = np.cos(t), np.sin(t)
    shape = [np.sign(v) * np.abs(v) ** (2 / power) for v in (c, s)]
    return np.stack([x + half_width * shape[0], y + half_height * shape[1]], axis=1)


def _face(who: Person) -> np.ndarray:
    face = _oval(0, 0, who.width, 1.0, 2.3, 64)
    below = np.clip(face[:, 1], 0, None)
    face[:, 0] *= 1 - (0.12 + 0.26 * who.jaw) * below**1.5
    return face


# Parts -----------------------------------------------------------------------------------------------------------


def _head(shade: _Shade, who: Person, seen: View, cloth: Colour) -> None:
    """Shoulders, long hair, neck, ears, face, and the hair on top."""
    w, long = who.width, who.span(5, -0.6, 1.3)
    shade.flat(_oval(0, 2.1, 1.5, 0.95, 2.6), cloth)
    if long > 0.1:
        shade.flat(_oval(0, -0.1 + long / 2, w + 0.24, 1.0 + long / 2, 2.6, 48), 0.8 * who.hair)
    shade.flat(_oval(0, 1.0, 0.42 * w / 0.75, 0.55, 3), 0.82 * who.skin)
    for side in (-1, 1):
        if long < 0.6:
            shade.flat(_oval(side * (w + 0.02) - 0.12 * seen.yaw, 0.0, 0.12, who.span(6, 0.16, 0.26)), 0.9 * who.skin)
    shade.flat(_face(who), who.skin)
    if who.traits[7] < 0.22:
        shade.flat(_beard(who, seen), who.hair, 0.8)
    if who.traits[8] > 0.12:
        _hair(shade, who, seen)


def _beard(who: Person, seen: View) -> np.ndarray:
    """The lower face, from below the nose on."""
    face = _face(who)
    low = face[face[:, 1] > 0.1]  # from the right, by the chin, to the left
    x = np.linspace(low[-1, 0], low[0, 0], 15)
    edge = np.stack([x + 0.25 * seen.yaw, 0.42 - 0.32 * np.abs(x / who.width) ** 3], axis=1)
    return np.concatenate([low * (1.0, 1.03), edge[1:-1]])


def _hair(shade: _Shade, who: Person, seen: View) -> None:
    """A cap of hair: how deep it comes, where it parts, how wide it stands."""
    w, deep, part = who.width, who.span(9, -0.62, -0.36), who.span(10, -0.5, 0.5)
    t = np.linspace(np.pi, 2 * np.pi, 25)
    wide, high = w + who.span(11, 0.05, 0.2), who.span(12, 1.08, 1.34)
    outer = np.stack([wide * np.cos(t), -0.15 + (high - 0.15) * np.sin(t)], axis=1)
    x = np.linspace(0.93 * w, -0.93 * w, 19)
    fringe = deep + 0.22 * (np.abs(x / w - part) - 0.5) ** 2 * 4 * (1 if who.traits[13] < 0.5 else -0.6)
    inner = np.stack([x + 0.25 * seen.yaw * (1 - (x / w) ** 2), np.where(np.abs(x) > 0.9 * w, -0.1, fringe)], axis=1)
    shade.flat(np.concatenate([outer, inner]), who.hair)


def _features(shade: _Shade, who: Person, seen: View) -> None:
    left, right, nose, left_mouth, right_mouth = _places(who, seen)
    size, open_ = who.span(14, 0.11, 0.165), who.span(15, 0.5, 0.78)
    for side, eye in ((-1, left), (1, right)):
        _eye(shade, who, seen, eye, side, size, open_)
    wide, down = 0.05 + 0.09 * who.span(13, 0.0, 1.0), float(nose[1])
    bridge = np.array([(-0.03, left[1] + 0.05), (0.03, left[1] + 0.05), (wide, down), (0, down + 0.06), (-wide, down)])
    shade.on_face(bridge, 0.86 * who.skin, 0.8)
    shade.on_face(_oval(0, down + 0.02, wide, 0.045), 0.74 * who.skin)
    _mouth(shade, who, seen, left_mouth, right_mouth)
    if who.traits[11] > 0.75:
        _glasses(shade, left, right, size)


def _eye(shade: _Shade, who: Person, seen: View, eye: np.ndarray, side: int, size: float, open_: float) -> None:
    x, y = eye
    shade.on_face(_oval(x, y, size * 1.12, size * open_ * 1.2), 0.72 * who.skin)
    shade.on_face(_oval(x, y, size, size * open_), WHITE)
    look = 0.3 * size * seen.gaze
    shade.on_face(_oval(x + look, y, 0.55 * size, min(0.55, open_) * size), who.eyes)
    shade.on_face(_oval(x + look, y, 0.26 * size, 0.26 * size, count=16), DARK)
    slant, thick = who.span(2, -0.07, 0.07), who.span(4, 0.025, 0.07)
    high = y - size * 1.25 - who.span(9, 0.03, 0.09)
    inner, outer = x - side * size * 1.1, x + side * size * 1.35
    down, up = high + slant, high - slant
    brow = np.array([(inner, down + thick), (outer, up + thick), (outer, up), (inner, down - thick)])
    shade.on_face(brow, 0.7 * who.hair)


def _mouth(shade: _Shade, who: Person, seen: View, left: np.ndarray, right: np.ndarray) -> None:
    t = np.linspace(0, 1, 13)
    x = left[0] + (right[0] - left[0]) * t
    bow = 4 * t * (1 - t)
    full = who.span(6, 0.05, 0.12)
    middle = left[1] + 0.13 * seen.smile * bow
    lips = np.array((178, 84, 84), np.float32) * np.float32(0.55) + who.skin * np.float32(0.35)
    upper = np.stack([x, middle - full * 0.7 * bow], axis=1)
    lower = np.stack([x, middle + full * bow], axis=1)[::-1]
    shade.on_face(np.concatenate([upper, lower]), lips)
    gap = max(0.012, 0.06 * seen.smile)
    line = [np.stack([x, middle - gap * 0.5 * bow], axis=1), np.stack([x, middle + gap * bow], axis=1)[::-1]]
    shade.on_face(np.concatenate(line), WHITE if seen.smile > 0.45 else 0.5 * lips)


def _glasses(shade: _Shade, left: np.ndarray, right: np.ndarray, size: float) -> None:
    for x, y in (left, right):
        rim, hole = _oval(x, y, size * 1.6, size * 1.45, 3), _oval(x, y, size * 1.42, size * 1.27, 3)
        shade.on_face(np.concatenate([rim, rim[:1], hole[:1], hole[1:][::-1], hole[:1]]), DARK)
    inner = size * 1.5
    bar = [(left[0] + inner, left[1] - 0.02), (right[0] - inner, left[1] - 0.02)]
    shade.on_face(np.array([*bar, *((x, y + 0.05) for x, y in reversed(bar))]), DARK)

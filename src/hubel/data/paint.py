"""Colours on a canvas (H, W, 3) float32 0 … 255: backgrounds, smooth-edged polygons, shades, patterns and grain."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np

from hubel.data.polygons import coverage

Colour = np.ndarray  # (3,) float32 RGB


def colour(rng: np.random.Generator, saturation: tuple[float, float], value: tuple[float, float]) -> Colour:
    """Any hue, with saturation and value between the two of each."""
    h, s, v = rng.random(3)
    (s0, s1), (v0, v1) = saturation, value
    rgb = colorsys.hsv_to_rgb(h, s0 + s * (s1 - s0), v0 + v * (v1 - v0))
    return np.array(rgb, np.float32) * np.float32(255)


def contrasting(rng: np.random.Generator, others: Sequence[Colour], least: float = 80.0) -> Colour:
    """A strong colour, at least so far from all others in RGB; the best of twelve where none is."""
    best, farthest = colour(rng, (0.35, 1.0), (0.35, 1.0)), -1.0
    for _ in range(12):
        tried = colour(rng, (0.35, 1.0), (0.35, 1.0))
        distance = min((float(np.linalg.norm(tried - other)) for other in others), default=np.inf)
        if distance > farthest:
            best, farthest = tried, distance
        if distance >= least:
            break
    return best


def background(rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, Colour]:
    """(H, W, 3) float32: a slope from one soft colour to another, with clouds or stripes; and its mean colour."""
    first = colour(rng, (0.05, 0.5), (0.25, 0.95))
    second = np.clip(first + (rng.random(3).astype(np.float32) - 0.5) * 90, 0, 255)
    slope = ramp(height, width, float(rng.random() * 2 * np.pi))[..., None]
    canvas = first + (second - first) * slope
    strength = np.float32(6 + 16 * rng.random())
    if rng.random() < 0.7:
        pattern = clouds(rng, height, width)
    else:
        pattern = stripes(height, width, float(rng.random() * np.pi), min(height, width) / (3 + 6 * rng.random()))
    return canvas + strength * pattern[..., None], (first + second) / 2


def ramp(height: int, width: int, angle: float) -> np.ndarray:
    """(H, W) float32 from 0 to 1 across the image, rising in the direction of `angle`."""
    x = (np.arange(width, dtype=np.float32) + 0.5) / width - 0.5
    y = (np.arange(height, dtype=np.float32) + 0.5) / height - 0.5
    dx, dy = np.cos(angle), np.sin(angle)
    return ((x[None, :] * dx + y[:, None] * dy) / (abs(dx) + abs(dy)) + 0.5).astype(np.float32)


def stripes(height: int, width: int, angle: float, period: float) -> np.ndarray:
    """(H, W) float32 in −1 … 1: waves with the period in pixels."""
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
    phase = x[None, :] * np.float32(np.cos(angle)) + y[:, None] * np.float32(np.sin(angle))
    return np.sin(phase * np.float32(2 * np.pi / period))


def clouds(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """(H, W) float32 in about −1 … 1: smooth noise of two sizes."""
    total = np.zeros((height, width), np.float32)
    for cells, weight in ((4, 0.7), (9, 0.45)):
        coarse = (rng.random((cells, cells)) * 2 - 1).astype(np.float32)
        total += np.float32(weight) * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return total


def grain(rng: np.random.Generator, canvas: np.ndarray, strength: float) -> np.ndarray:
    """-> (H, W, 3) uint8, with noise of so many grey values (triangular, the same for all channels)."""
    noise = rng.random((2, *canvas.shape[:2])).astype(np.float32).sum(0) - 1
    return np.clip(np.rint(canvas + np.float32(2.45 * strength) * noise[..., None]), 0, 255).astype(np.uint8)


def polygon(canvas: np.ndarray, points: np.ndarray, shade: np.ndarray | Colour, opacity: float = 1.0) -> None:
    """Lay (P, 2) over the canvas in one colour, or in the colours (H, W, 3) of another canvas."""
    rows, columns, share = coverage(points, *canvas.shape[:2])
    if not share.size:
        return
    share = share[..., None] * np.float32(opacity)
    over = shade[rows, columns] if shade.ndim == 3 else shade
    canvas[rows, columns] += share * (over - canvas[rows, columns])


def rimmed(canvas: np.ndarray, points: np.ndarray, shade: np.ndarray | Colour, rim: Colour, width: float) -> None:
    """Like `polygon`, with a soft edge of the colour `rim`, `width` pixels wide, that lies inside."""
    rows, columns, share = coverage(points, canvas.shape[0], canvas.shape[1], int(3 * width) + 1)
    if not share.size:
        return
    depth = cv2.GaussianBlur(share, (0, 0), width)  # 1/2 on the edge, 0.85 at `width` inside
    inner = np.clip((depth - 0.5) / 0.35, 0, 1)[..., None]
    over = shade[rows, columns] if shade.ndim == 3 else shade
    canvas[rows, columns] += share[..., None] * (rim + (over - rim) * inner - canvas[rows, columns])


def shadow(canvas: np.ndarray, points: np.ndarray, offset: float, opacity: float = 0.3) -> None:
    """A soft dark copy of the polygon, to the lower right."""
    middle = points.mean(0)
    for grow, part in ((1.08, 0.25), (1.03, 0.35), (0.98, 0.4)):
        polygon(canvas, (points - middle) * grow + middle + offset, np.zeros(3, np.float32), opacity * part)

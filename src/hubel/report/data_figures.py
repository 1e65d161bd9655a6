"""The plots of the page on data: sizes, histograms, the values of channels, bars in tables."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from hubel.report.figures import BOTTOM, HEIGHT, LEFT, MOST_POINTS, RIGHT, TOP, WIDTH
from hubel.report.svg import Frame, Scale, coordinate, element, fit, path, tick_text, wants_log
from hubel.report.text import figure

FEW = 40  # different sizes: up to here each is a disc as large as its number of images
CHANNELS = ("red", "green", "blue")


def sizes(pairs: np.ndarray, what: str, labels: tuple[str, str]) -> Markup:
    """(n, 2) height and width -> width across, height up; logarithmic axes where the range needs them."""
    kinds, counts = np.unique(pairs, axis=0, return_counts=True)
    log = any(wants_log(column) for column in kinds.T)
    x = fit(kinds[:, 1].tolist(), LEFT, RIGHT, log=log, pad=0.08)
    y = fit(kinds[:, 0].tolist(), BOTTOM, TOP, log=log, pad=0.08)
    frame = Frame(WIDTH, HEIGHT, x, y, whole_x=True)
    axes = frame.axes(labels[0] + (" (log scale)" if log else ""), labels[1] + (" (log scale)" if log else ""))
    marks = _discs(kinds, counts, x, y, what) if len(kinds) <= FEW else _dots(kinds, x, y)
    return frame.picture(f"{labels[1]} against {labels[0]} of {len(pairs):,} {what}", axes, marks)


def _discs(kinds: np.ndarray, counts: np.ndarray, x: Scale, y: Scale, what: str) -> Markup:
    parts = []
    for k in np.argsort(-counts, kind="stable").tolist():  # small ones last: on top
        (height, width), count = kinds[k].tolist(), int(counts[k])
        tip = element("title", f"{figure(width)} × {figure(height)}: {count:,} {what}")
        radius = 3 + 9 * float(np.sqrt(count / counts.max()))
        parts.append(element("circle", tip, class_="area", cx=x(width), cy=y(height), r=radius))
    return Markup("").join(parts)


def _dots(kinds: np.ndarray, x: Scale, y: Scale) -> Markup:
    chosen = np.unique(np.linspace(0, len(kinds) - 1, 3 * MOST_POINTS).astype(int))
    d = "".join(f"M{coordinate(x(w))},{coordinate(y(h))}h0" for h, w in kinds[chosen].tolist())
    return element("path", class_="dots fine", d=d)


def histogram(values: np.ndarray, label: str, what: str, *, log: bool | None = None, whole: bool = False) -> Markup:
    """Bars of how many of `values` (n,) fall where; whole numbers each have a bar while they are few."""
    values = values[np.isfinite(values)]
    if log is None:
        log = not whole and len(values) > 0 and wants_log([float(values.min()), float(values.max())])
    edges = _edges(values, log, whole)
    counts, _ = np.histogram(values, edges)
    x = Scale(float(edges[0]), float(edges[-1]), LEFT, RIGHT, log)
    y = Scale(0.0, max(1.0, float(counts.max(initial=0)) * 1.05), BOTTOM, TOP)
    frame = Frame(WIDTH, HEIGHT, x, y, whole_x=whole)
    bars = []
    for low, high, count in zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True):
        left, right, top = x(low), x(high), y(count)
        gap = 0.75 if right - left > 3 else 0.0
        if count:
            told = tick_text(low + 0.5) if whole and high - low == 1 else f"{low:.4g} … {high:.4g}"
            tip = element("title", f"{told}: {count:,} {what}")
            bars.append(element("path", tip, class_="column", d=_column(left + gap, right - gap, top)))
    return frame.picture(f"{label}: {len(values):,} {what}", frame.axes(label, what), *bars)


def _column(left: float, right: float, top: float) -> str:
    return f"M{coordinate(left)},{coordinate(BOTTOM)}V{coordinate(top)}H{coordinate(right)}V{coordinate(BOTTOM)}Z"


def _edges(values: np.ndarray, log: bool, whole: bool) -> np.ndarray:
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    if whole:
        step = max(1, int(np.ceil((high - low + 1) / 40)))
        return np.arange(np.floor(low), high + step + 0.5, step) - 0.5
    if log:
        low, high = max(low, 1e-6), max(high, low * 1.001, 1e-6)
        return np.geomspace(low / 1.02, high * 1.02, 33)
    spare = (high - low) * 0.02 or abs(high) * 0.1 or 1.0
    return np.linspace(low - spare, high + spare, 33)


def values(tally: np.ndarray, grey: bool) -> Markup:
    """tally (3, 256), shares of each level -> a line per channel; the square root, so that rare values can be seen."""
    shares = np.sqrt(tally.reshape(3, 64, 4).sum(2))
    x = Scale(0.0, 255.0, LEFT, RIGHT)
    y = Scale(0.0, float(shares.max()) * 1.05 or 1.0, BOTTOM, TOP)
    names = ("grey",) if grey else CHANNELS
    centres = np.arange(64) * 4 + 1.5
    lines = []
    for name, row in zip(names, shares.tolist(), strict=False):
        points = list(zip(centres.tolist(), row, strict=True))
        outline = [(centres[0], 0.0), *points, (centres[-1], 0.0)]
        lines.append(element("path", class_=f"ground {name}", d=path(outline, x, y)))
        lines.append(element("path", class_=f"line {name}", d=path(points, x, y)))
    frame = Frame(WIDTH, HEIGHT, x, y)
    ticks = [
        element("text", str(v), class_="tick xtick", x=x(v), y=BOTTOM + 17, text_anchor="middle")
        for v in (0, 64, 128, 192, 255)
    ]
    axis = element("path", class_="axis", d=f"M{coordinate(LEFT)},{coordinate(BOTTOM)}H{coordinate(RIGHT)}")
    words = [
        element("text", "value of a pixel", class_="label", x=(LEFT + RIGHT) / 2, y=BOTTOM + 34, text_anchor="middle"),
        element("text", "share of pixels (root)", class_="label", x=2.0, y=14.0),
    ]
    return frame.picture(f"Values of the channels {', '.join(names)}", *lines, axis, *ticks, *words)


def bar(value: float, most: float, kind: str = "") -> Markup:
    """A value in [0, most] as a bar; decoration beside the printed figure."""
    width = 0.0 if most <= 0 else 88 * min(1.0, value / most)
    if value > 0:
        width = max(width, 1.0)
    fill = element("rect", class_=f"column {kind}".strip(), x=0, y=3, width=width, height=9, rx=1.5)
    return element("svg", fill, class_="bar", viewBox="0 0 90 14", aria_hidden="true")

"""The plots of the page: curves over epochs, calibration, truth against prediction, confusion, interval bars."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from hubel.report.svg import Frame, Scale, coordinate, element, fit, path, wants_log
from hubel.report.text import finite, shorten
from hubel.report.values import Calibration, Interval

WIDTH, HEIGHT = 440, 270  # of a plot, in units that are about a pixel on a phone
LEFT, RIGHT, TOP, BOTTOM = 48.0, 428.0, 38.0, 228.0
MOST_POINTS = 800  # of one curve: more than a screen shows
LEVELS = 10  # of shading


@dataclass(frozen=True)
class Series:
    """One line of a plot: its name (which is also its CSS class) and its points."""

    name: str
    points: Sequence[tuple[float, float]]


def curves(series: Sequence[Series], label: str, *, percent: bool = False, best: int | None = None) -> Markup:
    """Lines over epochs, the kept epoch marked; a logarithmic axis where the range needs it (never for shares)."""
    x_values = [x for line in series for x, _ in line.points]
    y_values = [y for line in series for _, y in line.points]
    log = not percent and wants_log(y_values)
    x = _epochs(x_values)
    y = fit(y_values, BOTTOM, TOP, log=log)
    known = [v for v in map(finite, y_values) if not math.isnan(v)]
    if percent and known and min(known) >= 0 and max(known) <= 1:  # no room beyond what is possible
        y = Scale(max(y.low, 0.0), min(y.high, 1.0), BOTTOM, TOP)
    frame = Frame(WIDTH, HEIGHT, x, y, percent_y=percent, whole_x=True)
    lines = [_line(line, x, y) for line in series]
    title = f"{label} over epochs: {', '.join(line.name for line in series)}"
    note = label + (" (log scale)" if log else "")
    return frame.picture(
        title,
        frame.axes("epoch", shorten(note, 30)),
        _best(best, x),
        *lines,
        *_dot(series, best, x, y),
        _legend(series),
    )


def _epochs(values: Sequence[float]) -> Scale:
    known = [v for v in values if not math.isnan(finite(v))] or [0.0]
    low, high = min(known), max(known)
    spare = 0.0 if high > low else 0.5
    return Scale(low - spare, high + spare, LEFT, RIGHT)


def _line(line: Series, x: Scale, y: Scale) -> Markup:
    """The path; few points are marked one by one, and a point between two gaps would be invisible otherwise."""
    stride = math.ceil(len(line.points) / MOST_POINTS) or 1
    points = list(line.points)[::stride]
    known = [(a, b) for a, b in points if not math.isnan(finite(a)) and not math.isnan(finite(b))]
    drawn = [(a, b) for a, b in known if b > 0 or not y.log]
    marks = drawn if len(drawn) <= 12 else []
    dots = [element("circle", class_=f"mark {line.name}", cx=x(a), cy=y(b), r=2.5) for a, b in marks]
    return Markup("").join([element("path", class_=f"line {line.name}", d=path(points, x, y)), *dots])


def _best(best: int | None, x: Scale) -> Markup:
    if best is None or not x.low <= best <= x.high:
        return Markup("")
    at = x(best)
    return Markup("").join(
        [
            element("path", class_="best", d=f"M{coordinate(at)},{coordinate(TOP)}V{coordinate(BOTTOM)}"),
            element(
                "text",
                f"kept: {best}",
                class_="note",
                x=min(max(at, LEFT + 22), RIGHT - 26),
                y=TOP - 4,
                text_anchor="middle",
            ),
        ]
    )


def _dot(series: Sequence[Series], best: int | None, x: Scale, y: Scale) -> list[Markup]:
    chosen = next((line for line in series if line.name == "dev"), None)
    at = [(a, b) for a, b in chosen.points if a == best and not math.isnan(finite(b))] if chosen else []
    return [element("circle", class_="bestdot", cx=x(a), cy=y(b), r=4.0) for a, b in at if b > 0 or not y.log]


def _legend(series: Sequence[Series]) -> Markup:
    """Top right, each name beside a piece of its line."""
    parts, right = [], RIGHT
    for line in reversed(series):
        parts.append(element("text", line.name, class_="tick", x=right, y=14.0, text_anchor="end"))
        right -= 6.4 * len(line.name) + 8
        parts.append(element("path", class_=f"line {line.name}", d=f"M{coordinate(right - 20)},10H{coordinate(right)}"))
        right -= 34
    return Markup("").join(parts)


def calibration(bins: Calibration) -> Markup:
    """Share right against confidence, the area of a point as its number of images; perfect is the diagonal."""
    width, height, bottom = 400, 380, 338.0
    x, y = Scale(0, 1, LEFT, 378.0), Scale(0, 1, bottom, TOP)
    frame = Frame(width, height, x, y, percent_x=True, percent_y=True)
    rows = [(c, a, n) for c, a, n in zip(bins.confidence, bins.accuracy, bins.count, strict=True) if n > 0]
    rows = [row for row in rows if not any(math.isnan(finite(v)) for v in row)]
    largest = max((n for *_, n in rows), default=1)
    diagonal = element("path", class_="diagonal", d=path([(0, 0), (1, 1)], x, y))
    line = element("path", class_="line dev", d=path([(c, a) for c, a, _ in rows], x, y))
    dots = [
        element(
            "circle",
            element("title", f"{n} images: mean confidence {c:.1%}, right {a:.1%}"),
            class_="area",
            cx=x(c),
            cy=y(a),
            r=3 + 9 * math.sqrt(n / largest),
        )
        for c, a, n in rows
    ]
    title = f"Calibration: share right against confidence in {len(rows)} bins, error {bins.ece:.1%}"
    return frame.picture(title, frame.axes("confidence", "share right"), diagonal, line, *dots)


def scatter(truth: np.ndarray, prediction: np.ndarray, name: str) -> Markup:
    """Prediction against truth, (N,) each, at most 2,000 points evenly spaced; perfect is the diagonal."""
    t, p = np.asarray(truth, float).ravel(), np.asarray(prediction, float).ravel()
    known = np.isfinite(t) & np.isfinite(p)
    t, p = t[known], p[known]
    chosen = np.unique(np.linspace(0, max(len(t) - 1, 0), min(len(t), 2000)).astype(int))
    x, y = fit([*t, *p], LEFT + 8, 378.0), fit([*t, *p], 338.0, TOP)
    frame = Frame(400, 380, x, y)
    diagonal = element("path", class_="diagonal", d=path([(x.low, x.low), (x.high, x.high)], x, y))
    # A sub-path of no length with a round cap is a dot: the shortest way to write thousands.
    d = "".join(f"M{coordinate(x(t[i]))},{coordinate(y(p[i]))}h0" for i in chosen)
    title = f"Predicted against true {name}: {len(chosen)} of {len(t)} images"
    word = shorten(name, 24)
    return frame.picture(
        title, frame.axes(f"true {word}", f"predicted {word}"), diagonal, element("path", class_="dots", d=d)
    )


def level(count: float, total: float) -> int:
    """Shading of a cell, 0 … 10: the root of its share of the row, so that single mistakes can be seen."""
    return 0 if count <= 0 or total <= 0 else max(1, round(LEVELS * math.sqrt(min(count / total, 1.0))))


def matrix(confusion: np.ndarray, limit: int = 60_000) -> Markup | None:
    """The confusion matrix of many classes as a picture, one path per shade; None above `limit` filled cells."""
    totals = confusion.sum(1)
    rows, columns = np.nonzero(confusion)
    if len(rows) > limit:
        return None
    shades: dict[str, list[str]] = {}
    for i, j in zip(rows.tolist(), columns.tolist(), strict=True):
        kind = "right" if i == j else "wrong"
        name = f"{kind} s{level(confusion[i, j], totals[i])}"
        shades.setdefault(name, []).append(f"M{j},{i}h1v1h-1z")
    k = len(confusion)
    cells = [element("path", class_=name, d="".join(words)) for name, words in sorted(shades.items())]
    ground = element("rect", class_="ground", width=k, height=k)
    title = f"Confusion matrix of {k} classes: rows are the truth, columns the prediction"
    return element("svg", ground, *cells, class_="matrix", viewBox=f"0 0 {k} {k}", role="img", aria_label=title)


def bar(value: float, interval: Interval | None, low: float) -> Markup:
    """A value in [low, 1] as a dot on a line, with its interval; decoration beside the printed figure."""
    x = Scale(low, 1.0, 4.0, 86.0)
    parts = [element("path", class_="grid", d="M4,7H86")]
    if interval is not None and not any(math.isnan(finite(v)) for v in interval):
        a, b = (coordinate(x(min(max(v, low), 1.0))) for v in interval)
        parts.append(element("path", class_="whisker", d=f"M{a},7H{b}"))
    if not math.isnan(finite(value)):
        parts.append(element("circle", class_="value", cx=x(min(max(value, low), 1.0)), cy=7, r=3.2))
    return element("svg", *parts, class_="bar", viewBox="0 0 90 14", aria_hidden="true")

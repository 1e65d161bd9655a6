"""Inline SVG: elements, scales from data to pixels, ticks, the frame of a plot.

A scale maps p = start + (stop − start) · (f(v) − f(low)) / (f(high) − f(low)), f = log10 or the identity.
Colours are CSS classes, so that a plot follows the page's light and dark; positions are attributes, since the page's
content-security policy allows no inline style. Pixels count from the top left.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from hubel.report.text import clean, finite, minus


def element(tag: str, *children: str | Markup, **attributes: object) -> Markup:
    """An element whose text and attributes are escaped: element("text", "a<b", x=3, text_anchor="end")."""
    words = [tag]
    for key, value in attributes.items():
        name = key.rstrip("_") if key.endswith("_") else key.replace("_", "-")
        words.append(f'{name}="{escape(_attribute(value))}"')
    inner = Markup("").join(part if isinstance(part, Markup) else escape(clean(part)) for part in children)
    return Markup(f"<{' '.join(words)}>{inner}</{tag}>")


def _attribute(value: object) -> str:
    return coordinate(value) if isinstance(value, float) else clean(str(value))


def coordinate(value: float) -> str:
    """Pixels in at most two decimals: 12.5, not 12.50000001."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


@dataclass(frozen=True)
class Scale:
    """From data in [low, high] to pixels in [start, stop]; `log` where both ends are positive."""

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    def __call__(self, value: float) -> float:
        f = math.log10 if self.log else float
        share = (f(value) - f(self.low)) / (f(self.high) - f(self.low))
        return self.start + (self.stop - self.start) * share

    def ticks(self, count: int = 5, whole: bool = False) -> list[float]:
        """About `count` round values inside the range; integers where `whole`."""
        if not self.log:
            return _linear_ticks(self.low, self.high, count, whole)
        decades = math.log10(self.high / self.low)
        factors = (1,) if decades > 3 else (1, 3) if decades > 1.7 else (1, 2, 5)
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        values = [f * 10.0**p for p in powers for f in factors if self.low <= f * 10.0**p <= self.high]
        return values[:: max(1, math.ceil(len(values) / 8))]


def _linear_ticks(low: float, high: float, count: int, whole: bool) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten."""
    raw = (high - low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(f * power for f in (1, 2, 5, 10) if f * power >= raw * 0.999)
    step = max(step, 1.0) if whole else step
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def fit(values: Iterable[float], start: float, stop: float, *, log: bool = False, pad: float = 0.05) -> Scale:
    """A scale that holds every finite value, with `pad` of the range to spare on each side."""
    known = [v for v in map(finite, values) if not math.isnan(v) and (v > 0 or not log)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    if log:
        spare = max((high / low) ** pad, 1.05)
        return Scale(low / spare, high * spare, start, stop, log=True)
    spare = (high - low) * pad or abs(high) * 0.1 or 1.0
    return Scale(low - spare, high + spare, start, stop)


def wants_log(values: Iterable[float]) -> bool:
    """Does the range need a logarithmic axis: all positive, and more than a factor of 20 wide?"""
    known = [v for v in map(finite, values) if not math.isnan(v)]
    return bool(known) and min(known) > 0 and max(known) > 20 * min(known)


def path(points: Sequence[tuple[float, float]], x: Scale, y: Scale) -> str:
    """The path through the points ("M1,2L3,4"); a value that can't be drawn breaks the line, it never bends it."""
    words, pen = [], "M"
    for a, b in ((finite(a), finite(b)) for a, b in points):
        if math.isnan(a) or math.isnan(b) or (y.log and b <= 0):
            pen = "M"
            continue
        words.append(f"{pen}{coordinate(x(a))},{coordinate(y(b))}")
        pen = "L"
    return "".join(words)


def tick_text(value: float, percent: bool = False) -> str:
    if percent:
        return minus(f"{100 * value:.4g}%")
    return minus(f"{value:,.6g}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e"))


@dataclass(frozen=True)
class Frame:
    """The rectangle of a plot in a picture of `width` × `height`, its two scales and the words beside them."""

    width: int
    height: int
    x: Scale
    y: Scale
    percent_x: bool = False
    percent_y: bool = False
    whole_x: bool = False

    def axes(self, x_label: str, y_label: str) -> Markup:
        """Grid lines, tick labels and axis labels. The y label stands above the axis, where it reads."""
        parts = [*self._horizontal(), *self._vertical()]
        left, right = sorted((self.x.start, self.x.stop))
        bottom = max(self.y.start, self.y.stop)
        parts.append(element("path", class_="axis", d=f"M{coordinate(left)},{coordinate(bottom)}H{coordinate(right)}"))
        parts.append(
            element("text", x_label, class_="label", x=(left + right) / 2, y=bottom + 34.0, text_anchor="middle")
        )
        parts.append(element("text", y_label, class_="label", x=2.0, y=14.0))
        return Markup("").join(parts)

    def _horizontal(self) -> list[Markup]:
        left, right = sorted((self.x.start, self.x.stop))
        found = []
        for value in self.y.ticks():
            at = coordinate(self.y(value))
            found.append(element("path", class_="grid", d=f"M{coordinate(left)},{at}H{coordinate(right)}"))
            text = tick_text(value, self.percent_y)
            found.append(element("text", text, class_="tick ytick", x=left - 7, y=self.y(value) + 4, text_anchor="end"))
        return found

    def _vertical(self) -> list[Markup]:
        bottom = max(self.y.start, self.y.stop)
        return [
            element(
                "text",
                tick_text(value, self.percent_x),
                class_="tick xtick",
                x=self.x(value),
                y=bottom + 17.0,
                text_anchor="middle",
            )
            for value in self.x.ticks(whole=self.whole_x)
        ]

    def picture(self, title: str, *content: Markup) -> Markup:
        """The whole picture; `title` says to a screen reader what a reader sees."""
        size = f"0 0 {self.width} {self.height}"
        return element("svg", *content, class_="plot", viewBox=size, role="img", aria_label=title)

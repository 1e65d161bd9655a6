"""A figure of an experiment: panels side by side with one y axis, lines over x, written as an SVG file.

The elements and scales are those of the report's own plots (hubel/report/svg.py); only the colours stand in the file,
since nothing is around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from hubel.report.svg import Frame, Scale, element, fit, path

WIDTH, HEIGHT = 440, 300  # of a panel
LEFT, RIGHT, TOP, BOTTOM = 52.0, 428.0, 62.0, 258.0
FEW = 12  # points of a line: up to so many are drawn as dots too
COLOURS = ("#1f6fb4", "#c8511b", "#2f8f4e", "#8a4fb0", "#a3801a", "#5b6670")
STYLE = (
    "svg{background:#fff;font:12px system-ui,sans-serif}.line{fill:none;stroke-width:1.8}.thin{stroke-width:1.1;"
    "stroke-dasharray:4 3}.dot{fill:#fff;stroke-width:1.8}"
    ".grid{stroke:#e3e6e8;fill:none}.axis{stroke:#5b6670;fill:none}.tick,.label{fill:#3c4650}"
    ".head{fill:#1d242a;font-weight:600}" + "".join(f".c{i}{{stroke:{c}}}" for i, c in enumerate(COLOURS))
)


@dataclass(frozen=True)
class Line:
    """One line: its name, its points, its colour (a place in COLOURS), and whether it is thin and dashed."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: int
    thin: bool = False


@dataclass(frozen=True)
class Panel:
    title: str
    lines: Sequence[Line]


def figure(
    file: Path,
    panels: Sequence[Panel],
    x_label: str,
    y_label: str,
    *,
    percent: bool = False,
    log: bool = False,
    limits: tuple[float, float] | None = None,
) -> None:
    """Write `panels` beside each other; `limits` of y, else all that is drawn fits."""
    x_values = [x for panel in panels for line in panel.lines for x, _ in line.points]
    y_values = [y for panel in panels for line in panel.lines for _, y in line.points]
    x = Scale(min(x_values), max(x_values), LEFT, RIGHT)
    y = fit(y_values, BOTTOM, TOP, log=log) if limits is None else Scale(*limits, BOTTOM, TOP, log=log)
    frame = Frame(WIDTH, HEIGHT, x, y, percent_y=percent, whole_x=True)
    parts = [_panel(panel, frame, x_label, y_label, WIDTH * i) for i, panel in enumerate(panels)]
    size = f"0 0 {WIDTH * len(panels)} {HEIGHT}"
    title = "; ".join(f"{panel.title}: {', '.join(line.name for line in panel.lines)}" for panel in panels)
    facts = {"viewBox": size, "role": "img", "aria_label": f"{y_label} over {x_label}. {title}"}
    sides = {"width": WIDTH * len(panels), "height": HEIGHT}
    style = element("style", Markup(STYLE))
    whole = element("svg", style, *parts, xmlns="http://www.w3.org/2000/svg", **facts, **sides)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(str(whole) + "\n")


def _panel(panel: Panel, frame: Frame, x_label: str, y_label: str, shift: int) -> Markup:
    head = element("text", panel.title, class_="head", x=(LEFT + RIGHT) / 2, y=14.0, text_anchor="middle")
    clipped = [_inside(line, frame.y) for line in panel.lines]
    lines = [
        element("path", class_=f"line c{line.colour}{' thin' if line.thin else ''}", d=path(points, frame.x, frame.y))
        for line, points in zip(panel.lines, clipped, strict=True)
    ]
    dots = [
        element("circle", class_=f"dot c{line.colour}", cx=frame.x(a), cy=frame.y(b), r=2.6)
        for line, points in zip(panel.lines, clipped, strict=True)
        for a, b in (points if len(points) <= FEW else ())
    ]
    return element("g", head, frame.axes(x_label, y_label), *_legend(panel.lines), *lines, *dots,
                   transform=f"translate({shift},0)")  # fmt: skip


def _inside(line: Line, y: Scale) -> list[tuple[float, float]]:
    """Values beyond the axis run along its edge."""
    return [(a, min(max(b, y.low), y.high)) for a, b in line.points]


def _legend(lines: Sequence[Line]) -> list[Markup]:
    """Rows of two names above the panel, each after a piece of its line."""
    parts = []
    for i, line in enumerate(lines):
        x, y = LEFT + 190 * (i % 2), 30.0 + 14 * (i // 2)
        parts.append(element("path", class_=f"line c{line.colour}{' thin' if line.thin else ''}", d=f"M{x},{y}h18"))
        parts.append(element("text", line.name, class_="tick", x=x + 23, y=y + 4))
    return parts

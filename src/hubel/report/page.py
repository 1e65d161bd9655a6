"""The report: one self-contained HTML page under 5 MB that works offline under a strict content-security policy.

`render` turns a ReportData into the page: context (plain values and SVG) -> report.html (jinja2, everything escaped)
with report.css and report.js inside, each allowed by its hash alone. Pictures get what room the rest leaves.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from hubel.ops.palette import css
from hubel.report import curves, sections, settings, text
from hubel.report.pictures import Pictures
from hubel.report.private import without_names
from hubel.report.values import (
    Baseline,
    Calibration,
    ClassRow,
    ConfigRow,
    DataFacts,
    Example,
    ModelFacts,
    Quarantined,
    ReportData,
    Scatter,
    Throughput,
)
from hubel.report.verdict import remarks, verdict
from hubel.training.atomic import write_atomically

__all__ = [
    "Baseline", "Calibration", "ClassRow", "ConfigRow", "DataFacts", "Example", "ModelFacts", "Quarantined",
    "ReportData", "Scatter", "Throughput", "render", "write",
]  # fmt: skip

LIMIT = 5_000_000  # bytes of a page: it can be mailed
PICTURES = 3_600_000  # bytes of these for pictures, where the rest leaves so much


def render(data: ReportData, private: bool = False) -> str:
    """The page as text (it encodes to UTF-8, at most LIMIT bytes). `private` leaves out paths and file names."""
    if private:
        data = without_names(data)
    pictures = Pictures(data)
    context = _context(data) | {"private": private}
    bare = fill("report.html", context | pictures.within(0))
    room = min(PICTURES, LIMIT - len(bare.encode()) - 50_000)
    return fill("report.html", context | pictures.within(room)) if room > 0 else bare


def write(data: ReportData, path: str | Path, private: bool = False) -> Path:
    """Write the page to `path`, whole or not at all. Raises UserError where there is no room or no permission."""
    path = Path(path)
    write_atomically(path, render(data, private).encode("utf-8"))
    return path


def fill(template: str, values: Mapping[str, Any], styles: Sequence[str] = ("report.css",)) -> str:
    """A template of this folder with its values, our styles and our script, under a policy that allows only these."""
    style, script = "".join([*(_source(name) for name in styles), css()]), _source("report.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    # Our own files are the only text that reaches the page unescaped.
    ours = {"style": Markup(style), "script": Markup(script), "policy": policy}
    return _environment().get_template(template).render(**values, **ours)


def _context(data: ReportData) -> dict[str, Any]:
    return {
        "data": data,
        "split": data.split,
        "verdict": verdict(data),
        "remarks": remarks(data),
        "tiles": sections.tiles(data),
        "metrics": sections.metrics(data),
        "curves": curves.curve_figures(data),
        "gaps": curves.not_finite(data),
        "confusion": sections.confusion(data),
        "per_class": sections.per_class(data),
        "places": sections.places(data),
        "legend": sections.legend(data),
        "wide": any(example.wide for example in (*(data.mistakes or ()), *(data.samples or ()))),
        "calibration": sections.calibration(data),
        "scatter": sections.scatters(data),
        "counts": sections.counts(data),
        "configuration": settings.configuration(data),
        "manifest": settings.manifest(data),
        "throughput": sections.throughput(data),
    }


def _hash(source: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}"


@cache
def _source(name: str) -> str:
    return resources.files("hubel.report").joinpath(name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    """Every value that a template prints passes `clean`, then is escaped."""
    environment = Environment(
        loader=FunctionLoader(_source), autoescape=True, undefined=StrictUndefined, finalize=_harmless,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {
        "percent": text.percent, "figure": text.figure, "duration": text.duration, "short": text.shorten,
        "metric": text.metric_name,
    }  # fmt: skip
    return environment


def _harmless(value: Any) -> Any:
    return text.clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value

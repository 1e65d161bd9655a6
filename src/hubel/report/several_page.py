"""The page on several trainings as one run: each of them, their mean and spread; one offline file under 5 MB.

mean m = Σ s_i / k and deviation d = sqrt(Σ (s_i − m)² / (k − 1)) of the score s_i of k folds, restarts …: how much a
result depends on who was held out, or on the draw of the weights. It is no interval of the mean: folds share images.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from hubel.report.figures import TOP
from hubel.report.page import fill
from hubel.report.svg import Frame, coordinate, element, fit, path
from hubel.report.text import duration, figure, is_share, metric_name, metric_text, percent
from hubel.training.atomic import write_atomically

ROWS = 1000  # of a table: a page is no database
METRICS = 40
KINDS = {"folds": "fold", "restarts": "restart", "selection": "selection"}


@dataclass(frozen=True)
class Child:
    """One of the trainings: `page` is its report, relative to the whole; `n` images are in its dev part."""

    number: int
    page: str
    metrics: Mapping[str, Mapping[str, float]]
    epoch: int
    seconds: float
    n: int = 0


@dataclass(frozen=True)
class Several:
    """What the page shows. `kind`: folds, restarts or selection; `kept`: the number of the child whose weights stay."""

    kind: str
    title: str
    dataset: str
    model: str
    primary: str
    children: Sequence[Child]
    higher_is_better: bool = True
    kept: int | None = None
    page: str | None = None  # the report of the network that came out at the end, where there is one

    @property
    def scores(self) -> list[float]:
        """The deciding metric on dev, one per child that was measured there."""
        found = (child.metrics.get("dev", {}).get(self.primary) for child in self.children)
        return [score for score in found if score is not None]


def write(data: Several, place: Path) -> Path:
    """Write the page to `place`, whole or not at all. Raises UserError where there is no room or no permission."""
    write_atomically(place, render(data).encode("utf-8"))
    return place


def render(data: Several) -> str:
    """The page as text."""
    splits = [name for name in ("dev", "test", "train-dev", "train") if name in data.children[0].metrics]
    context = {
        "data": data,
        "word": KINDS[data.kind],
        "verdict": verdict(data),
        "tiles": tiles(data),
        "splits": splits,
        "metrics": metric_rows(data, splits),
        "rows": [_row(data, child, splits) for child in data.children[:ROWS]],
        "picture": picture(data),
    }
    return fill("several.html", context)


def verdict(data: Several) -> str:
    """In one sentence: "5 folds: dev accuracy 91.3 % on average, deviation 1.2 %, from 89.9 % to 92.8 %."."""
    scores, name = data.scores, f"dev {metric_name(data.primary)}"
    count = f"{len(data.children):,} {KINDS[data.kind]}{'s' if len(data.children) > 1 else ''}"
    if not scores:
        return f"{count}; no dev part was measured."
    mean = _text(data, statistics.fmean(scores))
    if data.kind == "folds" and all(child.n == 1 for child in data.children):
        return f"Each of {len(data.children):,} images was left out once: {name} {mean}."
    said = f"{count}: {name} {mean}"
    if len(scores) > 1:
        said += f" on average, deviation {_text(data, statistics.stdev(scores))}"
        said += f", from {_text(data, min(scores))} to {_text(data, max(scores))}"
    return said + (f". {KINDS[data.kind].capitalize()} {data.kept} is kept." if data.kept is not None else ".")


def _text(data: Several, value: float) -> str:
    return metric_text(data.primary, value)


def tiles(data: Several) -> list[dict[str, str]]:
    scores = data.scores
    found = [{"name": "trainings", "value": f"{len(data.children):,}", "note": data.kind}]
    if scores:
        best = (max if data.higher_is_better else min)(scores)
        spread = f"deviation {_text(data, statistics.stdev(scores))}" if len(scores) > 1 else ""
        found.append({"name": f"mean dev {metric_name(data.primary)}", "value": _text(data, statistics.fmean(scores)),
                      "note": spread})  # fmt: skip
        found.append({"name": "best", "value": _text(data, best), "note": ""})
    seconds = sum(child.seconds for child in data.children)
    return [*found, {"name": "training time", "value": duration(seconds), "note": "of all together"}]


def metric_rows(data: Several, splits: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Each metric's mean ± deviation over the children, by part; the one that decides comes first."""
    names = list(dict.fromkeys(name for split in splits for name in data.children[0].metrics[split]))
    names.sort(key=lambda name: name != data.primary)
    return [(name, [_mean(data, split, name) for split in splits]) for name in names[:METRICS]]


def _mean(data: Several, split: str, name: str) -> str:
    found = [child.metrics.get(split, {}).get(name) for child in data.children]
    scores = [score for score in found if score is not None]
    if not scores:
        return ""
    spread = f" ± {metric_text(name, statistics.stdev(scores))}" if len(scores) > 1 else ""
    return metric_text(name, statistics.fmean(scores)) + spread


def _row(data: Several, child: Child, splits: Sequence[str]) -> dict[str, Any]:
    scores = [child.metrics.get(split, {}).get(data.primary) for split in splits]
    return {
        "child": child,
        "scores": [("" if score is None else _text(data, score), score) for score in scores],
        "epoch": figure(child.epoch),
        "seconds": duration(child.seconds),
        "kept": child.number == data.kept,
    }


def picture(data: Several) -> Markup | None:
    """A dot per child over its number, and a line at the mean; None where there is nothing to compare."""
    points = [(child.number, child.metrics.get("dev", {}).get(data.primary)) for child in data.children]
    known = [(x, y) for x, y in points if y is not None]
    if len(known) < 2 or len(known) > ROWS:
        return None
    mean, share = statistics.fmean(y for _, y in known), is_share(data.primary)
    least = [mean - 0.01, mean + 0.01] if share else []  # a hundredth of a point is not drawn as a gulf
    x, y = fit([x for x, _ in known], 58.0, 592.0), fit([*(y for _, y in known), *least], 218.0, TOP)
    frame = Frame(600, 260, x, y, percent_y=share, whole_x=True)
    line = element("path", class_="line dev", d=path([(x.low, mean), (x.high, mean)], x, y))
    dots = element("path", class_="dots few", d="".join(f"M{coordinate(x(a))},{coordinate(y(b))}h0" for a, b in known))
    words = f"dev {metric_name(data.primary)}"
    title = f"{words} of each {KINDS[data.kind]}, and their mean, {percent(mean) if share else figure(mean)}"
    return frame.picture(title, frame.axes(KINDS[data.kind], words), line, dots)

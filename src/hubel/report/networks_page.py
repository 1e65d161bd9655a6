"""The page on several networks, side by side: what each costs and sees, and its score where there is a run.

Documents of `hubel info --json` -> HTML: one offline file under 5 MB.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from hubel.report.figures import TOP
from hubel.report.network_page import STYLES, megabytes, per_axis, score
from hubel.report.page import fill
from hubel.report.svg import Frame, coordinate, element, fit, wants_log
from hubel.report.text import is_share, metric_name, shorten
from hubel.report.volumes import drawing
from hubel.training.atomic import write_atomically


def write(documents: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Write the page on several networks."""
    write_atomically(path, render(documents).encode("utf-8"))
    return path


def render(documents: Sequence[Mapping[str, Any]]) -> str:
    labels = _labels(documents)
    cheapest = min(documents, key=lambda one: one["multiplications"])
    most = max(documents, key=lambda one: one["multiplications"])
    ratio = most["multiplications"] / max(cheapest["multiplications"], 1)
    context = {
        "names": labels,
        "verdict": f"{len(documents)} networks; the most expensive, {labels[documents.index(most)]}, multiplies "
                   f"{ratio:,.1f} times as often as {labels[documents.index(cheapest)]}.",
        "rows": [_compared(one, label) for one, label in zip(documents, labels, strict=True)],
        "scored": any(_has_score(one) for one in documents),
        "plots": plots(documents, labels),
        "drawings": [(label, drawing(one)) for one, label in zip(documents, labels, strict=True)],
    }  # fmt: skip
    return fill("networks.html", context, STYLES)


def _has_score(document: Mapping[str, Any]) -> bool:
    return document.get("run") is not None and document["run"]["score"] is not None


def _labels(documents: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names, with the run where one is; a run is known by its folder's last two parts."""
    return ["/".join(Path(one["run"]["path"]).parts[-2:]) if one.get("run") else one["model"] for one in documents]


def _compared(document: Mapping[str, Any], label: str) -> dict[str, Any]:
    field, training = document["receptive_field"], document["training_bytes"]
    return {
        "label": label,
        "document": document,
        "input": "×".join(map(str, document["input"])),
        "memory": megabytes(document["activation_bytes"]),
        "training": "" if training is None else megabytes(training),
        "field": "" if field is None else per_axis(field["size"]) + ("+" if field["whole"] else ""),
        "score": f"{score(document['run'])} ({document['run']['split']})" if _has_score(document) else "",
    }


def plots(documents: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> list[Markup]:
    """Score over multiplications and over parameters where runs were given; else parameters over multiplications."""
    pairs = list(zip(documents, labels, strict=True))
    scored = [(one, label) for one, label in pairs if _has_score(one)]
    metrics = {one["run"]["metric"] for one, _ in scored}
    if len(metrics) != 1:
        points = [(one["multiplications"], one["parameters"], label) for one, label in pairs]
        return [_plot(points, "multiplications", "parameters", False)]
    metric = metrics.pop()
    found = []
    for cost in ("multiplications", "parameters"):
        points = [(one[cost], one["run"]["score"], label) for one, label in scored]
        found.append(_plot(points, cost, metric_name(metric), is_share(metric)))
    return found


def _plot(points: Sequence[tuple[float, float, str]], x_label: str, y_label: str, share: bool) -> Markup:
    points = [(x, y, label) for x, y, label in points if x > 0]
    xs, ys = [x for x, _, _ in points], [y for _, y, _ in points]
    x = fit(xs, 64.0, 560.0, log=wants_log(xs), pad=0.12)
    spare = [min(ys) - 0.01, max(ys) + 0.01] if share and ys else []  # a hundredth of a point is not drawn as a gulf
    y = fit([*ys, *spare], 318.0, TOP, log=wants_log(ys), pad=0.12)
    frame = Frame(600, 360, x, y, percent_y=share)
    dots = element(
        "path", class_="dots few", d="".join(f"M{coordinate(x(a))},{coordinate(y(b))}h0" for a, b, _ in points)
    )
    words = _labels_beside([(x(a), y(b), shorten(label, 34)) for a, b, label in points])
    title = f"{y_label} over {x_label}: " + ", ".join(label for _, _, label in points)
    logs = " (log scale)" if x.log else ""
    return frame.picture(
        title, frame.axes(f"{x_label}{logs}", y_label + (" (log scale)" if y.log else "")), dots, *words
    )


def _labels_beside(points: Sequence[tuple[float, float, str]]) -> list[Markup]:
    """Each label at the first place beside its dot where it covers no other: right or left of it, above or below."""
    taken: list[tuple[float, float, float, float]] = [(x - 4, y - 4, x + 4, y + 4) for x, y, _ in points]
    found = []
    for x, y, label in points:
        wide = 6.4 * len(label)
        spots = [(x + (8 if right else -8 - wide), y + down) for down in (-5, 14, -18, 27) for right in (True, False)]
        boxes = [(left, top - 11, left + wide, top + 3) for left, top in spots]
        inside = [box for box in boxes if box[0] > 40 and box[2] < 598] or boxes
        box = next((box for box in inside if not any(_overlap(box, other) for other in taken)), inside[0])
        taken.append(box)
        found.append(element("text", label, class_="label", x=box[0], y=box[3] - 3))
    return found


def _overlap(a: Sequence[float], b: Sequence[float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]

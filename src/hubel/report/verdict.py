"""The verdict: how good the network is, how far it overfits, and what n images can tell.

The interval of a difference d = p1 − p2 comes from the intervals of its parts ("square and add", Newcombe 1998,
doi:10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>3.0.CO;2-I; for other metrics Zou & Donner 2008,
doi:10.1002/sim.3095):  low = d − √((p1 − l1)² + (u2 − p2)²),  high = d + √((u1 − p1)² + (p2 − l2)²).
The interval of a share is Wilson's (metrics/interval.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hubel.metrics.interval import wilson
from hubel.report.text import (
    DASH,
    THIN,
    figure,
    finite,
    interval_text,
    is_share,
    metric_name,
    metric_text,
    percent,
    points,
    shorten,
)
from hubel.report.values import Baseline, Interval, ReportData

WORTH = 0.005  # half a point: what is surely less is no reason to act


def difference(p1: float, i1: Interval, p2: float, i2: Interval) -> Interval:
    """The interval of p1 − p2 for two independent measurements with their intervals."""
    d = p1 - p2
    low = d - math.hypot(max(p1 - i1[0], 0), max(i2[1] - p2, 0))
    high = d + math.hypot(max(i1[1] - p1, 0), max(p2 - i2[0], 0))
    return low, high


@dataclass(frozen=True)
class Measured:
    """The primary metric on one split. `how` is said where it is no plain evaluation."""

    value: float
    interval: Interval | None
    n: int
    how: str = ""


def measured(data: ReportData, split: str | None) -> Measured | None:
    """The primary metric of a split, or None where it was not measured (or is not finite)."""
    value = finite(data.metrics.get(split or "", {}).get(data.primary))
    how = ""
    if math.isnan(value) and split == "train":
        value, how = _while_learning(data), ", averaged while it was learning"
    if math.isnan(value):
        return None
    n = int(data.n.get(split or "", 0))
    interval = None if how else data.intervals.get(split or "", {}).get(data.primary)
    if interval is None and n > 0 and is_proportion(data.primary) and 0 <= value <= 1:
        interval = wilson(value * n, n)
    if interval is not None and any(math.isnan(finite(v)) for v in interval):
        interval = None
    return Measured(value, interval, n, how)


def is_proportion(metric: str) -> bool:
    """Is the metric a count of right images over n, so that the binomial interval holds?"""
    return metric in ("accuracy", "exact_match") or metric.startswith("top")


def _while_learning(data: ReportData) -> float:
    rows = [row for row in data.history if finite(row.get("epoch")) == finite(data.best_epoch)]
    row: Mapping[str, Any] = (rows or list(data.history) or [{}])[-1]
    return finite(row.get(f"train.{data.primary}"))


def verdict(data: ReportData) -> str:
    """One sentence: the score with its interval, what it is not clearly better than, what the training part says."""
    judged = measured(data, data.split)
    if judged is None:
        return "How good this network is was not measured: there is neither a test nor a dev score."
    return f"{score(data, data.split or '', judged)}{unlearnt(data, judged)}; {compare(data, judged)}."


def unlearnt(data: ReportData, judged: Measured) -> str:
    """That the network is not clearly better than an answer without looking; "" where it is, or nobody knows."""
    base = data.baseline or majority(data)
    low, high = judged.interval or (judged.value, judged.value)
    if base is None or (low > base.value if data.higher_is_better else high < base.value):
        return ""
    return f", not clearly better than {base.text} ({metric_text(data.primary, base.value)})"


def score(data: ReportData, split: str, m: Measured) -> str:
    """ "97.9 % of 360 test images right (95 % interval 95.8–98.9 %)", and that dev was used for selection."""
    size = f"{m.n:,} " if m.n else ""
    if data.primary == "accuracy":
        text = f"{percent(m.value)} of {size}{split} images right"
    else:
        name = shorten(metric_name(data.primary), 60)
        text = f"{name[:1].upper()}{name[1:]} {metric_text(data.primary, m.value)} on {size}{split} images"
    bounds = interval_text(data.primary, m.interval) if m.interval else ""
    text += f" (95{THIN}% interval {bounds})" if bounds else " (interval not measured)"
    return text + (", the part that was used for selection" if split == "dev" and data.selected else "")


def compare(data: ReportData, judged: Measured) -> str:
    """What the difference to the training part says, and whether n images can tell it from none."""
    train = measured(data, "train")
    if train is None:
        return "its score on the training part was not measured"
    sign = 1 if data.higher_is_better else -1
    gap = sign * (train.value - judged.value)
    part = f"its training part ({metric_text(data.primary, train.value)}{train.how})"
    size = f"{gap_text(data.primary, abs(gap))}"
    if judged.interval is None:
        direction = "better" if gap >= 0 else "worse"
        return f"it does {direction} on {part} by {size}, and without an interval that can't be told from chance"
    bounds = _gap_interval(train, judged, sign)
    many = f"{judged.n:,} images" if judged.n else "so few images"
    if bounds[0] <= 0 <= bounds[1]:
        return f"the difference of {size} to {part} is within what {many} can tell"
    room = _range(data.primary, bounds if gap > 0 else (-bounds[1], -bounds[0]))
    if gap > 0 and is_share(data.primary) and bounds[0] < WORTH:
        return f"it does better on {part} by {size} ({room}), and that is not clearly enough to act on"
    if gap > 0:
        return f"it does better on {part} by {size} ({room}): more than chance explains with {many}, so it overfits"
    return f"it does worse on {part} by {size} ({room}), as augmentation and dropout can make it"


def _gap_interval(better: Measured, worse: Measured, sign: int) -> Interval:
    exact = (better.value, better.value)
    low, high = difference(
        better.value, better.interval or exact, worse.value, worse.interval or (worse.value, worse.value)
    )
    return (low, high) if sign > 0 else (-high, -low)


def gap_text(metric: str, gap: float) -> str:
    if not is_share(metric):
        return figure(float(f"{gap:.3g}"))
    return f"{points(gap)} point{'' if points(gap) == '1' else 's'}"


def _range(metric: str, bounds: Interval) -> str:
    if not is_share(metric):
        return f"{figure(float(f'{bounds[0]:.3g}'))}{DASH}{figure(float(f'{bounds[1]:.3g}'))}"
    return f"{points(bounds[0])}{DASH}{points(bounds[1])}"


def majority(data: ReportData) -> Baseline | None:
    """The accuracy of always answering the class that is most frequent in training; None where counts don't tell."""
    counts, judged = data.dataset.counts, data.dataset.counts.get(data.split or "", ())
    train = counts.get("train", judged)
    if data.primary != "accuracy" or not sum(judged) or len(train) != len(judged):
        return None
    if len(data.dataset.classes) != len(judged):
        return None
    largest = max(range(len(train)), key=train.__getitem__)
    return Baseline(f"always answering “{shorten(data.dataset.classes[largest], 60)}”", judged[largest] / sum(judged))


def remarks(data: ReportData) -> list[str]:
    """What else has to be known to judge the verdict, each in a sentence."""
    makers: tuple[Callable[[ReportData], str | None], ...] = (
        _baseline, _error_parts, _train_dev, _dev_test, _weakest, _confidence, _looks,
    )  # fmt: skip
    return [text for text in (maker(data) for maker in makers) if text]


def _baseline(data: ReportData) -> str | None:
    base, judged = data.baseline or majority(data), measured(data, data.split)
    if base is None or judged is None or unlearnt(data, judged):
        return None
    return f"For comparison, {base.text} scores {metric_text(data.primary, base.value)}."


def _error_parts(data: ReportData) -> str | None:
    train, judged = measured(data, "train"), measured(data, data.split)
    if data.primary != "accuracy" or train is None or train.how or judged is None or judged.value >= 1:
        return None
    if train.value >= 1:
        return "It makes no error on the training part: more data or regularisation can lower the rest."
    errors = 1 - judged.value, min(1 - train.value, 1 - judged.value)
    return (
        f"Of its {percent(errors[0])} error, {gap_text('accuracy', errors[1])} are there on the training part "
        "already (more capacity or longer training can lower that share; more data or regularisation the rest)."
    )


def _train_dev(data: ReportData) -> str | None:
    """train -> train-dev is variance, train-dev -> dev is a mismatch between where the two parts come from."""
    inner, outer = measured(data, "train-dev"), measured(data, "dev")
    if inner is None or outer is None or inner.interval is None or outer.interval is None:
        return None
    low, _ = _gap_interval(inner, outer, 1 if data.higher_is_better else -1)
    size = gap_text(data.primary, abs(inner.value - outer.value))
    if low > 0:
        return f"The dev part is harder than train-dev by {size}: its images come from elsewhere (data mismatch)."
    return f"Train-dev and dev differ by {size}, within what their sizes can tell: no sign of a data mismatch."


def _dev_test(data: ReportData) -> str | None:
    dev, test = measured(data, "dev"), measured(data, "test")
    if dev is None or test is None or dev.interval is None or test.interval is None:
        return None
    low, _ = _gap_interval(dev, test, 1 if data.higher_is_better else -1)
    if low <= 0:
        return None
    size = gap_text(data.primary, abs(dev.value - test.value))
    return f"The dev score is better than the test score by {size}: selection on dev has flattered it."


def _weakest(data: ReportData) -> str | None:
    rows = [row for row in data.per_class or () if row.n > 0 and not math.isnan(finite(row.recall))]
    if len(rows) < 3:
        return None
    row = min(rows, key=lambda r: r.recall if r.iou is None else r.iou)
    found = f"{percent(row.recall)} of its {row.n:,} {data.unit} found"
    bounds = interval_text("recall", row.recall_interval if row.iou is None else row.iou_interval)
    bounds = f", interval {bounds}" if bounds else ""
    told = f"{found}{bounds}" if row.iou is None else f"IoU {percent(row.iou)}{bounds}; {found}"
    return f"Weakest class: “{shorten(row.name, 60)}”, {told}."


def _confidence(data: ReportData) -> str | None:
    bins = data.calibration
    total = sum(bins.count) if bins else 0
    if bins is None or not total:
        return None
    rows = zip(bins.confidence, bins.accuracy, bins.count, strict=True)
    excess = sum((c - a) * n for c, a, n in rows if n) / total
    word = "too sure of itself" if excess > 0 else "not sure enough of itself"
    if not abs(excess) >= 0.01:
        parts = "too high for some images, too low for others" if finite(bins.ece) >= 0.03 else "a small error"
        return f"Its confidences are off by {percent(finite(bins.ece))} on average: {parts}."
    return f"On average it is {word} by {gap_text('accuracy', abs(excess))} (calibration error {percent(bins.ece)})."


def _looks(data: ReportData) -> str | None:
    if data.test_looks is None or measured(data, "test") is None:
        return None
    often = (
        "once" if data.test_looks == 1 else f"{data.test_looks} times; each look makes its score a little less honest"
    )
    return f"The test part was looked at {often}."

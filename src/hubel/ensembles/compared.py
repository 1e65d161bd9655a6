"""Ways to predict, judged on the same images: a row for each with its interval, and what it differs by from the best.

The reference is the best of the single networks on these very images, which favours it: what is shown against it is
shown all the more against one that was chosen without looking.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hubel.facts import intervals, score_of
from hubel.metrics.interval import Interval
from hubel.metrics.paired import Difference, of_shares, of_statistics
from hubel.session import Session
from hubel.training.evaluate import Evaluation


@dataclass(frozen=True)
class Seen:
    """One way's predictions of one part; `right` (n,) bool where the deciding metric is a share of right images."""

    name: str
    found: Evaluation
    interval: Interval | None
    right: np.ndarray | None


@dataclass(frozen=True)
class Row:
    """One way: its metrics, the interval of the deciding one, and its difference from the reference's."""

    name: str
    metrics: dict[str, float]
    interval: Interval | None
    difference: Difference | None  # None: it is the reference
    verdict: str

    def settings(self) -> dict[str, Any]:
        """JSON-ready."""
        found: dict[str, Any] = {"name": self.name, "metrics": self.metrics, "interval": self.interval}
        if self.difference is not None:
            own = self.difference
            found |= {"difference": own.value, "difference_interval": own.interval, "p": own.p, "n": own.n}
        return found | {"verdict": self.verdict}


def look(session: Session, name: str, found: Evaluation) -> Seen:
    """Keep of an evaluation, as `condensed` leaves it, what comparing it needs."""
    interval, right = intervals(session, found).get(session.task.primary.metric), rightness(session, found)
    return Seen(name, found, interval, right)


def rightness(session: Session, found: Evaluation) -> np.ndarray | None:
    """(n,) bool, of the images that count; None where the deciding metric is no share of right images."""
    task: Any = session.task
    if task.primary.metric != "accuracy" or not torch.is_tensor(found.targets) or not hasattr(task, "decide"):
        return None
    counted = found.weights > 0 if found.weights is not None else torch.ones(len(found.index), dtype=torch.bool)
    return (task.decide(found.predictions) == found.targets)[counted].numpy()


def rows(session: Session, seen: Sequence[Seen], singles: int) -> list[Row]:
    """A row for each; the reference is the best of the first `singles`."""
    objective = session.task.primary
    best = 0
    for i in range(1, singles):
        if objective.better(seen[i].found.metrics[objective.metric], seen[best].found.metrics[objective.metric]):
            best = i
    made = []
    for i, one in enumerate(seen):
        difference = None if i == best else minus(session, one, seen[best])
        verdict = "reference" if difference is None else said(difference, objective.higher_is_better)
        made.append(Row(one.name, one.found.metrics, one.interval, difference, verdict))
    return made


def minus(session: Session, one: Seen, reference: Seen) -> Difference:
    """In the deciding metric, on the same images."""
    if one.right is not None and reference.right is not None:
        return of_shares(one.right, reference.right)
    first, second = (lambda rows, e=e.found: score_of(session, e, rows) for e in (one, reference))
    return of_statistics(first, second, len(one.found.index))


def said(difference: Difference, higher_is_better: bool) -> str:
    """better, worse, or that neither was shown."""
    if not difference.shown:
        return "no difference shown"
    return "better" if (difference.value > 0) == higher_is_better else "worse"

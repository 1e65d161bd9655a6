"""Predictions of several members of an ensemble, averaged and judged; see ensemble.py.

p = (p_1 + … + p_M) / M,   how unsure H(p),   what they differ by H(p) − mean H(p_m)
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hubel.predictions import Predictions
from hubel.tasks.base import Task
from hubel.training.evaluate import Evaluation, joined
from hubel.types import map_tensors


class Together:
    """The mean of predictions of the same n images, and how unsure and how different they are.

    Of plain numbers sums are kept. What is averaged in its own way (maps that lie elsewhere, joints by how sure they
    are) has to be there together.
    """

    def __init__(self, task: Task):
        self.task, self.count = task, 0
        self._each: list[Any] = []
        self._like: Any = None
        self._sum: Any = None
        self._squares: Any = None
        self._entropy: Any = None

    def add(self, predictions: Any) -> None:
        self.count += 1
        self._like = predictions
        if not is_plain(predictions):
            self._each.append(predictions)
            self._add_entropy(predictions)
            return
        exact = map_tensors(predictions, lambda tensor: tensor.double())
        squares = map_tensors(exact, torch.square)
        self._sum = exact if self.count == 1 else _plus(self._sum, exact)
        self._squares = squares if self.count == 1 else _plus(self._squares, squares)
        self._add_entropy(exact)

    def _add_entropy(self, predictions: Any) -> None:
        own = self.task.entropy(predictions)
        self._entropy = own if own is None or self._entropy is None else self._entropy + own

    def what(self) -> str:
        """The names of the numbers that are averaged: probabilities, values …"""
        return ", ".join(self._like.arrays()) if self.count else ""

    def mean(self) -> Predictions:
        if self._each:
            return type(self._like).mean(self._each)
        return map_tensors(self._sum, lambda tensor: (tensor / self.count).float())

    def entropy(self) -> Tensor | None:
        """(n,) nats, of the mean; None where the task gives no probabilities."""
        if self._each:
            return self.task.entropy(self.mean())
        return self.task.entropy(map_tensors(self._sum, lambda tensor: tensor / self.count))

    def information(self) -> Tensor | None:
        """(n,) nats: what the members differ by."""
        total = self.entropy()
        return None if total is None else (total - self._entropy / self.count).clamp(min=0)

    def deviation(self) -> Tensor | None:
        """(n, D): of numbers over the members, in their units; None for other tasks."""
        if not hasattr(self._sum, "values") or self.count < 2:
            return None
        mean = self._sum.values / self.count
        return (self._squares.values / self.count - mean**2).clamp(min=0).sqrt()

    def row(self, i: int) -> dict[str, Any]:
        """The uncertainty of image i, JSON-ready; {} of one member."""
        total, apart, deviation = self.entropy(), self.information(), self.deviation()
        if self.count < 2 or (total is None and deviation is None):
            return {}
        found: dict[str, Any] = {"members": self.count}
        if total is not None and apart is not None:
            found |= {"entropy": float(total[i]), "information": float(apart[i])}
        return {"uncertainty": found | ({} if deviation is None else {"deviation": deviation[i].tolist()})}

    def evaluation(self, like: Evaluation) -> Evaluation:
        """The mean judged on the images, targets and weights of one member's evaluation."""
        metric, mean = self.task.metric(), self.mean()
        metric.update(mean, like.targets, like.weights)
        scores = self.task.scores(mean, like.targets)
        return Evaluation(metric.compute(), like.index, mean, like.targets, scores, like.weights)


def is_plain(predictions: Any) -> bool:
    """Is its mean that of its tensors, one by one?"""
    own = any("mean" in vars(kind) for kind in type(predictions).__mro__ if kind is not Predictions)
    parts = [getattr(predictions, f.name) for f in fields(predictions)]
    return not own and all(part is None or torch.is_tensor(part) for part in parts)


def _plus(one: Any, other: Any) -> Any:
    pairs = {f.name: (getattr(one, f.name), getattr(other, f.name)) for f in fields(one)}
    return replace(one, **{name: None if a is None else a + b for name, (a, b) in pairs.items()})


class Gathered:
    """One way's evaluations of some images after others, as `condensed` leaves them: of maps counts of their pixels."""

    def __init__(self, name: str):
        self.name = name
        self._parts: list[Evaluation] = []

    def add(self, task: Task, found: Evaluation) -> None:
        predictions, targets = task.condensed(found.predictions, found.targets)
        self.task = task
        self._parts.append(replace(found, predictions=predictions, targets=targets))

    def whole(self) -> Evaluation:
        """Of all images; its metrics are those of one evaluation."""
        if len(self._parts) == 1:
            return self._parts[0]
        metric = self.task.metric()
        for part in self._parts:
            metric.update(part.predictions, part.targets, part.weights)
        rows: list[Any] = [(p.predictions, p.targets, torch.from_numpy(p.index), p.weights) for p in self._parts]
        predictions, targets, index, weights = joined(rows)
        scores = self.task.scores(predictions, targets)
        return Evaluation(metric.compute(), index, predictions, targets, scores, weights)


class Uncertainty:
    """Means over the images, in nats: entropy of the average, information; of right and wrong answers too."""

    def __init__(self) -> None:
        self._each: dict[str, list[Tensor]] = {"entropy": [], "information": []}

    def add(self, together: Together) -> None:
        total, apart = together.entropy(), together.information()
        if together.count > 1 and total is not None and apart is not None:
            self._each["entropy"].append(total)
            self._each["information"].append(apart)

    def summary(self, right: np.ndarray | None) -> dict[str, float]:
        """{} of one member, and where nothing is probable; `right` (n,) bool where each answer is right or wrong."""
        each = {word: torch.cat(parts) for word, parts in self._each.items() if parts}
        found = {word: float(values.mean()) for word, values in each.items()}
        n = len(each.get("entropy", ()))
        if right is not None and n and len(right) == n and right.any() and not right.all():
            rows = torch.from_numpy(right)
            for word, chosen in (("right", rows), ("wrong", ~rows)):
                found |= {f"{name}.{word}": float(values[chosen].mean()) for name, values in each.items()}
        return found

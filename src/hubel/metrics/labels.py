"""Several labels per image: average precision, and the counts of right and wrong answers per label.

AP = Σ_n (R_n − R_{n−1})·P_n over the distinct scores from the highest down: the area under the steps of precision
against recall. Labels are 0, 1 or NaN (unknown, counted nowhere). N examples, L labels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hubel.metrics.base import Streaming, ones_like_batch, ratio
from hubel.metrics.confusion import f1
from hubel.types import Term


def average_precision(scores: np.ndarray, targets: np.ndarray, weights: np.ndarray | None = None) -> float:
    """(N,), (N,) of 0 and 1 -> AP in [0, 1]; NaN where no example has the label."""
    weights = np.ones(len(scores)) if weights is None else np.asarray(weights, np.float64)
    order = np.argsort(-scores, kind="stable")
    scores, hits, weights = scores[order], (targets[order] > 0.5) * weights[order], weights[order]
    if hits.sum() == 0:
        return float("nan")
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)  # equal scores are one threshold
    found, answered = np.cumsum(hits)[last], np.cumsum(weights)[last]
    precision = found / np.where(answered == 0, 1, answered)
    return float(np.diff(found, prepend=0.0) @ precision / hits.sum())


class Labels(Streaming):
    """Mean average precision, loss, F1 over labels (macro) and over all answers (micro), exact matches.

    `decide` gives the answers (B, L) bool of predictions, `loss` their Term, `ranking` their scores (B, L).
    """

    def __init__(
        self,
        decide: Callable[[Any], Tensor],
        loss: Callable[[Any, Tensor, Tensor], Term],
        ranking: Callable[[Any], Tensor],
    ):
        super().__init__()
        self._decide, self._loss, self._ranking = decide, loss, ranking

    def update(self, predictions: Any, targets: Tensor, weights: Tensor | None = None) -> None:
        answers = self._decide(predictions)
        targets = targets.to(answers.device)
        w = ones_like_batch(weights, answers)
        known = ~targets.isnan() & (w > 0)[:, None]
        truth, counted = (targets > 0.5) & known, known * w[:, None]
        for name, where in (("tp", truth & answers), ("fp", ~truth & answers), ("fn", truth & ~answers)):
            self.add(name, (counted * where).sum(0))
        self.add("known", counted.sum(0))
        self.add("exact", (w * ((truth == answers) | ~known).all(1)).sum())
        self.add("examples", w.sum())
        loss = self._loss(predictions, targets, w)
        self.add("loss", loss.sum)
        self.add("count", torch.as_tensor(loss.count))
        for name, rows in (("scores", self._ranking(predictions)), ("targets", targets), ("weights", w)):
            self.keep(name, rows)

    def average_precisions(self) -> np.ndarray:
        """(L,) AP of each label; NaN where no example has it."""
        scores, targets, w = (self.rows(name).numpy() for name in ("scores", "targets", "weights"))
        if not len(scores):
            return np.zeros(0)
        known = ~np.isnan(targets) & (w > 0)[:, None]
        each = [(scores[known[:, i], i], targets[known[:, i], i], w[known[:, i]]) for i in range(scores.shape[1])]
        return np.array([average_precision(*one) for one in each])

    def per_class(self) -> dict[str, np.ndarray]:
        """{"precision", "recall", "f1", "support", "average_precision"}, each (L,)."""
        tp, fp, fn = (self.sum(name).numpy() for name in ("tp", "fp", "fn"))
        precision = tp / np.where(tp + fp == 0, 1, tp + fp)
        recall = tp / np.where(tp + fn == 0, 1, tp + fn)
        table = {"precision": precision, "recall": recall, "f1": f1(precision, recall), "support": tp + fn}
        return table | {"average_precision": self.average_precisions()}

    def compute(self) -> dict[str, float]:
        """average_precision is the mean over the labels that occur. NaN where nothing was seen."""
        tp, fp, fn = (self.sum(name) for name in ("tp", "fp", "fn"))
        found = self.average_precisions()
        found = found[~np.isnan(found)]
        macro = np.asarray(self.per_class()["f1"])
        return {
            "average_precision": float(found.mean()) if len(found) else float("nan"),
            "loss": float(ratio(self.sum("loss"), self.sum("count"))),
            "macro_f1": float(macro.mean()) if macro.ndim else float("nan"),
            "micro_f1": float(ratio(2 * tp.sum(), (2 * tp + fp + fn).sum())),
            "exact_match": float(ratio(self.sum("exact"), self.sum("examples"))),
            "label_accuracy": float(ratio((self.sum("known") - fp - fn).sum(), self.sum("known").sum())),
        }

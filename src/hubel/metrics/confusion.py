"""The confusion matrix of K classes, and what follows from it: accuracy, precision, recall, F1.

precision_k = M_kk / Σ_i M_ik,  recall_k = M_kk / Σ_j M_kj,  F1 = 2·p·r / (p + r); rows are truth, columns answers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hubel.metrics.base import Streaming, ones_like_batch, ratio
from hubel.types import Term


def f1(precision: Any, recall: Any) -> Any:
    """Harmonic mean of precision and recall, 0 where both are 0. Numbers or arrays."""
    total = precision + recall
    if isinstance(total, (int, float)):
        return 2 * precision * recall / total if total else 0.0
    return 2 * precision * recall / np.where(total == 0, 1, total)


def confusion_matrix(truth: Tensor, answers: Tensor, classes: int, weights: Tensor | None = None) -> Tensor:
    """(B,), (B,) int64 -> (K, K) fp64: the summed weights of the examples of each (truth, answer)."""
    weights = ones_like_batch(weights, truth)
    return summed(truth * classes + answers, weights, classes * classes).reshape(classes, classes)


def summed(cells: Tensor, weights: Tensor | None, count: int) -> Tensor:
    """(B,) integers below `count`, (B,) or None, each counts 1 -> (count,): the summed weights of each cell."""
    if cells.device.type == "cpu":
        return torch.bincount(cells, weights, minlength=count)
    # bincount would wait for the largest cell
    weights = torch.ones_like(cells) if weights is None else weights
    return torch.zeros(count, dtype=weights.dtype, device=cells.device).index_add_(0, cells, weights)


def per_class(matrix: np.ndarray) -> dict[str, np.ndarray]:
    """(K, K) -> {"precision", "recall", "f1", "support"}, each (K,). 0 where nothing was asked or answered."""
    matrix = np.asarray(matrix, dtype=np.float64)
    right, answered, support = np.diag(matrix), matrix.sum(0), matrix.sum(1)
    precision = right / np.where(answered == 0, 1, answered)
    recall = right / np.where(support == 0, 1, support)
    return {"precision": precision, "recall": recall, "f1": f1(precision, recall), "support": support}


def averages(matrix: np.ndarray) -> dict[str, float]:
    """macro_* over the classes that occur in the truth or in the answers, weighted_* by the truth's frequency."""
    table = per_class(matrix)
    occurs = (np.asarray(matrix).sum(0) + table["support"]) > 0
    total = table["support"].sum()
    found: dict[str, float] = {}
    for name in ("precision", "recall", "f1"):
        found[f"macro_{name}"] = float(table[name][occurs].mean()) if occurs.any() else float("nan")
        found[f"weighted_{name}"] = float(table[name] @ table["support"] / total) if total else float("nan")
    return found


def rank(scores: Tensor, targets: Tensor) -> Tensor:
    """(B, K), (B,) -> (B,) int64: how many classes come before the target; ties in the order of the classes.

    A network that gives every class the same score is then right in 1 of K cases, not always.
    """
    own = scores.gather(1, targets[:, None])
    before = torch.arange(scores.shape[1], device=scores.device)[None] < targets[:, None]
    return ((scores > own) | ((scores == own) & before)).sum(1)


TOP5_FROM = 20  # with fewer classes nearly every answer is among the first five


class Classes(Streaming):
    """Accuracy, loss, top-5 (where it says something: from TOP5_FROM classes on), averaged precision, recall, F1.

    `decide` gives the answers (B,) of predictions, `loss` their Term, `ranking` the scores (B, K) for top-5; what is
    None is not measured.
    """

    def __init__(
        self,
        classes: int,
        decide: Callable[[Any], Tensor],
        loss: Callable[[Any, Tensor, Tensor], Term] | None = None,
        ranking: Callable[[Any], Tensor] | None = None,
    ):
        super().__init__()
        self.classes, self._decide, self._loss = classes, decide, loss
        self._ranking = ranking if classes >= TOP5_FROM else None

    def without_loss(self) -> Classes:
        """A fresh metric of the same kind that does not measure the loss."""
        return Classes(self.classes, self._decide, None, self._ranking)

    def update(self, predictions: Any, targets: Tensor, weights: Tensor | None = None) -> None:
        answers = self._decide(predictions)
        targets = targets.to(answers.device)
        w = ones_like_batch(weights, targets)
        targets = torch.where(w > 0, targets, 0)  # an example without a file may have no class either
        self.add("confusion", confusion_matrix(targets, answers, self.classes, w))
        if self._loss is not None:
            loss = self._loss(predictions, targets, w)
            self.add("loss", loss.sum)
            self.add("count", torch.as_tensor(loss.count))
        if self._ranking is not None:
            self.add("top5", (w * (rank(self._ranking(predictions), targets) < 5)).sum())

    @property
    def matrix(self) -> np.ndarray:
        """(K, K) fp64, rows are the truth: counts of examples where they have no weights of their own."""
        return self.sum("confusion").expand(self.classes, self.classes).numpy()

    def per_class(self) -> dict[str, np.ndarray]:
        """{"precision", "recall", "f1", "support"}, each (K,)."""
        return per_class(self.matrix)

    def compute(self) -> dict[str, float]:
        """NaN where nothing was seen."""
        total = self.sum("confusion").sum()
        found = {"accuracy": float(ratio(self.sum("confusion").diag().sum(), total)) if total else float("nan")}
        if self._loss is not None:
            found["loss"] = float(ratio(self.sum("loss"), self.sum("count")))
        if self._ranking is not None:
            found["top5"] = float(ratio(self.sum("top5"), total))
        return found | averages(self.matrix)

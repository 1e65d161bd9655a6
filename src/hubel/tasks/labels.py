"""Any number of L labels: one sigmoid each, binary cross-entropy averaged over labels and examples.

L = Σ wᵢ·v·BCE(z, y) / Σ wᵢ·v over examples and labels; v = 0 where a label is unknown (NaN), else 1.
Outputs and targets (B, L).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from hubel.errors import UserError
from hubel.metrics.labels import Labels as LabelsMetric
from hubel.metrics.report import rows
from hubel.ops import losses
from hubel.predictions import Predictions
from hubel.tasks import auxiliary
from hubel.tasks.base import Objective, Task, mixed
from hubel.tasks.checks import check_balance, check_numbers, check_range, needs_column
from hubel.tasks.prior import write_prior
from hubel.types import Batch, Term

if TYPE_CHECKING:
    from hubel.data.dataset import Dataset

PRIOR_LIMIT = 1e-3  # a label that never occurs in training still gets p = 0.001, not 0
HALF_STEP = 2.0**-24  # of fp32 below 1: the closest that a probability comes to 1


@dataclass(frozen=True)
class LabelPredictions(Predictions):
    """How probable each label is."""

    probabilities: Tensor  # (B, L) fp32 in [0, 1]


@dataclass(frozen=True)
class Labels(Task):
    """Any number of labels per image: sigmoids and binary cross-entropy."""

    classes: tuple[str, ...]
    target: str = "labels"  # the column of annotations: (N, L) float32 of 0, 1 and NaN (unknown)
    threshold: float = 0.5  # in (0, 1): a label is answered where it is more probable
    positive_weights: tuple[float, ...] | None = None  # L numbers >= 0: how much more a present label counts
    balance: bool = False  # positive weights (absent / present) from the training part

    name = "labels"
    mixes = True
    primary = Objective("average_precision")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("threshold", self.threshold, 0, 1)
        check_numbers("positive_weights", self.positive_weights, len(self.classes), above_zero=True)
        check_balance("positive_weights", self.positive_weights, self.balance)

    @property
    def width(self) -> int:
        return len(self.classes)

    def accepts(self, dataset: Dataset) -> None:
        found = needs_column(self, dataset, "a row of 0 and 1, one per label,")
        if not self.width or found.ndim != 2 or found.shape[1] != self.width:
            raise UserError(
                f"The column '{self.target}' must have one number per label, shape ({len(found)}, {self.width}) for "
                f"the {self.width} labels {', '.join(self.classes[:5])}; it has shape {found.shape}."
            )
        if not np.isin(found[~np.isnan(found)], (0, 1)).all():
            raise UserError(f"The column '{self.target}' must hold 0, 1 or NaN (unknown); it holds other numbers too.")

    def _shares(self, dataset: Dataset, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(L,) examples that have the label, (L,) examples that don't, in the training part."""
        index = index[np.asarray(dataset.weights)[index] > 0]
        found = np.asarray(dataset.annotations[self.target])[index]
        return np.sum(found == 1, axis=0), np.sum(found == 0, axis=0)

    def fitted(self, dataset: Dataset, index: np.ndarray) -> Self:
        if not self.balance:
            return self
        present, absent = self._shares(dataset, index)
        weights = np.where((present > 0) & (absent > 0), absent / np.maximum(present, 1), 1.0)
        return replace(self, positive_weights=tuple(float(w) for w in weights), balance=False)

    def prepare(self, network: nn.Module, dataset: Dataset, index: np.ndarray) -> None:
        """The last bias starts at the label's log-odds: the first steps need not learn how rare it is."""
        present, absent = self._shares(dataset, index)
        weighted = present * np.asarray(self.positive_weights or 1.0)
        write_prior(network, log_odds_of(weighted, absent))

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, Term]:
        def term(logits: Tensor) -> Term:
            return mixed(batch, lambda targets, weights: self._term(logits, targets, weights))

        return auxiliary.terms(network, batch.images, "cross_entropy", term)

    def _term(self, logits: Tensor, targets: Tensor, weights: Tensor) -> Term:
        known = ~targets.isnan() & (weights > 0)[:, None]
        p = 1.0 if self.positive_weights is None else torch.tensor(self.positive_weights, device=targets.device)
        nats = losses.binary_cross_entropy(logits, torch.where(known, targets, 0), p)
        return losses.term(nats, weights, scale=known)

    def predict(self, network: nn.Module, batch: Batch, outputs: Any = None) -> LabelPredictions:
        logits = network(batch.images) if outputs is None else outputs
        return LabelPredictions(losses.precise(logits).sigmoid())

    def decide(self, predictions: LabelPredictions) -> Tensor:
        """(B, L) bool: which labels are answered."""
        return predictions.probabilities > self.threshold

    def entropy(self, predictions: LabelPredictions) -> Tensor:
        """Summed over the labels."""
        p = predictions.probabilities
        return (torch.special.entr(p) + torch.special.entr(1 - p)).sum(1)

    def scores(self, predictions: LabelPredictions, targets: Tensor) -> Tensor:
        """Mean nats over the known labels."""
        known = ~targets.isnan()
        nats = losses.binary_cross_entropy(log_odds(predictions.probabilities), torch.where(known, targets, 0))
        return (nats * known).sum(1) / known.sum(1).clamp(min=1)

    def metric(self) -> LabelsMetric:
        return LabelsMetric(self.decide, self.loss_of, lambda predictions: predictions.probabilities)

    def loss_of(self, predictions: LabelPredictions, targets: Tensor, weights: Tensor) -> Term:
        """The loss that these predictions would have had in training."""
        return self._term(log_odds(predictions.probabilities), targets, weights)

    def describe(self, predictions: LabelPredictions, row: int) -> dict[str, Any]:
        p = predictions.probabilities[row].float()
        answers = self.decide(predictions)[row]
        names = [name for name, answer in zip(self.classes, answers, strict=True) if answer]
        sure = torch.maximum(p, 1 - p).min()  # the least sure of its answers
        each = {name: float(p[k]) for k, name in enumerate(self.classes)}
        return {"prediction": ", ".join(names) or "none", "labels": names, "confidence": float(sure), "each": each}

    def details(self, predictions: Any, targets: Tensor, weights: Tensor | None = None) -> dict[str, Any]:
        """Counts (without example weights) of the examples whose weight is not 0."""
        metric = self.metric()
        counted = slice(None) if weights is None else weights > 0
        metric.update(predictions.take(counted), targets[counted])
        tp, fp, fn = (metric.sum(name).numpy() for name in ("tp", "fp", "fn"))
        return {"per_class": rows(self.classes, metric.per_class(), tp, tp + fp, tp + fn)}

    def truth(self, targets: Tensor, row: int) -> str:
        return ", ".join(name for name, y in zip(self.classes, targets[row], strict=True) if y > 0.5) or "none"


def log_odds_of(present: np.ndarray, absent: np.ndarray) -> np.ndarray:
    """ln(p / (1 − p)) of the shares present / (present + absent), within the limits of PRIOR_LIMIT."""
    p = np.clip(present / np.maximum(present + absent, 1e-9), PRIOR_LIMIT, 1 - PRIOR_LIMIT)
    return np.log(p / (1 - p))


def log_odds(probabilities: Tensor) -> Tensor:
    """ln(p / (1 − p)), finite also where p rounds to 0 or 1."""
    return torch.logit(probabilities, eps=HALF_STEP)

"""What tasks share whose target is one of K classes: predictions, counts, scores, and classes that weigh differently.

Targets (B,) int64 in 0 … K − 1. An example counts w·c_y: w is its own weight, c that of its class.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor

from hubel.errors import UserError
from hubel.metrics.calibration import reliability
from hubel.metrics.confusion import Classes, confusion_matrix
from hubel.metrics.report import class_rows
from hubel.ops import losses
from hubel.predictions import Predictions
from hubel.tasks.base import Metric, Objective, Task
from hubel.tasks.checks import check_balance, check_numbers, needs_column
from hubel.types import Term

if TYPE_CHECKING:
    from hubel.data.dataset import Dataset


@dataclass(frozen=True)
class ClassPredictions(Predictions):
    """How probable each class is."""

    probabilities: Tensor  # (B, K) fp32, rows add up to 1

    @property
    def labels(self) -> Tensor:
        """(B,) int64: the most probable class."""
        return self.probabilities.argmax(1)


@dataclass(frozen=True)
class OneOfK(Task):
    """What all tasks share whose target is one of K classes; a subclass brings name, loss and predict."""

    classes: tuple[str, ...]
    target: str = "label"  # the column of annotations: (N,) int64 in 0 … K − 1

    primary = Objective("accuracy")

    @property
    def width(self) -> int:
        return len(self.classes)

    def accepts(self, dataset: Dataset) -> None:
        if len(self.classes) < 2:
            raise UserError(
                f"The task '{self.name}' needs at least two classes to choose from; '{dataset.name}' has "
                f"{len(self.classes)} ({', '.join(self.classes) or 'none'}). Add images of another class."
            )
        labels = needs_column(self, dataset, "one class")
        if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
            raise UserError(
                f"The column '{self.target}' must hold one whole number for each image, shape ({len(labels)},); it "
                f"holds {labels.dtype} of shape {labels.shape}. For several labels per image use --task labels."
            )
        counted = self._counted(dataset)
        outside = np.unique(labels[counted & ((labels < 0) | (labels >= len(self.classes)))])
        if len(outside):
            raise UserError(
                f"The column '{self.target}' must hold classes 0 … {len(self.classes) - 1}; it also holds "
                f"{', '.join(map(str, outside[:5]))}. Name every class, or correct these labels."
            )

    def _counted(self, dataset: Dataset) -> np.ndarray:
        valid = dataset.annotations.get(f"{self.target}.valid")
        counted = np.asarray(dataset.weights) > 0
        return counted if valid is None else counted & np.asarray(valid, dtype=bool)

    def counts(self, dataset: Dataset, index: np.ndarray) -> np.ndarray:
        """(K,) how many of the examples `index` carry each class; those of weight 0 are left out."""
        index = index[self._counted(dataset)[index]]
        return np.bincount(np.asarray(dataset.annotations[self.target])[index], minlength=len(self.classes))

    def decide(self, predictions: Any) -> Tensor:
        """(B,) int64: the class that is answered."""
        return predictions.labels

    def right(self, predictions: Any, targets: Tensor) -> Tensor:
        answers = self.decide(predictions)
        return answers == targets.to(answers.device)

    def ratio(self, predictions: Any, targets: Tensor) -> tuple[Tensor, Tensor] | None:
        """Accuracy: who is right, and everybody."""
        right = self.right(predictions, targets).float()
        return (right, torch.ones_like(right)) if self.primary.metric == "accuracy" else None

    def confidence(self, predictions: Any) -> Tensor | None:
        """(B,) the probability of the answer; None where the task gives no probabilities."""
        return predictions.probabilities.amax(1)

    def entropy(self, predictions: Any) -> Tensor | None:
        """−Σ p ln p."""
        return torch.special.entr(predictions.probabilities).sum(1)

    def scores(self, predictions: Any, targets: Tensor) -> Tensor:
        """−ln p_y, nats."""
        return losses.cross_entropy(log(predictions.probabilities), targets.clamp(min=0))

    def metric(self) -> Classes:
        return Classes(len(self.classes), self.decide, self.loss_of, lambda predictions: predictions.probabilities)

    def train_metric(self) -> Metric:
        metric = self.metric()
        return metric.without_loss() if type(metric) is Classes else metric

    def loss_of(self, predictions: Any, targets: Tensor, weights: Tensor) -> Term:
        """The loss that these predictions would have had in training."""
        return losses.term(losses.cross_entropy(log(predictions.probabilities), targets), weights)

    def describe(self, predictions: Any, row: int) -> dict[str, Any]:
        p, order = predictions.probabilities[row].float().sort(descending=True, stable=True)
        top = [{"class": self.classes[int(k)], "probability": float(p[i])} for i, k in enumerate(order[:5])]
        return {"prediction": top[0]["class"], "confidence": top[0]["probability"], "top": top}

    def details(self, predictions: Any, targets: Tensor, weights: Tensor | None = None) -> dict[str, Any]:
        """Counts (without example weights) of the examples whose weight is not 0."""
        counted = torch.ones_like(targets, dtype=torch.bool) if weights is None else weights > 0
        answers, confidence = self.decide(predictions)[counted], self.confidence(predictions)
        matrix = confusion_matrix(targets[counted], answers, len(self.classes)).long().cpu().numpy()
        found: dict[str, Any] = {"confusion": matrix, "per_class": class_rows(self.classes, matrix)}
        if confidence is not None and len(answers):
            right = (answers == targets[counted]).cpu().numpy()
            found["calibration"] = reliability(confidence[counted].cpu().numpy(), right).row()
        return found

    def truth(self, targets: Tensor, row: int) -> str:
        return self.classes[int(targets[row])]


@dataclass(frozen=True)
class Weighed(OneOfK):
    """One of K classes that may count differently: given weights, or measured ones."""

    class_weights: tuple[float, ...] | None = None  # K numbers >= 0
    balance: bool = False  # class weights n / (K·n_k) from the training part

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers("class_weights", self.class_weights, len(self.classes))
        check_balance("class_weights", self.class_weights, self.balance)

    def fitted(self, dataset: Dataset, index: np.ndarray) -> Self:
        if not self.balance:
            return self
        return replace(self, class_weights=balanced(self.counts(dataset, index)), balance=False)

    def weighed(self, values: Tensor, targets: Tensor, weights: Tensor) -> Term:
        """(B,) losses as Σ w·c_y·loss and Σ w·c_y."""
        if self.class_weights is None:
            return losses.term(values, weights)
        c = torch.tensor(self.class_weights, device=targets.device)[targets]
        return losses.term(values * c, weights, scale=c)


def log(probabilities: Tensor) -> Tensor:
    """ln p, finite also where p is 0; as logits they give the same p."""
    return probabilities.clamp(min=torch.finfo(probabilities.dtype).tiny).log()


def balanced(counts: np.ndarray) -> tuple[float, ...]:
    """n / (K·n_k) over the K classes that occur: each then counts as much as any other; 1 for those that don't."""
    present = counts > 0
    weights = counts.sum() / (max(present.sum(), 1) * np.maximum(counts, 1))
    return tuple(float(w) for w in np.where(present, weights, 1.0))

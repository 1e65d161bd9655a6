"""Rosenblatt's perceptron: D(w) = −Σ t·(wᵀx + w₀) over the misclassified examples, t in {−1, +1}. Rosenblatt 1958.

Descending D with plain SGD, batch size 1 and rate η is the perceptron rule: after a mistake w ← w + η·t·x.
The answer is the second class (+1) where wᵀx + w₀ > 0. Two classes have one output (B, 1); K > 2 have K, the answer is
the largest, and a mistake moves the answer's weights away from x and those of the true class towards it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hubel.metrics.confusion import Classes
from hubel.ops import losses
from hubel.predictions import Predictions
from hubel.tasks import auxiliary
from hubel.tasks.one_of_k import OneOfK
from hubel.types import Batch, Term


@dataclass(frozen=True)
class ActivationPredictions(Predictions):
    """Raw activations; they are no probabilities."""

    activations: Tensor  # (B, 1) for two classes, (B, K) for more

    @property
    def labels(self) -> Tensor:
        """(B,) int64: the class that is answered."""
        z = self.activations
        return (z[:, 0] > 0).long() if z.shape[1] == 1 else z.argmax(1)


@dataclass(frozen=True)
class Perceptron(OneOfK):
    """One of K classes by the perceptron rule; batch size 1 and plain SGD are its recipe."""

    name = "perceptron"

    @property
    def width(self) -> int:
        return 1 if len(self.classes) == 2 else len(self.classes)

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, Term]:
        return auxiliary.terms(
            network, batch.images, "perceptron", lambda z: self._term(z, batch.targets, batch.weights)
        )

    def _term(self, activations: Tensor, targets: Tensor, weights: Tensor) -> Term:
        return losses.term(self._distance(activations, torch.where(weights > 0, targets, 0)), weights)

    def _distance(self, activations: Tensor, targets: Tensor) -> Tensor:
        if len(self.classes) == 2:
            return losses.perceptron(activations.reshape(-1), 2 * targets - 1)
        return losses.perceptron_of_many(activations, targets)

    def predict(self, network: nn.Module, batch: Batch, outputs: Any = None) -> ActivationPredictions:
        z = network(batch.images) if outputs is None else outputs
        return ActivationPredictions(losses.precise(z).reshape(z.shape[0], -1))

    def confidence(self, predictions: Any) -> None:
        return None

    def entropy(self, predictions: Any) -> None:
        return None

    def scores(self, predictions: Any, targets: Tensor) -> Tensor:
        """D of the example plus how far a right answer is from the boundary, negative: larger is worse."""
        z, y = predictions.activations, targets.clamp(min=0)
        if len(self.classes) == 2:
            return -(2 * y - 1) * z[:, 0]
        others = z.scatter(1, y[:, None], -torch.inf).amax(1)
        return others - z.gather(1, y[:, None])[:, 0]

    def metric(self) -> Classes:
        return Classes(len(self.classes), self.decide, self.loss_of, lambda predictions: predictions.activations)

    def loss_of(self, predictions: Any, targets: Tensor, weights: Tensor) -> Term:
        return self._term(predictions.activations, targets, weights)

    def describe(self, predictions: Any, row: int) -> dict[str, Any]:
        z = [float(v) for v in predictions.activations[row]]
        return {"prediction": self.classes[int(self.decide(predictions)[row])], "activations": z}

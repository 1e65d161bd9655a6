"""Exactly one of K classes: softmax and cross-entropy, L = Σ wᵢ·c_yᵢ·(−ln p_yᵢ) / Σ wᵢ·c_yᵢ.

w weighs examples, c classes. With fresh weights near zero L = ln K. Outputs (B, K), targets (B,) int64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hubel.ops import losses
from hubel.tasks import auxiliary
from hubel.tasks.base import mixed
from hubel.tasks.checks import check_range
from hubel.tasks.one_of_k import ClassPredictions, Weighed, log
from hubel.types import Batch, Term


@dataclass(frozen=True)
class Classification(Weighed):
    """Exactly one of K classes: softmax and cross-entropy."""

    smoothing: float = 0.0  # in [0, 1): the share of the target that is spread over all classes

    name = "classification"
    mixes = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("smoothing", self.smoothing, 0, 1, closed=True)

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, Term]:
        def term(logits: Tensor) -> Term:
            return mixed(batch, lambda targets, weights: self._term(logits, targets, weights))

        return auxiliary.terms(network, batch.images, "cross_entropy", term)

    def _term(self, logits: Tensor, targets: Tensor, weights: Tensor) -> Term:
        targets = torch.where(weights > 0, targets, 0)  # an example of weight 0 may have no class
        c = None if self.class_weights is None else torch.tensor(self.class_weights, device=targets.device)
        nats = losses.cross_entropy(logits, targets, smoothing=self.smoothing, class_weights=c)
        return losses.term(nats, weights, scale=None if c is None else c[targets])

    def loss_of(self, predictions: ClassPredictions, targets: Tensor, weights: Tensor) -> Term:
        return self._term(log(predictions.probabilities), targets, weights)

    def predict(self, network: nn.Module, batch: Batch, outputs: Any = None) -> ClassPredictions:
        logits = network(batch.images) if outputs is None else outputs
        return ClassPredictions(losses.precise(logits).softmax(1))

"""One of two classes by one number z: a sigmoid for 0/1, or tanh for −1/+1.

sigmoid: p = σ(z), tanh: p = (1 + tanh z)/2 = σ(2z), the probability of the second class.
logistic: −ln of the true class's p.  squared: (p − y)² for 0/1, (tanh z − t)² for −1/+1. Outputs (B, 1), targets (B,).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from hubel.errors import UserError
from hubel.metrics.confusion import Classes
from hubel.ops import losses
from hubel.predictions import Predictions
from hubel.tasks import auxiliary
from hubel.tasks.base import mixed
from hubel.tasks.checks import check_range
from hubel.tasks.labels import log_odds, log_odds_of
from hubel.tasks.one_of_k import Weighed
from hubel.tasks.prior import write_prior
from hubel.types import Batch, Term

if TYPE_CHECKING:
    from hubel.data.dataset import Dataset


@dataclass(frozen=True)
class BinaryPredictions(Predictions):
    """How probable the second class is."""

    probabilities: Tensor  # (B,) fp32 in [0, 1]


@dataclass(frozen=True)
class Binary(Weighed):
    """One of two classes by one number: a sigmoid (0/1) or tanh (−1/+1)."""

    output: str = "sigmoid"  # or "tanh"
    error: str = "logistic"  # or "squared"
    threshold: float = 0.5  # in (0, 1): the second class is answered where it is more probable

    name = "binary"
    mixes = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for option, value, words in (
            ("output", self.output, ("sigmoid", "tanh")),
            ("error", self.error, ("logistic", "squared")),
        ):
            if value not in words:
                raise UserError(f"Option '{option}' is one of {', '.join(words)}; got '{value}'.")
        check_range("threshold", self.threshold, 0, 1)

    @property
    def width(self) -> int:
        return 1

    def accepts(self, dataset: Dataset) -> None:
        if len(self.classes) != 2:
            raise UserError(
                f"The task 'binary' needs exactly two classes; '{dataset.name}' has {len(self.classes)}. "
                "Use --task classification."
            )
        super().accepts(dataset)

    def prepare(self, network: nn.Module, dataset: Dataset, index: np.ndarray) -> None:
        """The last bias starts where p is the share of the second class in training."""
        first, second = self.counts(dataset, index) * np.asarray(self.class_weights or (1.0, 1.0))
        write_prior(network, log_odds_of(second[None], first[None]) / self._slope)

    @property
    def _slope(self) -> float:
        return 2.0 if self.output == "tanh" else 1.0

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, Term]:
        def term(outputs: Tensor) -> Term:
            odds = self._slope * losses.precise(outputs).reshape(-1)
            return mixed(batch, lambda targets, weights: self._term(odds, targets, weights))

        return auxiliary.terms(network, batch.images, self._term_name, term)

    @property
    def _term_name(self) -> str:
        return "cross_entropy" if self.error == "logistic" else "squared_error"

    def _term(self, odds: Tensor, targets: Tensor, weights: Tensor) -> Term:
        """From log-odds (B,)."""
        y = torch.where(weights > 0, targets, 0)
        if self.error == "logistic":
            values = losses.binary_cross_entropy(odds, y)
        else:
            values = losses.squared(odds.sigmoid(), y) * self._slope**2  # tanh z − t = 2(p − y)
        return self.weighed(values, y, weights)

    def predict(self, network: nn.Module, batch: Batch, outputs: Any = None) -> BinaryPredictions:
        z = network(batch.images) if outputs is None else outputs
        return BinaryPredictions((self._slope * losses.precise(z).reshape(-1)).sigmoid())

    def confidence(self, predictions: BinaryPredictions) -> Tensor:
        p = predictions.probabilities
        return torch.where(self.decide(predictions) == 1, p, 1 - p)

    def entropy(self, predictions: BinaryPredictions) -> Tensor:
        p = predictions.probabilities
        return torch.special.entr(p) + torch.special.entr(1 - p)

    def decide(self, predictions: BinaryPredictions) -> Tensor:
        return (predictions.probabilities > self.threshold).long()

    def scores(self, predictions: BinaryPredictions, targets: Tensor) -> Tensor:
        """−ln p of the true class, nats."""
        return losses.binary_cross_entropy(log_odds(predictions.probabilities), targets.clamp(min=0))

    def metric(self) -> Classes:
        return Classes(2, self.decide, self.loss_of)

    def loss_of(self, predictions: BinaryPredictions, targets: Tensor, weights: Tensor) -> Term:
        return self._term(log_odds(predictions.probabilities), targets, weights)

    def describe(self, predictions: BinaryPredictions, row: int) -> dict[str, Any]:
        p, answer = float(predictions.probabilities[row]), int(self.decide(predictions)[row])
        top = [{"class": self.classes[1], "probability": p}, {"class": self.classes[0], "probability": 1 - p}]
        top.sort(key=lambda one: -one["probability"])  # type: ignore[operator]
        return {"prediction": self.classes[answer], "confidence": p if answer else 1 - p, "top": top}

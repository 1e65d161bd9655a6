"""One or many numbers. The network learns the standardised target t = (y − mean) / deviation of the training part.

mse: (z − t)², Gaussian noise; huber: bounded pull of outliers; bins: softmax over equally spaced centres c from the
lowest to the highest target of the training part, predicts Σ p·c. Outputs (B, D), for bins (B, D·bins); targets
(B, D) float32, NaN where unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from hubel.errors import UserError
from hubel.metrics.numbers import Numbers
from hubel.ops import losses
from hubel.predictions import Predictions
from hubel.tasks import auxiliary
from hubel.tasks.base import Objective, Task, mixed
from hubel.tasks.checks import check_range, needs_column
from hubel.tasks.one_of_k import log
from hubel.types import Batch, Term

if TYPE_CHECKING:
    from hubel.data.dataset import Dataset

ERRORS = ("mse", "huber", "bins")


@dataclass(frozen=True)
class NumberPredictions(Predictions):
    """Numbers in the units of the targets."""

    values: Tensor  # (B, D) fp32
    probabilities: Tensor | None = None  # (B, D, bins) where the task has bins


@dataclass(frozen=True)
class Regression(Task):
    """One or many numbers per image: squared error, Huber's, or softmax over bins."""

    names: tuple[str, ...] = ()  # of the D numbers; fitted
    error: str = "mse"  # "mse", "huber" or "bins"
    delta: float = 1.0  # huber: where the loss turns linear, in deviations of the target
    bins: int = 32  # bins: how many centres, >= 2
    target: str = "numbers"  # the column of annotations: (N, D) float32
    statistics: tuple[tuple[float, ...], ...] = ()  # fitted: mean, deviation, lowest, highest, each D numbers

    name = "regression"
    mixes = True
    primary = Objective("mae", higher_is_better=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.error not in ERRORS:
            raise UserError(f"Option 'error' is one of {', '.join(ERRORS)}; got '{self.error}'.")
        if type(self.bins) is not int or self.bins < 2:
            raise UserError(f"Option 'bins' needs a whole number of at least 2; got {self.bins}.")
        check_range("delta", self.delta, 0, float("inf"))
        for option, needed, default in (("delta", "huber", 1.0), ("bins", "bins", 32)):
            if getattr(self, option) != default and self.error != needed:
                raise UserError(f"Option '{option}' applies to error '{needed}' only, not to '{self.error}'.")

    @property
    def width(self) -> int:
        return len(self.names) * (self.bins if self.error == "bins" else 1)

    def accepts(self, dataset: Dataset) -> None:
        found = needs_column(self, dataset, "one or more numbers")
        if found.ndim != 2 or not np.issubdtype(found.dtype, np.floating) or found.shape[1] < 1:
            raise UserError(
                f"The column '{self.target}' must hold floating point numbers of shape (N, D); it holds {found.dtype} "
                f"of shape {found.shape}."
            )
        if np.isinf(found).any() or np.isnan(found).all(axis=0).any():
            raise UserError(
                f"The column '{self.target}' must hold finite numbers, or NaN where unknown; it holds infinite "
                "ones, or a column without any number."
            )
        if self.names and len(self.names) != found.shape[1]:
            raise UserError(f"{len(self.names)} names were given for {found.shape[1]} numbers per image.")

    def fitted(self, dataset: Dataset, index: np.ndarray) -> Self:
        index = index[np.asarray(dataset.weights)[index] > 0]
        y = np.asarray(dataset.annotations[self.target], dtype=np.float64)[index]
        if not len(y) or np.isnan(y).all(axis=0).any():
            raise UserError("The training part holds no known number to learn from. Change the split.")
        names = self.names or (dataset.classes if len(dataset.classes) == y.shape[1] else _names(y.shape[1]))
        low, high = np.nanmin(y, axis=0), np.nanmax(y, axis=0)
        deviation = np.nanstd(y, axis=0)
        deviation = np.where(deviation > 1e-9 * np.abs(y).max(initial=0, where=~np.isnan(y)), deviation, 1.0)
        high = np.where(high > low, high, low + deviation)  # all targets equal: any width will do
        rows = (np.nanmean(y, axis=0), deviation, low, high)
        return replace(self, names=tuple(names), statistics=tuple(tuple(float(v) for v in row) for row in rows))

    def _statistics(self, like: Tensor) -> Tensor:
        """(4, D): mean, deviation, lowest, highest."""
        if not self.statistics:
            raise UserError("This regression was not fitted: call task.fitted(dataset, index) before training.")
        return torch.tensor(self.statistics, dtype=losses.precise(like).dtype, device=like.device)

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, Term]:
        def term(outputs: Tensor) -> Term:
            return mixed(batch, lambda targets, weights: self._term(outputs, targets, weights))

        return auxiliary.terms(network, batch.images, self._term_name, term)

    @property
    def _term_name(self) -> str:
        return {"mse": "squared_error", "huber": "huber", "bins": "cross_entropy"}[self.error]

    def _term(self, outputs: Tensor, targets: Tensor, weights: Tensor) -> Term:
        """Outputs (B, width), standardised or logits."""
        mean, deviation, low, high = self._statistics(outputs)
        known = ~targets.isnan() & (weights > 0)[:, None]
        y = torch.where(known, targets, mean.to(targets.dtype))
        if self.error == "bins":
            logits = outputs.reshape(len(outputs), len(self.names), self.bins)
            values = losses.bins_cross_entropy(logits, y, low, high)
        else:
            z, t = outputs.reshape(y.shape), (y - mean) / deviation
            values = losses.squared(z, t) if self.error == "mse" else losses.huber(z, t, self.delta)
        return losses.term(values, weights, scale=known)

    def predict(self, network: nn.Module, batch: Batch, outputs: Any = None) -> NumberPredictions:
        found = losses.precise(network(batch.images) if outputs is None else outputs)
        mean, deviation, low, high = self._statistics(found)
        if self.error != "bins":
            return NumberPredictions(mean + deviation * found.reshape(found.shape[0], len(self.names)))
        p = found.reshape(found.shape[0], len(self.names), self.bins).softmax(-1)
        share = (p * torch.linspace(0, 1, self.bins, dtype=p.dtype, device=p.device)).sum(-1)  # in [0, 1]
        return NumberPredictions(low + (high - low) * share, p)

    def scores(self, predictions: NumberPredictions, targets: Tensor) -> Tensor:
        """Mean absolute error in deviations of the target, over the known numbers."""
        known = ~targets.isnan()
        error = torch.where(known, predictions.values - targets, 0).abs() / self._statistics(targets)[1]
        return error.sum(1) / known.sum(1).clamp(min=1)

    def metric(self) -> Numbers:
        return Numbers(self.names, lambda predictions: predictions.values, self.loss_of)

    def loss_of(self, predictions: NumberPredictions, targets: Tensor, weights: Tensor) -> Term:
        """The loss that these predictions would have had in training."""
        if self.error == "bins" and predictions.probabilities is not None:
            return self._term(log(predictions.probabilities), targets, weights)
        mean, deviation, *_ = self._statistics(predictions.values)
        return self._term((predictions.values - mean) / deviation, targets, weights)

    def describe(self, predictions: NumberPredictions, row: int) -> dict[str, Any]:
        each = {name: float(v) for name, v in zip(self.names, predictions.values[row], strict=True)}
        return {"prediction": _words(each), "numbers": each}

    def details(self, predictions: Any, targets: Any, weights: Tensor | None = None) -> dict[str, Any]:
        rows = slice(None) if weights is None else weights > 0
        truth, found = (t[rows].double().cpu().numpy() for t in (targets, predictions.values))
        return {"scatter": {"truth": truth, "prediction": found, "names": self.names}}

    def constant(
        self, details: Mapping[str, Any], learnt: Tensor, weights: Tensor | None = None
    ) -> tuple[str, float] | None:
        """The mean absolute error of always answering the median; `learnt` (B, D) numbers, NaN where none is known."""
        known = learnt[slice(None) if weights is None else weights > 0].double().cpu().numpy()
        errors = np.abs(details["scatter"]["truth"] - np.nanmedian(known, axis=0))
        return "always answering the median of the training part", float(np.nanmean(errors, axis=0).mean())

    def truth(self, targets: Tensor, row: int) -> str:
        return _words({name: float(v) for name, v in zip(self.names, targets[row], strict=True)})


def _names(count: int) -> tuple[str, ...]:
    return ("number",) if count == 1 else tuple(f"number {i + 1}" for i in range(count))


def _words(each: dict[str, float]) -> str:
    if len(each) == 1:
        return f"{next(iter(each.values())):.4g}"
    return ", ".join(f"{name}: {value:.4g}" for name, value in each.items())

"""Regression: mean absolute error, root mean squared error and R² = 1 − Σ(y − ŷ)² / Σ(y − ȳ)². D numbers.

NaN targets (unknown) are counted nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from hubel.metrics.base import Streaming, ones_like_batch, ratio
from hubel.types import Term


class Numbers(Streaming):
    """mae, rmse and r2, averaged over the D numbers; with several, also `mae.NAME` and `r2.NAME` of each.

    `values` gives the predicted numbers (B, D) of predictions, `loss` their Term.
    """

    def __init__(
        self, names: Sequence[str], values: Callable[[Any], Tensor], loss: Callable[[Any, Tensor, Tensor], Term]
    ):
        super().__init__()
        self.names, self._values, self._loss = tuple(names), values, loss

    def update(self, predictions: Any, targets: Tensor, weights: Tensor | None = None) -> None:
        found = self._values(predictions)
        targets = targets.to(found.device)
        w = ones_like_batch(weights, found)
        known = ~targets.isnan() & (w > 0)[:, None]
        y = torch.where(known, targets, 0).to(w.dtype)
        error = torch.where(known, found - targets, 0).to(w.dtype)
        counted = w[:, None] * known
        if "shift" not in self._rows:  # sums of squares around a typical value: no cancellation for large numbers
            self.keep("shift", (y * known).sum(0, keepdim=True) / known.sum(0, keepdim=True).clamp(min=1))
        self._add(y - self._rows["shift"][0].to(y.device), error, counted)
        loss = self._loss(predictions, targets, w)
        self.add("loss", loss.sum)
        self.add("count", torch.as_tensor(loss.count))

    def _add(self, y: Tensor, error: Tensor, counted: Tensor) -> None:
        for name, value in (("n", 1.0), ("abs", error.abs()), ("squares", error**2), ("y", y), ("yy", y**2)):
            self.add(name, (counted * value).sum(0))

    def merge(self, state: Any) -> None:
        """Sums around another shift are moved to ours: Σ(y − a) = Σ(y − b) + n·(b − a), and so for the squares."""
        state = dict(state)
        if "rows.shift" in state and "shift" in self._rows:
            step = state.pop("rows.shift") - self._rows["shift"][0].cpu()
            n, y, yy = (state[f"sum.{name}"] for name in ("n", "y", "yy"))
            state["sum.y"], state["sum.yy"] = y + n * step[0], yy + 2 * step[0] * y + n * step[0] ** 2
        super().merge(state)

    def each(self) -> dict[str, Tensor]:
        """{"mae", "rmse", "r2"}, each (D,); r2 is NaN where all targets are equal."""
        n, absolute, squares, y, yy = (self.sum(name) for name in ("n", "abs", "squares", "y", "yy"))
        spread = (yy - ratio(y**2, n)).clamp(min=0)
        return {"mae": ratio(absolute, n), "rmse": ratio(squares, n).sqrt(), "r2": 1 - ratio(squares, spread)}

    def compute(self) -> dict[str, float]:
        """In the units of the targets. NaN where nothing was seen."""
        each = self.each()
        found = {name: float(values.mean()) for name, values in each.items()}
        found["loss"] = float(ratio(self.sum("loss"), self.sum("count")))
        if len(self.names) > 1 and each["mae"].dim():
            for metric in ("mae", "r2"):
                found |= {f"{metric}.{name}": float(v) for name, v in zip(self.names, each[metric], strict=True)}
        return found

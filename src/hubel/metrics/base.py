"""Streaming over batches and processes: a metric is named sums, and rows where a sum is not enough.

Sums are kept in fp64 on the device of the predictions, so that a GPU never waits for an update; `compute` and `state`
read them. merge(state) of several processes, or load(state) and going on, equals one metric that saw everything.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def ratio(a: Tensor, b: Tensor) -> Tensor:
    """a / b, and NaN where b is 0: not measured is not zero."""
    return torch.where(b != 0, a / torch.where(b != 0, b, 1), torch.nan)


class Streaming:
    """Base of metrics: a subclass defines update(predictions, targets, weights=None), compute() -> {name: float}."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._rows: dict[str, list[Tensor]] = {}

    def add(self, name: str, value: Tensor) -> None:
        """Add `value` (any shape, the same each time) to the sum called `name`."""
        value = value.detach()
        value = value.to(torch.float32 if value.device.type == "mps" else torch.float64)
        before = self._sums.get(name)
        self._sums[name] = value if before is None else before.to(value.device) + value

    def keep(self, name: str, rows: Tensor) -> None:
        """Keep `rows` (B, …) as they are, for metrics that rank all examples."""
        self._rows.setdefault(name, []).append(rows.detach())

    def sum(self, name: str) -> Tensor:
        """The sum so far, fp64 on the CPU; 0 where nothing came."""
        return self._sums.get(name, torch.zeros(())).cpu().double()

    def rows(self, name: str) -> Tensor:
        """All rows so far, on the CPU, in the order in which they came."""
        parts = [part.cpu() for part in self._rows.get(name, [])]
        return torch.cat(parts) if parts else torch.zeros(0)

    def state(self) -> dict[str, Tensor]:
        """Everything seen so far, on the CPU: what a checkpoint saves and what another process merges."""
        sums = {f"sum.{name}": self.sum(name) for name in self._sums}
        return sums | {f"rows.{name}": self.rows(name) for name in self._rows}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from `state`; what was seen before is forgotten."""
        self._sums, self._rows = {}, {}
        self.merge(state)

    def merge(self, state: Mapping[str, Tensor]) -> None:
        """Add what another process saw."""
        for key, value in state.items():
            kind, _, name = key.partition(".")
            if kind == "sum":
                self.add(name, value)
            else:
                self.keep(name, value)


def ones_like_batch(weights: Tensor | None, like: Tensor) -> Tensor:
    """(B,) weights in fp64 (fp32 on mps): 1 each where none are given."""
    kind = torch.float32 if like.device.type == "mps" else torch.float64
    if weights is None:
        return torch.ones(len(like), dtype=kind, device=like.device)
    return weights.to(like.device, kind)

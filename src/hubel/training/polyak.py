"""The mean of the weights over the last part of a training: m = (w_s + … + w_t) / (t − s + 1) (Polyak & Juditsky 1992).

Where the running average (ema.py) forgets exponentially, here every step from s on counts the same. It pays where the
rate stays high: the steps then wander about a minimum, and their mean lies nearer to it than most of them. Running
statistics of batch norm are averaged like the weights; integer buffers are copied.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from hubel.recipe import Recipe, RegularizeOptions
from hubel.training.callbacks import Callback
from hubel.training.ema import EMA


class Mean(EMA):
    """The mean over all steps but the first `skip`, as a running mean: m ← m + (w − m) / k. Used as an EMA is."""

    def __init__(self, network: nn.Module, skip: int | None = None):
        super().__init__(network, decay=0.0)
        self.skip, self.seen = skip, 0

    def share(self) -> float:
        return 1 / (self.steps + 1)

    def update(self, network: nn.Module) -> None:
        self.seen += 1
        if self.seen > (self.skip or 0):
            super().update(network)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "seen": self.seen, "skip": self.skip}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Where the training became longer its last part begins later, and the mean may have to begin anew."""
        super().load_state_dict(state)
        self.seen, self.skip = int(state["seen"]), state["skip"] if self.skip is None else self.skip
        if self.seen <= (self.skip or 0):
            self.steps = 0


def create_average(network: nn.Module, options: RegularizeOptions) -> EMA | None:
    """What --regularize.ema or --regularize.mean ask for; of a mean the training says when it begins."""
    if options.ema:
        return EMA(network, options.ema)
    return Mean(network) if options.mean else None


class LastPart(Callback):
    """Says when the last part of a training begins."""

    def on_start(self, loop: Any) -> None:
        loop.descent.lasts(loop.epochs * loop.steps_per_epoch)


def listeners(recipe: Recipe) -> list[Callback]:
    return [LastPart()] if recipe.regularize.mean else []

"""What an epoch amounts to: mean losses, the training metric from the same passes, speed, and waiting for data."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hubel.data.loader import Loader
from hubel.tasks.base import Task
from hubel.training import distributed
from hubel.training.monitor import NotFiniteError
from hubel.types import Batch


class Tally:
    """Of the epoch that begins now. The losses stay on the device until somebody asks."""

    def __init__(self, task: Task, loader: Loader):
        self.task, self.loader = task, loader
        self.sums: dict[str, Tensor] = {}
        self.metric = task.train_metric()
        self.measured = self.images = 0
        self.started = time.monotonic()
        loader.wait_seconds = 0.0

    def add(self, losses: Mapping[str, Tensor], images: int) -> None:
        """One step's losses, and how many images all processes saw in it."""
        for name, loss in losses.items():
            before, now = self.sums.get(name), loss.detach().float()
            self.sums[name] = now if before is None else before + now
        self.images += images

    @torch.no_grad()
    def measure(self, learner: nn.Module, batch: Batch, outputs: Any) -> None:
        """One step's outputs; None where its pass left none."""
        if outputs is not None:
            self.metric.update(self.task.predict(learner, batch, outputs), batch.targets, batch.weights)
            self.measured += 1

    def look(self, step: int) -> None:
        """Raises NotFiniteError where a loss since the epoch's start was not finite."""
        if not all(bool(torch.isfinite(loss)) for loss in self.sums.values()):
            raise NotFiniteError("the loss is not finite", step)

    def row(self, steps: int) -> dict[str, float]:
        """The epoch's part of the history: mean losses over `steps`, and the metric of all processes."""
        means = {name: float(total) / max(steps, 1) for name, total in self.sums.items()}
        found = {**means, "loss": sum(float(total) for total in self.sums.values()) / max(steps, 1)}
        if self.measured:
            found |= {name: value for name, value in self._merged().compute().items() if name != "loss"}
        return {f"train.{name}": value for name, value in found.items()}

    def _merged(self) -> Any:
        """What all processes saw."""
        if distributed.world() == 1:
            return self.metric
        whole = self.task.train_metric()
        for state in distributed.gather(self.metric.state()):
            whole.merge(state)
        return whole

    # Time -------------------------------------------------------------------------------------------------

    def speed(self) -> dict[str, float]:
        """Images a second, and the share of the time that went into waiting for data, in [0, 1]."""
        seconds = max(self.seconds(), 1e-9)
        waited = min(self.loader.wait_seconds / seconds, 1.0)
        return {"images_per_second": self.images / seconds, "wait_share": waited}

    def seconds(self) -> float:
        return time.monotonic() - self.started

    # Saving and coming back -------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        counts = {"sums": self.sums, "images": self.images, "measured": self.measured}
        return {"epoch": counts, "metric": distributed.gather(self.metric.state())}

    def restore(self, state: Mapping[str, Any], device: torch.device) -> None:
        counts = state["epoch"]
        self.sums = {name: loss.to(device) for name, loss in counts["sums"].items()}
        self.images, self.measured = counts["images"], counts["measured"]
        self.metric.load(state["metric"][distributed.rank()])

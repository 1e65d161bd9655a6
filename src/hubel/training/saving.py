"""A training's checkpoints: `last`, to go on from, and `best`, the weights that are kept."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from hubel.training import checkpoint, distributed

SECONDS = 300  # a checkpoint at least so often, whatever the length of an epoch
SHARE = 1 / 20  # of the time that short epochs of a large network spend on checkpoints, at most
QUICK = 0.1  # seconds: a checkpoint that takes no longer is written at every epoch's end


class Saving:
    """In folder/checkpoints; `every`: steps between checkpoints, None: only as time passes."""

    def __init__(self, folder: Path, every: int | None):
        self.folder, self.every = folder / "checkpoints", every
        self.saved, self.took = time.monotonic(), 0.0
        self.skipped = False  # was the end of the last epoch left out?

    def due(self, step: int) -> bool:
        """By the number of steps; by the clock where no other process has to agree."""
        if self.every is not None and step % self.every == 0:
            return True
        return distributed.world() == 1 and time.monotonic() - self.saved > SECONDS

    def worthwhile(self, device: torch.device) -> bool:
        """At an epoch's end: are there at least 1 / SHARE times as many seconds to lose as the last checkpoint took?"""
        waited = time.monotonic() - self.saved
        now = self.every is not None or self.took < QUICK or waited > self.took / SHARE
        self.skipped = not distributed.anywhere(now, device)
        return not self.skipped

    def save_last(self, state: Mapping[str, Any]) -> None:
        began = time.monotonic()
        if distributed.is_main():
            checkpoint.save(self.folder / "last", state)
        self.saved = time.monotonic()
        self.took, self.skipped = self.saved - began, False
        distributed.barrier()

    def load_last(self) -> dict[str, Any]:
        return checkpoint.load(self.folder / "last")

    def save_best(self, state: Mapping[str, Any]) -> None:
        if distributed.is_main():
            checkpoint.save(self.folder / "best", state, keep=1)

"""A training's checkpoints: `last`, to go on from, and `best`, the weights that are kept."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hubel.training import checkpoint, distributed

SECONDS = 300  # a checkpoint at least so often, whatever the length of an epoch


class Saving:
    """In folder/checkpoints; `every`: steps between checkpoints, None: only as time passes."""

    def __init__(self, folder: Path, every: int | None):
        self.folder, self.every = folder / "checkpoints", every
        self.saved = time.monotonic()

    def due(self, step: int) -> bool:
        """By the number of steps; by the clock where no other process has to agree."""
        if self.every is not None and step % self.every == 0:
            return True
        return distributed.world() == 1 and time.monotonic() - self.saved > SECONDS

    def save_last(self, state: Mapping[str, Any]) -> None:
        if distributed.is_main():
            checkpoint.save(self.folder / "last", state)
        self.saved = time.monotonic()
        distributed.barrier()

    def load_last(self) -> dict[str, Any]:
        return checkpoint.load(self.folder / "last")

    def save_best(self, state: Mapping[str, Any]) -> None:
        if distributed.is_main():
            checkpoint.save(self.folder / "best", state, keep=1)

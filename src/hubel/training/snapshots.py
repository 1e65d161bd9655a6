"""Snapshots: the weights at the end of each cycle of the rate, one training's ensemble (arXiv:1704.00109).

    hubel train photos/ --schedule cyclic --schedule.cycles 5 --epochs 40
    hubel evaluate RUN --snapshots

checkpoints/snapshots/<cycle>/ holds them: the weights themselves, not their running average, which reaches back into
the cycle before. Where a cycle ends is a pure function of the step, so a resumed training keeps the same ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from hubel.errors import UserError
from hubel.training import checkpoint, distributed
from hubel.training.callbacks import Callback
from hubel.training.schedule import create_schedule

if TYPE_CHECKING:
    from hubel.recipe import Recipe

FOLDER = "snapshots"


class Snapshots(Callback):
    """Keeps the weights where a cycle ends."""

    def on_start(self, loop: Any) -> None:
        total = loop.epochs * loop.steps_per_epoch
        self.schedule = create_schedule(loop.recipe.schedule, total, loop.steps_per_epoch)

    def on_step(self, loop: Any, losses: Any) -> None:
        number = self.schedule.cycle_ending(loop.step - 1)
        if number and distributed.is_main():
            state = {"network": dict(loop.network.state_dict()), "step": loop.step}
            checkpoint.save(place(loop.folder, number), state, keep=1)


def listeners(recipe: Recipe) -> list[Callback]:
    return [Snapshots()] if recipe.schedule.name == "cyclic" else []


def place(run: Path, number: int) -> Path:
    """The folder of a snapshot, from 1."""
    return run / "checkpoints" / FOLDER / f"{number:03d}"


def load_snapshots(run: Path, most: int | None = None) -> dict[int, Mapping[str, Tensor]]:
    """The weights of the last `most` snapshots (None: all) by their number, the oldest first.

    Raises UserError where the run kept none, or fewer.
    """
    places = sorted((run / "checkpoints" / FOLDER).glob("*/*.json"))
    if not places:
        raise UserError(
            f"{run} kept no snapshots. They come with a rate that starts anew: hubel train … --schedule cyclic"
        )
    if most is not None and most > len(places):
        raise UserError(f"{run} kept {len(places)} snapshots, {most} were asked for.")
    chosen = places[-(most or len(places)) :]
    return {int(found.parent.name): checkpoint.load(found.parent)["network"] for found in chosen}

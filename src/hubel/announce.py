"""What a person hears of a training: what was found, what it will need, each epoch; and its rows of the history."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from hubel import facts
from hubel.session import Session
from hubel.training import distributed, plan
from hubel.training.callbacks import Callback
from hubel.training.loop import Loop
from hubel.training.run import RunFolder


class Report(Callback):
    """Between the loop and the run folder: history rows, and what the user sees."""

    def __init__(self, folder: RunFolder, progress: Any):
        self.folder, self.progress = folder, progress
        self._mean: float | None = None

    def on_start(self, loop: Loop) -> None:
        self.folder.rewrite_history(loop.history)
        self._started, self._first = time.monotonic(), loop.step
        epochs, steps = loop.recipe.epochs, loop.steps_per_epoch
        self.progress.start({"epochs": epochs, "steps": steps, "run": str(self.folder.path), "step": loop.step})

    def on_step(self, loop: Loop, losses: Mapping[str, Any]) -> None:
        if not self.progress.due():
            return
        seconds = time.monotonic() - self._started
        done = loop.step - self._first
        left = loop.epochs * loop.steps_per_epoch - loop.step
        values = {
            "epoch": loop.epoch + 1,
            "epochs": loop.recipe.epochs,
            "step": loop.batch,
            "steps": loop.steps_per_epoch,
            "loss": sum(float(loss) for loss in losses.values()),
            "images_per_second": loop.tally.images_per_second(),
            "wait_share": loop.tally.wait_share(),
            "seconds_left": seconds / done * left if done else None,
        }
        self.progress.step(values)

    def on_epoch(self, loop: Loop, row: Mapping[str, Any]) -> None:
        self.folder.append_history(dict(row))
        self.progress.epoch(dict(row))

    def say(self, text: str) -> None:
        self.progress.say(text)


def announce(session: Session, loop: Loop, folder: RunFolder, progress: Any) -> None:
    """What was found in the data, and what the training will need, before it starts."""
    found = estimate(session, loop)
    if not distributed.is_main():
        return
    for note in (*session.dataset.notes, *session.task.notes(session.dataset)):
        progress.say(note)
    bad = session.dataset.quarantine
    if bad:
        shown = "; ".join(f"{one.name}: {one.reason}" for one in bad[:3])
        progress.say(f"{len(bad)} files can't be used and are left out (quarantine.csv lists them): {shown}")
    parts = ", ".join(f"{name} {len(index):,}" for name, index in session.dataset.splits.items())
    progress.say(f"{session.dataset.name}: {parts} images; {facts.label(session)} on {session.device}")
    progress.say(session.preprocess.describe(session.dataset.images.sizes(200)))
    progress.say(str(found))
    warning = plan.room(folder.path, found.disk)
    if warning:
        progress.say(warning)
    folder.write_plan(found)


def estimate(session: Session, loop: Loop) -> plan.Plan:
    train = session.dataset.splits["train"]
    index = train[: max(min(loop.batch_size, len(train)), 1)]
    batch = next(iter(loop.data.plain.batches(index, 0, len(index))))
    if loop.course.features is not None and loop.feed is loop.course.features.data:
        batch = loop.course.features.sample(batch)
    judged = sum(len(v) for name, v in session.dataset.splits.items()) + len(session.dataset.splits.get("dev", ())) * (
        session.recipe.epochs or 1
    )
    return plan.estimate(
        loop.learner,
        session.task,
        batch,
        steps=(session.recipe.epochs or 1) * loop.steps_per_epoch,
        evaluations=-(-judged // loop.batch_size),
        optimizer=session.recipe.optimizer.name or "adamw",
        averaged=loop.descent.ema is not None,
        resident=loop.data.train.resident_bytes,
        autocast=loop.autocast,
    )


class Silent:
    """A progress that says nothing: for all processes but the first."""

    def due(self) -> bool:
        return False

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **options: None

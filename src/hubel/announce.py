"""What a person hears of a training: what was found, what it will need, each epoch; and its rows of the history."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from hubel import facts
from hubel.models.base import Network
from hubel.models.cost import map_fields
from hubel.session import Session
from hubel.training import distributed, plan
from hubel.training.callbacks import Callback
from hubel.training.features import Features
from hubel.training.loop import Loop
from hubel.training.run import RunFolder
from hubel.types import Batch

FEW = 16  # images that a step is measured with, where there are stages to measure


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
            **loop.tally.speed(),
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
    for note in (*session.dataset.remarks(), *session.task.notes(session.dataset)):
        progress.say(note)
    bad = session.dataset.quarantine
    if bad:
        shown = "; ".join(f"{one.name}: {one.reason}" for one in bad[:3])
        progress.say(f"{len(bad)} files can't be used and are left out (quarantine.csv lists them): {shown}")
    parts = ", ".join(f"{name} {len(index):,}" for name, index in session.dataset.splits.items())
    progress.say(f"{session.dataset.name}: {parts} images; {facts.label(session)} on {session.device}")
    progress.say(session.preprocess.describe(session.dataset.images.sizes(200)))
    for note in short_sighted(session):
        progress.say(note)
    progress.say(str(found))
    warning = plan.room(folder.path, found.disk)
    if warning:
        progress.say(warning)
    folder.write_plan(found)


def short_sighted(session: Session) -> list[str]:
    """Where each pixel has a class: that the network sees less than half of the image around it."""
    network = session.network
    if not session.task.every_pixel or not isinstance(network, Network) or not network.strides:
        return []
    sides = session.preprocess.size
    try:
        fields = [field for field in map_fields(network, session.shape) if field is not None]
    except Exception:  # the user's own, which asks for pixels and not for shapes alone
        return []
    seen = max((min(field.rows.size, field.columns.size) for field in fields), default=float("inf"))
    if 2 * seen >= min(sides) or any(field.whole for field in fields):
        return []
    return [
        f"around each pixel the network sees {seen:.0f} of {sides[0]} x {sides[1]} pixels, so it judges what is larger "
        "by its parts; one of more strides, such as unet with --model.encoder resnet18, sees more"
    ]


def estimate(session: Session, loop: Loop) -> plan.Plan:
    """Features once per view, then the epochs of each stage, then all parts judged by the whole network."""
    course, several = loop.course, len(loop.course.stages) > 1
    size = max(min(loop.batch_size, len(session.dataset.splits["train"])), 1)
    batch = _batch(session, loop, min(size, FEW) if several or course.features is not None else size)
    at_end = sum(len(part) for part in session.dataset.splits.values())
    judged = len(session.dataset.splits.get("dev", ()))
    features, before = course.features, 0.0
    if features is not None:
        seconds = _forward(features, batch)
        seen = features.missing(course.stages[0].epochs) + (at_end if course.on_features(len(course.stages) - 1) else 0)
        before, at_end = seconds * seen, 0 if course.on_features(len(course.stages) - 1) else at_end
    parts = []
    for number, stage in enumerate(course.stages):
        some = features.sample(batch) if features is not None and course.on_features(number) else batch
        images = judged * stage.epochs + (at_end if course.is_last(number) else 0)
        learner = course.learner_in(number) if several else loop.learner
        parts.append(plan.Part(learner, some, size, stage.epochs * loop.steps_per_epoch, -(-images // size)))
    return plan.estimate(
        parts,
        session.task,
        session.network,
        before=before,
        optimizer=session.recipe.optimizer.name or "adamw",
        averaged=loop.descent.ema is not None,
        resident=loop.data.train.resident_bytes + (features.bytes() if features is not None else 0),
        autocast=loop.descent.autocast,
    )


def _batch(session: Session, loop: Loop, size: int) -> Batch:
    index = session.dataset.splits["train"][:size]
    return next(iter(loop.data.plain.batches(index, 0, len(index))))


def _forward(features: Features, batch: Batch) -> float:
    """Seconds an image, from pixels to features."""
    features.sample(batch)  # the first pass prepares what later ones use
    started = time.perf_counter()
    features.sample(batch)
    return (time.perf_counter() - started) / max(1, len(batch))


class Silent:
    """A progress that says nothing: for all processes but the first."""

    def due(self) -> bool:
        return False

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **options: None

"""Carries a session through: plan, loop, judgement, report; one training or several, new or resumed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from hubel import outcome, recipe, several
from hubel.data.dataset import Dataset
from hubel.errors import UserError
from hubel.rebuild import kept_weights, load_parts, save_parts, warm_start
from hubel.session import Session, new_session
from hubel.settle import Layers
from hubel.tasks.base import Task
from hubel.training import checkpoint, distributed, plan
from hubel.training.callbacks import Callback, Logger, LogTo, TensorBoard
from hubel.training.loop import Loop
from hubel.training.run import RunFolder, manifest


@dataclass(frozen=True)
class Job:
    """What a training is given beside its settings: the user's own objects, and who listens."""

    progress: Any
    recipe: str | None = None
    model: Any = None  # an own module or function; names are settings
    task: Task | None = None
    from_run: Path | None = None
    callbacks: tuple[Callback, ...] = ()
    loggers: tuple[Logger, ...] = field(default=())


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
        left = (loop.recipe.epochs or 1) * loop.steps_per_epoch - loop.step
        values = {
            "epoch": loop.epoch + 1,
            "epochs": loop.recipe.epochs,
            "step": loop.batch,
            "steps": loop.steps_per_epoch,
            "loss": sum(float(loss) for loss in losses.values()),
            "images_per_second": loop.images_per_second(),
            "wait_share": loop.wait_share(),
            "seconds_left": seconds / done * left if done else None,
        }
        self.progress.step(values)

    def on_epoch(self, loop: Loop, row: Mapping[str, Any]) -> None:
        self.folder.append_history(dict(row))
        self.progress.epoch(dict(row))

    def say(self, text: str) -> None:
        self.progress.say(text)


def carry(session: Session, folder: RunFolder, job: Job, state: Mapping[str, Any] | None = None) -> RunFolder:
    """One training from its session to its report. `state` continues from a checkpoint."""
    started = time.monotonic()
    progress = job.progress if distributed.is_main() else Silent()
    listeners: list[Callback] = [*job.callbacks]
    if distributed.is_main():
        loggers = [*job.loggers, *([TensorBoard()] if session.recipe.log == "tensorboard" else [])]
        listeners = [Report(folder, progress), *listeners, *(LogTo(logger) for logger in loggers)]
    data = session.data()
    loop = Loop(
        session.network,
        session.task,
        data,
        session.recipe,
        folder.path,
        device=session.device,
        callbacks=listeners,
    )
    try:
        announce(session, loop, folder, progress)
        if distributed.rank():  # all began with the same weights; from here on each drops other units
            torch.manual_seed(session.recipe.seed + 1_000_003 * distributed.rank())
        if state is not None:
            loop.restore(state)
        if distributed.is_main():
            folder.set_state("running")
        loop.run()
        progress.stop()
        outcome.finish(session, loop, folder, time.monotonic() - started)
    except KeyboardInterrupt as stop:
        folder.set_state("interrupted", "Ctrl-C")
        progress.stop()
        if any((folder.path / "checkpoints" / "last").glob("*.json")):
            progress.say(f"Interrupted at step {loop.step}; {folder.path} is saved and can be resumed.")
            stop.run = folder.path  # type: ignore[attr-defined]
        raise
    except BaseException as fault:
        with contextlib.suppress(Exception):
            folder.set_state("failed", f"{type(fault).__name__}: {fault}")
            fault.run = folder.path  # type: ignore[attr-defined]
        raise
    finally:
        progress.stop()
        data.train.close()
        data.plain.close()
    if distributed.is_main():
        folder.set_state("finished")
    distributed.barrier()
    return folder


def announce(session: Session, loop: Loop, folder: RunFolder, progress: Any) -> None:
    """What was found in the data, and what the training will need, before it starts."""
    found = estimate(session, loop)
    if not distributed.is_main():
        return
    for note in session.dataset.notes:
        progress.say(note)
    bad = session.dataset.quarantine
    if bad:
        shown = "; ".join(f"{one.name}: {one.reason}" for one in bad[:3])
        progress.say(f"{len(bad)} files can't be used and are left out (quarantine.csv lists them): {shown}")
    parts = ", ".join(f"{name} {len(index):,}" for name, index in session.dataset.splits.items())
    progress.say(f"{session.dataset.name}: {parts} images; {outcome.label(session)} on {session.device}")
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
    judged = sum(len(v) for name, v in session.dataset.splits.items()) + len(session.dataset.splits.get("dev", ())) * (
        session.recipe.epochs or 1
    )
    return plan.estimate(
        session.network,
        session.task,
        batch,
        steps=(session.recipe.epochs or 1) * loop.steps_per_epoch,
        evaluations=-(-judged // loop.batch_size),
        optimizer=session.recipe.optimizer.name or "adamw",
        averaged=loop.ema is not None,
        resident=loop.data.train.resident_bytes,
        autocast=loop.autocast,
    )


class Silent:
    """A progress that says nothing: for all processes but the first."""

    def due(self) -> bool:
        return False

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **options: None


# New, resumed, several ----------------------------------------------------------------------------------------


def make_session(dataset: Dataset, layers: Layers, job: Job) -> Session:
    session = new_session(dataset, layers, recipe_name=job.recipe, model=job.model, task=job.task)
    if session.recipe.sync_batchnorm and not distributed.launched():
        raise UserError(
            "--sync_batchnorm shares batch statistics between processes, and this is one. Leave it out, or start "
            "several with torchrun."
        )
    if job.from_run is not None:
        weights, source = weights_of(job.from_run), str(job.from_run)
        said = warm_start(session.network, weights, source)
        job.progress.say(said)
    return session


def weights_of(path: Path) -> Mapping[str, torch.Tensor]:
    """The kept weights of a run."""
    folder = RunFolder.open(path)
    return kept_weights(folder.path, folder.settings["keep"].value or "last")[0]


def write_beginnings(session: Session, folder: RunFolder, source: Any, data_hash: str) -> None:
    """What a run folder holds before the first step; network.json comes last and makes it resumable."""
    folder.write_config(session.settings)
    folder.write_manifest(
        manifest(
            seed=session.recipe.seed,
            data={"hash": data_hash, "source": str(source), "name": session.dataset.name},
            device=str(session.device),
            launcher=distributed.launcher(),
        )
    )
    folder.write_quarantine(session.dataset.quarantine)
    folder.write_splits(session.dataset.splits)
    save_parts(session, folder.path / "network.json")


def begin(session: Session, folder: RunFolder, source: Any, job: Job) -> RunFolder:
    """A new training in an empty folder."""
    if distributed.is_main():
        write_beginnings(session, folder, source, session.dataset.hash())
    distributed.barrier()
    return carry(session, folder, job)


def begin_all(
    dataset: Dataset, session: Session, layers: Layers, folder: RunFolder, source: Any, job: Job
) -> RunFolder:
    """Folds, restarts and a refit: children first, then what the parent shows."""
    chosen = session.recipe
    if chosen.restarts > 1 and chosen.init is None and isinstance(job.model, torch.nn.Module):
        raise UserError(
            "Restarts begin from other weights each time, and a network given as an object has its own. Give the class "
            "or a function that makes it, or choose --init."
        )
    if chosen.folds and chosen.split.bootstrap:
        raise UserError("--folds and --split.bootstrap both say who is held out. Give one of them.")
    if distributed.is_main():
        write_beginnings(session, folder, source, dataset.hash())
        folder.set_state("running")
    distributed.barrier()

    def train(data: Dataset, changes: Mapping[str, Any], path: Path) -> RunFolder:
        return train_child(data, changes, path, layers, source, job)

    children = several.train_children(session.dataset, chosen, folder, train)
    if chosen.refit:
        data, changes = several.refit_dataset(session.dataset), several.refit_options(children, chosen)
        last = make_session(data, [*layers, ("refit", changes)], job)
        save_parts(last, folder.path / "network.json")
        carry(last, folder, job)
    elif chosen.folds == 0:
        several.adopt(several.best(children, session.task.primary), folder)
    if distributed.is_main():
        several.write_summary(children, folder)
        folder.set_state("finished")
    distributed.barrier()
    return folder


def train_child(
    data: Dataset, changes: Mapping[str, Any], path: Path, layers: Layers, source: Any, job: Job
) -> RunFolder:
    """One of several: resumed where it was interrupted, else trained from its beginning."""
    job.progress.say(f"{path.parent.name} {path.name}")
    if any((path / "checkpoints" / "last").glob("*.json")):
        return continue_run(RunFolder.open(path), data, {}, job)
    session = make_session(data, [*layers, (path.parent.name, changes)], job)
    folder = RunFolder.at(path)
    return begin(session, folder, source, job)


CHANGEABLE = ("epochs", "device", "workers", "save_every", "micro_batch", "log", "regularize.patience")


def continue_run(folder: RunFolder, dataset: Dataset, changes: Mapping[str, Any], job: Job) -> RunFolder:
    """From the last whole checkpoint; `changes` are flat options out of CHANGEABLE."""
    settings = folder.settings | recipe.settings_of([("resume", changes)])
    chosen = recipe.unflatten({key: setting.value for key, setting in settings.items()})
    dataset = dataset.with_splits(folder.splits)
    parts = load_parts(folder.path, chosen, model=job.model, task=job.task)
    session = Session(settings, chosen, dataset, parts.task, parts.network, parts.preprocess, parts.device)
    checkpoint.clean(folder.path / "checkpoints" / "last")
    checkpoint.clean(folder.path / "checkpoints" / "best")
    state = checkpoint.load(folder.path / "checkpoints" / "last")
    if state["position"]["epoch"] >= (chosen.epochs or 1) and folder.state == "finished":
        raise UserError(
            f"{folder.path} finished its {chosen.epochs} epochs. Give it more: hubel resume {folder.path} "
            f"--epochs {2 * (chosen.epochs or 1)}"
        )
    if changes:
        folder.write_config(settings)
    return carry(session, folder, job, state)


def check_changes(changes: Mapping[str, Any]) -> None:
    for key in changes:
        if key not in CHANGEABLE:
            raise UserError(
                f"'{key}' can't change in mid-training: the run would no longer be one experiment. A resume takes "
                f"{', '.join(CHANGEABLE)}. For the rest start a new run from these weights: hubel train … --from RUN."
            )


def same_data(dataset: Dataset, folder: RunFolder) -> None:
    """Raise UserError where the data is not what the run began with."""
    before = folder.manifest.get("data", {}).get("hash")
    if before is not None and before != dataset.hash():
        raise UserError(
            f"The data at {dataset.source} has changed since the run began, so it can't go on exactly. Restore the "
            f"data, or start anew from its weights: hubel train {dataset.source} --from {folder.path}"
        )

"""A training from beginning to end: plan, loop, judgement, report; one or several, new or resumed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from hubel import names, outcome, several
from hubel.announce import Report, Silent, announce
from hubel.beginnings import write_beginnings
from hubel.data.dataset import Dataset
from hubel.endings import ending, saved_where_it_began
from hubel.errors import UserError
from hubel.job import Job
from hubel.options import settings_of, unflatten
from hubel.placing import named_device
from hubel.rebuild import kept_weights, load_parts, save_parts, warm_start
from hubel.recipe import Setting
from hubel.session import Session, new_session, with_whole_paths
from hubel.settle import Layers
from hubel.training import checkpoint, distributed, machine, polyak, snapshots
from hubel.training.callbacks import Callback, LogTo
from hubel.training.loop import Loop
from hubel.training.run import RunFolder
from hubel.training.transfer import course_of


def carry(session: Session, folder: RunFolder, job: Job, state: Mapping[str, Any] | None = None) -> RunFolder:
    """One training from its session to its report. `state` continues from a checkpoint."""
    with ending(folder, job, session):
        return _carry(session, folder, job, state)


def _carry(session: Session, folder: RunFolder, job: Job, state: Mapping[str, Any] | None = None) -> RunFolder:
    try:
        return _train(session, folder, job, state)
    finally:
        machine.give_back_memory()  # several trainings in one process: each begins as the first did


def _train(session: Session, folder: RunFolder, job: Job, state: Mapping[str, Any] | None) -> RunFolder:
    started = time.monotonic()
    progress = job.progress if distributed.is_main() else Silent()
    own = [*snapshots.listeners(session.recipe), *polyak.listeners(session.recipe)]
    listeners: list[Callback] = [*own, *job.callbacks]
    if distributed.is_main():
        log = session.recipe.log
        loggers = [*job.loggers, *([names.resolve(names.LOGGERS, log)()] if log is not None else [])]
        listeners = [Report(folder, progress), *listeners, *(LogTo(logger) for logger in loggers)]
    data = session.data()
    course = course_of(session.network, data, session.recipe, session.shape, session.fresh, progress.say)
    loop = Loop(session.network, session.task, data, session.recipe, folder.path, listeners, course)
    try:
        with saved_where_it_began(loop, resumed=state is not None):
            announce(session, loop, folder, progress)
        if distributed.rank():  # all began with the same weights; from here on each drops other units
            torch.manual_seed(session.recipe.seed + 1_000_003 * distributed.rank())
        if state is not None:
            loop.restore(state)
        if distributed.is_main():
            folder.set_state("running")
        loop.run()
        progress.stop()
        outcome.finish(session, loop, folder, time.monotonic() - started, job.private)
    finally:
        progress.stop()
        data.train.close()
        data.plain.close()
    if distributed.is_main():
        folder.set_state("finished")
    distributed.barrier()
    return folder


# New, resumed, several ----------------------------------------------------------------------------------------


def make_session(dataset: Dataset, layers: Layers, job: Job) -> Session:
    session = new_session(
        dataset, layers, recipe_name=job.recipe, model=job.model, task=job.task, download=job.download
    )
    if session.recipe.sync_batchnorm and not distributed.launched():
        raise UserError(
            "--sync_batchnorm shares batch statistics between processes, and this is one. Leave it out, or start "
            "several with torchrun."
        )
    if session.recipe.log is not None:
        names.resolve(names.LOGGERS, session.recipe.log)  # a wrong name shows before anything is written
    several.check(session.dataset, session.recipe, own=isinstance(job.model, torch.nn.Module))
    if job.from_run is not None:
        weights, source = weights_of(job.from_run), str(job.from_run)
        said, fresh = warm_start(session.network, weights, source)
        job.progress.say(said)
        session = replace(session, fresh=fresh)
    strategy = session.recipe.transfer.name
    if strategy not in (None, "all") and session.fresh is None:
        raise UserError(NO_WEIGHTS.format(strategy))
    if session.pretrained:
        job.progress.say(session.pretrained)
    return session


NO_WEIGHTS = (
    "--transfer {} goes on from weights of another training, and there are none. Give --weights (a file, lite0, "
    "torchvision …) or --from RUN."
)


def weights_of(path: Path) -> Mapping[str, torch.Tensor]:
    """The kept weights of a run."""
    folder = RunFolder.open(path)
    return kept_weights(folder.path, folder.settings["keep"].value or "last")[0]


def begin(session: Session, folder: RunFolder, job: Job) -> RunFolder:
    """A new training in an empty folder."""
    with ending(folder, job, session):
        if distributed.is_main():
            write_beginnings(session, folder, job)
        distributed.barrier()
        return _carry(session, folder, job)


def begin_all(session: Session, layers: Layers, folder: RunFolder, job: Job) -> RunFolder:
    """Folds, restarts and a refit: children first, then what the parent shows."""
    with ending(folder, job):
        return _begin_all(session, layers, folder, job)


def _begin_all(session: Session, layers: Layers, folder: RunFolder, job: Job) -> RunFolder:
    if distributed.is_main():
        write_beginnings(session, folder, job)
        folder.set_state("running")
    distributed.barrier()
    chosen, part = session.recipe, replace(job, part_of_several=True)

    def train(data: Dataset, changes: Mapping[str, Any], path: Path) -> RunFolder:
        return train_child(data, changes, path, layers, part)

    children = several.train_children(session.dataset, chosen, folder, train)
    if chosen.refit:
        data, changes = several.refit_dataset(session.dataset), several.refit_options(children, chosen)
        last = make_session(data, [several.won(session.settings), *layers, ("refit", changes)], job)
        save_parts(last, folder.path / "network.json")
        if distributed.is_main():
            folder.write_splits(data.splits)  # of the network that the folder now holds
        carry(last, folder, part, saved_state(folder))
    elif chosen.folds == 0:
        several.adopt(several.best(children, session.task.primary), folder)
    if distributed.is_main():
        several.write_summary(children, folder, session.task.primary)
        folder.set_state("finished")
    distributed.barrier()
    return folder


def saved_state(folder: RunFolder) -> Mapping[str, Any] | None:
    """What a refit that was interrupted goes on from; None at its beginning."""
    place = folder.path / "checkpoints" / "last"
    checkpoint.clean(place)
    return checkpoint.load(place) if any(place.glob("*.json")) else None


def train_child(data: Dataset, changes: Mapping[str, Any], path: Path, layers: Layers, job: Job) -> RunFolder:
    """One of several: resumed where it was interrupted, else trained from its beginning."""
    job.progress.say(f"{path.parent.name} {path.name}")
    if any((path / "checkpoints" / "last").glob("*.json")):
        return continue_run(RunFolder.open(path), data, {}, job)
    session = make_session(data, [*layers, (path.parent.name, changes)], job)
    folder = RunFolder.at(path)
    return begin(session, folder, job)


CHANGEABLE = ("epochs", "device", "workers", "save_every", "micro_batch", "log", "regularize.patience")


def continue_run(folder: RunFolder, dataset: Dataset, changes: Mapping[str, Any], job: Job) -> RunFolder:
    """From the last whole checkpoint; `changes` are flat options out of CHANGEABLE."""
    settings = with_whole_paths(folder.settings | settings_of([("resume", changes)]))
    settings["workers"] = no_more_than_cores(settings["workers"])
    chosen = unflatten({key: setting.value for key, setting in settings.items()})
    parts = load_parts(folder.path, chosen, model=job.model, task=job.task)
    dataset = parts.task.examples(dataset).with_splits(folder.splits)
    session = Session(settings, chosen, dataset, parts.task, parts.network, parts.preprocess, parts.device, parts.fresh)
    checkpoint.clean(folder.path / "checkpoints" / "last")
    checkpoint.clean(folder.path / "checkpoints" / "best")
    state = checkpoint.load(folder.path / "checkpoints" / "last")
    if state["position"]["epoch"] >= (chosen.epochs or 1) and folder.state == "finished":
        raise UserError(
            f"{folder.path} finished its {chosen.epochs} epoch{'s' if chosen.epochs != 1 else ''}. Give it more: "
            f"hubel resume {folder.path} "
            f"--epochs {2 * (chosen.epochs or 1)}"
        )
    patience, bad = chosen.regularize.patience, state["best"]["bad_epochs"]
    if patience is not None and bad >= patience and folder.state == "finished":
        raise UserError(
            f"{folder.path} stopped early after epoch {state['position']['epoch']}: dev had not improved for {bad} "
            f"epochs. Give it more patience: hubel resume {folder.path} --regularize.patience {2 * bad}"
        )
    if changes:
        folder.write_config(settings)
    return carry(session, folder, job, state)


def no_more_than_cores(workers: Setting) -> Setting:
    """A run that moved to a smaller machine; a number that somebody asked for stays."""
    if workers.source != "auto" or (workers.value or 0) <= machine.cores():
        return workers
    return replace(workers, value=machine.cores(), reason=f"{machine.cores()} cores, since the run was resumed here")


def join_processes(device: str | None) -> None:
    """Join the other processes, where torchrun started several; respect a container's share of the cores."""
    chosen = distributed.local_device() or device or ("cuda" if torch.cuda.is_available() else "cpu")
    distributed.start(named_device(chosen))


def check_changes(changes: Mapping[str, Any]) -> None:
    for key in changes:
        if key not in CHANGEABLE:
            raise UserError(
                f"'{key}' can't change in mid-training: the run would no longer be one experiment. A resume takes "
                f"{', '.join(CHANGEABLE)}. For the rest start a new run from these weights: hubel train … --from RUN."
            )

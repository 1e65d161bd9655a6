"""What a user calls from Python; the command line calls the same.

run = hubel.train("digits", model="lenet5", epochs=10)
run.evaluate(); run.predict(["a.jpg"]); hubel.Run.open("runs/digits-lenet5/1")
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from hubel import driver, several
from hubel.driver import Job
from hubel.effective import effective
from hubel.information import info
from hubel.options import unflatten
from hubel.parts import load_dataset, make_plain_network
from hubel.recipe import Recipe, Setting
from hubel.session import new_session
from hubel.settle import Layers, stack_layers
from hubel.source import refuse_other, same_data, source_of
from hubel.trained import Run
from hubel.training import distributed
from hubel.training.callbacks import Callback, Logger
from hubel.training.places import place_of
from hubel.training.progress import Progress
from hubel.training.run import RunFolder

__all__ = ["Run", "create_model", "info", "load_dataset", "resume", "settle_for", "train"]


def train(
    source: Any = "digits",
    *,
    model: Any = None,
    task: Any = None,
    recipe: str | Recipe | None = None,
    config: str | Path | None = None,
    out: str | Path = "runs",
    from_run: str | Path | RunFolder | None = None,
    download: bool = False,
    progress: Any = None,
    layers: Layers | None = None,
    callbacks: Sequence[Callback] = (),
    loggers: Sequence[Logger] = (),
    private: bool = False,
    **options: Any,
) -> Run:
    """Train a network on `source` and return its Run: evaluated, with its report written.

    `source` is a built-in name, a path, a Dataset or a torch dataset of (image, target); `model` and `task` are
    names or your own objects; `options` are the Recipe's: `epochs=10, optimizer={"lr": 0.1}`. `private` keeps paths
    and names of files out of the report. Raises UserError for everything that the caller can mend.
    """
    _refuse_in_child()
    stack = stack_layers(recipe, config, layers, {**options, **_words(model=model, task=task)})
    job = Job(
        _progress(progress),
        source,
        recipe=recipe if isinstance(recipe, str) else None,
        model=None if isinstance(model, str) else model,
        task=None if isinstance(task, str) else task,
        from_run=_path_of(from_run) if from_run is not None else None,
        download=download,
        callbacks=tuple(callbacks),
        loggers=tuple(loggers),
        private=private,
    )
    driver.join_processes(_device_of(stack))
    lost = distributed.share(_lost_run(Path(out))) if distributed.restarted() else None
    if lost is not None:
        data = None if isinstance(source, (str, Path)) else source
        given = {"model": job.model, "task": job.task, "callbacks": callbacks, "loggers": loggers}
        return resume(lost, source=data, progress=job.progress, **given)
    if job.from_run is not None and model is None and not any("model" in flat for _, flat in stack):
        stack.insert(0, ("run", _network_of(job.from_run)))
    dataset = load_dataset(source, download=download)
    session = driver.make_session(dataset, stack, job)
    job = replace(job, judged_on=session.recipe.split.dev_from)
    name = str(session.recipe.model).rpartition(":")[2]
    root = Path(out).expanduser().absolute()  # what a program keeps must hold when it changes its folder
    path = RunFolder.create(root, dataset.name, name).path if distributed.is_main() else None
    folder = RunFolder.at(distributed.share(path))
    if session.recipe.folds or session.recipe.restarts > 1 or session.recipe.refit:
        driver.begin_all(session, stack, folder, job)
    else:
        driver.begin(session, folder, job)
    return Run.open(folder.path, model=job.model, task=job.task)


def resume(
    path: str | Path | RunFolder,
    *,
    source: Any = None,
    model: Any = None,
    task: Any = None,
    progress: Any = None,
    layers: Layers | None = None,
    callbacks: Sequence[Callback] = (),
    loggers: Sequence[Logger] = (),
    private: bool = False,
    **options: Any,
) -> Run:
    """Continue a run from its last checkpoint, as if it had never stopped; `epochs=40` gives it more.

    What was given from Python (own data, network, task) must be given again. Raises UserError where the data
    changed, nothing is left to do, or an option can't change in mid-training.
    """
    _refuse_in_child()
    changes = {key: value for _, flat in stack_layers(None, None, layers, options) for key, value in flat.items()}
    driver.check_changes(changes)
    driver.join_processes(changes.get("device"))
    folder = Run.open(_path_of(path))
    job = Job(
        _progress(progress),
        source if source is not None else source_of(folder),
        model=model,
        task=task,
        from_run=_started_from(folder),
        callbacks=tuple(callbacks),
        loggers=tuple(loggers),
        judged_on=folder.manifest.get("data", {}).get("dev_from"),
        private=private,
    )
    chosen = unflatten({key: setting.value for key, setting in folder.settings.items()})
    if chosen.folds or chosen.restarts > 1 or chosen.refit:
        several.refuse_changes(folder, changes)
        stack: Layers = [("run", {k: s.value for k, s in folder.settings.items() if s.source != "auto"})]
        session = driver.make_session(load_dataset(job.source), stack, job)
        refuse_other(session.dataset, folder)
        driver.begin_all(session, stack, folder, job)
    else:
        driver.continue_run(folder, same_data(folder, source), changes, job)
    return Run.open(folder.path, model=model, task=task)


def settle_for(
    source: Any,
    *,
    recipe: str | Recipe | None = None,
    config: str | Path | None = None,
    layers: Layers | None = None,
    download: bool = False,
    **options: Any,
) -> dict[str, Setting]:
    """Each effective option of a training on `source`, where it came from and why; nothing is trained."""
    stack = stack_layers(recipe, config, layers, options)
    dataset = load_dataset(source, download=download)
    name = recipe if isinstance(recipe, str) else None
    return effective(new_session(dataset, stack, recipe_name=name, download=download))


def create_model(
    name: Any, *, classes: int = 10, input: tuple[int, int, int] = (3, 32, 32), **options: Any
) -> nn.Module:
    """A fresh network by name or `file.py:Class`; `input` is (C, H, W). UserError for unknown names and options."""
    return make_plain_network(name, options, classes, input)


def _refuse_in_child() -> None:
    """A spawned process imports the script that started it, and must not train as well."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        sys.exit(
            "hubel: this process reads images for a training, and began by running its script anew. Put the script's "
            "training under `if __name__ == '__main__':`, or use workers=0."
        )


def _path_of(run: str | Path | RunFolder) -> Path:
    return run.path if isinstance(run, RunFolder) else Path(run)


def _progress(given: Any) -> Any:
    """A Progress, its kind ("bar", "lines", "quiet"), or None for the one that fits."""
    return Progress(given or "auto") if given is None or isinstance(given, str) else given


def _words(**given: Any) -> dict[str, Any]:
    return {name: value for name, value in given.items() if isinstance(value, str)}


def _device_of(stack: Layers) -> str | None:
    return next((flat["device"] for _, flat in reversed(stack) if flat.get("device")), None)


def _lost_run(out: Path) -> Path | None:
    """The run that this launcher's processes wrote before one of them died."""
    return place_of(distributed.launcher(), out) if distributed.is_main() else None


def _started_from(folder: RunFolder) -> Path | None:
    """The run whose weights this one began with: folds that are still to come begin there too."""
    found = folder.manifest.get("start_from")
    return Path(found) if found is not None else None


def _network_of(path: Path) -> dict[str, Any]:
    """The model and its options, for a warm start that names none."""
    settings = RunFolder.open(path).settings
    return {k: s.value for k, s in settings.items() if (k == "model" or k.startswith("model.")) and s.value is not None}

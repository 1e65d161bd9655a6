"""What a user calls from Python; the command line calls the same.

run = hubel.train("digits", model="lenet5", epochs=10)
run.evaluate(); run.predict(["a.jpg"]); hubel.Run.open("runs/digits-lenet5/1")
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from hubel import driver, names, outcome
from hubel.data.decode import BadImage, convert, decode
from hubel.data.python import to_array
from hubel.driver import Job
from hubel.errors import UserError
from hubel.rebuild import Parts, load_parts, load_weights
from hubel.recipe import Recipe, Setting, flatten, flatten_nested, unflatten
from hubel.session import Session, load_dataset, make_plain_network, named_device, new_session
from hubel.settle import Layers
from hubel.training import distributed
from hubel.training.callbacks import Callback, Logger
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
    **options: Any,
) -> Run:
    """Train a network on `source` and return its Run: evaluated, with its report written.

    `source` is a built-in name, a path, a Dataset or a torch dataset of (image, target); `model` and `task` are
    names or your own objects; `options` are the Recipe's: `epochs=10, optimizer={"lr": 0.1}`.
    Raises UserError for everything that the caller can mend.
    """
    stack = stack_layers(recipe, config, layers, {**options, **_words(model=model, task=task)})
    job = Job(
        _progress(progress),
        recipe if isinstance(recipe, str) else None,
        None if isinstance(model, str) else model,
        None if isinstance(task, str) else task,
        _path_of(from_run) if from_run is not None else None,
        tuple(callbacks),
        tuple(loggers),
    )
    _start(stack)
    lost = distributed.share(_lost_run(Path(out))) if distributed.restarted() else None
    if lost is not None:
        data = None if isinstance(source, (str, Path)) else source
        given = {"model": job.model, "task": job.task, "callbacks": callbacks, "loggers": loggers}
        return resume(lost, source=data, progress=job.progress, **given)
    if job.from_run is not None and model is None and not any("model" in flat for _, flat in stack):
        stack.insert(0, ("run", _network_of(job.from_run)))
    dataset = load_dataset(source, download=download)
    session = driver.make_session(dataset, stack, job)
    name = str(session.recipe.model).rpartition(":")[2]
    path = RunFolder.create(Path(out), dataset.name, name).path if distributed.is_main() else None
    folder = RunFolder.at(distributed.share(path))
    if session.recipe.folds or session.recipe.restarts > 1 or session.recipe.refit:
        driver.begin_all(dataset, session, stack, folder, address(source), job)
    else:
        driver.begin(session, folder, address(source), job)
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
    **options: Any,
) -> Run:
    """Continue a run from its last checkpoint, as if it had never stopped; `epochs=40` gives it more.

    What was given from Python (own data, network, task) must be given again. Raises UserError where the data
    changed, nothing is left to do, or an option can't change in mid-training.
    """
    job = Job(_progress(progress), None, model, task, None, tuple(callbacks), tuple(loggers))
    changes = {key: value for _, flat in stack_layers(None, None, layers, options) for key, value in flat.items()}
    driver.check_changes(changes)
    _start([("resume", changes)])
    folder = RunFolder.open(_path_of(path))
    dataset = load_dataset(source if source is not None else _source_of(folder))
    driver.same_data(dataset, folder)
    chosen = unflatten({key: setting.value for key, setting in folder.settings.items()})
    if chosen.folds or chosen.restarts > 1 or chosen.refit:
        stack: Layers = [("run", {k: s.value for k, s in folder.settings.items() if s.source != "auto"})]
        session = driver.make_session(dataset, stack, job)
        driver.begin_all(dataset, session, stack, folder, folder.manifest["data"]["source"], job)
    else:
        driver.continue_run(folder, dataset, changes, job)
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
    return new_session(dataset, stack, recipe_name=recipe if isinstance(recipe, str) else None).settings


def create_model(
    name: Any, *, classes: int = 10, input: tuple[int, int, int] = (3, 32, 32), **options: Any
) -> nn.Module:
    """A fresh network by name or `file.py:Class`; `input` is (C, H, W). UserError for unknown names and options."""
    return make_plain_network(name, options, classes, input)


def info(name: Any, *, classes: int = 10, input: tuple[int, int, int] = (3, 32, 32), **options: Any) -> dict[str, Any]:
    """Parameters, and each layer's name, type, output shape and parameters, for one image of shape `input`."""
    network = create_model(name, classes=classes, input=input, **options).eval()
    layers: list[dict[str, Any]] = []

    def note(label: str, module: nn.Module) -> None:
        def look(module: nn.Module, inputs: Any, output: Any) -> None:
            shape = list(output.shape[1:]) if torch.is_tensor(output) else None
            count = sum(p.numel() for p in module.parameters(recurse=False))
            layers.append({"name": label, "type": type(module).__name__, "output": shape, "parameters": count})

        module.register_forward_hook(look)

    for label, module in network.named_modules():
        if label and not list(module.children()):
            note(label, module)
    with torch.no_grad():
        network(torch.zeros(1, *input))
    return {
        "model": str(name),
        "input": list(input),
        "classes": classes,
        "parameters": sum(p.numel() for p in network.parameters()),
        "layers": layers,
    }


class Run(RunFolder):
    """A training on disk: what it was given, what came out, and the network, ready to be used.

    `path`, `settings`, `manifest`, `history`, `metrics` {split: {name: value}}, `seconds`.
    """

    _model: Any = None
    _task: Any = None

    @classmethod
    def open(cls, path: str | Path, *, model: Any = None, task: Any = None) -> Run:
        """Raises UserError where `path` is no run. An own network or task from Python must be given again."""
        run = super().open(Path(path))
        run._model, run._task = model, task
        return run

    @property
    def recipe(self) -> Recipe:
        return unflatten({key: setting.value for key, setting in self.settings.items()})

    def parts(self) -> Parts:
        """The network with its kept weights, in evaluation mode, its task and its preprocessing."""
        parts = load_parts(self.path, self.recipe, model=self._model, task=self._task)
        load_weights(parts.network, self.path, self.recipe.keep or "last")
        parts.network.eval()
        return parts

    @property
    def network(self) -> nn.Module:
        return self.parts().network

    def evaluate(self, split: str | None = None, data: Any = None) -> dict[str, dict[str, float]]:
        """Metrics by split: of one split, of all, or of other data with the same classes.

        Other data without splits counts as "test".
        """
        _start([("run", {"device": self.recipe.device})])
        session = self._session(data)
        wanted = list(session.dataset.splits) if split is None else [split]
        if split is not None and split not in session.dataset.splits:
            raise UserError(f"There is no part '{split}'; this data has {', '.join(session.dataset.splits)}.")
        found = outcome.judge(session, wanted, session.autocast, session.plain())
        if "test" in wanted and data is None and distributed.is_main():
            self.note_test_look()
        return {name: evaluation.metrics for name, evaluation in found.items()}

    def _session(self, data: Any = None) -> Session:
        """The trained network on the run's own data and splits, or on other data of the same classes."""
        parts = self.parts()
        dataset = load_dataset(data if data is not None else _source_of(self))
        if data is None:
            driver.same_data(dataset, self)
            dataset = dataset.with_splits(self.splits)
        else:
            dataset = dataset.with_classes(parts.classes) if parts.classes else dataset
            dataset = dataset if dataset.splits else dataset.with_splits({"test": dataset.usable()})
        parts.task.accepts(dataset)
        return Session(self.settings, self.recipe, dataset, parts.task, parts.network, parts.preprocess, parts.device)

    def predict(self, images: Iterable[Any]) -> list[dict[str, Any]]:
        """One dict per image, in order: {"image", "prediction", "confidence", …}.

        `images` are paths, PIL images or arrays (H, W), (H, W, C) uint8. Raises UserError naming a file that can't be
        read. Images of any size are brought to the network's size as in training.
        """
        parts = self.parts()
        pixels = [(name, read(image, parts)) for name, image in named(images)]
        return outcome.predict_images(parts, self.recipe, pixels)

    def report(self, private: bool = False) -> Path:
        """Write report.html anew from the saved weights and data, and return its path."""
        return outcome.rewrite_report(self._session(), self, private)


def named(images: Iterable[Any]) -> list[tuple[str, Any]]:
    if isinstance(images, (str, Path)):
        images = [images]
    return [(str(one) if isinstance(one, (str, Path)) else f"#{i}", one) for i, one in enumerate(images)]


def read(image: Any, parts: Parts) -> np.ndarray:
    """(H, W, C) with the channels that the network was trained on."""
    try:
        if not isinstance(image, (str, Path)):
            return convert(to_array(image), parts.preprocess.channels)
        if Path(image).is_dir():
            raise UserError(f"'{image}' is a folder; name the images in it.")
        if not Path(image).exists():
            raise UserError(f"There is no file '{image}' (looked for {Path(image).absolute()}).")
        return decode(Path(image), channels=parts.preprocess.channels)
    except BadImage as fault:
        raise UserError(f"'{image}' can't be read as an image: {fault}") from fault


def stack_layers(
    given: str | Recipe | None, config: str | Path | None, layers: Layers | None, options: Mapping[str, Any]
) -> Layers:
    """Recipe, configuration file, command line and Python options as flat layers; later ones win."""
    stack: Layers = []
    if isinstance(given, Recipe):
        plain = flatten(Recipe())
        stack.append(("python", {k: v for k, v in flatten(given).items() if k not in plain or plain[k] != v}))
    if config is not None:
        stack.append(("config file", read_config(Path(config))))
    stack.extend(layers or [])
    flat = flatten_nested(options)
    return [*stack, ("python", flat)] if flat else stack


def read_config(path: Path) -> dict[str, Any]:
    """A TOML file as flat options: `epochs = 20` and `[optimizer] lr = 0.1`."""
    try:
        return flatten_nested(tomllib.loads(path.read_text()))
    except OSError as fault:
        raise UserError(f"The configuration file {path} can't be read: {fault.strerror}.") from fault
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise UserError(f"{path} is not valid TOML: {fault}.") from fault


def _path_of(run: str | Path | RunFolder) -> Path:
    return run.path if isinstance(run, RunFolder) else Path(run)


def _progress(given: Any) -> Any:
    """A Progress, its kind ("bar", "lines", "quiet"), or None for the one that fits."""
    return Progress(given or "auto") if given is None or isinstance(given, str) else given


def _words(**given: Any) -> dict[str, Any]:
    return {name: value for name, value in given.items() if isinstance(value, str)}


def _start(stack: Layers) -> None:
    """Join the other processes, where torchrun started several; respect a container's share of the cores."""
    asked = next((flat["device"] for _, flat in reversed(stack) if flat.get("device")), None)
    chosen = distributed.local_device() or asked or ("cuda" if torch.cuda.is_available() else "cpu")
    distributed.start(named_device(chosen))


def _lost_run(out: Path) -> Path | None:
    """The run that this launcher's processes wrote before one of them died."""
    return RunFolder.find(out, launcher=distributed.launcher()) if distributed.is_main() else None


def address(source: Any) -> str:
    """What finds the data again: a built-in name, a whole path, or a mark for data from Python."""
    if not isinstance(source, (str, Path)):
        return "<python>"
    return str(source) if str(source) in names.DATA else str(Path(source).expanduser().resolve())


def _source_of(folder: RunFolder) -> str:
    source = folder.manifest.get("data", {}).get("source")
    if source is None:
        raise UserError(
            f"{folder.path / 'manifest.json'} is missing or says nothing of the data; give it with source=… or data=…."
        )
    if str(source).startswith("<"):
        raise UserError(f"{folder.path} was trained on data given from Python; give it again with source=… or data=….")
    return source


def _network_of(path: Path) -> dict[str, Any]:
    """The model and its options, for a warm start that names none."""
    settings = RunFolder.open(path).settings
    return {k: s.value for k, s in settings.items() if (k == "model" or k.startswith("model.")) and s.value is not None}

"""One training's parts, put together from its settings: dataset, task, network, preprocessing, loaders.

The same way for a new run, a resumed one, and an evaluation: what can't be computed again (statistics of the training
part, the fitted task) is read from the run's `network.json`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from hubel import names, recipe
from hubel.data import augment as augmentation
from hubel.data import formats, split, statistics
from hubel.data.check import check_files
from hubel.data.dataset import Dataset
from hubel.data.loader import Loader
from hubel.data.preprocess import Preprocess
from hubel.errors import UserError, did_you_mean
from hubel.nn.init import initialise
from hubel.recipe import Recipe, Setting
from hubel.tasks.base import Task
from hubel.training import auto, checkpoint, distributed
from hubel.training.atomic import write_atomically
from hubel.training.ema import EMA
from hubel.training.loop import Data

Layers = list[tuple[str, Mapping[str, Any]]]


@dataclass(frozen=True)
class Session:
    """Everything that the loop, the evaluation and the report need."""

    settings: dict[str, Setting]
    recipe: Recipe
    dataset: Dataset
    task: Task
    network: nn.Module
    preprocess: Preprocess
    device: torch.device

    def autocast(self) -> AbstractContextManager:
        """The number format of evaluation: the one that the network was trained in."""
        return number_format(self.device, self.recipe.precision or "fp32")

    def data(self) -> Data:
        """Loaders for the dataset's splits: the training part augmented, the others plain."""
        train = Loader(
            self.dataset,
            self._targets,
            self.preprocess,
            augment=make_augment(self.recipe, self.preprocess),
            seed=self.recipe.seed,
            device=self.device,
            workers=self.recipe.workers or 0,
        )
        return Data(self.dataset, train, self.plain(train), self.dataset.splits, self._draw_weights())

    def plain(self, like: Loader | None = None) -> Loader:
        """Unaugmented images; shares the resident copy of `like`."""
        return Loader(
            self.dataset,
            self._targets,
            self.preprocess,
            seed=self.recipe.seed,
            device=self.device,
            workers=self.recipe.workers or 0,
            like=like,
        )

    def _targets(self, index: np.ndarray) -> Any:
        return self.task.targets(self.dataset, index)

    def _draw_weights(self) -> np.ndarray | None:
        """1 / frequency of each example's class, for --balance sampler."""
        if self.recipe.balance != "sampler":
            return None
        if "label" not in self.dataset.annotations:
            raise UserError("--balance sampler needs one label per image; this dataset has none. Use --balance loss.")
        labels = self.dataset.annotations["label"][self.dataset.splits["train"]]
        return (1.0 / np.maximum(np.bincount(labels), 1))[labels]


def number_format(device: torch.device, precision: str) -> AbstractContextManager:
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


# From names to parts -----------------------------------------------------------------------------------------


def load_dataset(source: Any, *, download: bool = False) -> Dataset:
    """A built-in name, a path, a Dataset, or a torch map-style dataset of (image, target).

    Raises UserError where the name is unknown, the path is missing or its layout is not recognised.
    """
    if isinstance(source, Dataset):
        return source
    if not isinstance(source, (str, Path)):
        from hubel.data.python import from_torch

        return from_torch(source)
    path = Path(source).expanduser()
    if str(source) in names.DATA:
        if path.exists() and isinstance(source, str):
            raise UserError(
                f"'{source}' is both a built-in dataset and a path here. Write ./{source} for the path, or run "
                "from another folder for the built-in one."
            )
        return names.resolve(names.DATA, str(source))(**({"download": download} if source == "fashion-mnist" else {}))
    if not path.exists():
        raise UserError(
            f"There is no file or folder '{source}' (looked for {path.absolute()}), and no built-in dataset of that "
            f"name{did_you_mean(str(source), names.DATA)}"
        )
    return formats.open_path(path)


def split_dataset(dataset: Dataset, options: recipe.SplitOptions) -> Dataset:
    """Splits as given, or made with a seed; see data/split.py."""
    if options.dev_from is not None:
        dataset = split.train_here_judge_there(dataset, load_dataset(options.dev_from))
    return split.split(dataset, options)


def facts_of(dataset: Dataset) -> auto.Facts:
    sizes = dataset.images.sizes(200)
    height, width = (int(v) for v in np.median(sizes, axis=0))
    channels = dataset.images.channels
    mirror = dataset.traits.get("mirror")
    reason = "the dataset says so" if mirror is not None else ""
    if mirror is None:
        mirror = channels == 3
        reason = "colour photos keep their label when mirrored" if mirror else "grey images may be text or symbols"
    return auto.Facts(
        n_train=len(dataset.splits.get("train", ())) or len(dataset.images),
        has_dev=len(dataset.splits.get("dev", ())) > 0,
        height=height,
        width=width,
        channels=channels,
        same_size=bool((sizes == sizes[0]).all()) if len(sizes) else True,
        columns=tuple(dataset.annotations),
        classes=len(dataset.classes),
        mirror=bool(mirror),
        mirror_reason=reason,
    )


def settle(layers: Layers, facts: auto.Facts, recipe_name: str | None, dataset: str) -> dict[str, Setting]:
    """Defaults, then the measured recipe that fits, then what the user set; the rest by the rules of `auto`."""
    asked = recipe.settings_of(layers)
    name, reason = choose_recipe(recipe_name, facts, dataset, asked)
    settings = recipe.settings_of([("default", recipe.flatten(Recipe()))])
    if name is not None:
        options = names.resolve(names.RECIPES, name).OPTIONS
        measured = recipe.settings_of([("recipe", _that_fit(options, asked))])
        settings |= {key: replace(setting, reason=f"{name}: {reason}") for key, setting in measured.items()}
    settings |= {key: setting for key, setting in asked.items() if setting.value is not None or key not in settings}
    settings = auto.resolve(settings, facts)
    recipe.reject_what_does_not_apply(settings)
    return settings


def choose_recipe(
    name: str | None, facts: auto.Facts, dataset: str, asked: Mapping[str, Setting]
) -> tuple[str | None, str]:
    """The recipe that was measured on such data, unless another network or task is asked for."""
    if name is not None:
        return name, "asked for"
    found, reason = _recipe_for(facts, dataset)
    if found is None:
        return None, ""
    options = names.resolve(names.RECIPES, found).OPTIONS
    for key in ("model", "task"):
        if key in asked and asked[key].value not in (None, options.get(key)):
            return None, ""
    return found, reason


def _recipe_for(facts: auto.Facts, dataset: str) -> tuple[str | None, str]:
    if dataset in names.RECIPES:
        return dataset, "measured on this dataset"
    if "label" in facts.columns and facts.same_size and max(facts.height, facts.width) <= 64:
        if facts.channels == 3:
            return "small-photos", "colour images of one size up to 64 pixels"
        return "fashion-mnist", "grey images of one size up to 64 pixels"
    return None, ""


def _that_fit(options: Mapping[str, Any], asked: Mapping[str, Setting]) -> dict[str, Any]:
    """Without a group's numbers where the user chose another optimiser or schedule than the recipe's."""
    fitting = dict(options)
    for group in ("optimizer", "schedule"):
        key = f"{group}.name"
        if key in asked and asked[key].value not in (None, options.get(key)):
            fitting = {k: v for k, v in fitting.items() if not k.startswith(f"{group}.")}
    return fitting


def make_task(settings: Mapping[str, Setting], dataset: Dataset) -> Task:
    """The task by name, with the user's options, fitted on the training part."""
    found = names.resolve(names.TASKS, settings["task"].value)
    options = names.options_of(found, _open_group(settings, "task"), f"task '{settings['task'].value}'")
    if "classes" in names.parameters(found):
        options.setdefault("classes", dataset.classes)
    if "balance" in names.parameters(found):
        options["balance"] = settings["balance"].value == "loss"
    elif settings["balance"].value == "loss":
        raise UserError(
            f"--balance loss does not apply to the task '{settings['task'].value}', which has no classes."
        )
    task = found(**options)
    task.accepts(dataset)
    return task.fitted(dataset, dataset.splits["train"])


def make_network(name: Any, options: Mapping[str, Any], task: Task, shape: tuple[int, int, int]) -> nn.Module:
    """The network by name, file.py:Class, as a function or as it is, with the task's head on it."""
    network = name if isinstance(name, nn.Module) else make_plain_network(name, options, task.width, shape)
    if hasattr(network, "default_head"):
        network.head = task.head(network)
    _check_output(network, task, shape)
    return network


def make_plain_network(name: Any, options: Mapping[str, Any], classes: int, shape: tuple[int, int, int]) -> nn.Module:
    """By name or file.py:Class, or from a function or class; `classes` and `input` are passed where they are taken."""
    function = names.resolve(names.MODELS, name) if isinstance(name, str) else name
    known = {"classes": classes, "input": shape}
    accepted = names.parameters(function)
    given = {k: v for k, v in known.items() if k in accepted}
    chosen = names.options_of(function, options, f"network '{name}'", hidden=tuple(known))
    return function(**given, **chosen)


def _check_output(network: nn.Module, task: Task, shape: tuple[int, int, int]) -> None:
    """An own network must give what the task reads; say so before the data is touched."""
    try:
        width = task.width
    except NotImplementedError:
        return
    before, state = network.training, torch.get_rng_state()
    network.eval()
    try:
        with torch.no_grad():
            output = network(torch.zeros(2, *shape))
    except UserError:
        raise
    except Exception as fault:
        raise UserError(
            f"The network fails on two blank images of shape (2, {shape[0]}, {shape[1]}, {shape[2]}): {fault}"
        ) from fault
    finally:
        network.train(before)
        torch.set_rng_state(state)
    if torch.is_tensor(output) and output.shape != (2, width) and output.numel() != 2 * width:
        raise UserError(
            f"The task '{task.name}' needs {width} numbers per image, shape (2, {width}) for two images; "
            f"the network gave {tuple(output.shape)}. Change its last layer."
        )


def _open_group(settings: Mapping[str, Setting], group: str) -> dict[str, Any]:
    return {k.partition(".")[2]: s.value for k, s in settings.items() if k.startswith(f"{group}.")}


def make_augment(chosen: Recipe, preprocess: Preprocess) -> Any:
    options = chosen.augment
    return augmentation.Augment(
        shift=options.shift or 0,
        flip=options.flip or "none",
        cutout=options.cutout or 0,
        border=options.border or "mirror",
    )


# The session of a new run, and of one that exists ------------------------------------------------------------


def new_session(
    dataset: Dataset,
    layers: Layers,
    *,
    recipe_name: str | None = None,
    model: Any = None,
    task: Task | None = None,
    cache: Path | None = None,
) -> Session:
    """Settle every option and build every part. `model` and `task` may be the user's own objects."""
    dataset = check_files(dataset, cache=cache)
    asked = recipe.settings_of([("default", recipe.flatten(Recipe())), *layers])
    dataset = split_dataset(dataset, recipe.unflatten({k: s.value for k, s in asked.items()}).split)
    if model is not None:
        layers = [*layers, ("python", {"model": _name_of(model)})]
    if task is not None:
        layers = [*layers, ("python", {"task": task.name})]
    settings = settle(layers, facts_of(dataset), recipe_name, dataset.name)
    chosen = recipe.unflatten({key: setting.value for key, setting in settings.items()})
    if task is not None:
        task.accepts(dataset)
        task = task.fitted(dataset, dataset.splits["train"])
    else:
        task = make_task(settings, dataset)
    preprocess = make_preprocess(dataset, chosen, model)
    torch.manual_seed(chosen.seed)
    shape = (preprocess.channels, *preprocess.size)
    network = make_network(model if model is not None else chosen.model, chosen.model_options, task, shape)
    if chosen.init is not None:
        initialise(network, chosen.init)
    task.prepare(network, dataset, dataset.splits["train"])
    network, device = place(network, chosen)
    return Session(settings, chosen, dataset, task, network, preprocess, device)


def _name_of(model: Any) -> str:
    return getattr(model, "__name__", type(model).__name__)


def make_preprocess(dataset: Dataset, chosen: Recipe, model: Any = None) -> Preprocess:
    """Size from the option, the network's wish or the images; mean and deviation from the training part."""
    size: Any = chosen.size
    if size is None and model is None and isinstance(chosen.model, str) and chosen.model in names.MODELS:
        size = getattr(names.resolve(names.MODELS, chosen.model), "size", None)
    plain = Preprocess.choose(dataset, size=size, policy=chosen.resize)
    mean, deviation = statistics.channel_statistics(dataset, dataset.splits["train"], plain)
    return plain.with_statistics(mean, deviation)


def place(network: nn.Module, chosen: Recipe) -> tuple[nn.Module, torch.device]:
    """On its device, in channels_last where it has filters."""
    device = torch.device(distributed.local_device() or chosen.device or "cpu")
    try:
        network = network.to(device)
    except (RuntimeError, AssertionError) as fault:
        raise UserError(
            f"The device '{device}' can't be used: {str(fault).splitlines()[0]}. Try --device cpu."
        ) from fault
    if any(p.dim() == 4 for p in network.parameters()):
        network = network.to(memory_format=torch.channels_last)
    return network, device


def save_parts(session: Session, path: Path) -> None:
    """network.json: what a later command needs to rebuild network, task and preprocessing without the data."""
    parts = {
        "schema": 1,
        "model": session.recipe.model,
        "model_options": dict(session.recipe.model_options),
        "task": session.task.settings(),
        "preprocess": session.preprocess.settings(),
        "classes": list(session.dataset.classes),
        "splits": {name: len(index) for name, index in session.dataset.splits.items()},
    }
    write_atomically(path, json.dumps(parts, indent=1).encode())


@dataclass(frozen=True)
class Parts:
    """A trained network with its task and preprocessing, rebuilt from a run folder."""

    network: nn.Module
    task: Task
    preprocess: Preprocess
    device: torch.device
    classes: tuple[str, ...]
    precision: str

    def autocast(self) -> AbstractContextManager:
        return number_format(self.device, self.precision)


def load_parts(folder: Path, chosen: Recipe, *, model: Any = None, task: Task | None = None) -> Parts:
    """The parts as saved by `save_parts`, without the weights. Own objects must be given again."""
    try:
        saved = json.loads((folder / "network.json").read_text())
        preprocess = Preprocess.from_settings(saved["preprocess"])
    except (OSError, ValueError, KeyError) as fault:
        raise UserError(
            f"{folder} is not a whole run: network.json is missing or damaged ({fault}). It was stopped before the "
            "first step; train again."
        ) from fault
    if task is None:
        settings = dict(saved["task"])
        task = names.resolve(names.TASKS, settings.pop("name"))(**{k: tuples(v) for k, v in settings.items()})
    if model is None and saved["model"] not in names.MODELS and ".py:" not in saved["model"]:
        raise UserError(
            f"This run trained an own network, '{saved['model']}', that was given from Python. Give it again: "
            "Run.open(path, model=...)."
        )
    shape = (preprocess.channels, *preprocess.size)
    network = make_network(model if model is not None else saved["model"], saved["model_options"], task, shape)
    network, device = place(network, chosen)
    return Parts(network, task, preprocess, device, tuple(saved["classes"]), chosen.precision or "fp32")


def tuples(value: Any) -> Any:
    """JSON has lists only; options are tuples."""
    return tuple(tuples(item) for item in value) if isinstance(value, list) else value


def load_weights(network: nn.Module, folder: Path, keep: str) -> int:
    """The weights that the run keeps ("best", or the last running average); returns their epoch."""
    if keep == "best" and any((folder / "checkpoints" / "best").glob("*.json")):
        state = checkpoint.load(folder / "checkpoints" / "best")
        network.load_state_dict(state["network"])
        return int(state["epoch"])
    state = checkpoint.load(folder / "checkpoints" / "last")
    network.load_state_dict(state["network"])
    if state["ema"] is not None:
        average = EMA(network)
        average.load_state_dict(state["ema"])
        average.copy_to(network)
    return int(state["position"]["epoch"])


def warm_start(network: nn.Module, weights: Mapping[str, torch.Tensor], source: str) -> str:
    """Copy every tensor whose name and shape agree; the others (a head for other classes) stay fresh.

    Returns a sentence that says what was taken. Raises UserError where nothing fits.
    """
    own = network.state_dict()
    fitting = {k: v for k, v in weights.items() if k in own and own[k].shape == v.shape}
    if not any(k.endswith("weight") for k in fitting):
        raise UserError(f"No layer of {source} fits this network. Use the same --model for a warm start.")
    network.load_state_dict(fitting, strict=False)
    fresh = [name for name in own if name not in fitting]
    return f"{len(fitting)} of {len(own)} tensors come from {source}" + (
        f"; fresh: {', '.join(fresh)}" if fresh else ""
    )

"""One training's parts, put together from its settings: dataset, task, network, preprocessing, loaders.

The same way for a new run, a resumed one, and an evaluation: what can't be computed again (statistics of the training
part, the fitted task) is read from the run's `network.json`.
"""

from __future__ import annotations

import random
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from hubel.data.check import check_files
from hubel.data.dataset import Dataset
from hubel.data.loader import Loader
from hubel.data.preprocess import Preprocess
from hubel.data.quarantine import Quarantine
from hubel.errors import UserError
from hubel.nn.init import initialise
from hubel.options import flatten, settings_of, unflatten
from hubel.parts import (
    make_augment,
    make_network,
    make_task,
    make_weights,
    put_weights,
    split_dataset,
)
from hubel.placing import number_format, place, settings_by_cost
from hubel.preparation import check_train_size, for_training, make_preprocess, measure
from hubel.recipe import Recipe, Setting
from hubel.settle import Layers, asking, facts_of, settle
from hubel.tasks.base import Task
from hubel.training.feed import Data


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
    fresh: tuple[str, ...] | None = None  # parameters that did not come with weights; None: there were no weights
    pretrained: str = ""  # where the others come from, for people

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) that the network sees."""
        return (self.preprocess.channels, *self.preprocess.size)

    @property
    def learns_from(self) -> Preprocess:
        """Of the training part: --train_size, in the proportions of --size. arXiv:1906.06423"""
        return for_training(self.preprocess, self.recipe.train_size)

    def autocast(self) -> AbstractContextManager:
        """The number format of evaluation: the one that the network was trained in."""
        return number_format(self.device, self.recipe.precision or "fp32")

    def data(self) -> Data:
        """Loaders for the dataset's splits: the training part augmented, the others plain."""
        train = Loader(
            self.dataset,
            self._targets,
            self.learns_from,
            augment=make_augment(self.recipe, self.preprocess, self.dataset, self.task),
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
            like=like if self.recipe.train_size is None else None,
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


# The session of a new run, and of one that exists ------------------------------------------------------------


def new_session(
    dataset: Dataset,
    layers: Layers,
    *,
    recipe_name: str | None = None,
    model: Any = None,
    task: Task | None = None,
    cache: Path | None = None,
    download: bool = False,
) -> Session:
    """Settle every option and build every part. `model` and `task` may be the user's own objects."""
    dataset = check_files(dataset, cache=cache)
    asked = settings_of([("default", flatten(Recipe())), *layers])
    if asked["quarantine"].value is not None:
        dataset = Quarantine.read(asked["quarantine"].value).applied(dataset)
    dataset = split_dataset(dataset, unflatten({k: s.value for k, s in asked.items()}).split)
    if model is not None:
        layers = [*layers, ("python", {"model": _name_of(model)})]
    if task is not None:
        layers = [*layers, ("python", {"task": task.name})]
    weights, function = make_weights(asked, model, download)

    def settled(examples: Dataset, task: Task | None) -> dict[str, Setting]:
        facts = asking(facts_of(examples), task)
        facts = facts if weights is None else replace(facts, pretrained=weights.images.size)
        return with_whole_paths(settle(layers, facts, recipe_name, examples.name))

    settings = settled(dataset, task)
    if task is not None:
        task.accepts(dataset)
    else:
        task = make_task(settings, dataset)
    examples = task.examples(dataset)
    if examples is not dataset or ".py:" in str(settings["task"].value):  # other images; a task that nobody knew yet
        dataset, settings = examples, settled(examples, task)
    chosen = unflatten({key: setting.value for key, setting in settings.items()})
    task = task.fitted(dataset, dataset.splits["train"])
    preprocess = make_preprocess(dataset, chosen, model, weights, task.dense)
    augment = make_augment(chosen, preprocess, dataset, task)  # what it can't have is said before a folder is made
    seed_everything(chosen.seed)
    shape = (preprocess.channels, *preprocess.size)
    network = make_network(model if model is not None else chosen.model, chosen.model_options, task, shape)
    check_train_size(network, preprocess, augment, chosen.train_size)
    start(network, chosen)
    task.prepare(network, dataset, dataset.splits["train"])
    measure(network, dataset, preprocess)
    fresh, said = put_weights(network, function, weights)
    settings = settings_by_cost(settings, network, shape)
    chosen = unflatten({key: setting.value for key, setting in settings.items()})
    if chosen.train_size and chosen.transfer.name == "head" and chosen.transfer.views:
        raise UserError("--transfer head learns from features of images at --size, so --train_size has no place there.")
    network, device = place(network, chosen)
    return Session(settings, chosen, dataset, task, network, preprocess, device, fresh, said)


def start(network: nn.Module, chosen: Recipe) -> None:
    """Draw the weights by --init; without it layers start as torch starts them."""
    for option, owners in (("init_sigma", ("normal",)), ("init_gain", ("xavier", "he", "lecun"))):
        if getattr(chosen, option) is not None and chosen.init not in owners:
            raise UserError(
                f"Option '{option}' belongs to --init {' or '.join(owners)}; init is {chosen.init or 'left open'}."
            )
    if chosen.init is not None:
        initialise(network, chosen.init, sigma=chosen.init_sigma or 0.01, gain=chosen.init_gain or 1.0)


def with_whole_paths(settings: dict[str, Setting]) -> dict[str, Setting]:
    """own.py:Net as /where/it/is/own.py:Net, so that the run finds it from any folder."""
    weights = settings.get("weights")
    if weights is not None and weights.value is not None and Path(weights.value).expanduser().is_file():
        settings["weights"] = replace(weights, value=str(Path(weights.value).expanduser().absolute()))
    own = {key: settings[key] for key in ("model", "task", "log") if ".py:" in str(settings[key].value)}
    for key, setting in own.items():
        place, _, name = setting.value.rpartition(":")
        settings[key] = replace(setting, value=f"{Path(place).expanduser().absolute()}:{name}")
    return settings


def _name_of(model: Any) -> str:
    return getattr(model, "__name__", type(model).__name__)


def seed_everything(seed: int) -> None:
    """hubel draws from torch's generator only; the user's own code may use the others."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)

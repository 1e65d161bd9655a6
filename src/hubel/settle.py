"""From what the user said, what was measured before and the rules of `auto`, to the value of every option."""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hubel import names
from hubel.data.dataset import Dataset
from hubel.data.largest import single
from hubel.data.objects import Objects
from hubel.errors import UserError
from hubel.options import convert, flatten, flatten_nested, reject_what_does_not_apply, settings_of
from hubel.recipe import OPEN_GROUPS, Recipe, Setting
from hubel.training import auto

IMAGES, SIDES = (5_000, 200_000), (16, 64)  # how far from what they were measured on recipes are trusted
ASKED = ("dense", "every_pixel", "one_object")  # traits of a task (tasks/base.py) that rules look at
Layers = list[tuple[str, Mapping[str, Any]]]  # (where from, flat options); later ones win


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
        n_dev=len(dataset.splits.get("dev", ())),
        height=height,
        width=width,
        channels=channels,
        same_size=bool((sizes == sizes[0]).all()) if len(sizes) else True,
        columns=tuple(dataset.annotations),
        classes=len(dataset.classes),
        wanted=None,
        mirror=bool(mirror),
        mirror_reason=reason,
        traits=dataset.traits,
        **_objects_of(dataset),
    )


def _objects_of(dataset: Dataset) -> dict[str, Any]:
    """How many images show several objects, and how many joints an object has."""
    objects = dataset.annotations.get("objects")
    if not isinstance(objects, Objects):
        return {}
    counts = np.bincount(objects.images[single(objects)], minlength=len(objects))
    points = objects.keypoints
    joints = points.shape[1] if points.ndim == 3 and (points[..., 2] > 0).any() else 0
    return {"crowded": int((counts > 1).sum()), "joints": joints}


def settle(layers: Layers, facts: auto.Facts, recipe_name: str | None, dataset: str) -> dict[str, Setting]:
    """Defaults, then the measured recipe that fits, then what the user set; the rest by the rules of `auto`."""
    asked = settings_of(layers)
    facts = asking(facts, auto.task_of(facts, asked))
    name, reason = choose_recipe(recipe_name, facts, dataset, asked)
    settings = settings_of([("default", flatten(Recipe()))])
    if name is not None:
        options = names.resolve(names.RECIPES, name).OPTIONS
        fitting = _that_fit(options, asked)
        if not (facts.mirror or name in (recipe_name, dataset)):  # letters and digits have a right and a left
            fitting = {key: value for key, value in fitting.items() if key not in ("augment.flip", "views")}
        measured = settings_of([("recipe", fitting)])
        settings |= {key: replace(setting, reason=f"{name}: {reason}") for key, setting in measured.items()}
    settings |= {key: setting for key, setting in asked.items() if setting.value is not None or key not in settings}
    facts = replace(asking(facts, auto.task_of(facts, settings)), wanted=wanted_size(settings["model"].value))
    settings = auto.resolve(settings, facts)
    reject_what_does_not_apply(settings)
    listed = settings["quarantine"]
    if listed.value is not None:
        settings["quarantine"] = replace(listed, value=str(Path(listed.value).expanduser().absolute()))
    scenery = settings["augment.backgrounds"]
    if scenery.value not in (None, "noise"):
        settings["augment.backgrounds"] = replace(scenery, value=str(Path(scenery.value).expanduser().absolute()))
    judged_on = settings["split.dev_from"]
    if judged_on.value is not None:  # found again from any folder
        settings["split.dev_from"] = replace(judged_on, value=names.address(judged_on.value))
    return settings


def asking(facts: auto.Facts, task: Any) -> auto.Facts:
    """`facts` with what a task asks for, too; it is given itself, by its name, or None."""
    found = names.resolve(names.TASKS, task) if isinstance(task, str) and task in names.TASKS else task
    asked: dict[str, Any] = {kind: getattr(facts, kind) or getattr(found, kind, False) for kind in ASKED}
    return replace(facts, **asked)


def wanted_size(model: Any) -> int | None:
    """The side in pixels that a network by name asks for; None for any."""
    if names.ships(model):
        return getattr(names.resolve(names.MODELS, model), "size", None)
    return None


def choose_recipe(
    name: str | None, facts: auto.Facts, dataset: str, asked: Mapping[str, Setting]
) -> tuple[str | None, str]:
    """The recipe that was measured on such data, unless another network or task is asked for."""
    if name is not None:
        return name, "asked for"
    found, reason = _recipe_for(facts, dataset, auto.task_of(facts, asked))
    if found is None:
        return None, ""
    options = names.resolve(names.RECIPES, found).OPTIONS
    if "weights" in asked and asked["weights"].value is not None:
        return None, ""
    for key in ("model",) if facts.every_pixel else ("model", "task"):  # a task of several has no name of ours
        if key in asked and key in options and asked[key].value not in (None, options[key]):
            return None, ""
    takes = inspect.signature(names.resolve(names.MODELS, options["model"])).parameters if "model" in options else {}
    if takes and any(key.startswith("model.") and key.removeprefix("model.") not in takes for key in asked):
        return None, ""  # --model.encoder alone asks for a network that has one
    return found, reason


def _recipe_for(facts: auto.Facts, dataset: str, task: str) -> tuple[str | None, str]:
    if facts.one_object:
        return "one-object", f"the task {task}"
    if dataset in names.RECIPES:
        return dataset, "measured on this dataset"
    sides = (facts.height, facts.width)
    alike = facts.same_size and SIDES[0] <= min(sides) and max(sides) <= SIDES[1]
    if alike and facts.every_pixel:
        return "small-masks", f"masks of one size, {SIDES[0]} to {SIDES[1]} pixels"
    if "label" not in facts.columns or not alike or not IMAGES[0] <= facts.n_train <= IMAGES[1]:
        return None, ""
    name, kind = ("small-photos", "colour") if facts.channels == 3 else ("fashion-mnist", "grey")
    return name, f"{IMAGES[0]:,} to {IMAGES[1]:,} {kind} images of one size, {SIDES[0]} to {SIDES[1]} pixels"


def _that_fit(options: Mapping[str, Any], asked: Mapping[str, Setting]) -> dict[str, Any]:
    """Without a group's numbers where the user chose another task, optimiser, schedule or policy than the recipe's."""
    fitting = dict(options)
    for key in ("task", "optimizer.name", "schedule.name", "augment.policy"):
        group = key.partition(".")[0]
        if key in asked and asked[key].value not in (None, options.get(key)):
            fitting = {k: v for k, v in fitting.items() if not k.startswith(f"{group}.")}
    epochs = asked.get("epochs")
    if epochs is not None and epochs.value and "schedule.warmup" in fitting:  # keeps its share of the training
        fitting["schedule.warmup"] *= min(1, epochs.value / options["epochs"])
    return fitting


# Layers ---------------------------------------------------------------------------------------------------------


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
        given = tomllib.loads(path.read_text("utf-8"))
    except OSError as fault:
        raise UserError(f"The configuration file {path} can't be read: {fault.strerror}.") from fault
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise UserError(f"{path} is not valid TOML: {fault}.") from fault
    try:
        flat = flatten_nested(given)
        for key, value in flat.items():
            if key.partition(".")[0] not in OPEN_GROUPS:
                convert(key, value)
    except UserError as fault:
        raise UserError(f"{path}: {fault}") from fault
    return flat

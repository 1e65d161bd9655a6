"""A run's network, task and preprocessing: saved in its folder, rebuilt without the data; weights for a warm start."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from hubel import names
from hubel.data.preprocess import Preprocess
from hubel.errors import UserError
from hubel.parts import make_network
from hubel.placing import number_format, place
from hubel.recipe import Recipe
from hubel.session import Session
from hubel.tasks.base import Task
from hubel.tasks.joint import Joint
from hubel.training import checkpoint
from hubel.training.atomic import write_atomically

WHITENING = "whitening.safetensors"  # the mean image and the matrix, where --normalize asks for them


def save_parts(session: Session, path: Path) -> None:
    """network.json, whitening.safetensors: what rebuilds network, task and preprocessing without the data."""
    parts = {
        "schema": 1,
        "model": session.recipe.model,
        "model_options": dict(session.recipe.model_options),
        "task": session.task.settings(),
        "preprocess": session.preprocess.settings(),
        "classes": list(session.dataset.classes),
        "fresh": None if session.fresh is None else list(session.fresh),
        "splits": {name: len(index) for name, index in session.dataset.splits.items()},
        "typical": np.median(session.dataset.images.sizes(200), axis=0).tolist(),
    }
    if session.preprocess.whitening is not None:
        write_atomically(path.with_name(WHITENING), session.preprocess.whitening.content())
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
    fresh: tuple[str, ...] | None = None  # see Session
    typical: tuple[int, int] | None = None  # median height and width of the images that it was trained on

    def autocast(self) -> AbstractContextManager:
        return number_format(self.device, self.precision)


def load_parts(folder: Path, chosen: Recipe, *, model: Any = None, task: Task | None = None) -> Parts:
    """The parts as saved by `save_parts`, without the weights. Own objects must be given again."""
    try:
        saved = json.loads((folder / "network.json").read_text())
        preprocess = Preprocess.from_settings(saved["preprocess"], folder / WHITENING)
    except (OSError, ValueError, KeyError) as fault:
        raise UserError(
            f"{folder} is not a whole run: network.json is missing or damaged ({fault}). It was stopped before the "
            "first step; train again."
        ) from fault
    task = rebuild_task(saved["task"], chosen.task) if task is None else as_saved(task, saved["task"])
    if model is None and not names.ships(saved["model"]) and ".py:" not in saved["model"]:
        raise UserError(
            f"This run trained an own network, '{saved['model']}', that was given from Python. Give it again: "
            "Run.open(path, model=...)."
        )
    shape = (preprocess.channels, *preprocess.size)
    network = make_network(model if model is not None else saved["model"], saved["model_options"], task, shape)
    network, device = place(network, chosen)
    fresh = None if saved.get("fresh") is None else tuple(saved["fresh"])
    height, width = saved.get("typical") or (0, 0)  # older runs don't say it
    typical = (round(height), round(width)) if height else None
    precision = chosen.precision or "fp32"
    return Parts(network, task, preprocess, device, tuple(saved["classes"]), precision, fresh, typical)


def rebuild_task(settings: Mapping[str, Any], word: str | None) -> Task:
    """The fitted task of a run; `word` is what the user asked for, maybe file.py:Class."""
    name = str(word) if ".py:" in str(word) else settings["name"]
    if name not in names.TASKS and ".py:" not in name and name != "joint":
        raise UserError(
            f"This run trained an own task, '{name}', that was given from Python. Give it again: "
            "Run.open(path, task=...)."
        )
    kind = Joint if name == "joint" else names.resolve(names.TASKS, name)
    if not isinstance(kind, type):  # a function of the user's that makes the task
        return as_saved(kind(), settings)
    return kind(**{k: tuples(v) for k, v in settings.items() if k != "name"})


def as_saved(task: Task, settings: Mapping[str, Any]) -> Task:
    """A task from Python with what was fitted when the run began (class weights, the mean of the targets)."""
    if task.name != settings["name"]:
        raise UserError(f"This run trained the task '{settings['name']}', and '{task.name}' was given. Give the same.")
    if isinstance(task, Joint):
        saved = settings["tasks"]
        if saved.keys() != task.tasks.keys():
            raise UserError(f"This run trained {', '.join(saved)} together; {', '.join(task.tasks)} were given.")
        return replace(task, tasks={name: as_saved(part, saved[name]) for name, part in task.tasks.items()})
    if not is_dataclass(task):
        return task
    known = {f.name for f in fields(task)}
    return replace(task, **{k: tuples(v) for k, v in settings.items() if k in known})


def tuples(value: Any) -> Any:
    """JSON has lists only; options are tuples."""
    return tuple(tuples(item) for item in value) if isinstance(value, list) else value


def load_weights(network: nn.Module, folder: Path, keep: str) -> int:
    """Give the network the weights that the run keeps; returns their epoch."""
    weights, epoch = kept_weights(folder, keep)
    network.load_state_dict(weights)
    return epoch


def kept_weights(folder: Path, keep: str) -> tuple[Mapping[str, torch.Tensor], int]:
    """The weights of the best dev score, or the last ones (their running average where there is one), and their epoch.

    Raises UserError where there are none, naming the folds of a cross-validation.
    """
    places = folder / "checkpoints"
    if keep == "best" and any((places / "best").glob("*.json")):
        state = checkpoint.load(places / "best")
        return state["network"], int(state["epoch"])
    children = sorted(folder.glob("folds/*/checkpoints"))
    if children and not places.exists():
        raise UserError(
            f"{folder} is a cross-validation: {len(children)} networks, one for each fold. Use one of them, such as "
            f"{children[0].parent}, or train a last one on all of them with --refit."
        )
    state = checkpoint.load(places / "last")
    averaged = state["ema"] is not None and state["ema"]["steps"] > 0
    return state["ema"]["average"] if averaged else state["network"], int(state["position"]["epoch"])


def warm_start(network: nn.Module, weights: Mapping[str, torch.Tensor], source: str) -> tuple[str, tuple[str, ...]]:
    """Copy every tensor whose name and shape agree; the others (a head for other classes) stay fresh.

    Into the network or into its encoder, whichever more of the tensors fit: a classifier's run begins a U-Net's.
    Returns a sentence that says what was taken, and the fresh parameters' names. Raises UserError where nothing fits.
    """
    own = network.state_dict()
    ways = [weights, {f"encoder.{k}": v for k, v in weights.items()}]
    each = [{k: v for k, v in way.items() if k in own and own[k].shape == v.shape} for way in ways]
    fitting = max(each, key=len)
    if not any(k.endswith("weight") for k in fitting):
        raise UserError(f"No layer of {source} fits this network. Use the same --model for a warm start.")
    network.load_state_dict(fitting, strict=False)
    fresh = [name for name in own if name not in fitting]
    said = f"{len(fitting)} of {len(own)} tensors come from {source}"
    said += f"; fresh: {', '.join(fresh)}" if fresh else ""
    return said, tuple(name for name, _ in network.named_parameters() if name in fresh)

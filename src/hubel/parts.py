"""From what a user names to what a training needs: dataset, splits, task, network, augmentation."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hubel import names
from hubel.data import formats, policies, split
from hubel.data.augment import Augment
from hubel.data.check import check_files
from hubel.data.dataset import Dataset
from hubel.data.preprocess import Preprocess
from hubel.data.targets import check_collage
from hubel.errors import UserError, did_you_mean, looked_for
from hubel.models.put_weights import encoder_of, put_into
from hubel.models.weights import Weights, check_word, load
from hubel.recipe import Recipe, Setting, SplitOptions
from hubel.tasks.base import Task


def load_dataset(source: Any, *, download: bool = False) -> Dataset:
    """A built-in name (also with options: shapes:count=500,size=96), a path, a Dataset, or a torch map-style dataset.

    Raises UserError where the name is unknown, the path is missing or its layout is not recognised.
    """
    if isinstance(source, Dataset):
        return source
    if not isinstance(source, (str, Path)):
        from hubel.data.python import from_torch

        return from_torch(source)
    path = Path(source).expanduser()
    known = names.builtin(str(source))
    if known is not None:
        if path.exists() and isinstance(source, str):
            raise UserError(
                f"'{source}' is both a built-in dataset and a path here. Write ./{source} for the path, or run "
                "from another folder for the built-in one."
            )
        return _builtin(*known, download)
    if not path.exists():
        raise UserError(
            f"There is no file or folder '{source}'{looked_for(path)}, and no built-in dataset of that name"
            f"{did_you_mean(str(source).partition(':')[0], names.DATA)}"
        )
    return formats.open_path(path)


def _builtin(name: str, options: Mapping[str, str], download: bool) -> Dataset:
    function = names.resolve(names.DATA, name)
    given = names.options_of(function, options, f"dataset '{name}'", hidden=("opener", "download"))
    return function(**given, **({"download": download} if "download" in names.parameters(function) else {}))


def split_dataset(dataset: Dataset, options: SplitOptions) -> Dataset:
    """Splits as given, or made with a seed; see data/split.py."""
    if options.dev_from is not None:
        dataset = split.train_here_judge_there(dataset, check_files(load_dataset(options.dev_from)))
    return split.split(dataset, options)


def make_task(settings: Mapping[str, Setting], dataset: Dataset) -> Task:
    """The task by name, with the user's options, not yet fitted. UserError where the dataset lacks what it needs."""
    found = names.resolve(names.TASKS, settings["task"].value)
    options = names.options_of(found, _open_group(settings, "task"), f"task '{settings['task'].value}'")
    if "classes" in names.parameters(found):
        options.setdefault("classes", dataset.classes)
    if "balance" in names.parameters(found):
        options["balance"] = settings["balance"].value == "loss"
    elif settings["balance"].value == "loss":
        raise UserError(f"--balance loss does not apply to the task '{settings['task'].value}', which has no classes.")
    task: Task = found(**options)
    task.accepts(dataset)
    return task


def make_network(name: Any, options: Mapping[str, Any], task: Task, shape: tuple[int, int, int]) -> nn.Module:
    """The network by name, file.py:Class, as a function or as it is, with the task's head on it."""
    own = isinstance(name, nn.Module)  # the user's stays as it is: folds and restarts each begin with a copy
    network = copy.deepcopy(name) if own else make_plain_network(name, options, task.width, shape)
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
    if task.dense and torch.is_tensor(output) and output.ndim == 4 and output.shape[1] == width:
        return
    if not task.dense and torch.is_tensor(output) and output.ndim == 4 and output.shape[1] == width:
        raise UserError(
            f"The network gives a score for every pixel, {tuple(output.shape)} for two images, and the task "
            f"'{task.name}' needs {width} numbers per image. Choose another --model, or --task segmentation with masks."
        )
    if torch.is_tensor(output) and output.shape != (2, width) and output.numel() != 2 * width:
        raise UserError(
            f"The task '{task.name}' needs {width} numbers per image, shape (2, {width}) for two images; "
            f"the network gave {tuple(output.shape)}. Change its last layer."
        )


def _open_group(settings: Mapping[str, Setting], group: str) -> dict[str, Any]:
    return {k.partition(".")[2]: s.value for k, s in settings.items() if k.startswith(f"{group}.")}


def make_augment(chosen: Recipe, preprocess: Preprocess, dataset: Dataset, task: Task) -> Augment:
    augment = policies.from_options(vars(chosen.augment), dataset.traits, preprocess.channels)
    if not augment.mixing.plain and not task.mixes:
        raise UserError(
            f"The task '{task.name}' can't learn from mixed images (mixup, CutMix): its loss knows one target per "
            "image. Leave augment.mixup and augment.cutmix out."
        )
    if not augment.collage.plain:
        first = dataset.splits["train"][:1]
        check_collage(augment.collage, task.targets(dataset, first), f"the task '{task.name}'")
    return augment


def make_weights(asked: Mapping[str, Setting], model: Any, download: bool) -> tuple[Weights | None, Any]:
    """The pretrained weights that are asked for, and the function of their network. UserError where it is not named."""
    word = asked["weights"].value
    if word is None:
        return None, None
    check_word(str(word))
    name = asked["model"].value or ("efficientnet_lite0" if word == "lite0" else None)
    if name is None and model is None:
        own = str(word).removeprefix(names.TIMM).partition(".")[0]  # timm:resnet18.a1_in1k is a resnet18
        example = own if own in names.MODELS else word if str(word).startswith(names.TIMM) else "resnet50"
        raise UserError(f"--weights {word} are those of one network. Say which: --model {example}, for example.")
    function = model if model is not None else names.resolve(names.MODELS, str(name))
    chosen = asked["model.encoder"].value if "model.encoder" in asked else None
    function = encoder_of(function, names.resolve(names.MODELS, chosen) if isinstance(chosen, str) else chosen)
    return load(word, function, download=download), function


def put_weights(network: nn.Module, function: Any, weights: Weights | None) -> tuple[tuple[str, ...] | None, str]:
    """Into the network; the names of the parameters that stay fresh, and a sentence on where the others come from."""
    if weights is None:
        return None, ""
    fresh = put_into(network, function, weights)
    count = len(list(network.parameters()))
    said = f"{count - len(fresh)} of {count} weights are those of {weights.source} (SHA-256 {weights.sha256[:8]}…)"
    if fresh:
        said += f"; fresh: {', '.join(fresh if len(fresh) <= 4 else [fresh[0], f'… {len(fresh) - 2} more', fresh[-1]])}"
    if weights.assumed:
        said += ". Nothing says how its images were prepared: ImageNet's mean, deviation and crop are taken"
    return fresh, said

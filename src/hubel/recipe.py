"""The Recipe: how to train. A frozen dataclass whose defaults are its documentation; None means `auto`.

`auto` values are resolved against data, network and machine when a run starts (see training/auto.py) and saved with the
reason. Each option is reached as `--group.option VALUE`, in a TOML file as `[group] option = VALUE`, and in Python
as `train(source, optimizer={"lr": 0.1})`. This module imports no torch.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from hubel.errors import UserError, did_you_mean


def option(default: Any, text: str, choices: tuple[str, ...] = ()) -> Any:
    """A dataclass field with a help text and, where they are few, the allowed words."""
    return field(default=default, metadata={"help": text, "choices": choices})


OPTIMIZERS = ("sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw", "muon")
SCHEDULES = ("constant", "inverse", "step", "exponential", "cosine", "onecycle", "linear")
POLICIES = ("none", "light", "standard", "strong", "randaugment", "trivialaugment")
VIEWS = ("single", "mirror", "crops", "ten")
INITIALISERS = ("zero", "normal", "xavier", "he", "lecun", "dirac")


@dataclass(frozen=True)
class OptimizerOptions:
    """Which step is taken along the gradient."""

    name: str | None = option(None, "the update rule", OPTIMIZERS)
    lr: float | None = option(None, "learning rate at the schedule's peak, > 0")
    companion: str | None = option(None, "muon: the rule for what has no matrix", ("adamw", "nesterov"))
    momentum: float | None = option(None, "share of the velocity that is kept, in [0, 1)")
    dampening: float | None = option(None, "momentum as a weighted average: share of the gradient left out")
    beta1: float | None = option(None, "Adam: decay of the first moment")
    beta2: float | None = option(None, "Adam: decay of the second moment")
    alpha: float | None = option(None, "RMSprop: decay of the squared gradient")
    eps: float | None = option(None, "added to the root of the second moment")
    weight_decay: float | None = option(None, "decoupled decay: w <- w - lr * decay * w")
    l2: float | None = option(None, "L2 penalty, in the gradient: g <- g + l2 * w")
    l1: float | None = option(None, "L1 penalty, as a soft threshold after the step")
    decay_all: bool = option(False, "decay biases and normalisation layers too")


@dataclass(frozen=True)
class ScheduleOptions:
    """How the learning rate moves over time, as a factor of its peak."""

    name: str | None = option(None, "the shape", SCHEDULES)
    warmup: float | None = option(None, "epochs of linear warm-up from 0")
    gamma: float | None = option(None, "step, exponential, inverse: the strength of the decay")
    every: float | None = option(None, "step: epochs between drops")
    final: float | None = option(None, "cosine, onecycle, linear: the last factor")
    peak: float | None = option(None, "onecycle: where the peak is, as a share of the training")


@dataclass(frozen=True)
class RegularizeOptions:
    """What keeps the weights small and the steps sane, beyond weight decay."""

    clip_norm: float | None = option(None, "largest norm of the whole gradient")
    clip_value: float | None = option(None, "largest absolute value in the gradient")
    max_norm: float | None = option(None, "largest norm of each unit's weights")
    ema: float | None = option(None, "decay of the running average of the weights, in [0, 1); 0 switches it off")
    patience: int | None = option(None, "stop after so many epochs without a better dev score; best weights return")


@dataclass(frozen=True)
class SplitOptions:
    """Who learns, who decides, who judges. Given splits are kept; missing ones are carved from train."""

    seed: int = option(0, "seed of the split; independent of the training's seed")
    dev: float | None = option(None, "share of the training images for the dev part")
    test: float | None = option(None, "share for the test part, where none is given")
    train_dev: float | None = option(None, "share of the training part that is held out as train-dev")
    stratify: bool = option(True, "keep the proportions of the classes")
    move_dev: float | None = option(None, "share of the dev part that is moved into training")
    dev_from: str | None = option(None, "another source: dev and test come from there")
    bootstrap: bool = option(False, "train on a bootstrap sample, the images left out are the dev part")


@dataclass(frozen=True)
class AugmentOptions:
    """Random changes of the training images that keep their meaning."""

    policy: str | None = option(None, "a named set of the options below", POLICIES)
    shift: int | None = option(None, "pixels of random shift, each direction")
    border: str | None = option(None, "what a shift brings in", ("zero", "mirror", "edge"))
    flip: str | None = option(None, "horizontal flips", ("none", "random", "alternating"))
    crop: float | None = option(None, "smallest share of the area that a random crop keeps; 0 crops nothing")
    cutout: int | None = option(None, "side of the square that is blanked, in pixels; 0 for none")
    vertical: bool | None = option(None, "half of the images upside down: for what has no upright")
    rotate: float | None = option(None, "degrees to either side")
    scale: float | None = option(None, "sizes: 0.25 draws factors from 1 / 1.25 to 1.25")
    shear: float | None = option(None, "degrees to either side, along both axes")
    perspective: float | None = option(None, "how much nearer or farther the sides come, up to 0.45")
    elastic: float | None = option(None, "largest smooth displacement, as a share of the side, up to 0.05")
    brightness: float | None = option(None, "gains of 1 ± this, up to 1")
    contrast: float | None = option(None, "gains about mid-grey of 1 ± this, up to 1")
    saturation: float | None = option(None, "gains about the pixel's own grey of 1 ± this, up to 1")
    hue: float | None = option(None, "turns of the hue to either side, 0.5 for the whole circle")
    cast: float | None = option(None, "gains of each channel of 1 ± this: another white balance")
    lighting: float | None = option(None, "shifts along the main axes of photographs' colours, in deviations")
    grey: float | None = option(None, "share of the images that lose their colour")
    solarise: float | None = option(None, "share of the images whose bright values are inverted")
    posterise: float | None = option(None, "share of the images with 4 to 7 bits a value")
    blur: float | None = option(None, "largest deviation of a blur, in pixels; half of the images get one")
    noise: float | None = option(None, "largest deviation of noise, as a share of white; half of the images get it")
    jpeg: int | None = option(None, "lowest JPEG quality; half of the images get one; 0 for none")
    operations: int | None = option(None, "operations chosen at random for each image, as RandAugment does")
    magnitude: float | None = option(None, "their strength, in (0, 1]; 0 draws it, as TrivialAugment does")
    mixup: float | None = option(None, "images blended in pairs, shares from Beta(a, a) with this a")
    cutmix: float | None = option(None, "rectangles exchanged in pairs, areas from Beta(a, a) with this a")
    mixed: float | None = option(None, "share of the images that mixup and CutMix change")
    blend: float | None = option(None, "largest share of a background; half of the images get one")
    backgrounds: str | None = option(None, "a folder of pictures to blend with, or noise")


@dataclass(frozen=True)
class Recipe:
    """How to train. Every value that is None is chosen for the data, the network and the machine."""

    model: str | None = option(None, "a network's name, or file.py:Class")
    task: str | None = option(None, "what is asked: classification, labels, binary, regression …")
    epochs: int | None = option(None, "passes over the training part, >= 1")
    batch_size: int | None = option(None, "images per step, >= 1; 0 for the whole training part")
    micro_batch: int | None = option(None, "images per pass; a step adds several passes up")
    sampling: str = option("shuffle", "a shuffled partition, or drawn with replacement", ("shuffle", "replacement"))
    size: int | None = option(None, "side of the square that the network sees, in pixels")
    resize: str | None = option(None, "how an image of another shape gets there", ("crop", "letterbox", "stretch"))
    normalize: str = option(
        "channel", "what the training part's mean is taken of; pca, zca: whitening", ("channel", "image", "pca", "zca")
    )
    whiten_epsilon: float = option(0.01, "pca, zca: added to each variance, as a share of their mean")
    init: str | None = option(None, "how the weights start", INITIALISERS)
    init_sigma: float | None = option(None, "init normal: the standard deviation, 0.01 where left open")
    init_gain: float | None = option(None, "init xavier, he, lecun: a factor of the weights; 5/3 suits tanh")
    balance: str = option(
        "none", "against imbalance: weigh classes, or draw rare ones more often", ("none", "loss", "sampler")
    )
    views: str | None = option(None, "views averaged at evaluation", VIEWS)
    seed: int = option(0, "seed of weights, order and draws")
    restarts: int = option(1, "train so often from different weights, keep the best on dev")
    folds: int = option(0, "k-fold cross-validation; -1 leaves one out")
    refit: bool = option(False, "afterwards train on train + dev with the settings that won")
    keep: str | None = option(None, "the weights that are evaluated", ("best", "last"))
    device: str | None = option(None, "cpu, cuda, cuda:1, mps")
    precision: str | None = option(None, "number format of the passes", ("fp32", "bf16"))
    compile: bool | None = option(None, "torch.compile")
    deterministic: bool = option(False, "only kernels that repeat exactly, on a GPU too")
    sync_batchnorm: bool = option(False, "batch statistics over all processes")
    workers: int | None = option(None, "processes that decode images")
    save_every: int | None = option(None, "steps between checkpoints; at every epoch's end anyway")
    log: str | None = option(None, "also write metrics to: tensorboard, or your own file.py:Logger")
    optimizer: OptimizerOptions = field(default_factory=OptimizerOptions)
    schedule: ScheduleOptions = field(default_factory=ScheduleOptions)
    regularize: RegularizeOptions = field(default_factory=RegularizeOptions)
    quarantine: str | None = option(None, "a list of images that take no part, as `hubel data` writes it")
    split: SplitOptions = field(default_factory=SplitOptions)
    augment: AugmentOptions = field(default_factory=AugmentOptions)
    model_options: Mapping[str, Any] = field(default_factory=dict)  # --model.hidden 100,50
    task_options: Mapping[str, Any] = field(default_factory=dict)  # --task.smoothing 0.1


GROUPS = {f.name: f.type for f in dataclasses.fields(Recipe) if f.default_factory is not dataclasses.MISSING}
OPEN_GROUPS = {
    "model": "model_options",
    "task": "task_options",
}  # their options are the constructor's arguments

APPLIES_OPTIMIZER: dict[str, frozenset[str]] = {
    "sgd": frozenset({"lr", "weight_decay", "l2", "l1", "decay_all"}),
    "momentum": frozenset({"lr", "momentum", "dampening", "weight_decay", "l2", "l1", "decay_all"}),
    "nesterov": frozenset({"lr", "momentum", "weight_decay", "l2", "l1", "decay_all"}),
    "rmsprop": frozenset({"lr", "alpha", "eps", "momentum", "weight_decay", "l2", "l1", "decay_all"}),
    "adam": frozenset({"lr", "beta1", "beta2", "eps", "weight_decay", "l2", "l1", "decay_all"}),
    "adamw": frozenset({"lr", "beta1", "beta2", "eps", "weight_decay", "l1", "decay_all"}),
    "muon": frozenset({"lr", "companion", "momentum", "beta1", "beta2", "eps", "weight_decay", "l1", "decay_all"}),
}
APPLIES_SCHEDULE: dict[str, frozenset[str]] = {
    "constant": frozenset({"warmup"}),
    "inverse": frozenset({"warmup", "gamma"}),
    "step": frozenset({"warmup", "gamma", "every"}),
    "exponential": frozenset({"warmup", "gamma"}),
    "cosine": frozenset({"warmup", "final"}),
    "onecycle": frozenset({"peak", "final"}),
    "linear": frozenset({"warmup", "final"}),
}


@dataclass(frozen=True)
class Setting:
    """One effective value and where it came from."""

    value: Any
    source: str  # "default", "auto", "recipe", "config file", "command line", "python", "run"
    reason: str = ""


def flatten(recipe: Recipe) -> dict[str, Any]:
    """{"epochs": 10, "optimizer.lr": 0.1, "model.hidden": (100,), …}"""
    flat: dict[str, Any] = {}
    for f in dataclasses.fields(recipe):
        value = getattr(recipe, f.name)
        if dataclasses.is_dataclass(value):
            flat |= {f"{f.name}.{g.name}": getattr(value, g.name) for g in dataclasses.fields(value)}
        elif f.name.endswith("_options"):
            flat |= {f"{f.name.removesuffix('_options')}.{key}": item for key, item in value.items()}
        else:
            flat[f.name] = value
    return flat


def flatten_nested(options: Mapping[str, Any]) -> dict[str, Any]:
    """{"optimizer": {"lr": 0.1}} and {"optimizer.lr": 0.1} alike, "adam" for {"name": "adam"}; names are checked."""
    flat: dict[str, Any] = {}
    for key, value in options.items():
        group = key.partition(".")[0]
        if isinstance(value, Mapping):
            inner = {f"{key}.{name}": item for name, item in value.items()}
            flat |= {key if k == f"{key}.name" and key in OPEN_GROUPS else k: v for k, v in inner.items()}
        elif key in GROUPS and isinstance(value, str):
            flat[f"{key}.policy" if key == "augment" else f"{key}.name"] = value
        else:
            flat[key] = value
        if group not in OPEN_GROUPS and group not in GROUPS and key not in fields_by_key():
            raise UserError(f"There is no option '{key}'{did_you_mean(key, fields_by_key())}")
    return flat


def unflatten(flat: Mapping[str, Any]) -> Recipe:
    """The inverse of `flatten`; values are checked and converted. Raises UserError for unknown names."""
    changes: dict[str, Any] = {}
    for key, value in flat.items():
        group, _, name = key.partition(".")
        if name and group in OPEN_GROUPS:
            changes.setdefault(OPEN_GROUPS[group], {})[name] = value
        elif name:
            changes.setdefault(group, {})[name] = convert(key, value)
        else:
            changes[key] = convert(key, value)
    for group in [name for name in changes if name in GROUPS and not name.endswith("_options")]:
        changes[group] = _group_class(group)(**changes[group])
    return Recipe(**changes)


def _group_class(group: str) -> type:
    return get_type_hints(Recipe)[group]


@functools.cache
def fields_by_key() -> dict[str, tuple[dataclasses.Field, Any]]:
    """Every fixed option by its dotted name, with its dataclass field and its type."""
    found: dict[str, tuple[dataclasses.Field, Any]] = {}
    hints = get_type_hints(Recipe)
    for f in dataclasses.fields(Recipe):
        if f.name in GROUPS and not f.name.endswith("_options"):
            inner = get_type_hints(hints[f.name])
            found |= {f"{f.name}.{g.name}": (g, inner[g.name]) for g in dataclasses.fields(hints[f.name])}
        elif not f.name.endswith("_options"):
            found[f.name] = (f, hints[f.name])
    return found


def convert(key: str, value: Any) -> Any:
    """`value` (a word from the command line, or a value from TOML or Python) as the type of option `key`."""
    known = fields_by_key()
    if key not in known:
        raise UserError(f"There is no option '{key}'{did_you_mean(key, known)}")
    f, hint = known[key]
    kinds = [kind for kind in _alternatives(hint) if kind is not NoneType]
    optional = NoneType in _alternatives(hint)
    if value is None or (isinstance(value, str) and value == "auto"):
        if optional:
            return None
        raise UserError(f"Option '{key}' has no automatic value; it needs {_wanted(f, kinds[0])}.")
    converted = _convert_to(kinds[0], value)
    choices = f.metadata.get("choices", ())
    if converted is None or (choices and converted not in choices):
        hint_text = did_you_mean(str(value), choices) if choices else "."
        raise UserError(f"Option '{key}' needs {_wanted(f, kinds[0])}, got '{value}'{hint_text}")
    return _in_range(key, converted)


def _alternatives(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _wanted(f: dataclasses.Field, kind: type) -> str:
    if f.metadata.get("choices"):
        return "one of " + ", ".join(f.metadata["choices"])
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}[kind]


def _convert_to(kind: type, value: Any) -> Any:
    """The value as `kind`, or None where it isn't one."""
    if kind is bool:
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        return value if isinstance(value, bool) else words.get(str(value).lower())
    if kind is str:
        return value if isinstance(value, str) else None
    if isinstance(value, bool):
        return None
    try:
        number = kind(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return None if kind is int and float(value) != number else number


AT_LEAST = {"epochs": 1, "batch_size": 0, "micro_batch": 1, "size": 1, "restarts": 1, "folds": -1, "workers": 0,
            "save_every": 1, "regularize.patience": 1, "augment.shift": 0, "augment.cutout": 0, "seed": 0,
            "split.seed": 0}  # fmt: skip
SHARES = {"split.dev", "split.test", "split.train_dev", "split.move_dev", "optimizer.momentum", "optimizer.beta1",
          "optimizer.beta2", "optimizer.alpha", "regularize.ema", "schedule.peak", "schedule.final",
          "augment.crop"}  # fmt: skip
POSITIVE = {"optimizer.lr", "optimizer.eps", "regularize.clip_norm", "regularize.clip_value", "regularize.max_norm",
            "schedule.every", "schedule.gamma", "init_sigma",
            "init_gain"}  # fmt: skip
NOT_NEGATIVE = {"whiten_epsilon", "optimizer.weight_decay", "optimizer.l1", "optimizer.l2", "schedule.warmup"}


def _in_range(key: str, value: Any) -> Any:
    if key in AT_LEAST and value < AT_LEAST[key]:
        raise UserError(f"Option '{key}' needs a whole number of at least {AT_LEAST[key]}, got {value}.")
    if key in SHARES and not 0 <= value < 1:
        raise UserError(f"Option '{key}' needs a number from 0 up to, not including, 1, got {value}.")
    if key in POSITIVE and not 0 < value < float("inf"):
        raise UserError(f"Option '{key}' needs a number above 0, got {value}.")
    if key in NOT_NEGATIVE and not 0 <= value < float("inf"):
        raise UserError(f"Option '{key}' needs a number of at least 0, got {value}.")
    return value


def settings_of(layers: Iterator[tuple[str, Mapping[str, Any]]] | list[tuple[str, Mapping[str, Any]]]) -> dict[
        str, Setting]:  # fmt: skip
    """Stack layers of flat options, later ones win: [("default", {...}), ("command line", {...})]."""
    found: dict[str, Setting] = {}
    for source, flat in layers:
        for key, value in flat.items():
            group, _, name = key.partition(".")
            value = value if name and group in OPEN_GROUPS else convert(key, value)
            found[key] = Setting(value, source)
    return found


def reject_what_does_not_apply(settings: Mapping[str, Setting]) -> None:
    """An option that somebody set and that the chosen optimiser or schedule lacks is an error, never ignored."""
    for group, table in (("optimizer", APPLIES_OPTIMIZER), ("schedule", APPLIES_SCHEDULE)):
        chosen = settings[f"{group}.name"].value
        for key, setting in settings.items():
            name = key.removeprefix(f"{group}.")
            explicit = setting.source not in ("default", "auto") and setting.value is not None
            if key.startswith(f"{group}.") and name != "name" and explicit and name not in table[chosen]:
                raise UserError(
                    f"Option '{key}' does not apply to {group} '{chosen}', which takes "
                    f"{', '.join(sorted(table[chosen]))}. Leave it out or choose another {group}."
                )

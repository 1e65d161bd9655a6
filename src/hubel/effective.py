"""The value that each option has in effect where nobody set it: the rule's, the network's, the task's, or none.

    optimizer.beta1   –   default      ->   optimizer.beta1   0.9     default   adamw's own
    schedule.warmup   –   default      ->   schedule.warmup   –       default   onecycle has none
                                            model.width       64      network   convnet's own

For eyes only (`hubel config`, the report): a run saves what was settled, and a resume settles the rest the same way.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from hubel import names
from hubel.data.policies import PARTS
from hubel.errors import UserError
from hubel.options import APPLIES_OPTIMIZER, APPLIES_SCHEDULE, APPLIES_TRANSFER
from hubel.recipe import Setting
from hubel.session import Session
from hubel.settle import wanted_size
from hubel.training.optim import DEFAULTS
from hubel.training.saving import SECONDS, SHARE
from hubel.training.schedule import Schedule, create_schedule

FIXED: dict[str, tuple[Any, str]] = {  # left open, an option means this whatever the others are
    "resize": (None, "all images have one shape"),
    "train_size": (None, "as large as in evaluation"),
    "weights": (None, "none: the network learns from nothing"),
    "init": (None, "each layer starts as torch starts it"),
    "save_every": (None, f"at an epoch's end, if it takes under {SHARE:.0%} of the time; after {SECONDS // 60} min"),
    "log": (None, "the run folder alone"),
    "quarantine": (None, "no list: what can't be decoded is left out anyway"),
    "split.move_dev": (0.0, "the dev part stays whole"),
    "split.dev_from": (None, "every part comes from one source"),
    "regularize.clip_norm": (None, "the gradient is not limited"),
    "regularize.clip_value": (None, "the gradient is not limited"),
    "regularize.max_norm": (None, "the weights are not limited"),
    "regularize.ema": (0.0, "no running average"),
    "regularize.mean": (None, "no mean over the last part of the training"),
    "regularize.patience": (None, "every epoch is trained"),
}


def effective(session: Session) -> dict[str, Setting]:
    """The session's settings, each None filled in or explained, with the network's and the task's own options."""
    found = {**_constructors(session), **session.settings}
    known = {**FIXED, **_sizes(session), **_splits(session), **_optimizer(session), **_schedule(session)}
    known |= _transfer(session)
    for key, setting in found.items():
        if setting.value is None and setting.source == "default":
            value, reason = known.get(key) or _augment(key, session) or (None, "")
            found[key] = Setting(value, "default", reason)
    return found


def _sizes(session: Session) -> dict[str, tuple[Any, str]]:
    height, width = session.preprocess.size
    side = height if height == width else f"{height}x{width}"
    init, sigma, gain = session.recipe.init, (None, "goes with init normal"), (None, "goes with init xavier, he, lecun")
    return {
        "size": (side, "the images' own" if wanted_size(session.recipe.model) is None else "what the network asks for"),
        "micro_batch": (session.recipe.batch_size, "a batch in one pass"),
        "init_sigma": (0.01, "init normal's own") if init == "normal" else sigma,
        "init_gain": (1.0, "a factor of 1") if init in ("xavier", "he", "lecun") else gain,
    }


def _splits(session: Session) -> dict[str, tuple[Any, str]]:
    """The shares that the parts have, of all images that are used."""
    parts = {name: len(index) for name, index in session.dataset.splits.items()}
    total = max(sum(parts.values()), 1)
    known = {}
    for key, name in (("dev", "dev"), ("test", "test"), ("train_dev", "train-dev")):
        n = parts.get(name, 0)
        known[f"split.{key}"] = (round(n / total, 4), f"{n:,} of {total:,} images" if n else f"no {name} part")
    return known


def _optimizer(session: Session) -> dict[str, tuple[Any, str]]:
    name = session.recipe.optimizer.name or "adamw"
    known: dict[str, tuple[Any, str]] = {"optimizer.companion": ("adamw", "for what has no matrix")}
    for option in ("lr", "momentum", "dampening", "beta1", "beta2", "alpha", "eps", "weight_decay", "l2", "l1"):
        own = option in DEFAULTS[name]
        known[f"optimizer.{option}"] = (DEFAULTS[name].get(option, 0.0), f"{name}'s own" if own else "none")
    return _that_apply(known, "optimizer", name, APPLIES_OPTIMIZER)


def _schedule(session: Session) -> dict[str, tuple[Any, str]]:
    chosen, size = session.recipe, session.recipe.batch_size or len(session.dataset.splits["train"])
    name, steps = chosen.schedule.name or "constant", max(len(session.dataset.splits["train"]) // max(size, 1), 1)
    try:
        made = create_schedule(chosen.schedule, (chosen.epochs or 1) * steps, steps)
    except UserError:  # a warm-up longer than the training: training says so
        return {}
    assert isinstance(made, Schedule)
    shape = made.shape
    own = ("gamma", "every", "final", "peak", "cycles")
    known = {f"schedule.{key}": (getattr(shape, key), f"{name}'s own") for key in own}
    known["schedule.warmup"] = (0.0, "none")
    return _that_apply(known, "schedule", name, APPLIES_SCHEDULE)


def _transfer(session: Session) -> dict[str, tuple[Any, str]]:
    known = {f"transfer.{key}": (None, "") for key in ("head_epochs", "factor", "decay", "views")}
    return _that_apply(known, "transfer", session.recipe.transfer.name or "all", APPLIES_TRANSFER)


def _that_apply(
    known: Mapping[str, tuple[Any, str]], group: str, name: str, table: Mapping[str, frozenset[str]]
) -> dict[str, tuple[Any, str]]:
    return {
        key: found if key.removeprefix(f"{group}.") in table[name] else (None, f"{name} has none")
        for key, found in known.items()
    }


def _augment(key: str, session: Session) -> tuple[Any, str] | None:
    """What an operation does that the policy leaves out: nothing."""
    group, _, name = key.partition(".")
    if group != "augment":
        return None
    own = {f.name: getattr(kind(), f.name) for kind in PARTS.values() for f in fields(kind)}
    if name in ("magnitude", "mixed", "backgrounds"):  # how and with what, where nothing is done
        return None, f"not in the policy {session.recipe.augment.policy}"
    return own.get(name, False if name == "vertical" else 0), f"not in the policy {session.recipe.augment.policy}"


def _constructors(session: Session) -> dict[str, Setting]:
    """The network's and the task's options, with what their constructors take where nobody says otherwise."""
    found: dict[str, Setting] = {}
    model = session.recipe.model
    if isinstance(model, str) and (names.ships(model) or ".py:" in model):
        own = names.parameters(names.resolve(names.MODELS, model))
        found |= _defaults("model", own, "network", f"{model.rpartition(':')[2]}'s own")
    if is_dataclass(session.task):
        own = {key: p for key, p in names.parameters(type(session.task)).items() if key not in _SET_ELSEWHERE}
        found |= _defaults("task", own, "task", f"{session.task.name}'s own")
    return found


_SET_ELSEWHERE = ("classes", "balance")  # by the data, and by an option of the training


def _defaults(group: str, own: Mapping[str, inspect.Parameter], source: str, why: str) -> dict[str, Setting]:
    known = {k: p.default for k, p in own.items() if k not in ("classes", "input") and p.default is not p.empty}
    plain = {k: v.__name__ if inspect.isfunction(v) else v for k, v in known.items()}  # an encoder, by its name
    return {f"{group}.{key}": Setting(value, source, why) for key, value in plain.items()}

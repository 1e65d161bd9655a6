"""Options by their dotted names: a word or a TOML value as its field's type, and a Recipe as flat options.

    {"epochs": "20", "optimizer.lr": 0.1, "model.hidden": (100,)}  ->  Recipe(epochs=20, …)

An option of the network or the task (`model.…`, `task.…`) stays what it is: its constructor reads it. No torch.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
from collections.abc import Iterable, Mapping
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from hubel.errors import UserError, close_to
from hubel.recipe import GROUPS, OPEN_GROUPS, Recipe, Setting

# One option ----------------------------------------------------------------------------------------------------------


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
        raise UserError(f"There is no option '{key}'{closest(key)}")
    f, hint = known[key]
    kinds = [kind for kind in _alternatives(hint) if kind is not NoneType]
    optional = NoneType in _alternatives(hint)
    if value is None or (isinstance(value, str) and value == "auto"):
        if optional:
            return None
        raise UserError(f"Option '{key}' has no automatic value; it needs {_wanted(f, kinds[0])}.")
    converted, choices, within = _convert_to(kinds[0], value), f.metadata["choices"], f.metadata["range"]
    if converted is None or (choices and converted not in choices):
        hint_text = close_to(str(value), choices) or "."
        raise UserError(f"Option '{key}' needs {_wanted(f, kinds[0])}, got '{value}'{hint_text}")
    if within is not None and not within.holds(converted):
        raise UserError(f"Option '{key}' needs {within.words}, got {converted}.")
    return converted


def closest(key: str) -> str:
    """The tail of a message: the option that was meant, in a group or not; a hundred names would help nobody."""
    known = fields_by_key()
    leaves = {name.rpartition(".")[2]: name for name in reversed(known)}
    leaf = key.rpartition(".")[2]
    near = difflib.get_close_matches(key, [*known, *GROUPS, *OPEN_GROUPS], n=1) or difflib.get_close_matches(
        leaf, leaves, n=1
    )
    if not near:
        return "; `hubel config` lists them."
    return f"; did you mean '{leaves.get(near[0], near[0])}'?"


def _alternatives(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _wanted(f: dataclasses.Field, kind: type) -> str:
    if f.metadata["choices"]:
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


# All of them ---------------------------------------------------------------------------------------------------------


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
            raise UserError(f"There is no option '{key}'{closest(key)}")
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
        changes[group] = get_type_hints(Recipe)[group](**changes[group])
    return Recipe(**changes)


def settings_of(layers: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, Setting]:
    """Stack layers of flat options, later ones win: [("default", {...}), ("command line", {...})]."""
    found: dict[str, Setting] = {}
    for source, flat in layers:
        for key, value in flat.items():
            group, _, name = key.partition(".")
            value = value if name and group in OPEN_GROUPS else convert(key, value)
            found[key] = Setting(value, source)
    return found


# Which of them an optimiser or a schedule has ------------------------------------------------------------------------

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
    "cyclic": frozenset({"warmup", "final", "cycles"}),
}


APPLIES_TRANSFER: dict[str, frozenset[str]] = {
    "all": frozenset(),
    "head": frozenset({"views"}),
    "staged": frozenset({"views", "head_epochs", "factor"}),
    "two_rates": frozenset({"views", "head_epochs", "factor"}),
    "groups": frozenset({"views", "head_epochs", "decay"}),
    "unfreeze": frozenset({"views", "head_epochs", "factor"}),
}


def reject_what_does_not_apply(settings: Mapping[str, Setting]) -> None:
    """An option that somebody set and that the chosen optimiser or schedule lacks is an error, never ignored."""
    if settings["regularize.ema"].value and settings["regularize.mean"].value:
        raise UserError("--regularize.ema and --regularize.mean are two averages of the weights. Give one of them.")
    course = settings["transfer.name"].value
    if settings["schedule.name"].value == "cyclic" and course not in (None, "all", "head"):
        raise UserError(
            f"--schedule cyclic counts its cycles over the whole training, and --transfer {course} has stages of "
            "their own rates. Choose --transfer head or all, or another schedule."
        )
    tables = {"optimizer": APPLIES_OPTIMIZER, "schedule": APPLIES_SCHEDULE, "transfer": APPLIES_TRANSFER}
    for group, table in tables.items():
        chosen = settings[f"{group}.name"].value
        for key, setting in settings.items():
            name = key.removeprefix(f"{group}.")
            explicit = setting.source not in ("default", "auto") and setting.value is not None
            if key.startswith(f"{group}.") and name != "name" and explicit and name not in table[chosen]:
                raise UserError(
                    f"Option '{key}' does not apply to {group} '{chosen}', which takes "
                    f"{', '.join(sorted(table[chosen])) or 'none of them'}. Leave it out or choose another {group}."
                )

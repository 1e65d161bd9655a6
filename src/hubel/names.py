"""From a name that a user types to what it means: one table per kind, looked up at the edge only. No torch here.

`file.py:Class` names the user's own network or task.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hubel.errors import UserError, did_you_mean

Table = Mapping[str, str]

MODELS: Table = {
    "linear": "hubel.models.linear:linear",
    "perceptron": "hubel.models.perceptron:perceptron",
    "mlp": "hubel.models.mlp:mlp",
    "lenet5": "hubel.models.lenet:lenet5",
    "convnet": "hubel.models.convnet:convnet",
    "small_cnn": "hubel.models.convnet:small_cnn",
    "resnet8": "hubel.models.resnet_cifar:resnet8",
    "resnet20": "hubel.models.resnet_cifar:resnet20",
    "resnet32": "hubel.models.resnet_cifar:resnet32",
    "resnet44": "hubel.models.resnet_cifar:resnet44",
    "resnet56": "hubel.models.resnet_cifar:resnet56",
    "plain20": "hubel.models.resnet_cifar:plain20",
    "plain56": "hubel.models.resnet_cifar:plain56",
}
DATA: Table = {
    "digits": "hubel.data.builtin:digits",
    "fashion-mnist": "hubel.data.builtin:fashion_mnist",
}
TASKS: Table = {
    "classification": "hubel.tasks.classification:Classification",
    "labels": "hubel.tasks.labels:Labels",
    "binary": "hubel.tasks.binary:Binary",
    "perceptron": "hubel.tasks.perceptron:Perceptron",
    "regression": "hubel.tasks.regression:Regression",
    "hierarchical": "hubel.tasks.hierarchical:Hierarchical",
}
RECIPES: Table = {
    "digits": "hubel.recipes.digits",
    "fashion-mnist": "hubel.recipes.fashion_mnist",
    "fashion-mnist-long": "hubel.recipes.fashion_mnist_long",
    "small-photos": "hubel.recipes.small_photos",
}
KINDS = {id(MODELS): "network", id(DATA): "dataset", id(TASKS): "task", id(RECIPES): "recipe"}


def resolve(table: Table, word: str) -> Any:
    """What `word` names. Raises UserError for an unknown name, and for a file that lacks the class."""
    if ".py:" in word and table in (MODELS, TASKS):
        return from_file(word)
    if word not in table:
        kind = KINDS[id(table)]
        own = "; your own is file.py:Class" if table in (MODELS, TASKS) else ""
        raise UserError(f"There is no {kind} '{word}'{did_you_mean(word, table)}{own}")
    module, _, attribute = table[word].partition(":")
    found = importlib.import_module(module)
    return getattr(found, attribute) if attribute else found


def from_file(word: str) -> Any:
    """The class or function of `path/to/file.py:Name`; the file is run."""
    place, _, name = word.rpartition(":")
    path = Path(place).expanduser()
    if not path.is_file():
        raise UserError(f"There is no file {path.absolute()}; expected file.py:Class with an existing file.")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as fault:
        raise UserError(f"{path} can't be imported: {type(fault).__name__}: {fault}") from fault
    if not hasattr(module, name):
        public = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise UserError(f"{path} has no '{name}'{did_you_mean(name, public)}")
    return getattr(module, name)


def parameters(function: Callable) -> dict[str, inspect.Parameter]:
    """The arguments that a user may name."""
    found = inspect.signature(function).parameters
    return {k: p for k, p in found.items() if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD) and k != "self"}


def options_of(function: Callable, given: Mapping[str, Any], what: str, hidden: tuple[str, ...] = ()) -> dict[str, Any]:
    """`given` options (words or values) as arguments of `function`. Raises UserError for one that it lacks."""
    known = {k: p for k, p in parameters(function).items() if k not in hidden}
    for key in given:
        if key not in known:
            raise UserError(f"The {what} has no option '{key}'{did_you_mean(key, known) or ', it takes none'}")
    return {key: value_of(value, known[key], f"{what}, option '{key}'") for key, value in given.items()}


def value_of(value: Any, parameter: inspect.Parameter, what: str) -> Any:
    """A word from the command line as the kind of value that the default is; other values as they are."""
    default = parameter.default
    if isinstance(value, list):
        return tuple(value)
    if not isinstance(value, str) or isinstance(default, str):
        return value
    found = literal(value)
    if isinstance(default, tuple) and not isinstance(found, tuple):
        return (found,)
    number = isinstance(default, (int, float)) and not isinstance(default, bool)
    if number and (isinstance(found, bool) or not isinstance(found, (int, float, tuple))):
        raise UserError(f"{what} needs a number, got '{value}'.")
    return found


def literal(word: str) -> Any:
    """'3' -> 3, '0.5' -> 0.5, 'true' -> True, 'none' -> None, '100,50' -> (100, 50); else the word."""
    if "," in word:
        return tuple(literal(part.strip()) for part in word.strip("()[] ,").split(",") if part.strip())
    named = {"true": True, "false": False, "yes": True, "no": False, "none": None}
    if word.lower() in named:
        return named[word.lower()]
    try:
        found = ast.literal_eval(word)
    except (ValueError, SyntaxError):
        return word
    return found if isinstance(found, (int, float)) else word

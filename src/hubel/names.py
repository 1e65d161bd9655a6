"""From a name that a user types to what it means: one table per kind, looked up at the edge only. No torch here.

`file.py:Class` names the user's own network, task or logger.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from hubel.errors import UserError, did_you_mean

Table = Mapping[str, str]

MODELS: Table = {
    "linear": "hubel.models.linear:linear",
    "perceptron": "hubel.models.perceptron:perceptron",
    "mlp": "hubel.models.mlp:mlp",
    "lenet5": "hubel.models.lenet:lenet5",
    "alexnet": "hubel.models.alexnet:alexnet",
    "alexnet_paper": "hubel.models.alexnet:alexnet_paper",
    "vgg11": "hubel.models.vgg:vgg11",
    "vgg11_bn": "hubel.models.vgg:vgg11_bn",
    "vgg13": "hubel.models.vgg:vgg13",
    "vgg13_bn": "hubel.models.vgg:vgg13_bn",
    "vgg16": "hubel.models.vgg:vgg16",
    "vgg16_bn": "hubel.models.vgg:vgg16_bn",
    "vgg19": "hubel.models.vgg:vgg19",
    "vgg19_bn": "hubel.models.vgg:vgg19_bn",
    "nin": "hubel.models.nin:nin",
    "nin_cifar": "hubel.models.nin:nin_cifar",
    "googlenet": "hubel.models.googlenet:googlenet",
    "googlenet_paper": "hubel.models.googlenet:googlenet_paper",
    "convnet": "hubel.models.convnet:convnet",
    "small_cnn": "hubel.models.convnet:small_cnn",
    "local_net": "hubel.models.local:local_net",
    "dilated_net": "hubel.models.dilated:dilated_net",
    "airbench": "hubel.models.airbench:airbench",
    "resnet8": "hubel.models.resnet_cifar:resnet8",
    "resnet20": "hubel.models.resnet_cifar:resnet20",
    "resnet32": "hubel.models.resnet_cifar:resnet32",
    "resnet44": "hubel.models.resnet_cifar:resnet44",
    "resnet56": "hubel.models.resnet_cifar:resnet56",
    "resnet110": "hubel.models.resnet_cifar:resnet110",
    "plain20": "hubel.models.resnet_cifar:plain20",
    "plain32": "hubel.models.resnet_cifar:plain32",
    "plain44": "hubel.models.resnet_cifar:plain44",
    "plain56": "hubel.models.resnet_cifar:plain56",
    "plain110": "hubel.models.resnet_cifar:plain110",
    "resnet18": "hubel.models.resnet:resnet18",
    "resnet34": "hubel.models.resnet:resnet34",
    "resnet50": "hubel.models.resnet:resnet50",
    "resnet101": "hubel.models.resnet:resnet101",
    "resnet152": "hubel.models.resnet:resnet152",
    "resnext50_32x4d": "hubel.models.resnext:resnext50_32x4d",
    "resnext101_32x8d": "hubel.models.resnext:resnext101_32x8d",
    "resnext101_64x4d": "hubel.models.resnext:resnext101_64x4d",
    "se_resnet18": "hubel.models.se_resnet:se_resnet18",
    "se_resnet34": "hubel.models.se_resnet:se_resnet34",
    "se_resnet50": "hubel.models.se_resnet:se_resnet50",
    "se_resnet101": "hubel.models.se_resnet:se_resnet101",
    "se_resnet152": "hubel.models.se_resnet:se_resnet152",
    "preact_resnet18": "hubel.models.preact:preact_resnet18",
    "preact_resnet34": "hubel.models.preact:preact_resnet34",
    "preact_resnet50": "hubel.models.preact:preact_resnet50",
    "preact_resnet101": "hubel.models.preact:preact_resnet101",
    "preact_resnet152": "hubel.models.preact:preact_resnet152",
    "preact_resnet20": "hubel.models.preact_cifar:preact_resnet20",
    "preact_resnet56": "hubel.models.preact_cifar:preact_resnet56",
    "preact_resnet110": "hubel.models.preact_cifar:preact_resnet110",
    "preact_resnet164": "hubel.models.preact_cifar:preact_resnet164",
    "wide_resnet": "hubel.models.wide_resnet:wide_resnet",
    "wide_resnet16_8": "hubel.models.wide_resnet:wide_resnet16_8",
    "wide_resnet28_10": "hubel.models.wide_resnet:wide_resnet28_10",
    "wide_resnet40_4": "hubel.models.wide_resnet:wide_resnet40_4",
    "wide_resnet50_2": "hubel.models.wide_resnet:wide_resnet50_2",
    "wide_resnet101_2": "hubel.models.wide_resnet:wide_resnet101_2",
    "densenet121": "hubel.models.densenet:densenet121",
    "densenet161": "hubel.models.densenet:densenet161",
    "densenet169": "hubel.models.densenet:densenet169",
    "densenet201": "hubel.models.densenet:densenet201",
    "densenet40": "hubel.models.densenet:densenet40",
    "densenet_bc40": "hubel.models.densenet:densenet_bc40",
    "densenet_bc100": "hubel.models.densenet:densenet_bc100",
    "mobilenetv1": "hubel.models.mobilenet:mobilenetv1",
    "mobilenetv2": "hubel.models.mobilenetv2:mobilenetv2",
    "efficientnet": "hubel.models.efficientnet:efficientnet",
    "efficientnet_b0": "hubel.models.efficientnet:efficientnet_b0",
    "efficientnet_b1": "hubel.models.efficientnet:efficientnet_b1",
    "efficientnet_b2": "hubel.models.efficientnet:efficientnet_b2",
    "efficientnet_b3": "hubel.models.efficientnet:efficientnet_b3",
    "efficientnet_b4": "hubel.models.efficientnet:efficientnet_b4",
    "efficientnet_b5": "hubel.models.efficientnet:efficientnet_b5",
    "efficientnet_b6": "hubel.models.efficientnet:efficientnet_b6",
    "efficientnet_b7": "hubel.models.efficientnet:efficientnet_b7",
    "efficientnet_lite0": "hubel.models.efficientnet:efficientnet_lite0",
    "efficientnet_lite1": "hubel.models.efficientnet:efficientnet_lite1",
    "efficientnet_lite2": "hubel.models.efficientnet:efficientnet_lite2",
    "efficientnet_lite3": "hubel.models.efficientnet:efficientnet_lite3",
    "efficientnet_lite4": "hubel.models.efficientnet:efficientnet_lite4",
    "unet": "hubel.models.unet:unet",
    "unet_plain": "hubel.models.unet:unet_plain",
    "unet_valid": "hubel.models.unet_valid:unet_valid",
    "fcn32s": "hubel.models.fcn:fcn32s",
    "fcn16s": "hubel.models.fcn:fcn16s",
    "fcn8s": "hubel.models.fcn:fcn8s",
    "segnet": "hubel.models.segnet:segnet",
    "full_resolution": "hubel.models.full_resolution:full_resolution",
    "patchwise": "hubel.models.patchwise:patchwise",
}
DATA: Table = {
    "digits": "hubel.data.builtin:digits",
    "fashion-mnist": "hubel.data.builtin:fashion_mnist",
    "shapes": "hubel.data.shapes:shapes",
    "membranes": "hubel.data.membranes:membranes",
}
TASKS: Table = {
    "classification": "hubel.tasks.classification:Classification",
    "labels": "hubel.tasks.labels:Labels",
    "binary": "hubel.tasks.binary:Binary",
    "perceptron": "hubel.tasks.perceptron:Perceptron",
    "regression": "hubel.tasks.regression:Regression",
    "pose": "hubel.tasks.pose:Pose",
    "heatmap": "hubel.tasks.heatmap:HeatMap",
    "hierarchical": "hubel.tasks.hierarchical:Hierarchical",
    "segmentation": "hubel.tasks.segmentation:Segmentation",
    "box": "hubel.tasks.box:Box",
    "localisation": "hubel.tasks.localisation:localisation",
}
RECIPES: Table = {
    "digits": "hubel.recipes.digits",
    "fashion-mnist": "hubel.recipes.fashion_mnist",
    "fashion-mnist-long": "hubel.recipes.fashion_mnist_long",
    "small-photos": "hubel.recipes.small_photos",
    "one-object": "hubel.recipes.one_object",
    "small-masks": "hubel.recipes.small_masks",
}
LOGGERS: Table = {"tensorboard": "hubel.training.callbacks:TensorBoard"}
EXPLANATIONS: Table = {"cam": "hubel.explain.cam:cam"}
TIMM = "timm:"  # before the name of a network of timm
OWN = {id(MODELS), id(TASKS), id(LOGGERS)}  # kinds that the user may bring
KINDS = {
    id(MODELS): "network",
    id(DATA): "dataset",
    id(TASKS): "task",
    id(RECIPES): "recipe",
    id(LOGGERS): "logger",
    id(EXPLANATIONS): "method of explanation",
}


def ships(word: Any) -> bool:
    """Whether it names a network of ours, or of timm."""
    return isinstance(word, str) and (word in MODELS or word.startswith(TIMM))


def check(table: Table, word: str) -> None:
    """Raises UserError where `word` names nothing. Nothing is imported, so a name of timm's is checked by `resolve`."""
    if table is MODELS and word.startswith(TIMM):
        if importlib.util.find_spec("timm") is None:
            raise UserError(f"'{word}' comes with timm, which is not installed here: pip install timm")
    elif ".py:" in word and id(table) in OWN:
        place = Path(word.rpartition(":")[0]).expanduser()
        if not place.is_file():
            raise UserError(f"There is no file {place.absolute()}; expected file.py:Class with an existing file.")
    elif word not in table:
        own = " (your own: file.py:Class)" if id(table) in OWN else ""
        if table is TASKS and word == "joint":
            raise UserError(
                "A joint task is made of others, so it is built in Python: hubel.train(source, task=Joint({...})), or "
                "a function that returns it: --task file.py:function."
            )
        raise UserError(f"There is no {KINDS[id(table)]} '{word}'{own}{did_you_mean(word, table)}")


def resolve(table: Table, word: str) -> Any:
    """What `word` names. Raises UserError for an unknown name, and for a file that lacks the class."""
    check(table, word)
    if table is MODELS and word.startswith(TIMM):
        return importlib.import_module("hubel.models.timm").function_of(word.removeprefix(TIMM))
    if word not in table:
        return from_file(word)
    module, _, attribute = table[word].partition(":")
    found = importlib.import_module(module)
    return getattr(found, attribute) if attribute else found


def from_file(word: str) -> Any:
    """The class or function of `path/to/file.py:Name`. The file is run; it may import its neighbours."""
    place, _, name = word.rpartition(":")
    path = Path(place).expanduser().absolute()
    module = _run_file(path)
    if not hasattr(module, name):
        own = [k for k, v in vars(module).items() if callable(v) and getattr(v, "__module__", "") == module.__name__]
        raise UserError(f"{path} has no '{name}'{did_you_mean(name, own) or '; it defines no class and no function.'}")
    return getattr(module, name)


def _run_file(path: Path) -> ModuleType:
    name = f"hubel_own_{path.stem}_{zlib.crc32(os.fsencode(path)):08x}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as fault:
        del sys.modules[name]
        raise UserError(f"{path} can't be imported: {type(fault).__name__}: {fault}{_line_of(fault, path)}") from fault
    finally:
        sys.path.remove(str(path.parent))
    return module


def _line_of(fault: BaseException, path: Path) -> str:
    """Where in the user's file the fault arose."""
    lines = [frame.lineno for frame in traceback.extract_tb(fault.__traceback__) if frame.filename == str(path)]
    return f" (line {lines[-1]})" if lines else ""


class Switch(str):
    """The word "true" of an option that was written without a value."""


def address(source: Any) -> str:
    """What finds data again: a built-in name, a whole path, or a mark for what came from Python."""
    if not isinstance(source, (str, Path)):
        return "<python>"
    return str(source) if builtin(str(source)) is not None else str(Path(source).expanduser().resolve())


def builtin(word: str) -> tuple[str, dict[str, str]] | None:
    """A built-in dataset's name and options, as in shapes:count=2000,size=96; None for any other word.

    Raises UserError for an option without a value.
    """
    name, _, tail = word.partition(":")
    if name not in DATA:
        return None
    pairs = [part.partition("=") for part in tail.split(",") if part.strip()]
    for key, mark, _ in pairs:
        if not mark:
            raise UserError(f"'{word}': '{key}' has no value; expected {name}:option=value,option=value")
    return name, {key.strip(): value.strip() for key, _, value in pairs}


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
    if isinstance(value, Switch) and not isinstance(default, bool):
        raise UserError(f"{what} needs a value.")
    if isinstance(value, list):
        return tuple(value)
    if not isinstance(value, str):
        return value
    if inspect.isfunction(default):  # a network within a network: `--model unet --model.encoder resnet50`
        return resolve(MODELS, value)
    if isinstance(default, str):  # "batch,none" is a word for each layer where the argument takes several
        several = "," in value and "Sequence" in str(parameter.annotation)
        return tuple(word.strip() for word in value.split(",")) if several else value
    found = literal(value)
    if isinstance(default, bool):
        if found not in (True, False):  # 1 and 0 too
            raise UserError(f"{what} needs true or false, got '{value}'.")
        return bool(found)
    if isinstance(default, tuple) and not isinstance(found, tuple):
        return (found,)
    if isinstance(default, (int, float)) and (isinstance(found, bool) or not isinstance(found, (int, float, tuple))):
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

"""What `auto` means: every value that the user left open, chosen from the data, the network and the machine.

Each choice is a rule that can be read here, never a measurement of time, and is saved with its reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from hubel.data.policies import options_of, policy
from hubel.errors import UserError
from hubel.recipe import AugmentOptions, Setting
from hubel.training import auto_dense, auto_machine, auto_objects, auto_transfer
from hubel.training.judge import weights_to_keep
from hubel.training.schedule import FALLING

IMAGES_TO_SEE = 600_000  # where no recipe was measured: epochs = this / n, between 5 and 100


@dataclass(frozen=True)
class Facts:
    """What the rules look at."""

    n_train: int
    n_dev: int  # images that are held out, 0 where there is no such part
    height: int  # of the images, the median where they differ
    width: int
    channels: int
    same_size: bool
    columns: tuple[str, ...]  # of the annotations
    classes: int
    wanted: int | None  # the side that the chosen network asks for
    mirror: bool  # does a mirrored image keep its label?
    mirror_reason: str
    pretrained: int | None = None  # the side that pretrained weights were trained at
    traits: Mapping[str, Any] = field(default_factory=dict)  # what else the dataset says of its images
    crowded: int = 0  # images that show several objects
    joints: int = 0  # labelled keypoints of an object, 0 where no object has any
    dense: bool = False  # what the task asks for, as its traits of these names say: maps,
    every_pixel: bool = False  # a class at every pixel, if only by one task of several,
    one_object: bool = False  # the one object of an image


Rule = Callable[[Facts, Callable[[str], Any]], tuple[Any, str]]


def resolve(settings: Mapping[str, Setting], facts: Facts) -> dict[str, Setting]:
    """Replace each None that has a rule; rules see the values chosen before them, in the order of RULES."""
    found = dict(settings)

    def get(key: str) -> Any:
        return found[key].value if key in found else None

    for key, rule in RULES.items():
        if key in found and found[key].value is None:
            value, reason = rule(facts, get)
            if value is not None:
                found[key] = Setting(value, "auto", reason)
    return found


def _task(facts: Facts, get: Callable[[str], Any]) -> tuple[Any, str]:
    if get("model") == "perceptron" and "label" in facts.columns:
        return "perceptron", "the network is the perceptron"
    for column, task in (("label", "classification"), ("labels", "labels"), ("numbers", "regression")):
        if column in facts.columns:
            return task, f"the images carry {'one label' if column == 'label' else column}"
    if "mask" in facts.columns:
        return "segmentation", "the images carry masks"
    if "objects" in facts.columns:
        return auto_objects.task(facts.classes, facts.crowded, facts.joints)
    raise UserError("The images carry no labels and no numbers, so there is nothing to learn from them.")


def task_of(facts: Facts, settings: Mapping[str, Setting]) -> str:
    """The task that is asked for, else the one that `auto` will choose."""

    def get(key: str) -> Any:
        return settings[key].value if key in settings else None

    return str(get("task") or _task(facts, get)[0])


def _model(facts: Facts, get: Callable[[str], Any]) -> tuple[Any, str]:
    if get("weights") == "lite0":
        return "efficientnet_lite0", "the weights are its own"
    if get("task") == "perceptron":
        return "perceptron", "the task is the perceptron's"
    if facts.every_pixel:
        return "unet", "a class for every pixel: what it is from coarse maps, where from fine ones"
    if facts.channels == 1:
        return "convnet", "grey images"
    return "resnet8", "colour images"


def _size(facts: Facts, get: Callable[[str], Any]) -> tuple[Any, str]:
    if facts.every_pixel:
        return auto_dense.size(facts, auto_machine.device(facts, get)[0].startswith("cuda"))
    if facts.pretrained is not None:
        return facts.pretrained, "what the weights were trained at; --size for another"
    short = min(facts.height, facts.width)
    if facts.same_size and max(facts.height, facts.width) <= 64:
        return None, ""
    limit = 128 if auto_machine.device(facts, get)[0].startswith("cuda") else 64
    size = min(short, limit)
    return (
        size,
        f"a short side of {short} pixels, at most {limit} on this machine; --size {2 * size} shows more detail",
    )


def _resize(facts: Facts, get: Callable[[str], Any]) -> tuple[Any, str]:
    if facts.same_size and not get("size"):
        return None, ""
    if not facts.every_pixel:
        return "crop", "keeps the aspect"
    return ("stretch", "to whole multiples of 8 pixels") if facts.same_size else ("letterbox", "every pixel is judged")


def _epochs(facts: Facts, get: Callable[[str], Any]) -> tuple[int, str]:
    if get("weights") is not None:
        return auto_transfer.epochs(facts.n_train, get)
    if facts.every_pixel:
        return auto_dense.epochs(facts)
    if facts.one_object:
        return auto_objects.epochs(facts.n_train)
    epochs = round(min(max(IMAGES_TO_SEE / max(facts.n_train, 1), 5), 100))
    return epochs, f"until {IMAGES_TO_SEE:,} images are seen, {facts.n_train:,} an epoch, in 5 to 100 epochs"


def _batch_size(facts: Facts, get: Callable[[str], Any]) -> tuple[int, str]:
    if get("model") == "perceptron":
        return 1, "the perceptron learns from one example at a time"
    most = 128
    if facts.every_pixel:
        most = auto_dense.largest_batch(facts, get("size"))
    size = next((b for b in (128, 64, 32, 16, 8, 4, 2) if facts.n_train >= 10 * b and b <= most), 1)
    return size, f"at most {min(most, 128)}, and at least 10 steps an epoch"


def _optimizer(facts: Facts, get: Callable[[str], Any]) -> tuple[str, str]:
    if get("model") == "perceptron":
        return "sgd", "the perceptron rule is plain descent"
    return "adamw", "it needs the least tuning"


DENSE = ("linear", "perceptron", "mlp")
LEARNING_RATES = {
    "sgd": 0.1,
    "momentum": 0.05,
    "nesterov": 0.05,
    "rmsprop": 1e-3,
    "adam": 1e-3,
    "adamw": 2e-3,
    "muon": 2e-3,
}


def _lr(facts: Facts, get: Callable[[str], Any]) -> tuple[float, str]:
    if get("model") == "perceptron":
        return 1.0, "any rate gives the perceptron the same boundary"
    name = get("optimizer.name")
    if get("weights") is not None and get("transfer.name") == "all":
        return LEARNING_RATES[name] / 10, f"a tenth of the usual rate of {name}: the weights are good already"
    if name == "adamw" and get("transfer.name") in auto_transfer.FASTER and not facts.every_pixel:
        return auto_transfer.FASTER_BY * LEARNING_RATES[name], (
            f"{auto_transfer.FASTER_BY} times the usual rate of {name}: all but the head learns at a part of it"
        )
    if name == "adamw" and get("model") == "unet" and get("weights") is None:
        return auto_dense.RATE, f"of U-Nets; {LEARNING_RATES[name]} is no better in long trainings, worse in short ones"
    return LEARNING_RATES[name], f"the usual rate of {name} at batch size 128 and below"


def _schedule(facts: Facts, get: Callable[[str], Any]) -> tuple[str, str]:
    if get("model") == "perceptron":
        return "constant", "the perceptron rule has no schedule"
    return "onecycle", "warm-up and decay in one, for a fixed number of epochs"


def _augment(option: str) -> Rule:
    """What the policy says of one option; see data/policies.py."""

    def rule(facts: Facts, get: Callable[[str], Any]) -> tuple[Any, str]:
        side = get("size") or facts.wanted
        size = (side, side) if side else (facts.height, facts.width)
        traits = {**facts.traits, "mirror": facts.mirror, "erase": not facts.every_pixel}
        chosen, reason = policy(get("augment.policy"), traits, size, facts.channels)
        found = options_of(chosen).get(option)
        if facts.every_pixel and get("augment.policy") != "none" and option in auto_dense.AUGMENT:
            return auto_dense.AUGMENT[option], "a class for every pixel: other light"
        if option == "flip":
            return found, facts.mirror_reason if get("augment.policy") != "none" else reason
        return found, reason

    return rule


def _train_size(facts: Facts, get: Callable[[str], Any]) -> tuple[Any, str]:
    return auto_dense.train_size(facts, get) if facts.every_pixel else (None, "")


def _policy(facts: Facts, get: Callable[[str], Any]) -> tuple[str, str]:
    if get("model") in DENSE:
        return "none", "a layer that weighs each pixel by its place has no use for shifted images"
    if facts.every_pixel:
        return "standard", "crops, or shifts of small images, and flips where they keep the classes"
    if get("weights") is not None and get("transfer.name") != "head":
        return "standard", "layers that know much already fit few images at once: stronger crops and flips"
    return "light", "shifts or crops, and flips where they keep the label"


def _views(facts: Facts, get: Callable[[str], Any]) -> tuple[str, str]:
    flips = get("augment.flip") not in (None, "none")
    return ("mirror", "trained with flips") if flips else ("single", "trained without flips")


def _keep(facts: Facts, get: Callable[[str], Any]) -> tuple[str, str]:
    falls = get("schedule.name") in FALLING and not get("schedule.final")
    return weights_to_keep(facts.n_dev, facts.every_pixel, falls, get("regularize.patience"))


RULES: dict[str, Rule] = {
    "task": _task,
    "model": _model,
    "device": auto_machine.device,
    "transfer.name": lambda facts, get: auto_transfer.strategy(facts.n_train, facts.classes, get, facts.every_pixel),
    "size": _size,
    "resize": _resize,
    "epochs": _epochs,
    "transfer.head_epochs": lambda facts, get: auto_transfer.head_epochs(get),
    "transfer.factor": lambda facts, get: auto_transfer.factor(get),
    "transfer.decay": lambda facts, get: auto_transfer.decay(get),
    "batch_size": _batch_size,
    "precision": auto_machine.precision,
    "compile": auto_machine.compile,
    "workers": auto_machine.workers,
    "optimizer.name": _optimizer,
    "optimizer.lr": _lr,
    "schedule.name": _schedule,
    "augment.policy": _policy,
    **{f"augment.{f.name}": _augment(f.name) for f in fields(AugmentOptions) if f.name != "policy"},
    "train_size": _train_size,
    "transfer.views": lambda facts, get: auto_transfer.views(get, facts.dense),
    "views": _views,
    "keep": _keep,
}

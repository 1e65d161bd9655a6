"""The Recipe: how to train. A frozen dataclass whose defaults are its documentation; None means `auto`.

`auto` values are resolved against data, network and machine when a run starts (see training/auto.py) and saved with the
reason. Each option is reached as `--group.option VALUE`, in a TOML file as `[group] option = VALUE`, and in Python
as `train(source, optimizer={"lr": 0.1})`: options.py reads them. This module imports no torch.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Range:
    """The numbers that an option takes, and what a message calls them."""

    words: str
    holds: Callable[[float], bool]


def at_least(low: int) -> Range:
    return Range(f"a whole number of at least {low}", lambda value: value >= low)


SHARE = Range("a number from 0 up to, not including, 1", lambda value: 0 <= value < 1)
POSITIVE = Range("a number above 0", lambda value: 0 < value < math.inf)
UP_TO_ONE = Range("a number above 0, up to 1", lambda value: 0 < value <= 1)
NOT_NEGATIVE = Range("a number of at least 0", lambda value: 0 <= value < math.inf)


def option(default: Any, text: str, allowed: tuple[str, ...] | Range | None = None) -> Any:
    """A dataclass field with a help text and the words or the numbers that it takes."""
    choices, within = (allowed, None) if isinstance(allowed, tuple) else ((), allowed)
    return field(default=default, metadata={"help": text, "choices": choices, "range": within})


OPTIMIZERS = ("sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw", "muon")
SCHEDULES = ("constant", "inverse", "step", "exponential", "cosine", "onecycle", "linear", "cyclic")
POLICIES = ("none", "light", "standard", "strong", "randaugment", "trivialaugment")
STRATEGIES = ("all", "head", "staged", "two_rates", "groups", "unfreeze")
VIEWS = ("single", "mirror", "shifts", "crops", "ten")
INITIALISERS = ("zero", "normal", "xavier", "he", "lecun", "dirac")


@dataclass(frozen=True)
class OptimizerOptions:
    """Which step is taken along the gradient."""

    name: str | None = option(None, "the update rule", OPTIMIZERS)
    lr: float | None = option(None, "learning rate at the schedule's peak, > 0", POSITIVE)
    companion: str | None = option(None, "muon: the rule for what has no matrix", ("adamw", "nesterov"))
    momentum: float | None = option(None, "share of the velocity that is kept, in [0, 1)", SHARE)
    dampening: float | None = option(None, "momentum as a weighted average: share of the gradient left out")
    beta1: float | None = option(None, "Adam: decay of the first moment", SHARE)
    beta2: float | None = option(None, "Adam: decay of the second moment", SHARE)
    alpha: float | None = option(None, "RMSprop: decay of the squared gradient", SHARE)
    eps: float | None = option(None, "added to the root of the second moment", POSITIVE)
    weight_decay: float | None = option(None, "decoupled decay: w <- w - lr * decay * w", NOT_NEGATIVE)
    l2: float | None = option(None, "L2 penalty, in the gradient: g <- g + l2 * w", NOT_NEGATIVE)
    l1: float | None = option(None, "L1 penalty, as a soft threshold after the step", NOT_NEGATIVE)
    decay_all: bool = option(False, "decay biases and normalisation layers too")


@dataclass(frozen=True)
class ScheduleOptions:
    """How the learning rate moves over time, as a factor of its peak."""

    name: str | None = option(None, "the shape", SCHEDULES)
    warmup: float | None = option(None, "epochs of linear warm-up from 0", NOT_NEGATIVE)
    gamma: float | None = option(None, "step, exponential, inverse: the strength of the decay", POSITIVE)
    every: float | None = option(None, "step: epochs between drops", POSITIVE)
    final: float | None = option(None, "cosine, onecycle, linear, cyclic: the last factor", SHARE)
    peak: float | None = option(None, "onecycle: where the peak is, as a share of the training", SHARE)
    cycles: int | None = option(
        None, "cyclic: how often the rate starts anew; the weights at each end are kept", at_least(1)
    )


@dataclass(frozen=True)
class RegularizeOptions:
    """What keeps the weights small and the steps sane, beyond weight decay."""

    clip_norm: float | None = option(None, "largest norm of the whole gradient", POSITIVE)
    clip_value: float | None = option(None, "largest absolute value in the gradient", POSITIVE)
    max_norm: float | None = option(None, "largest norm of each unit's weights", POSITIVE)
    ema: float | None = option(None, "decay of the running average of the weights, in [0, 1); 0 switches it off", SHARE)
    mean: float | None = option(
        None, "share of the training, at its end, over which the weights are averaged evenly; 0 for none", SHARE
    )
    patience: int | None = option(
        None, "stop after so many epochs without a better dev score; best weights return", at_least(1)
    )


@dataclass(frozen=True)
class TransferOptions:
    """What learns when, where the weights come from another training. The head: what did not come with them."""

    name: str | None = option(
        None,
        "all: every layer at one rate; head: it alone, on frozen features; staged: head, then all at a lower rate; "
        "two_rates: head, then all, the head at its own rate and the rest at a lower one; "
        "groups: head, then all, at rates that fall towards the input; unfreeze: head, then group by group",
        STRATEGIES,
    )
    head_epochs: int | None = option(None, "all but head and all: epochs of the head alone", at_least(1))
    factor: float | None = option(
        None, "staged, two_rates, unfreeze: the rate after that, as a share of the head's", POSITIVE
    )
    decay: float | None = option(None, "groups: the rate of a layer group, as a share of the next one's", UP_TO_ONE)
    views: int | None = option(
        None, "views of an image whose frozen features are kept: plain, mirrored, augmented …; 0: none", at_least(0)
    )


@dataclass(frozen=True)
class SplitOptions:
    """Who learns, who decides, who judges. Given splits are kept; missing ones are carved from train."""

    seed: int = option(0, "seed of the split; independent of the training's seed", at_least(0))
    dev: float | None = option(None, "share of the training images for the dev part", SHARE)
    test: float | None = option(None, "share for the test part, where none is given", SHARE)
    train_dev: float | None = option(None, "share of the training part that is held out as train-dev", SHARE)
    stratify: bool = option(True, "keep the proportions of the classes")
    move_dev: float | None = option(None, "share of the dev part that is moved into training", SHARE)
    dev_from: str | None = option(None, "another source: dev and test come from there")
    bootstrap: bool = option(False, "train on a bootstrap sample, the images left out are the dev part")


@dataclass(frozen=True)
class AugmentOptions:
    """Random changes of the training images that keep their meaning."""

    policy: str | None = option(None, "a named set of the options below", POLICIES)
    shift: int | None = option(None, "pixels of random shift, each direction", at_least(0))
    border: str | None = option(None, "what a shift brings in", ("zero", "mirror", "edge"))
    flip: str | None = option(None, "horizontal flips", ("none", "random", "alternating"))
    crop: float | None = option(None, "smallest share of the area that a random crop keeps; 0 crops nothing", SHARE)
    cutout: int | None = option(None, "side of the square that is blanked, in pixels; 0 for none", at_least(0))
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
    mosaic: float | None = option(None, "share of the images that become four in one; for objects and masks")
    copy_paste: float | None = option(None, "share of the images that get objects of another; needs outlines or masks")


@dataclass(frozen=True)
class Recipe:
    """How to train. Every value that is None is chosen for the data, the network and the machine."""

    model: str | None = option(None, "a network's name (`hubel info` lists them), or file.py:Class")
    task: str | None = option(
        None,
        "classification, hierarchical, binary, perceptron, labels, regression, localisation, box, pose, heatmap, "
        "segmentation, file.py:Task",
    )
    epochs: int | None = option(None, "passes over the training part, >= 1", at_least(1))
    batch_size: int | None = option(None, "images per step, >= 1; 0 for the whole training part", at_least(0))
    micro_batch: int | None = option(None, "images per pass; a step adds several passes up", at_least(1))
    sampling: str = option("shuffle", "a shuffled partition, or drawn with replacement", ("shuffle", "replacement"))
    size: int | None = option(
        None, "side of the square that the network sees, in pixels; segmentation: its shorter side", at_least(1)
    )
    train_size: int | None = option(
        None, "the side that training sees, where it is another: random crops show things larger", at_least(1)
    )
    resize: str | None = option(None, "how an image of another shape gets there", ("crop", "letterbox", "stretch"))
    normalize: str = option(
        "channel", "what the training part's mean is taken of; pca, zca: whitening", ("channel", "image", "pca", "zca")
    )
    whiten_epsilon: float = option(0.01, "pca, zca: added to each variance, as a share of their mean", NOT_NEGATIVE)
    weights: str | None = option(
        None, "pretrained weights: a .safetensors or .pth file, lite0, torchvision, timm:NAME, hf:REPO"
    )
    init: str | None = option(None, "how the weights start", INITIALISERS)
    init_sigma: float | None = option(None, "init normal: the standard deviation, 0.01 where left open", POSITIVE)
    init_gain: float | None = option(None, "init xavier, he, lecun: a factor of the weights; 5/3 suits tanh", POSITIVE)
    balance: str = option(
        "none", "against imbalance: weigh classes, or draw rare ones more often", ("none", "loss", "sampler")
    )
    views: str | None = option(None, "views averaged at evaluation", VIEWS)
    seed: int = option(0, "seed of weights, order and draws", at_least(0))
    restarts: int = option(1, "train so often from different weights, keep the best on dev", at_least(1))
    folds: int = option(0, "k-fold cross-validation; -1 leaves one out", at_least(-1))
    refit: bool = option(False, "afterwards train on train + dev with the settings that won")
    keep: str | None = option(None, "the weights that are evaluated", ("best", "last"))
    device: str | None = option(None, "cpu, cuda, cuda:1, mps")
    precision: str | None = option(None, "number format of the passes", ("fp32", "bf16"))
    compile: bool | None = option(None, "torch.compile")
    deterministic: bool = option(False, "only kernels that repeat exactly, on a GPU too")
    sync_batchnorm: bool = option(False, "batch statistics over all processes")
    workers: int | None = option(None, "processes that decode images", at_least(0))
    save_every: int | None = option(None, "steps between checkpoints, and at every epoch's end", at_least(1))
    log: str | None = option(None, "also write metrics to: tensorboard, or your own file.py:Logger")
    optimizer: OptimizerOptions = field(default_factory=OptimizerOptions)
    schedule: ScheduleOptions = field(default_factory=ScheduleOptions)
    transfer: TransferOptions = field(default_factory=TransferOptions)
    regularize: RegularizeOptions = field(default_factory=RegularizeOptions)
    quarantine: str | None = option(None, "a list of images that take no part, as `hubel data` writes it")
    split: SplitOptions = field(default_factory=SplitOptions)
    augment: AugmentOptions = field(default_factory=AugmentOptions)
    model_options: Mapping[str, Any] = field(default_factory=dict)  # --model.hidden 100,50
    task_options: Mapping[str, Any] = field(default_factory=dict)  # --task.smoothing 0.1


GROUPS = {f.name: f.type for f in dataclasses.fields(Recipe) if f.default_factory is not dataclasses.MISSING}
OPEN_GROUPS = {"model": "model_options", "task": "task_options"}  # their options are the constructor's arguments


@dataclass(frozen=True)
class Setting:
    """One effective value and where it came from."""

    value: Any
    source: str  # "default", "auto", "recipe", "config file", "command line", "python", "run"
    reason: str = ""

"""Who learns (train), who decides (dev), who judges (test); and train-dev, of the training's kind but held out.

Given parts are kept, missing ones are carved from train, and each decision becomes a note. Everything is a pure
function of (labels, groups, seed): an image's key is a hash of (seed, its position), a part takes the lowest keys of
each class. Sizes: 60/20/20 up to 10,000 images; then a part's share falls as a power of n through 1 % at a million
(98/1/1) to 0.25 % at ten million (99.5/0.25/0.25) and beyond, so that its number of images always grows.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np

from hubel.data.cut import Cut, bootstrap, fold_numbers
from hubel.data.dataset import Dataset
from hubel.data.images import ConcatImages
from hubel.errors import UserError
from hubel.recipe import SplitOptions

__all__ = ["bootstrap", "dev_share", "folds", "sizes", "split", "train_here_judge_there"]

KNOTS = ((1e4, 0.2), (1e6, 0.01), (1e7, 0.0025))  # images, share of each of dev and test


def sizes(n: int) -> tuple[float, float, float]:
    """Shares of train, dev and test for n images, where none is given."""
    share = math.exp(np.interp(math.log(max(n, 1)), *np.log(np.array(KNOTS)).T))
    return 1 - 2 * share, share, share


def dev_share(n: int) -> float:
    """The share of n training images that becomes dev where a test part is given: 10 %, at most 5,000, or `sizes`."""
    return min(0.1, max(5000 / max(n, 1), sizes(n)[1]))


def split(dataset: Dataset, options: SplitOptions, groups: np.ndarray | None = None) -> Dataset:
    """The dataset with its parts. `groups` (N,) keep images of one patient or video together (default: "group").

    Raises UserError where an option does not apply to the given parts, or a class has no training image.
    """
    _check(dataset, options)
    groups = groups if groups is not None else dataset.annotations.get("group")
    cut = Cut(dataset, options.seed, groups, options.stratify)
    usable = {name: np.asarray(index)[dataset.weights[index] > 0] for name, index in dataset.splits.items()}
    parts = {name: index for name, index in usable.items() if len(index)}
    notes = [] if parts else [f"no parts are given: split with seed {options.seed}" + cut.how()]
    given = set(parts)
    if not parts:
        parts = {"train": dataset.usable()}
    if "train" not in parts:
        raise UserError(f"{dataset.name} has no training part, only {', '.join(sorted(parts))}. Give one.")
    notes += _carve(parts, given, options, cut)
    notes += _rearrange(parts, options, cut)
    _require_classes(dataset, parts["train"])
    parts = {name: parts[name] for name in ("train", "train-dev", "dev", "test") if name in parts}
    return dataset.with_splits(parts, *notes, *_rare(dataset, parts))


def folds(
    dataset: Dataset, pool: np.ndarray, k: int, seed: int, groups: np.ndarray | None = None
) -> list[tuple[np.ndarray, np.ndarray]]:
    """k pairs (train, dev) of `pool` in which each image is in dev once, stratified; k = −1 leaves one out."""
    pool = np.asarray(pool)
    groups = groups if groups is not None else dataset.annotations.get("group")
    k = count_folds(pool if groups is None else np.unique(groups[pool]), k)
    number = fold_numbers(Cut(dataset, seed, groups, True), pool, k)
    return [(pool[number != fold], pool[number == fold]) for fold in range(k)]


def count_folds(units: np.ndarray, k: int) -> int:
    """k, or one for each of the `units` (images or groups) where k is −1. Raises UserError for another number."""
    k = len(units) if k == -1 else k
    if not 2 <= k <= len(units):
        raise UserError(f"--folds needs 2 … {len(units)} for {len(units)} images or groups, or -1; got {k}.")
    return k


def train_here_judge_there(here: Dataset, there: Dataset, seed: int = 0) -> Dataset:
    """Train on one source, decide and judge on another: `there` gives its dev and test parts, or two halves of all.

    Classes of `there` are matched by name. Raises UserError for classes that `here` lacks, or other annotations.
    """
    columns = {name: there.annotations.get(name) for name in here.annotations if name != "group"}
    missing = [name for name, values in columns.items() if values is None]
    if missing:
        raise UserError(f"{there.name} has no '{missing[0]}', which {here.name} has. Give sources of one kind.")
    arrays = {name: np.asarray(values) for name, values in columns.items()}
    if "label" in arrays:
        arrays["label"] = _renumber(here, there)[arrays["label"]]
    elif here.classes != there.classes:
        raise UserError(f"{there.name} has other classes than {here.name}, or another order of them.")
    dev, test = _halves(there, seed)
    n = len(here)
    train = here.splits.get("train", here.usable())
    parts = {"train": train, "dev": dev + n, "test": test + n}
    return replace(
        here,
        images=ConcatImages((here.images, there.images)),
        annotations={name: np.concatenate([here.annotations[name], values]) for name, values in arrays.items()},
        splits=parts,
        weights=np.concatenate([here.weights, there.weights]),
        quarantine=(*here.quarantine, *there.quarantine),
        notes=(
            *here.notes,
            f"dev ({len(dev):,}) and test ({len(test):,}) come from {there.source}",
            *(f"{there.name}: {note}" for note in there.notes),
        ),
    )


# Carving -------------------------------------------------------------------------------------------------------


def _check(dataset: Dataset, options: SplitOptions) -> None:
    for one, other in itertools.combinations(dataset.splits, 2):
        shared = np.intersect1d(dataset.splits[one], dataset.splits[other])
        if len(shared):
            raise UserError(
                f"{dataset.name}: {one} and {other} share {len(shared):,} images, such as "
                f"{dataset.images.name(int(shared[0]))}. A score on images that were learnt from means nothing."
            )
    for name in ("dev", "test", "train_dev", "move_dev"):
        share = getattr(options, name)
        if share is not None and not 0 <= share < 1:
            raise UserError(f"--split.{name.replace('_', '-')} is a share, at least 0 and below 1; got {share}.")
    for name in ("dev", "test"):
        if getattr(options, name) is not None and len(dataset.splits.get(name, ())):
            raise UserError(f"--split.{name} does not apply: {dataset.name} brings its own {name} part.")
    if (options.dev or 0) + (options.test or 0) >= 1:
        raise UserError(f"--split.dev {options.dev} and --split.test {options.test} leave nothing to learn from.")
    if options.bootstrap and options.dev is not None:
        raise UserError("--split.bootstrap makes its own dev part, the images left out; leave --split.dev away.")


def _carve(parts: dict[str, np.ndarray], given: set[str], options: SplitOptions, cut: Cut) -> list[str]:
    """Take what is missing out of train."""
    n, notes = len(parts["train"]), []
    shares = {"test": 0.0, "dev": 0.0}
    if "test" not in given:
        shares["test"] = options.test if options.test is not None else 0.0 if "dev" in given else sizes(n)[2]
    if "dev" not in given and not options.bootstrap:
        shares["dev"] = options.dev if options.dev is not None else dev_share(n) if "test" in given else sizes(n)[1]
    for name, share in shares.items():
        if share:
            wanted = max(1, round(share * n))
            pieces = 3 if name == "test" and shares["dev"] else 2
            parts["train"], parts[name] = cut.hold_out(parts["train"], wanted, f"split:{name}", pieces)
            notes += [f"{name}: {len(parts[name]):,} images carved from the training part"] if given else []
    if "test" not in parts:
        notes.append("no test part: the score on dev is 'dev, used for selection', better than on new images")
    return notes


def _rearrange(parts: dict[str, np.ndarray], options: SplitOptions, cut: Cut) -> list[str]:
    notes = []
    if options.bootstrap:
        pool = np.concatenate([parts["train"], parts.get("dev", np.empty(0, np.int64))])
        parts["train"], parts["dev"] = cut.bootstrap(pool)
        notes.append(f"bootstrap: {len(pool):,} drawn with replacement; dev is the {len(parts['dev']):,} left out")
    if options.move_dev:
        if "dev" not in parts:
            raise UserError("--split.move-dev needs a dev part; there is none.")
        wanted = round(options.move_dev * len(parts["dev"]))
        parts["dev"], moved = cut.hold_out(parts["dev"], wanted, "split:move-dev")
        parts["train"] = np.sort(np.concatenate([parts["train"], moved]))
        notes.append(f"{len(moved):,} images moved from dev into training")
    if options.train_dev:
        wanted = round(options.train_dev * len(parts["train"]))
        parts["train"], parts["train-dev"] = cut.hold_out(parts["train"], wanted, "split:train-dev")
        notes.append(f"train-dev: {len(parts['train-dev']):,} images held out of the training part")
    return notes


# Classes -------------------------------------------------------------------------------------------------------


def _require_classes(dataset: Dataset, train: np.ndarray) -> None:
    if not len(train):
        raise UserError(f"{dataset.name}: the training part is empty. Leave more images in it.")
    missing = _absent(dataset, train)
    if missing:
        raise UserError(
            f"{dataset.name}: the training part has no image of {', '.join(missing[:5])}. Add images, leave the class "
            "away, or split with another --split.seed."
        )


def _absent(dataset: Dataset, index: np.ndarray) -> list[str]:
    if "label" not in dataset.annotations:
        return []
    counts = np.bincount(dataset.annotations["label"][index], minlength=len(dataset.classes))
    return [dataset.classes[k] for k in np.flatnonzero(counts == 0)]


def _rare(dataset: Dataset, parts: dict[str, np.ndarray]) -> list[str]:
    found = {name: _absent(dataset, index) for name, index in parts.items()}
    return [f"{name} has no image of {', '.join(c[:5])}: too few of them" for name, c in found.items() if c]


def _renumber(here: Dataset, there: Dataset) -> np.ndarray:
    """(K there,) number of each class in `here`."""
    unknown = [name for name in there.classes if name not in here.classes]
    if unknown:
        raise UserError(
            f"{there.name} has classes that {here.name} lacks: {', '.join(unknown[:5])}. They must have the same names."
        )
    return np.array([here.classes.index(name) for name in there.classes], dtype=np.int64)


def _halves(there: Dataset, seed: int) -> tuple[np.ndarray, np.ndarray]:
    if "dev" in there.splits and "test" in there.splits:
        return there.splits["dev"], there.splits["test"]
    pool = there.usable()
    return Cut(there, seed, there.annotations.get("group"), True).hold_out(pool, len(pool) // 2, "split:test")

"""Several trainings as one run: cross-validation folds, random restarts, and a last fit on train + dev.

    runs/<dataset>-<model>/<n>/folds/1 … k      each fold is the dev part once
    runs/<dataset>-<model>/<n>/restarts/1 … r   other weights and order each time; the best on dev is kept
    runs/<dataset>-<model>/<n>/selection/1      before --refit, where neither folds nor restarts were asked for

Each child is a run folder of its own, so a killed driver finds what is finished and what can be resumed.
"""

from __future__ import annotations

import json
import shutil
import statistics
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from hubel.data import split
from hubel.data.dataset import Dataset
from hubel.errors import UserError
from hubel.recipe import Recipe, Setting
from hubel.report import several_page
from hubel.tasks.base import Objective
from hubel.training import distributed
from hubel.training.atomic import write_atomically
from hubel.training.run import RunFolder

Train = Callable[[Dataset, Mapping[str, Any], Path], RunFolder]  # dataset with splits, changed options, folder


ALONE = {"folds": 0, "restarts": 1, "refit": False}
SPLIT_ALREADY = {"split.dev": None, "split.test": None, "split.train_dev": 0, "split.move_dev": 0,
                 "split.bootstrap": False, "split.dev_from": None}  # fmt: skip


def check(dataset: Dataset, recipe: Recipe, own: bool) -> None:
    """Raises UserError for what can't be done, before a folder is made; `own`: the network was given as an object."""
    if recipe.restarts > 1 and recipe.init is None and own:
        raise UserError("Restarts begin from other weights each time, and a network given as an object has its own. "
                        "Give the class or a function that makes it, or choose --init.")  # fmt: skip
    if recipe.folds and recipe.split.bootstrap:
        raise UserError("--folds and --split.bootstrap both say who is held out. Give one of them.")
    if recipe.folds:
        groups, pool = dataset.annotations.get("group"), held(dataset, "train", "dev")
        split.count_folds(pool if groups is None else np.unique(groups[pool]), recipe.folds)


def refuse_changes(folder: RunFolder, changes: Mapping[str, Any]) -> None:
    """Raises UserError where a resume asks for changes: some of the trainings have ended with the old options."""
    if changes:
        words = ", ".join(f"--{key}" for key in changes)
        raise UserError(f"{folder.path} is made of several trainings (folds, restarts, a refit), which go on as they "
                        f"began: leave out {words}, or start anew from its weights: hubel train … --from "
                        f"{folder.path}")  # fmt: skip


def held(dataset: Dataset, *parts: str) -> np.ndarray:
    """The images of these parts together, in order; a part that is not there holds none."""
    return np.sort(np.concatenate([dataset.splits.get(part, np.empty(0, np.int64)) for part in parts]))


def jobs(dataset: Dataset, recipe: Recipe) -> tuple[str, list[tuple[Dataset, dict[str, Any]]]]:
    """What is trained, and the name of the folder that holds it."""
    alone = {**ALONE, **SPLIT_ALREADY}
    if recipe.folds:
        parts = split.folds(dataset, held(dataset, "train", "dev"), recipe.folds, recipe.split.seed)
        rest = {name: index for name, index in dataset.splits.items() if name not in ("train", "dev")}
        return "folds", [(dataset.with_splits({**rest, "train": a, "dev": b}), alone) for a, b in parts]
    if recipe.restarts > 1:
        return "restarts", [(dataset, {**alone, "seed": recipe.seed + i}) for i in range(recipe.restarts)]
    return "selection", [(dataset, alone)]


def train_children(dataset: Dataset, recipe: Recipe, parent: RunFolder, train: Train) -> list[RunFolder]:
    """Train what is not finished yet; returns the children in order."""
    kind, work = jobs(dataset, recipe)
    children = []
    for number, (data, changes) in enumerate(work, start=1):
        path = parent.path / kind / str(number)
        if (path / "config.json").exists() and RunFolder.open(path).state == "finished":
            children.append(RunFolder.open(path))
        else:
            children.append(train(data, changes, path))
    return children


def best(children: list[RunFolder], primary: Objective) -> RunFolder:
    """The child with the best dev score (notes 001 take the lowest training error: that picks what overfits most)."""
    found = children[0]
    for child in children[1:]:
        if primary.better(child.metrics["dev"][primary.metric], found.metrics["dev"][primary.metric]):
            found = child
    return found


def adopt(child: RunFolder, parent: RunFolder) -> None:
    """The parent becomes a copy of its best child."""
    if not distributed.is_main():
        return
    for path in sorted(child.path.iterdir()):
        if path.is_dir():
            shutil.copytree(path, parent.path / path.name, dirs_exist_ok=True)
        elif path.name not in ("config.json", "state.json"):
            shutil.copy2(path, parent.path / path.name)


def write_summary(children: list[RunFolder], parent: RunFolder, primary: Objective) -> None:
    """several.json: each child's metrics, their mean and deviation; for folds these are the parent's metrics too.

    The page on all of them is the parent's report.html, or several.html where one network came out at the end.
    """
    content = {
        "children": [{"run": str(c.path.relative_to(parent.path)), "metrics": c.metrics} for c in children],
        "summary": summary(children),
        "primary": asdict(primary),
    }
    write_atomically(parent.path / "several.json", json.dumps(content, indent=1).encode())
    if not parent.metrics:
        seconds = sum(child.seconds for child in children)
        parent.write_metrics({"metrics": summary(children), "seconds": seconds, "primary": primary.metric})
        pool_predictions(children, parent)
    write_page(children, parent, primary)


def write_page(children: list[RunFolder], parent: RunFolder, primary: Objective) -> Path:
    """report.html, or several.html beside the report of the network that came out."""
    kind, dataset, model = children[0].path.parent.name, parent.manifest["data"]["name"], parent.settings["model"].value
    name = str(model).rpartition(":")[2]
    alone = not (parent.path / "checkpoints").exists()
    shown = several_page.Several(
        kind,
        f"{name} on {dataset}: {len(children):,} {kind if len(children) > 1 else 'training'}",
        dataset,
        name,
        primary.metric,
        [_shown(child, number, parent) for number, child in enumerate(children, start=1)],
        primary.higher_is_better,
        kept=children.index(best(children, primary)) + 1 if kind == "restarts" else None,
        page=None if alone else "report.html",
    )
    return several_page.write(shown, parent.path / ("report.html" if alone else "several.html"))


def _shown(child: RunFolder, number: int, parent: RunFolder) -> several_page.Child:
    page = (child.path / "report.html").relative_to(parent.path).as_posix()
    dev = len(child.splits.get("dev", ()))
    return several_page.Child(number, page, child.metrics, child.best_epoch, child.seconds, dev)


def rewrite_page(parent: RunFolder) -> Path | None:
    """The page anew, from what was measured; None where the run is one training."""
    content = parent.several
    children = [RunFolder(parent.path / child["run"]) for child in content.get("children", [])]
    return write_page(children, parent, Objective(**content["primary"])) if children else None


def pool_predictions(children: list[RunFolder], parent: RunFolder) -> None:
    """predictions/dev.npz of a cross-validation: every image once, by the network that did not learn from it."""
    files = [child.path / "predictions" / "dev.npz" for child in children]
    if len(children) < 2 or not all(file.exists() for file in files):
        return
    found: dict[str, list[np.ndarray]] = {}
    for file in files:
        with np.load(file, allow_pickle=False) as saved:
            for name in saved.files:
                found.setdefault(name, []).append(saved[name])
    parent.save_predictions("dev", **{name: np.concatenate(parts) for name, parts in found.items()})


def summary(children: list[RunFolder]) -> dict[str, dict[str, float]]:
    """Mean and standard deviation of each metric over the children, by split."""
    found: dict[str, dict[str, float]] = {}
    for name in children[0].metrics:
        for metric in children[0].metrics[name]:
            scores = [child.metrics[name][metric] for child in children]
            found.setdefault(name, {})[metric] = statistics.fmean(scores)
            if len(scores) > 1:
                found[name][f"{metric}.std"] = statistics.stdev(scores)
    return found


def refit_dataset(dataset: Dataset) -> Dataset:
    """Everything but the test part is learnt from; nothing is left to choose by."""
    splits = {name: index for name, index in dataset.splits.items() if name not in ("dev", "train-dev")}
    return dataset.with_splits({**splits, "train": held(dataset, "train", "train-dev", "dev")})


def won(settings: Mapping[str, Setting]) -> tuple[str, dict[str, Any]]:
    """What was chosen for the first training holds for the second, whatever the rules make of more images."""
    chosen = {key: s.value for key, s in settings.items() if s.source in ("auto", "recipe") and s.value is not None}
    return "selection", chosen


def refit_options(children: list[RunFolder], recipe: Recipe) -> dict[str, Any]:
    """As many epochs as were best: the median over the children where the best weights were kept."""
    epochs = recipe.epochs
    if recipe.keep == "best":
        epochs = round(statistics.median(child.best_epoch for child in children))
    return {**ALONE, **SPLIT_ALREADY, "split.dev": 0, "epochs": epochs, "keep": "last"}

"""Depth with and without skips: plain-20, plain-56, residual-20, residual-56 (arXiv:1512.03385, section 4.2).

    python bench/experiments/depth.py --data cifar10_dev --save

A plain network of 56 layers has a higher *training* error than one of 20, so it doesn't overfit: it can't be trained
as well. Skips turn this round, given enough steps: more than the short form has (docs/experiments.md). That one halves
the images to 16 pixels and takes 30 epochs: a quarter of an hour on two idle cores; overnight: --size 32 --epochs 100
--seeds 0 1 2.
As in the paper: momentum 0.9, rate 0.1 divided by 10 twice, L2 1e-4, batches of 128, shifts and mirrors.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import common
from common import column, history
from plot import Line, Panel, figure

NETWORKS = ("plain20", "plain56", "resnet20", "resnet56")
NAMES = {"plain20": "plain-20", "plain56": "plain-56", "resnet20": "residual-20", "resnet56": "residual-56"}


def options(network: str, seed: int, asked: Any) -> dict[str, Any]:
    return {
        "model": network,
        **({} if asked.width == 16 else {"model.width": asked.width}),
        "epochs": asked.epochs,
        "seed": seed,
        "batch_size": 128,
        "init": "he",
        "optimizer": {"name": "momentum", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.0, "l2": 1e-4},
        "schedule": {"name": "step", "gamma": 0.1, "every": 0.4 * asked.epochs},
        "augment": {"shift": asked.size // 8, "flip": "random"},
        "keep": "last",
        "views": "single",
    }


def run(asked: Any) -> dict[str, dict[int, Any]]:
    """{network: {seed: its history}}: all networks of a seed before the next seed."""
    data = common.test_as_dev(asked.data, asked.size)
    found: dict[str, dict[int, Any]] = {name: {} for name in NETWORKS}
    for seed in asked.seeds:
        for name in NETWORKS:
            found[name][seed] = history(
                asked.work, f"depth-{asked.size}-{name}-{seed}", data, options(name, seed, asked)
            )
    return found


def mean_curve(runs: dict[int, Any], name: str) -> list[tuple[float, float]]:
    """Error over epochs, the mean over seeds."""
    each = [column(run["history"], name, error=True) for run in runs.values()]
    return [(points[0][0], statistics.mean(y for _, y in points)) for points in zip(*each, strict=True)]


def panels(found: dict[str, dict[int, Any]]) -> list[Panel]:
    made = []
    for title, pair in (("without skips", NETWORKS[:2]), ("with skips", NETWORKS[2:])):
        lines = []
        for colour, name in enumerate(pair):
            lines.append(Line(f"{NAMES[name]} train", mean_curve(found[name], "train.accuracy"), colour, thin=True))
            lines.append(Line(f"{NAMES[name]} test", mean_curve(found[name], "dev.accuracy"), colour))
        made.append(Panel(title, lines))
    return made


def errors(run: Any) -> dict[str, list[float]]:
    """By epoch."""
    return {word: [round(1 - row[f"{part}.accuracy"], 4) for row in run["history"]]
            for word, part in (("training", "train"), ("test", "dev"))}  # fmt: skip


def final(run: Any, name: str) -> float:
    """Error over the last three epochs: one epoch's is noisy."""
    return statistics.mean(1 - row[name] for row in run["history"][-3:])


def rows(found: dict[str, dict[int, Any]]) -> list[list[str]]:
    table = [["network", "training error", "test error", "seconds"]]
    for name, runs in found.items():
        errors = [
            ", ".join(f"{final(run, part):.1%}" for run in runs.values()) for part in ("train.accuracy", "dev.accuracy")
        ]
        table.append([NAMES[name], *errors, ", ".join(f"{run['seconds']:.0f}" for run in runs.values())])
    return table


def main() -> None:
    asked = common.arguments(
        __doc__ or "", data="cifar10_dev", epochs=30, width=16, size=16, seeds=(0,), picture="depth.svg"
    )
    found = run(asked)
    head = (
        f"{Path(asked.data).name}, {asked.size} pixels, width {asked.width}, {asked.epochs} epochs, seeds "
        f"{', '.join(map(str, asked.seeds))}; errors are means of the last three epochs, the training error of the "
        "passes that trained (augmented)\n"
    )
    settings = {name: getattr(asked, name) for name in ("size", "width", "epochs", "seeds")}
    text = head + common.bench.table(rows(found))
    curves = {name: {seed: errors(run) for seed, run in runs.items()} for name, runs in found.items()}
    common.write("experiment-depth", {"asked": settings, "errors": curves}, text, asked.save)
    if asked.save:
        figure(common.PICTURES / asked.picture, panels(found), "epoch", "error", percent=True)


if __name__ == "__main__":
    main()

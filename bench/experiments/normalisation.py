"""Batch norm × rate × initialisation: with batch norm a high rate trains and the start matters less (arXiv:1502.03167).

    python bench/experiments/normalisation.py --save

A plain convolutional network on Fashion-MNIST, momentum 0.9 at a constant rate; the figure that counts is the loss on
the training passes of the last epoch. ln 10 = 2.303 is that of guessing; "diverged" is a loss that was not finite.
"""

from __future__ import annotations

import statistics
from typing import Any

import common

STARTS = {
    "normal 0.01": {"init": "normal", "init_sigma": 0.01},
    "He": {"init": "he"},
    "He × 2": {"init": "he", "init_gain": 2.0},
}


def loss(asked: Any, data: Any, norm: str, rate: float, start: str, seed: int) -> float | None:
    """Of the last epoch; None where the training had to give up or be rescued."""
    from hubel.errors import UserError

    options = {
        "model": "convnet", "model.widths": (12, 24), "model.convs": 3, "model.norm": norm, "epochs": asked.epochs,
        "batch_size": 64, "seed": seed, "augment.policy": "none", "precision": "fp32", "schedule.name": "constant",
        "optimizer.name": "momentum", "optimizer.lr": rate, **STARTS[start],
    }  # fmt: skip
    try:
        run = common.history(asked.work, f"norm-{norm}-{rate:g}-{start}-{seed}", data, {}, layers=[("python", options)])
    except UserError as fault:
        if "diverged" not in str(fault):
            raise
        return None
    return None if run["notes"] else float(run["history"][-1]["train.loss"])


def cell(losses: list[float | None]) -> str:
    known = [value for value in losses if value is not None]
    return "diverged" if len(known) < len(losses) else f"{statistics.mean(known):.3g}"


def main() -> None:
    asked = common.arguments(__doc__ or "", count=3000, epochs=3, seeds=(0,), rates=(0.01, 0.1, 0.5))
    data = common.test_as_dev("fashion-mnist", count=asked.count)
    data = data.with_splits({"train": data.splits["train"]})
    rows, found = [["training loss", *(f"rate {rate:g}" for rate in asked.rates)]], []
    for norm in ("none", "batch"):
        for start in STARTS:
            cells = [[loss(asked, data, norm, rate, start, seed) for seed in asked.seeds] for rate in asked.rates]
            rows.append([f"{'batch norm' if norm == 'batch' else 'no norm'}, {start}", *map(cell, cells)])
            found.append({"norm": norm, "start": start, "losses": cells})
    head = f"Fashion-MNIST, {asked.count} images, {asked.epochs} epochs, seeds {', '.join(map(str, asked.seeds))}\n"
    common.write("experiment-normalisation", {"found": found}, head + common.bench.table(rows), asked.save)


if __name__ == "__main__":
    main()

"""What stands beyond the border: valid, zero, mean and mirror padding; accuracy, and how far the border feels it.

    python bench/experiments/padding.py --save                                            # clothes on black
    python bench/experiments/padding.py --data cifar10_dev --count 10000 --epochs 6 --save   # photographs

A plain convolutional network. The border effect is measured on the maps of the first block: the mean
absolute activation in the outermost ring, as a share of that of the rest. 1 means that the border looks like the rest.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

import common

KINDS = ("valid", "zero", "mean", "mirror")


def trained(asked: Any, data: Any, kind: str, seed: int) -> dict[str, float]:
    import torch

    import hubel

    options = {
        "model": "convnet", "model.widths": (12, 24), "model.padding": kind, "epochs": asked.epochs, "batch_size": 64,
        "seed": seed, "augment.policy": "none", "keep": "last", "views": "single",
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        run = hubel.train(data, out=folder, progress="quiet", layers=[("python", options)])
        session = run.session_on(data)
        network: Any = session.network.eval()
        with session.plain() as loader, torch.no_grad():
            (batch, *_) = loader.batches(data.splits["dev"][:512], 0, 512)
            maps = network.blocks[0](batch.images).abs().mean((0, 1))
        inner = maps[1:-1, 1:-1].mean()
        ring = (maps.sum() - maps[1:-1, 1:-1].sum()) / (maps.numel() - maps[1:-1, 1:-1].numel())
        return {"accuracy": float(run.metrics["dev"]["accuracy"]), "border": float(ring / inner)}


def main() -> None:
    asked = common.arguments(__doc__ or "", data="fashion-mnist", count=3000, epochs=3, seeds=(0, 1, 2))
    data, name = common.test_as_dev(asked.data, count=asked.count), Path(asked.data).name
    rows, found = [["padding", "test accuracy, mean ± s.d.", "each", "border / rest"]], {}
    for kind in KINDS:
        settings = {"data": name, "count": asked.count, "epochs": asked.epochs, "kind": kind}
        each = [common.kept(asked.work, f"padding-{kind}-{seed}", {**settings, "seed": seed},
                            lambda k=kind, s=seed: trained(asked, data, k, s)) for seed in asked.seeds]  # fmt: skip
        rows.append(row(kind, each))
        found[kind] = each
    seeds = ", ".join(map(str, asked.seeds))
    n = len(data.splits["dev"])
    head = f"{name}, {asked.count} images, {asked.epochs} epochs, seeds {seeds}, n = {n}\n"
    place = "experiment-padding" + ("" if name == "fashion-mnist" else f"-{name}")
    common.write(place, {"found": found}, head + common.bench.table(rows), asked.save)


def row(kind: str, each: list[dict[str, float]]) -> list[str]:
    """Of the table: accuracy and border of all seeds."""
    shares = [one["accuracy"] for one in each]
    spread = statistics.stdev(shares) if len(shares) > 1 else 0.0
    border = statistics.mean(one["border"] for one in each)
    mean = f"{statistics.mean(shares):.2%} ± {spread:.2%}"
    return [kind, mean, " ".join(f"{share:.2%}" for share in shares), f"{border:.2f}"]


if __name__ == "__main__":
    main()

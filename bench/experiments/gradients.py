"""Gradient norms by layer over time: sigmoid, plain ReLU, batch norm, residual; and how soon ReLU and tanh learn.

    python bench/experiments/gradients.py --save

Fifteen 3×3 convolutions of 16 channels on Fashion-MNIST (residual: the same depth in blocks of two). The norm of the
gradient of each convolution's weights is noted every few steps. A sigmoid's derivative is at most 1/4, so the first
layers of a deep network hear next to nothing of the loss; batch norm and skips keep the norms of one size.
"""

from __future__ import annotations

import math
from typing import Any

import common
from common import column
from plot import Line, Panel, figure

KINDS = ("sigmoid", "plain ReLU", "batch norm", "residual")


def network_of(kind: str) -> dict[str, Any]:
    if kind == "residual":
        return {"model": "resnet8", "model.widths": (16,), "model.blocks": 7, "model.pool": "average",
                "model.logit_scale": 1.0}  # fmt: skip
    activation, norm = {
        "sigmoid": ("sigmoid", "none"),
        "plain ReLU": ("relu", "none"),
        "batch norm": ("relu", "batch"),
    }[kind]
    return {"model": "convnet", "model.widths": (16,), "model.convs": 15, "model.activation": activation,
            "model.norm": norm, "model.pool": "average"}  # fmt: skip


def measured(asked: Any, data: Any, kind: str, seed: int) -> dict[str, Any]:
    """{"steps": (n,), "norms": (layers, n), "history"}"""
    from torch import nn

    import hubel

    class Watch(hubel.Callback):
        def __init__(self) -> None:
            self.steps: list[int] = []
            self.norms: list[list[float]] = []

        def on_step(self, loop: Any, losses: Any) -> None:
            if loop.step % asked.every == 1 or asked.every == 1:
                layers = [m for m in loop.network.modules() if isinstance(m, nn.Conv2d)]
                self.steps.append(loop.step)
                self.norms.append([float(layer.weight.grad.norm()) for layer in layers])

    watch = Watch()
    common_options = {"epochs": asked.epochs, "batch_size": 64, "seed": seed, "augment.policy": "none", "init": "he",
                      "precision": "fp32", "schedule.name": "constant", "optimizer.name": "momentum",
                      "optimizer.lr": 0.02}  # fmt: skip
    found = common.history(asked.work, f"gradients-{kind}-{seed}", data, {}, callbacks=[watch],
                           layers=[("python", {**common_options, **network_of(kind)})])  # fmt: skip
    return {"steps": watch.steps, "norms": list(map(list, zip(*watch.norms, strict=True))), "history": found["history"]}


def lines(found: dict[str, Any]) -> list[Line]:
    """The first, the middle and the last convolution."""
    layers = found["norms"]
    chosen = {"first": 0, "middle": len(layers) // 2, "last": len(layers) - 1}
    return [
        Line(name, [(s, max(v, 1e-12)) for s, v in zip(found["steps"], layers[i], strict=True)], colour)
        for colour, (name, i) in enumerate(chosen.items())
    ]


def epochs_until(asked: Any, data: Any, activation: str, seed: int) -> tuple[int | None, list[tuple[float, float]]]:
    """Epochs until the training loss is below `target`; the curve."""
    options = {
        "model": "mlp", "model.hidden": (256, 128), "model.activation": activation, "epochs": asked.race,
        "batch_size": 64,
        "seed": seed, "augment.policy": "none", "precision": "fp32", "schedule.name": "constant",
        "optimizer.name": "sgd", "optimizer.lr": 0.1, "init": "he" if activation == "relu" else "xavier",
    }  # fmt: skip
    run = common.history(asked.work, f"race-{activation}-{seed}", data, {}, layers=[("python", options)])
    curve = column(run["history"], "train.loss")
    return next((int(e) for e, value in curve if value <= asked.target), None), curve


def main() -> None:
    asked = common.arguments(__doc__ or "", count=2000, epochs=3, every=4, seeds=(0,), race=12, target=0.4)
    data = common.test_as_dev("fashion-mnist", count=asked.count)
    data = data.with_splits({"train": data.splits["train"]})
    found = {
        kind: common.kept(asked.work, f"gradients-all-{kind}", vars(asked) | {"work": "", "save": ""},
                          lambda k=kind: measured(asked, data, k, asked.seeds[0]))
        for kind in KINDS
    }  # fmt: skip
    rows = [["network", "first / last layer, first step", "first / last, at the end", "training loss at the end"]]
    for kind, one in found.items():
        first, last = one["norms"][0], one["norms"][-1]
        rows.append([kind, f"{first[0] / last[0]:.2g}", f"{first[-1] / max(last[-1], 1e-12):.2g}",
                     f"{one['history'][-1]['train.loss']:.3f} (guessing {math.log(10):.3f})"])  # fmt: skip
    races = [["activation", f"epochs until the training loss is {asked.target:g}, by seed"]]
    for activation in ("relu", "tanh"):
        each = [epochs_until(asked, data, activation, seed)[0] for seed in asked.seeds]
        races.append([activation, ", ".join("not in time" if e is None else str(e) for e in each)])
    head = f"Fashion-MNIST, {asked.count} images, {asked.epochs} epochs, seeds {', '.join(map(str, asked.seeds))}\n"
    text = head + common.bench.table(rows) + "\n\n" + common.bench.table(races)
    common.write("experiment-gradients", {"found": found, "race": races}, text, asked.save)
    if asked.save:
        made = [Panel(kind, lines(one)) for kind, one in found.items()]
        figure(common.PICTURES / "gradients.svg", made, "step", "norm of the gradient (log)", log=True)


if __name__ == "__main__":
    main()

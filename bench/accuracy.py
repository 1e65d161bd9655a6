"""Does speed cost accuracy? Test accuracy after the same epochs, over seeds: hubel, and the usual loop in fp32.

hubel trains once as it comes (augmented, bf16 where it is native) and once without augmentation, which is what the
usual loop does; "within the noise" means that the means lie closer than the larger of the standard deviations.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils import data
from work import MOMENTUM, RATE, Items, Work

BATCH = 128


def compare(network: str, epochs: int, seeds: Iterable[int], count: int | None) -> dict[str, Any]:
    """{"accuracy": {who: [one per seed]}} on Fashion-MNIST's test part; `count` images of the training part."""
    import hubel

    dataset = hubel.load_dataset("fashion-mnist")
    train, test = dataset.splits["train"][:count], dataset.splits["test"]
    dataset = dataset.with_splits({"train": train, "test": test})
    found: dict[str, list[float]] = {"hubel": [], "hubel, not augmented": [], "default": []}
    for seed in seeds:
        found["hubel"].append(by_hubel(dataset, network, epochs, seed, {"shift": 2, "flip": "random"}))
        found["hubel, not augmented"].append(by_hubel(dataset, network, epochs, seed, "none"))
        found["default"].append(by_hand(dataset, network, epochs, seed, train, test))
    return {"epochs": epochs, "images": len(train), "accuracy": found}


def by_hubel(dataset: Any, network: str, epochs: int, seed: int, augment: Any) -> float:
    import hubel

    with tempfile.TemporaryDirectory() as folder:
        run = hubel.train(
            dataset,
            model=network,
            epochs=epochs,
            batch_size=BATCH,
            seed=seed,
            optimizer={"name": "momentum", "lr": RATE, "momentum": MOMENTUM},
            schedule="constant",
            augment=augment,
            split={"dev": 0.0},
            progress="quiet",
            out=Path(folder),
        )
        return float(run.metrics["test"]["accuracy"])


def by_hand(dataset: Any, network: str, epochs: int, seed: int, train: np.ndarray, test: np.ndarray) -> float:
    labels = dataset.annotations["label"]
    work, judged = (Work(network, dataset.images.array[i], labels[i], BATCH, epochs) for i in (train, test))
    module = work.module()
    torch.manual_seed(seed)
    for layer in module.modules():
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
    optimizer = torch.optim.SGD(module.parameters(), lr=RATE, momentum=MOMENTUM)
    for _ in range(epochs):
        for images, targets in data.DataLoader(Items(work), batch_size=BATCH, shuffle=True):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(images), targets).backward()
            optimizer.step()
    module.eval()
    items = Items(judged)
    items.mean, items.std = Items(work).mean, Items(work).std
    with torch.no_grad():
        right = [(module(x).argmax(1) == y).float().sum() for x, y in data.DataLoader(items, batch_size=500)]
    return float(torch.stack(right).sum()) / len(test)


def rows_of_accuracy(found: Mapping[str, Any]) -> list[list[str]]:
    rows = [["", "test accuracy, mean ± s.d.", "seeds", "against default"]]
    base = found["accuracy"]["default"]
    for name, values in found["accuracy"].items():
        gap = statistics.mean(values) - statistics.mean(base)
        noise = max(deviation(values), deviation(base))
        word = (
            "" if name == "default" else f"{gap:+.2%}, " + ("within" if abs(gap) <= noise else "beyond") + " the noise"
        )
        rows.append([name, f"{statistics.mean(values):.2%} ± {deviation(values):.2%}", str(len(values)), word])
    return rows


def deviation(values: list[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0

"""Little data: pretrained features with a new head, staged fine-tuning, and training from nothing (notes 001, 002).

    python bench/experiments/transfer.py --data clothing_dev --save

Each seed draws --each images of every class from the training part; 15 % of them (one of each class at least) are the
dev part, the rest is learnt from. The validation part (n = 186) judges only. Compared: the head on frozen features of
EfficientNet-Lite0 (the package's ImageNet weights), staged fine-tuning of it (with smoothed labels), the same network
from random weights, and the network that hubel takes where nobody says anything. `head_all`, `staged_all` … learn from
the dev part, too: all settings were chosen before, so nothing is left to decide (--split.dev 0). Intervals: bootstrap
over the images that judge, of the mean over seeds, paired. The curves of 5, 10, 20 and 60 images are one network after
the other, hours on two cores; --ways head default --each 60 is done in minutes. --train no shows what --work holds.
"""

from __future__ import annotations

import functools
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import common
import numpy as np
from common import kept
from plot import Line, Panel, figure

LITE0 = {"model": "efficientnet_lite0", "weights": "lite0"}
WAYS: dict[str, dict[str, Any]] = {
    "head": {**LITE0, "transfer": "head"},
    "head256": {**LITE0, "transfer": "head", "size": 256},
    "staged": {**LITE0, "transfer": "staged", "task.smoothing": 0.1},
    "groups": {**LITE0, "transfer": "groups"},
    "unfreeze": {**LITE0, "transfer": "unfreeze"},
    "default": {},
    "scratch": {"model": "efficientnet_lite0", "epochs": 40, "size": 224},
}
ALL = "_all"  # after the name of a way: the slice is learnt from, too, since nothing is left to choose
NAMES = {"head": "head on frozen features", "head256": "head, 256 pixels", "staged": "staged",
         "groups": "rates by group", "unfreeze": "unfreezing",
         "default": "default, from nothing", "scratch": "Lite0, from nothing"}  # fmt: skip


def named(way: str) -> str:
    return NAMES[way.removesuffix(ALL)] + (", all" if way.endswith(ALL) else "")


def drawn(source: str, each: int, seed: int, held: bool) -> Any:
    """`each` images of every class, drawn by the seed; dev is a slice of them where one is `held` back, test the whole
    validation part."""
    import hubel

    data = hubel.load_dataset(source)
    random, labels = np.random.default_rng((seed, each)), data.annotations["label"]
    train, dev = [], []
    for k in range(len(data.classes)):
        own = random.permutation(data.splits["train"][labels[data.splits["train"]] == k])[:each]
        count = max(1, round(0.15 * len(own))) if held else 0
        dev, train = [*dev, *own[:count]], [*train, *own[count:]]
    parts = {"train": np.sort(train), "dev": np.sort(dev), "test": data.splits["dev"]}
    return data.with_splits({name: np.asarray(index, np.int64) for name, index in parts.items() if len(index)})


def trained(source: str, way: str, each: int, seed: int) -> dict[str, Any]:
    """One training: which test images it has right, seconds, and the epochs' dev accuracy."""
    import hubel

    cpu, wall = time.process_time(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        settings, whole = WAYS[way.removesuffix(ALL)], way.endswith(ALL)
        split = {"split": {"dev": 0.0}} if whole else {}
        run = hubel.train(
            drawn(source, each, seed, not whole), out=folder, progress="quiet", seed=seed, **split, **settings
        )
        with np.load(run.path / "predictions" / "test.npz") as saved:
            right = saved["output.probabilities"].argmax(1) == saved["target"]
        return {
            "right": "".join("01"[r] for r in right[np.argsort(saved_index(run))].astype(int)),  # a digit an image
            "accuracy": run.metrics["test"]["accuracy"],
            "epochs": len(run.history),
            "seconds": time.monotonic() - wall,
            "cpu": time.process_time() - cpu,
        }


def saved_index(run: Any) -> np.ndarray:
    with np.load(run.path / "predictions" / "test.npz") as saved:
        return saved["index"]


def run(asked: Any) -> dict[str, dict[int, list[dict[str, Any]]]]:
    """{way: {images of each class: results by seed}}."""
    found: dict[str, dict[int, list[dict[str, Any]]]] = {way: {} for way in asked.ways}
    for each in asked.each:
        for seed in asked.seeds:
            for way in asked.ways:
                settings = {**WAYS[way.removesuffix(ALL)], "each": each, "seed": seed}
                make = functools.partial(trained, asked.data, way, each, seed) if asked.train == "yes" else None
                result = kept(asked.work, f"transfer-{way}-{each}-{seed}", settings, make)
                if result is not None:
                    found[way].setdefault(each, []).append(result)
    return found


def table(found: dict[str, dict[int, list[dict[str, Any]]]]) -> str:
    lines = ["way          images/class  seeds  accuracy (mean, deviation)  minus the first, 95 %  wall s  CPU s"]
    first = next(iter(found.values()))
    for way, sizes in found.items():
        for each, results in sizes.items():
            scores = [100 * r["accuracy"] for r in results]
            spread = statistics.stdev(scores) if len(scores) > 1 else 0.0
            gap = against(results, first[each]) if sizes is not first else ""
            wall, cpu = (statistics.median(r[key] for r in results) for key in ("seconds", "cpu"))
            lines.append(f"{way:<12} {each:>12}  {len(scores):>5}  {statistics.mean(scores):.1f} ± {spread:.1f}"
                         f"{'':>15}{gap:<23} {wall:>6.0f} {cpu:>6.0f}")  # fmt: skip
    return "\n".join(lines)


def against(results: list[dict[str, Any]], first: list[dict[str, Any]]) -> str:
    """The mean over the seeds that both have, image by image."""
    from hubel.metrics.paired import of_statistics

    count = min(len(results), len(first))
    a, b = (np.array([[int(c) for c in r["right"]] for r in rows[:count]]).mean(0) for rows in (results, first))
    gap = of_statistics(lambda rows: float(a[rows].mean()), lambda rows: float(b[rows].mean()), len(a), resamples=4000)
    return f"{100 * gap.value:+.1f} ({100 * gap.interval[0]:+.1f} … {100 * gap.interval[1]:+.1f})"


def draw(found: dict[str, dict[int, list[dict[str, Any]]]], place: Path) -> None:
    lines = [
        Line(
            named(way), [(each, statistics.mean(r["accuracy"] for r in results)) for each, results in sizes.items()], i
        )
        for i, (way, sizes) in enumerate(found.items())
        if len(sizes) > 1
    ]
    figure(
        place, [Panel("Accuracy on 186 photos, 10 classes", lines)], "images of each class", "accuracy", percent=True
    )


def main() -> None:
    asked = common.arguments(
        __doc__ or "",
        data="clothing_dev",
        ways=("head", "staged", "default"),
        each=(60, 20, 10, 5),
        seeds=(0, 1, 2, 3, 4),
        train="yes",
    )
    found = run(asked)
    found = {way: dict(sorted(sizes.items())) for way, sizes in found.items()}
    common.write("experiment-transfer", found, table(found), asked.save)
    if asked.save and len(asked.each) > 1:
        draw(found, common.PICTURES / "transfer.svg")


if __name__ == "__main__":
    main()

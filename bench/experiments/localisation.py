"""Class and box on one backbone: how they are weighed, and whether their heads should learn apart or together.

    python bench/experiments/localisation.py --save

L = α·S + (1 − α)·R. Losses of two α can't be compared, so α is searched by what is wanted, figures of the dev part
that contain no α: mean IoU, and the share of the images with class and box right. Then, with the same backbone that
learnt classes alone: the class head and the box head, each trained alone on the frozen backbone; both at once on it;
both, then every layer (`--transfer two_rates`). The two ways on the frozen backbone share no weight that learns, so
they differ by the draw of the heads alone. Intervals are 95 % over test images (bootstrap); differences to the first
row of a table are paired, image by image.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import common
import numpy as np

DEV, TEST = 200, 400
LEAST = 0.5  # IoU from which a box is right
Judged = dict[str, dict[str, list[float]]]  # part -> {"iou", "class", "right"}: a value for each image


def scenes(count: int, size: int, classes: int) -> Any:
    """One figure per image: `count` to learn from, then dev and test."""
    from hubel.data.shapes import shapes

    data = shapes(count + DEV + TEST, size, kind="detection", most=1, classes=classes)
    parts = np.split(np.arange(count + DEV + TEST), [count, count + DEV])
    return data.with_splits(dict(zip(("train", "dev", "test"), parts, strict=True)))


def options_of(asked: Any, seed: int) -> dict[str, Any]:
    return {
        "model": "resnet8", "model.widths": tuple(asked.widths), "model.logit_scale": 1.0, "batch_size": 32,
        "workers": 0, "views": "single", "seed": seed,
    }  # fmt: skip


def train(folder: str | Path, data: Any, task: Any, options: dict[str, Any], start: Any = None) -> Any:
    import hubel

    layers: Any = [("python", options)]
    return hubel.train(data, task=task, out=folder, from_run=start, progress="quiet", layers=layers)


def judged(run: Any, data: Any, box: Any = None) -> Judged:
    """Image by image, of a run with class and box, or of one with the class and `box`, another with the box."""
    found = {}
    for part in ("dev", "test"):
        classes, boxes = (answers(one, part) for one in (run, box or run))
        index = data.splits[part]
        true = data.annotations["objects"].take(index)
        right = classes["class"] == true.labels
        iou = overlap(boxes["box"], true.boxes)
        found[part] = {"iou": iou.tolist(), "class": right.tolist(), "right": (right & (iou >= LEAST)).tolist()}
    return found


def answers(run: Any, part: str) -> dict[str, np.ndarray]:
    """Classes (n,) and boxes (n, 4) as saved by the run, in the order of the part."""
    saved = np.load(run.path / "predictions" / f"{part}.npz")
    order = np.argsort(saved["index"])
    found = {}
    for key in saved.files:
        if key.endswith("probabilities"):
            found["class"] = saved[key][order].argmax(1)
        if key.endswith("boxes") and key.startswith("output."):
            found["box"] = saved[key][order].astype(np.float64)
    return found


def overlap(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    import torch

    from hubel.ops.boxes import iou

    return iou(torch.from_numpy(one), torch.from_numpy(other)).numpy()


# What is compared -------------------------------------------------------------------------------------------------


def weighed(asked: Any, data: Any, alpha: float, seed: int) -> Judged:
    """Everything together from the first step, with this α."""
    options = {**options_of(asked, seed), "epochs": asked.epochs, "task.alpha": alpha}
    with tempfile.TemporaryDirectory() as folder:
        return judged(train(folder, data, "localisation", options), data)


def apart_and_together(asked: Any, data: Any, seed: int) -> dict[str, Judged]:
    """{way: judged}, all from one backbone that learnt classes alone."""
    from hubel.tasks.box import Box
    from hubel.tasks.object_class import ObjectClass

    plain, frozen = options_of(asked, seed), {"transfer.name": "head", "epochs": asked.head_epochs}
    both = {"transfer.name": "two_rates", "transfer.head_epochs": asked.head_epochs}
    kind = ObjectClass(tuple(data.classes))
    with tempfile.TemporaryDirectory() as folder:
        start = train(folder, data, kind, {**plain, "epochs": asked.epochs})
        box = train(folder, data, Box(), {**plain, **frozen}, start)
        heads = train(folder, data, "localisation", {**plain, **frozen}, start)
        later = train(
            folder, data, "localisation", {**plain, **both, "epochs": asked.head_epochs + asked.epochs}, start
        )
        return {
            "heads apart, frozen backbone": judged(start, data, box),
            "heads at once, frozen backbone": judged(heads, data),
            "heads, then every layer together": judged(later, data),
        }


# Tables -----------------------------------------------------------------------------------------------------------


def table(rows: dict[str, list[Judged]], first: str) -> tuple[list[list[str]], dict[str, Any]]:
    """Dev figures, which choose, and test figures with intervals; the mean of the seeds for each image."""
    lines = [["", "dev IoU", "dev right", "test IoU", "test right", "IoU, difference", "right, difference"]]
    found: dict[str, Any] = {}
    base = {name: mean(rows[first], "test", name) for name in ("iou", "right")}
    for word, each in rows.items():
        dev, test = ({name: mean(each, part, name) for name in ("iou", "right")} for part in ("dev", "test"))
        apart = ["", ""] if word == first else [interval(test[k] - base[k], signed=True) for k in ("iou", "right")]
        lines.append(
            [word, f"{dev['iou'].mean():.3f}", f"{dev['right'].mean():.1%}", interval(test["iou"]),
             interval(test["right"]), *apart]
        )  # fmt: skip
        found[word] = {
            f"{part} {k}": float(v.mean()) for part, own in (("dev", dev), ("test", test)) for k, v in own.items()
        }
    return lines, found


def mean(each: list[Judged], part: str, name: str) -> np.ndarray:
    """(n,) of the part's images, over seeds."""
    return np.mean([np.asarray(one[part][name], np.float64) for one in each], axis=0)


def interval(values: np.ndarray, signed: bool = False) -> str:
    from hubel.metrics.interval import bootstrap

    low, high = bootstrap(lambda rows: float(values[rows].mean()), len(values))
    sign = "+" if signed else ""
    return f"{values.mean():{sign}.3f} ({low:{sign}.3f} to {high:{sign}.3f})"


def main() -> None:
    asked = common.arguments(
        __doc__ or "", count=400, size=48, classes=4, epochs=20, head_epochs=10, widths=(16, 32, 64, 128),
        alphas=(0.1, 0.5, 0.9), seeds=(0,),
    )  # fmt: skip
    data = scenes(asked.count, asked.size, asked.classes)
    settings = {name: getattr(asked, name) for name in ("count", "size", "classes", "epochs", "widths")}
    alphas, ways = {}, {}
    for seed in asked.seeds:
        for alpha in asked.alphas:
            own = {**settings, "alpha": alpha, "seed": seed}
            make = partial(weighed, asked, data, alpha, seed)
            alphas.setdefault(f"α = {alpha:g}", []).append(
                common.kept(asked.work, f"alpha-{alpha:g}-{seed}", own, make)
            )
        own = {**settings, "head_epochs": asked.head_epochs, "seed": seed}
        made = common.kept(asked.work, f"heads-{seed}", own, partial(apart_and_together, asked, data, seed))
        for way, one in made.items():
            ways.setdefault(way, []).append(one)
    chosen = {name: max(alphas, key=lambda word: mean(alphas[word], "dev", name).mean()) for name in ("iou", "right")}
    first, second = table(alphas, f"α = {asked.alphas[0]:g}"), table(ways, next(iter(ways)))
    words = (
        f"shapes, one figure of {asked.classes} classes on {asked.size} x {asked.size} pixels, {asked.count} images, "
        f"{asked.epochs} epochs (heads alone {asked.head_epochs}), seeds {', '.join(map(str, asked.seeds))}; "
        f"n = {TEST} test images, 95 % over these\n"
    )
    text = words + common.bench.table(first[0])
    text += f"\nchosen on dev: by mean IoU {chosen['iou']}, by class and box right {chosen['right']}\n\n"
    text += common.bench.table(second[0])
    content = {"alphas": first[1], "chosen": chosen, "heads": second[1]}
    common.write("experiment-localisation", content, text, asked.save)


if __name__ == "__main__":
    main()

"""Boxes without boxes: class activation maps of networks that learnt labels only, against a network that learnt boxes.

    python bench/experiments/weak_localisation.py --save

One drawn figure per image. The same backbone three times: labels with global average pooling (GAP), labels with global
max pooling (GMP), labels and boxes (`--task localisation`). A map is cut at a share of its maximum: 20 %, as in
arXiv:1512.04150, and the share that is best on the dev part (which takes boxes to find). Localisation error: IoU
with the true box below 0.5, or the wrong class; with the class known the map of the true class is cut, and IoU alone
counts.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import partial
from typing import Any

import common
import numpy as np

SHARES = tuple(round(0.05 * k, 2) for k in range(2, 19))
FIXED = 0.2
DEV, TEST = 300, 1000
WAYS = {
    "labels, GAP": {"task": "classification", "model.pool": "average"},
    "labels, GMP": {"task": "classification", "model.pool": "max"},
    "labels and boxes": {"task": "localisation", "model.pool": "average"},
}


def scenes(count: int, size: int, classes: int) -> Any:
    """One figure per image: `count` to learn from, then dev and test."""
    from hubel.data.shapes import shapes

    data = shapes(count + DEV + TEST, size, kind="detection", most=1, classes=classes)
    parts = np.split(np.arange(count + DEV + TEST), [count, count + DEV])
    return data.with_splits(dict(zip(("train", "dev", "test"), parts, strict=True)))


def labelled(data: Any) -> Any:
    """The same images with their labels only."""
    return replace(data, annotations={"label": np.asarray(data.annotations["objects"].labels)})


def trained(asked: Any, data: Any, way: str, seed: int) -> dict[str, Any]:
    """{"dev" and "test": {"right": [bool], "ious": {share: [IoU]}}}, image by image."""
    import hubel

    options = {
        "model": "convnet", "model.widths": tuple(asked.widths), "model.padding": "zero", "epochs": asked.epochs,
        "batch_size": 64, "seed": seed, "augment.policy": "light", "views": "single", **WAYS[way],
    }  # fmt: skip
    weak = options["task"] == "classification"
    with tempfile.TemporaryDirectory() as folder:
        run = hubel.train(labelled(data) if weak else data, out=folder, progress="lines", layers=[("python", options)])
        judge = from_maps if weak else from_answers
        return {part: judge(run, data, data.splits[part]) for part in ("dev", "test")}


def from_maps(run: Any, data: Any, index: np.ndarray) -> dict[str, Any]:
    from hubel.explain.boxes import box_of
    from hubel.prediction.explaining import explain_images

    parts, labels = run.parts(), data.annotations["objects"].labels
    right = np.zeros(len(index), bool)
    ious = {share: np.zeros(len(index)) for share in SHARES}
    for label, name in enumerate(data.classes):
        rows = np.flatnonzero(labels[index] == label)
        images = [("", data.images.read(int(i))) for i in index[rows]]
        for row, found in zip(rows, explain_images(parts, images, answer=name), strict=True):
            right[row] = found.said["prediction"] == name
            for share in SHARES:
                box = box_of(found.heat, share)
                ious[share][row] = 0.0 if box is None else overlap(box, data, index[row])
    return {"right": right.tolist(), "ious": {str(share): values.tolist() for share, values in ious.items()}}


def from_answers(run: Any, data: Any, index: np.ndarray) -> dict[str, Any]:
    from hubel.outcome import predictions_of

    found = predictions_of(run.parts(), run.recipe, [("", data.images.read(int(i))) for i in index])
    boxes = found.parts["box"].boxes.double().numpy()
    labels = found.parts["class"].probabilities.argmax(1).numpy()
    right = labels == data.annotations["objects"].labels[index]
    ious = [overlap(box, data, i) for box, i in zip(boxes, index, strict=True)]
    return {"right": right.tolist(), "ious": {str(FIXED): ious}}


def overlap(box: np.ndarray, data: Any, image: int) -> float:
    import torch

    from hubel.ops.boxes import iou

    truth = torch.from_numpy(data.annotations["objects"].boxes[int(image)])  # one object per image
    return float(iou(torch.from_numpy(box), truth))


def row_of(way: str, each: list[dict[str, Any]], share: str) -> tuple[list[str], dict[str, Any]]:
    """A row of the table, of all seeds' test images together."""
    right = np.concatenate([one["test"]["right"] for one in each])
    iou = np.concatenate([one["test"]["ious"][share] for one in each])
    known = iou >= 0.5
    errors = {"classification": ~right, "localisation": ~(right & known), "known": ~known}
    cells = [f"{np.mean(errors[name]):.1%} ± {margin(errors[name], len(each)):.1%}" for name in errors]
    found = {name: float(np.mean(values)) for name, values in errors.items()} | {"iou": float(iou.mean())}
    return [way, "-" if way == "labels and boxes" else f"{float(share):.0%}", *cells, f"{iou.mean():.3f}"], found


def margin(wrong: np.ndarray, seeds: int) -> float:
    """Half of a 95 % interval of the share. The seeds judge the same images, so only these count as independent."""
    share = float(np.mean(wrong))
    return 1.96 * (share * (1 - share) / (len(wrong) / seeds)) ** 0.5


def best_share(each: list[dict[str, Any]]) -> str:
    """The share whose boxes are most often right on dev, the class known."""
    shares = each[0]["dev"]["ious"]
    return max(shares, key=lambda s: np.mean([np.mean(np.array(one["dev"]["ious"][s]) >= 0.5) for one in each]))


def main() -> None:
    asked = common.arguments(
        __doc__ or "", count=3000, size=48, classes=5, epochs=16, widths=(16, 32, 64), seeds=(0,), ways=tuple(WAYS)
    )
    data = scenes(asked.count, asked.size, asked.classes)
    settings = {name: getattr(asked, name) for name in ("count", "size", "classes", "epochs", "widths")}
    head = ["learnt", "cut at", "class wrong", "localisation error", "the class known", "mean IoU"]
    rows, found = [head], {}
    for way in asked.ways:
        name = f"weak-{way.replace(', ', '-').replace(' ', '-')}"
        each = [
            common.kept(
                asked.work, f"{name}-{s}", {**settings, "way": way, "seed": s}, partial(trained, asked, data, way, s)
            )
            for s in asked.seeds
        ]
        for share in dict.fromkeys([str(FIXED), best_share(each)]):
            row, figures = row_of(way, each, share)
            rows.append(row)
            found[f"{way}, {share}"] = figures
    seeds = ", ".join(map(str, asked.seeds))
    words = (
        f"shapes, one figure of {asked.classes} classes on {asked.size} x {asked.size} pixels, {asked.count} images, "
        f"{asked.epochs} epochs, convnet {'-'.join(map(str, asked.widths))}, seeds {seeds}; n = {TEST} test images, "
        "± 95 % of the sample\n"
    )
    common.write("experiment-weak-localisation", {"found": found}, words + common.bench.table(rows), asked.save)


if __name__ == "__main__":
    main()

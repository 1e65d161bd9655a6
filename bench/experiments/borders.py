"""Do border weights part touching cells? The valid U-Net with them against without, same seeds, images and epochs.

    python bench/experiments/borders.py --save

Drawn tissue (`membranes`): cells with borders of two pixels, some hardly visible. `--task.border_weight 10` with the
paper's sigma 5 (arXiv:1505.04597, eq. 2) makes a pixel between two cells count up to eleven times. Judged on test
images over the connected regions of cells, grown until they touch, so that the width of an answered border is no error:

    VI split, VI merge   H(answer | truth) and H(truth | answer) in bits over the pixels of true cells, and their sum VI
    Rand error           1 − F of pairs of these pixels that lie in the same region
    boundary F, mIoU     of the two classes, as metrics/boundaries.py and `miou` have them, image by image

Weights also make a network answer "border" more often, which a higher threshold does for nothing. So each network is
judged twice: a pixel is cell where p > 0.5, and where p is above the threshold with the least VI on the dev images.
Differences are paired: the mean over the seeds of each image, and the bootstrap over images.
"""

from __future__ import annotations

import tempfile
from functools import partial
from typing import Any

import common
import numpy as np

WEIGHTS = {"plain": 0.0, "border weights": 10.0}
THRESHOLDS = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9)
FIGURES = ("VI", "VI split", "VI merge", "Rand error", "boundary F", "mIoU")
DEV, TEST = 30, 60


def trained(asked: Any, data: Any, weight: float, seed: int) -> dict[str, Any]:
    """{"dev" and "test": {threshold: {figure: [of each image]}}, "seconds"}."""
    import hubel

    options = {
        "model": "unet_valid", "model.width": asked.width, "model.depth": 2, "epochs": asked.epochs, "seed": seed,
        "batch_size": 4, "task.border_weight": weight, "augment.policy": "light", "views": "single",
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        run = hubel.train(data, out=folder, progress="lines", layers=[("python", options)])
        found = {part: judged(run, data, data.splits[part]) for part in ("dev", "test")}
        return found | {"seconds": run.seconds}


def judged(run: Any, data: Any, index: np.ndarray) -> dict[str, dict[str, list[float]]]:
    from hubel.outcome import predictions_of

    found = predictions_of(run.parts(), run.recipe, [("", data.images.read(int(i))) for i in index])
    cell = found.probabilities[:, 1].numpy()  # images have the network's size
    truth = [data.annotations["mask"].read(int(i)) for i in index]
    by_threshold = {}
    for threshold in THRESHOLDS:
        rows = [figures(true, (p > threshold).astype(np.uint8)) for true, p in zip(truth, cell, strict=True)]
        by_threshold[str(threshold)] = {name: [row[name] for row in rows] for name in FIGURES}
    return by_threshold


def figures(truth: np.ndarray, answer: np.ndarray) -> dict[str, float]:
    """Of one image: two maps (H, W) of 0 border, 1 cell. Regions are joined by edges of pixels, not by corners."""
    from skimage.measure import label
    from skimage.metrics import adapted_rand_error, variation_of_information
    from skimage.segmentation import expand_labels

    from hubel.metrics.boundaries import border_counts, reach

    true, inside = label(truth, connectivity=1), truth == 1
    found = expand_labels(label(answer, connectivity=1), distance=sum(truth.shape)) + 1
    merge, split = variation_of_information(found[inside], true[inside])  # H(true | found), H(found | true)
    rand = adapted_rand_error(true, found, ignore_labels=(0,))[0]
    met, given, reached, wanted = border_counts(truth, answer, 2, reach(truth.shape, 0.0075)).sum(0)
    ious = [((truth == k) & (answer == k)).sum() / max(((truth == k) | (answer == k)).sum(), 1) for k in (0, 1)]
    return {
        "VI": float(split + merge), "VI split": float(split), "VI merge": float(merge), "Rand error": float(rand),
        "boundary F": float((met + reached) / max(given + wanted, 1)), "mIoU": float(np.mean(ious)),
    }  # fmt: skip


def best_threshold(each: list[dict[str, Any]]) -> str:
    """The one with the least VI on dev, the seeds together."""
    return min(each[0]["dev"], key=lambda t: float(np.mean([one["dev"][t]["VI"] for one in each])))


def per_image(each: list[dict[str, Any]], threshold: str, figure: str) -> np.ndarray:
    return np.mean([one["test"][threshold][figure] for one in each], 0)


def in_words(difference: Any) -> str:
    low, high = difference.interval
    return f"{difference.value:+.3f} ({low:+.3f}…{high:+.3f})"


def main() -> None:
    asked = common.arguments(__doc__ or "", count=80, size=96, cell=16, epochs=30, width=12, seeds=(0, 1, 2))
    import hubel
    from hubel.metrics.paired import of_statistics

    total = asked.count + DEV + TEST
    data = hubel.load_dataset(f"membranes:count={total},size={asked.size},cell={asked.cell},thickness=2,seed=5")
    parts = np.split(np.arange(total), [asked.count, asked.count + DEV])
    data = data.with_splits(dict(zip(("train", "dev", "test"), parts, strict=True)))
    settings = {name: getattr(asked, name) for name in ("count", "size", "cell", "epochs", "width")}
    runs = {
        way: [
            common.kept(
                asked.work, f"borders-{way.replace(' ', '-')}-{seed}", {**settings, "weight": weight, "seed": seed},
                partial(trained, asked, data, weight, seed),
            )
            for seed in asked.seeds
        ]
        for way, weight in WEIGHTS.items()
    }  # fmt: skip
    rows, found = [["", "p above", *FIGURES]], {}
    for rule in ("0.5", "best on dev"):
        chosen = {way: best_threshold(each) if rule == "best on dev" else rule for way, each in runs.items()}
        means = {way: {f: per_image(runs[way], chosen[way], f) for f in FIGURES} for way in WEIGHTS}
        rows += [[way, chosen[way], *(f"{means[way][f].mean():.3f}" for f in FIGURES)] for way in WEIGHTS]
        differ = {}
        for figure in FIGURES:
            a, b = (means[way][figure] for way in ("border weights", "plain"))
            differ[figure] = of_statistics(lambda i, a=a: a[i].mean(), lambda i, b=b: b[i].mean(), TEST, resamples=2000)
        rows.append(["difference", "", *map(in_words, differ.values())])
        found[rule] = {
            "thresholds": chosen,
            "means": {way: {f: float(v.mean()) for f, v in means[way].items()} for way in WEIGHTS},
            "differences": {f: {"value": d.value, "interval": d.interval, "shown": d.shown} for f, d in differ.items()},
        }
    words = (
        f"membranes, cells of {asked.cell} pixels, {asked.count} images of {asked.size} x {asked.size}, "
        f"{asked.epochs} epochs, unet_valid of depth 2 and width {asked.width}, seeds "
        f"{', '.join(map(str, asked.seeds))}; n = {TEST} test images; differences with their 95 % interval\n"
    )
    content = {"machine": common.bench.machine(), "settings": settings, "found": found}
    common.write("experiment-borders", content, words + common.bench.table(rows), asked.save)


if __name__ == "__main__":
    main()

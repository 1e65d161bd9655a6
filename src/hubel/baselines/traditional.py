"""The traditional pipeline: gradients and colours counted by hand, and a linear classifier on them.

    hubel baseline photos/ --run runs/photos-resnet8/1

It answers whether a deep network is needed: both are judged on the same images, pair by pair. Features are HOG and,
of colour images, a histogram of colours (ops/hog.py, a few lines of ours, so that no image library has to be
installed); the classifier is logistic regression on standardised features, its penalty chosen on the dev part.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from hubel.data.check import check_files
from hubel.data.dataset import Dataset
from hubel.errors import UserError
from hubel.metrics.interval import Interval, wilson
from hubel.metrics.paired import Difference, of_shares
from hubel.ops.hog import colour_histogram, hog
from hubel.parts import load_dataset, split_dataset
from hubel.recipe import SplitOptions
from hubel.tasks.classification import Classification
from hubel.tasks.one_of_k import ClassPredictions
from hubel.trained import Run

FEATURES = ("hog", "colour", "both")
LARGEST = 64  # pixels a side; larger images are brought to it
CELLS = 8  # along each side
PENALTIES = (0.0001, 0.001, 0.01, 0.1)  # inverse strengths that the dev part chooses from
USUAL = 0.001  # where there is no dev part


@dataclass(frozen=True)
class Baseline:
    """What came out: metrics by part with the interval of the accuracy, and the network it was compared with."""

    features: str
    count: int  # features of an image
    images: int  # that it learnt from
    penalty: float
    metrics: dict[str, dict[str, float]]
    intervals: dict[str, Interval]
    against: dict[str, Difference]  # by part: the network's accuracy minus this one's

    def settings(self) -> dict[str, Any]:
        """JSON-ready."""
        differences = {
            part: {"difference": d.value, "interval": d.interval, "p": d.p, "n": d.n, "verdict": verdict(d)}
            for part, d in self.against.items()
        }
        plain = {
            name: getattr(self, name) for name in ("features", "count", "images", "penalty", "metrics", "intervals")
        }
        return {**plain, "network_minus_baseline": differences}


def verdict(difference: Difference) -> str:
    """What a difference between network and baseline means."""
    if not difference.shown:
        return "no difference shown: the network was not needed for this accuracy"
    return "the network is better" if difference.value > 0 else "the network is worse than the baseline"


def baseline(
    source: Any, *, features: str = "both", images: int = 10_000, run: Run | str | Path | None = None,
    download: bool = False,
) -> Baseline:  # fmt: skip
    """Train and judge the traditional pipeline on `source`, on at most `images` training images, evenly spaced.

    The parts are those of a training with default options, or those of `run`, whose saved predictions it is then
    compared with. Raises UserError where images carry no single label, or the run was trained on other data.
    """
    if features not in FEATURES:
        raise UserError(f"Features are {', '.join(FEATURES)}; got '{features}'.")
    dataset = check_files(load_dataset(source, download=download))
    network = Run.open(run) if isinstance(run, (str, Path)) else run
    dataset = _with_parts(dataset, network)
    task = Classification(dataset.classes)
    task.accepts(dataset)
    parts = {name: index for name, index in dataset.splits.items() if len(index)}
    parts["train"] = parts["train"][:: -(-len(parts["train"]) // images)] if images else parts["train"]
    described = {name: np.concatenate(list(_described(dataset, index, features))) for name, index in parts.items()}
    labels = {name: np.asarray(dataset.annotations["label"])[index] for name, index in parts.items()}
    penalty, classifier = _fitted(described, labels)
    metrics, intervals, against = {}, {}, {}
    for name, index in parts.items():
        found = ClassPredictions(torch.from_numpy(_probabilities(classifier, described[name], task.width)).float())
        metric, targets = task.metric(), torch.from_numpy(labels[name])
        metric.update(found, targets)
        metrics[name] = metric.compute()
        right = (found.labels == targets).numpy()
        intervals[name] = wilson(int(right.sum()), len(right))
        if network is not None and name != "train":
            against[name] = of_shares(_right_of(network, name, index, targets), right)
    return Baseline(
        features, described["train"].shape[1], len(parts["train"]), penalty, metrics, intervals, against
    )  # fmt: skip


def _with_parts(dataset: Dataset, network: Run | None) -> Dataset:
    if network is None:
        return split_dataset(dataset, SplitOptions())
    if network.manifest.get("data", {}).get("hash") != dataset.hash():
        raise UserError(f"{network.path} was trained on other data than {dataset.source}; name the data that it had.")
    return dataset.with_splits(network.splits)


def _right_of(network: Run, part: str, index: np.ndarray, targets: torch.Tensor) -> np.ndarray:
    """(n,) bool: which images the network's saved predictions have right."""
    place = network.path / "predictions" / f"{part}.npz"
    try:
        with np.load(place, allow_pickle=False) as saved:
            where, p = saved["index"], saved["output.probabilities"]
    except (OSError, KeyError, ValueError) as fault:
        raise UserError(
            f"{place} holds no probabilities of classes ({fault}); give a run of one class per image."
        ) from fault
    rows = {int(i): row for row, i in enumerate(where)}
    if any(int(i) not in rows for i in index):
        raise UserError(f"{place} lacks images of the part '{part}'.")
    return p[[rows[int(i)] for i in index]].argmax(1) == targets.numpy()


def _described(dataset: Dataset, index: np.ndarray, features: str) -> Iterator[np.ndarray]:
    """(n, F) features of batches of images; those of other sizes are brought to one square."""
    sizes = dataset.images.sizes(200)
    side = min(int(np.median(sizes)), LARGEST)
    cell = max(side // CELLS, 1)
    for start in range(0, len(index), 256):
        pixels = np.stack([_square(dataset.images.read(int(i)), side) for i in index[start : start + 256]])
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        found = [hog(images, cell=cell)] if features != "colour" else []
        if features == "colour" or (features == "both" and images.shape[1] == 3):
            found.append(colour_histogram(images, bins=4 if images.shape[1] == 3 else 16))
        yield torch.cat(found, 1).numpy()


def _square(image: np.ndarray, side: int) -> np.ndarray:
    """(H, W, C) whole numbers -> (side, side, C) float32 in [0, 1]."""
    top = np.iinfo(image.dtype).max
    if image.shape[:2] != (side, side):
        image = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    return image.reshape(side, side, -1).astype(np.float32) / top


def _fitted(described: dict[str, np.ndarray], labels: dict[str, np.ndarray]) -> tuple[float, Any]:
    """The inverse penalty that answers most of dev right, and its classifier."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    best: Any = (-1.0, USUAL, None)
    for penalty in PENALTIES if "dev" in described else (USUAL,):
        made = make_pipeline(StandardScaler(), LogisticRegression(C=penalty, max_iter=200, tol=1e-3))
        made.fit(described["train"], labels["train"])
        score = made.score(described["dev"], labels["dev"]) if "dev" in described else 0.0
        if score > best[0]:
            best = (score, penalty, made)
    return best[1], best[2]


def _probabilities(classifier: Any, described: np.ndarray, classes: int) -> np.ndarray:
    """(n, K); classes without a training image get 0."""
    found = np.zeros((len(described), classes))
    found[:, classifier.classes_] = classifier.predict_proba(described)
    return found

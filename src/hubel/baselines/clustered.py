"""Segmentation by clustering as a baseline: is a network needed for these masks?

    hubel baseline streets/ --method graph

Each image is cut into regions by colour and place (ops/clustering.py). What a region is called is learnt without a
network: regions are described by colour, texture, place and size, and each is called what most pixels of the VOTERS
training regions are that are most alike. `best_match` calls each region what most of its own pixels are: no way to name
these regions has more pixels right.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from hubel.data.check import check_files
from hubel.data.decode import BadImage
from hubel.data.masks import IGNORE
from hubel.errors import UserError
from hubel.metrics.segmentation import iou, mean_of
from hubel.ops import clustering
from hubel.ops.clustering import connected, points_of, squares
from hubel.parts import load_dataset, split_dataset
from hubel.recipe import SplitOptions

LARGEST = 256  # pixels a side on which regions are made; the answer is enlarged to the image
SMALLEST = 12  # pixels: smaller regions join what is beside them
VOTERS = 5  # training regions that name another one
PLACE, SIZE = 0.2, 0.3  # what place and size count beside colour
USUAL = 200  # training images


@dataclass(frozen=True)
class PixelBaseline:
    """What came out: `metrics` {part: {"miou", "pixel_accuracy", "iou.<class>" …}}, `best_match` alike."""

    method: str
    images: int  # that it learnt from
    regions: float  # of an image, on average
    metrics: dict[str, dict[str, float]]
    best_match: dict[str, dict[str, float]]

    def settings(self) -> dict[str, Any]:
        """JSON-ready."""
        return dict(vars(self))


def pixel_baseline(
    source: Any, *, method: str = "kmeans", images: int = USUAL, download: bool = False
) -> PixelBaseline:
    """Cut, name and judge the images of `source` with the usual parts, learning from at most `images` of them.

    `method` is kmeans, mean_shift or graph. Raises UserError where images have no masks.
    """
    chosen = clustering.method(method)
    dataset = check_files(load_dataset(source, download=download))
    masks = dataset.annotations.get("mask")
    if masks is None:
        there = ", ".join(dataset.annotations) or "nothing"
        raise UserError(f"{dataset.name} has no masks, only {there}: clustering answers with a class for every pixel.")
    parts = {name: index for name, index in split_dataset(dataset, SplitOptions()).splits.items() if len(index)}
    train = parts["train"][:: -(-len(parts["train"]) // images)] if images else parts["train"]
    classes, counts, described, histograms = len(masks.classes), [], [], []
    for image, truth in _read(dataset, train):
        regions = regions_of(image, chosen)
        described.append(descriptions(image, regions))
        histograms.append(histogram(regions, truth, classes))
        counts.append(regions.max() + 1)
    known, votes = np.concatenate(described), np.concatenate(histograms)
    confusion = {part: np.zeros((2, classes, classes), np.int64) for part in parts}
    for part, index in parts.items():
        for image, truth in _read(dataset, train if part == "train" else index):
            regions = regions_of(image, chosen)
            per_region = histogram(regions, truth, classes)
            for k, answer in enumerate((named(descriptions(image, regions), known, votes), per_region.argmax(1))):
                np.add.at(confusion[part][k].T, answer, per_region)
    scores = {part: [_metrics(found[k], masks.classes) for k in (0, 1)] for part, found in confusion.items()}
    return PixelBaseline(
        method, len(train), float(np.mean(counts)), {part: two[0] for part, two in scores.items()},
        {part: two[1] for part, two in scores.items()},
    )  # fmt: skip


def _read(dataset: Any, index: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(H, W, C) float32 in [0, 1] and (H, W) classes of each image that can be read."""
    for i in index.tolist():
        try:
            pixels, truth = dataset.images.read(i), dataset.annotations["mask"].read(i)
        except BadImage:
            continue  # it is listed among the faults of the data
        yield pixels.astype(np.float32) / np.iinfo(pixels.dtype).max, truth


def regions_of(image: np.ndarray, chosen: Any) -> np.ndarray:
    """(H, W, C) -> (H, W) connected regions, made on a smaller image where it is large."""
    height, width = image.shape[:2]
    factor = min(1.0, LARGEST / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], -1)
    regions = _merged(connected(chosen(small)))
    return cv2.resize(regions.astype(np.float32), (width, height), interpolation=cv2.INTER_NEAREST).astype(np.int64)


def _merged(regions: np.ndarray) -> np.ndarray:
    """Pixels of regions smaller than SMALLEST join the region of the nearest pixel of a larger one."""
    sizes = np.bincount(regions.ravel())
    tiny = sizes[regions] < SMALLEST
    if not tiny.any() or tiny.all():
        return regions
    _, nearest = cv2.distanceTransformWithLabels(
        tiny.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )  # each tiny pixel: the nearest one that is not
    known = np.zeros(nearest.max() + 1, np.int64)
    known[nearest[~tiny]] = regions[~tiny]
    return connected(np.where(tiny, known[nearest], regions))


def descriptions(image: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """(n, D) float32: mean and deviation of colour, mean place, size of each region."""
    points, flat = points_of(image, 5.0), regions.ravel()
    sizes = np.bincount(flat)
    mean = np.stack([np.bincount(flat, points[:, d]) for d in range(points.shape[1])], 1) / sizes[:, None]
    square = np.stack([np.bincount(flat, points[:, d] ** 2) for d in range(points.shape[1])], 1) / sizes[:, None]
    spread = np.sqrt(np.maximum(square - mean**2, 0))
    mean[:, -2:], spread[:, -2:] = mean[:, -2:] * PLACE, spread[:, -2:] * PLACE
    return np.concatenate([mean, spread, SIZE * np.log(sizes / len(flat))[:, None]], 1).astype(np.float32)


def histogram(regions: np.ndarray, truth: np.ndarray, classes: int) -> np.ndarray:
    """(n, K) int64: pixels of each class in each region; ignored ones are left out."""
    count, seen = int(regions.max()) + 1, truth != IGNORE
    both = regions[seen] * classes + truth[seen].astype(np.int64)
    return np.bincount(both, minlength=count * classes).reshape(count, classes)


def named(described: np.ndarray, known: np.ndarray, histograms: np.ndarray) -> np.ndarray:
    """(n, D) regions -> (n,) classes: most pixels of the VOTERS training regions (m, D), (m, K) that are most alike."""
    found = []
    for start in range(0, len(described), 256):
        apart = squares(described[start : start + 256], known)
        voters = np.argpartition(apart, min(VOTERS, len(known)) - 1, axis=1)[:, :VOTERS]
        found.append(histograms[voters].sum(1).argmax(1))
    return np.concatenate(found)


def _metrics(confusion: np.ndarray, classes: tuple[str, ...]) -> dict[str, float]:
    """Of (K, K) pixels, rows the truth."""
    each = iou(confusion)
    found = {"miou": mean_of(each), "pixel_accuracy": float(np.trace(confusion) / max(1, confusion.sum()))}
    return found | {f"iou.{name}": float(value) for name, value in zip(classes, each, strict=True) if value == value}

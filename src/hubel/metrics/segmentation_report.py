"""What a page shows of a class for every pixel: a row for each class, and where in the images the errors are.

The interval of a class's IoU is that of images drawn anew (bootstrap, 95 %): pixels of one image are not independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hubel.metrics.boundaries import f_scores
from hubel.metrics.confusion import per_class
from hubel.metrics.segmentation import PixelCounts, iou

RESAMPLES = 400
PLACES = ("near borders of classes", "inside, away from borders")
REGIONS = (
    "in small regions (below 32 x 32 pixels in area)",
    "in medium regions (below 96 x 96)",
    "in large regions",
)


def class_rows(classes: Sequence[str], counts: PixelCounts, weights: np.ndarray) -> list[dict[str, Any]]:
    """Counts of n images -> name, n (pixels), precision, recall, f1, iou, iou_interval, boundary_f."""
    confusion = counts.confusion.cpu().numpy()[weights > 0].astype(np.float64)
    total = confusion.sum(0)
    table, own, borders = per_class(total), iou(total), f_scores(counts.borders.cpu().numpy()[weights > 0].sum(0))
    low, high = intervals(confusion)
    return [
        {
            "name": name,
            "n": int(table["support"][k]),
            **{key: float(table[key][k]) for key in ("precision", "recall", "f1")},
            "iou": float(own[k]),
            "iou_interval": (float(low[k]), float(high[k])) if np.isfinite(low[k]) else None,
            "boundary_f": float(borders[k]),
        }
        for k, name in enumerate(classes)
    ]


def intervals(confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n, K, K) -> the ends of each class's IoU, (K,) each; NaN where it can't be told."""
    n, k, _ = confusion.shape
    if n < 2:
        return np.full(k, np.nan), np.full(k, np.nan)
    draws = np.random.default_rng(0)
    times = np.stack([np.bincount(draws.integers(0, n, n), minlength=n) for _ in range(RESAMPLES)])
    found = iou(np.tensordot(times.astype(np.float64), confusion, 1))  # (RESAMPLES, K)
    known = ~np.isnan(found).any(0)
    ends = np.full((2, k), np.nan)
    ends[:, known] = np.quantile(found[:, known], (0.025, 0.975), axis=0)
    return ends[0], ends[1]


def place_rows(counts: PixelCounts, weights: np.ndarray) -> list[tuple[str, int, float]]:
    """(name, pixels, share right), near borders and inside first."""
    chosen = weights > 0
    near, regions = (part.cpu().numpy()[chosen].sum(0) for part in (counts.near, counts.regions))
    pairs = [*zip(PLACES, near.reshape(2, 2).tolist(), strict=True), *zip(REGIONS, regions.tolist(), strict=True)]
    return [(name, int(n), right / max(n, 1)) for name, (right, n) in pairs]


def miou_of_one(confusion: np.ndarray, k: int) -> float:
    """The mean IoU of always answering k: its share of the pixels of a confusion (K, K), over the classes there."""
    pixels = confusion.sum(1)
    return float(pixels[k] / max(pixels.sum(), 1) / max((pixels > 0).sum(), 1))

"""A class for every pixel: IoU_k = TP / (TP + FP + FN), Dice_k = 2 TP / (2 TP + FP + FN), from one confusion matrix.

miou and mean_dice are means over the classes that occur in truth or answers; pixel_accuracy = Σ TP / n, mean_accuracy
the mean recall of the classes in the truth; ignored pixels (255) count nowhere. boundary_f: see boundaries.py.
boundary_accuracy and interior_accuracy: the share of right pixels within that distance of a true border, and beyond.

Everything is a sum over images. In evaluation it is taken in pixels of the source images, into which probabilities are
moved back; while training, in those of the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hubel.metrics.base import Streaming, ones_like_batch
from hubel.metrics.boundaries import border_counts, f_scores, near_and_far, reach, region_counts
from hubel.metrics.confusion import per_class, summed
from hubel.ops.pixel_losses import PerImage
from hubel.ops.pixel_maps import centre, labels_in_source, most_probable
from hubel.predictions import Predictions
from hubel.types import PixelClasses

IGNORE = 255
WORTH_THREADS = 40_000  # pixels of an image; below, threads cost more than they bring
AT_ONCE = 1 << 16  # pixels that are counted together: what fits into a cache
NAMED = 40  # classes whose own IoU stands among the metrics; of more, only in `per_class`


@dataclass(frozen=True)
class PixelCounts(Predictions):
    """What is left of B images once their pixels are counted: all that metrics, scores and words need."""

    confusion: Tensor  # (B, K, K) int32 pixels, rows are the truth
    borders: Tensor  # (B, K, 4) int32: see boundaries.border_counts
    near: Tensor  # (B, 4) int32: see boundaries.near_and_far
    regions: Tensor  # (B, 3, 2) int32: see boundaries.region_counts
    loss: Tensor  # (B, T, 2) float32: sum and count of each of the loss's T terms
    answered: Tensor  # (B, K) int32 pixels of each answer, those of unknown truth too
    confidence: Tensor  # (B,) mean probability of the answers

    @classmethod
    def mean(cls, views: Sequence[Any]) -> Any:
        raise TypeError("counts of pixels have no mean; average the probabilities")


def answers_and_truths(predictions: Any, targets: PixelClasses) -> list[tuple[Tensor, Tensor]]:
    """Pairs of (B', H, W) uint8: images in their own pixels where they are known, else all in those of the batch."""
    found = predictions.probabilities
    if targets.source is None:
        return [(most_probable(found), centre(targets.values, _size(found)))]
    places = zip(found, predictions.matrices, targets.source, strict=True)
    pairs = [(labels_in_source(maps, matrix, _size(truth)), truth) for maps, matrix, truth in places]
    if len({truth.shape for _, truth in pairs}) == 1:  # counted at once
        return [(torch.stack([answers for answers, _ in pairs]), torch.stack([truth for _, truth in pairs]))]
    return [(answers[None], truth[None]) for answers, truth in pairs]


def _size(maps: Tensor) -> tuple[int, int]:
    return maps.shape[-2], maps.shape[-1]


def confusions(truth: Tensor, answers: Tensor, classes: int) -> Tensor:
    """(B, H, W) uint8 labels, twice -> (B, K + 1, K) int32 pixels; the last row are those whose truth is 255."""
    most = max(1, AT_ONCE // max(truth[0].numel(), 1)) if len(truth) else 1
    if len(truth) > most:
        parts = zip(truth.split(most), answers.split(most), strict=True)
        return torch.cat([confusions(one, other, classes) for one, other in parts])
    row = torch.arange(len(truth), device=truth.device, dtype=torch.int32).view(-1, 1, 1)
    cells = (row * (classes + 1) + truth.clamp(max=classes)) * classes + answers.to(truth.device)
    found = summed(cells.flatten(), None, len(truth) * (classes + 1) * classes)
    return found.view(len(truth), classes + 1, classes).to(torch.int32)


def iou(matrix: np.ndarray) -> np.ndarray:
    """(…, K, K) -> (…, K); NaN for classes that neither occur nor are answered."""
    matrix = np.asarray(matrix, dtype=np.float64)
    right = np.diagonal(matrix, axis1=-2, axis2=-1)
    union = matrix.sum(-1) + matrix.sum(-2) - right
    return np.where(union > 0, right / np.maximum(union, 1), np.nan)


def mean_of(values: np.ndarray) -> float:
    """Over what was measured; NaN where nothing was."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


class Segmentation(Streaming):
    """Streams over batches of predictions with `probabilities` (B, K, h, w), or over their PixelCounts.

    `tolerance` is the d of borders as a share of the diagonal, None: borders are not measured. `loss(probabilities,
    values)` gives {term: PerImage}, of which `weights` says the factors.
    """

    def __init__(
        self,
        classes: Sequence[str],
        tolerance: float | None = None,
        loss: Callable[[Tensor, Tensor], Mapping[str, PerImage]] | None = None,
        weights: Sequence[float] = (),
    ):
        super().__init__()
        self.classes, self.tolerance, self._loss, self._weights = tuple(classes), tolerance, loss, tuple(weights)

    def count(self, predictions: Any, targets: PixelClasses) -> PixelCounts:
        """Of a batch; on the CPU where borders are measured."""
        k, pairs = len(self.classes), answers_and_truths(predictions, targets)
        pixels = torch.cat([confusions(truth, answers, k) for answers, truth in pairs])
        places = [torch.zeros(len(predictions), *shape, dtype=torch.int32) for shape in ((k, 4), (4,), (3, 2))]
        if self.tolerance is not None:
            places = self._places([pair for answers, truth in pairs for pair in zip(answers, truth, strict=True)])
        loss = self._losses(predictions.probabilities, targets.values)
        sure = predictions.probabilities.amax(1).mean((1, 2))
        borders, near, regions = (place.to(pixels.device) for place in places)
        return PixelCounts(pixels[:, :k], borders, near, regions, loss, pixels.sum(1).to(torch.int32), sure)

    def _places(self, pairs: Sequence[tuple[Tensor, Tensor]]) -> list[Tensor]:
        """Borders, what is near them, and regions, of the answers and the truth of each image."""
        maps = [(answers.cpu().numpy(), truth.cpu().numpy()) for answers, truth in pairs]
        if max(truth.size for _, truth in maps) < WORTH_THREADS:
            each = [self._places_of(*pair) for pair in maps]
        else:
            with ThreadPoolExecutor(torch.get_num_threads()) as threads:  # OpenCV releases the lock
                each = list(threads.map(lambda pair: self._places_of(*pair), maps))
        return [torch.from_numpy(np.stack(counts)).to(torch.int32) for counts in zip(*each, strict=True)]

    def _places_of(self, answers: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, ...]:
        k, distance = len(self.classes), reach(truth.shape, self.tolerance or 0.0)
        if not truth.size:
            return np.zeros((k, 4), np.int64), np.zeros(4, np.int64), np.zeros((3, 2), np.int64)
        said = np.where(truth == IGNORE, truth, answers)
        return border_counts(truth, said, k, distance), near_and_far(truth, said, distance), region_counts(truth, said)

    def _losses(self, probabilities: Tensor, values: Tensor) -> Tensor:
        if self._loss is None:
            return torch.zeros(len(probabilities), 0, 2, device=probabilities.device)
        found = self._loss(probabilities, centre(values, _size(probabilities)))
        return torch.stack([torch.stack([own.sums, own.counts], -1) for own in found.values()], 1).float()

    def update(self, predictions: Any, targets: Any, weights: Tensor | None = None) -> None:
        counts = predictions if isinstance(predictions, PixelCounts) else self.count(predictions, targets)
        w = ones_like_batch(weights, counts.confidence)
        for name in ("confusion", "borders", "near", "loss"):
            value = getattr(counts, name)
            self.add(name, torch.einsum("b,b...->...", w, value.to(w.dtype)))

    @property
    def matrix(self) -> np.ndarray:
        """(K, K) pixels, rows are the truth."""
        k = len(self.classes)
        return self.sum("confusion").expand(k, k).numpy()

    def per_class(self) -> dict[str, np.ndarray]:
        """{"iou", "dice", "boundary_f", "precision", "recall", "support"}, each (K,); NaN where there was nothing."""
        matrix, table = self.matrix, per_class(self.matrix)
        nothing = np.isnan(iou(matrix))
        own = {"iou": iou(matrix), "dice": np.where(nothing, np.nan, table["f1"])}
        borders = self.sum("borders").expand(len(self.classes), 4).numpy()
        return own | {"boundary_f": f_scores(borders)} | {key: table[key] for key in ("precision", "recall", "support")}

    def compute(self) -> dict[str, float]:
        """NaN where nothing was seen."""
        matrix, table = self.matrix, self.per_class()
        total, there = matrix.sum(), table["support"] > 0
        found = {
            "miou": mean_of(table["iou"]),
            "pixel_accuracy": float(np.trace(matrix) / total) if total else float("nan"),
            "mean_accuracy": mean_of(table["recall"][there]),
            "mean_dice": mean_of(table["dice"]),
        }
        if self._loss is not None:
            sums = self.sum("loss").expand(len(self._weights), 2).numpy()
            means = np.where(sums[:, 1] > 0, sums[:, 0] / np.maximum(sums[:, 1], 1e-12), 0.0)
            found["loss"] = float(means @ np.array(self._weights)) if total else float("nan")
        if self.tolerance is not None:
            near = self.sum("near").expand(4).numpy()
            found["boundary_f"] = mean_of(table["boundary_f"])
            found["boundary_accuracy"] = float(near[0] / near[1]) if near[1] else float("nan")
            found["interior_accuracy"] = float(near[2] / near[3]) if near[3] else float("nan")
            if len(self.classes) <= NAMED:
                found |= {f"iou.{name}": float(v) for name, v in zip(self.classes, table["iou"], strict=True)}
        return found

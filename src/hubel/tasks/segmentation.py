"""A class for every pixel: softmax over K classes at each place, and a sum of losses; see ops/pixel_losses.py.

    L = a·cross-entropy + b·Dice + c·focal;   scores of the network (B, K, h, w), targets PixelClasses (B, H, W)

Scores may be coarser than the images: they are enlarged to them. A network of valid convolutions answers for its input
without `margin` pixels on each side: the targets are cut by it, and in prediction the image is mirrored at its edge.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from hubel.data.decode import BadImage
from hubel.errors import UserError
from hubel.metrics.segmentation import PixelCounts, iou
from hubel.metrics.segmentation import Segmentation as Metric
from hubel.metrics.segmentation_report import class_rows, miou_of_one, place_rows
from hubel.ops import pixel_losses
from hubel.ops.palette import compared, overlay, plain_class
from hubel.ops.pixel_losses import IGNORE, PerImage
from hubel.ops.pixel_maps import centre, enlarged
from hubel.tasks.base import Objective, Task
from hubel.tasks.checks import check_balance, check_numbers, check_range
from hubel.tasks.dense import (
    SegmentationPredictions,
    answered,
    border_maps,
    in_words,
    mirrored_edge,
    shares_of,
    shift,
)
from hubel.tasks.one_of_k import balanced, log
from hubel.types import Batch, PixelClasses, Term

if TYPE_CHECKING:
    from hubel.data.dataset import Dataset

COUNTED = 500  # masks that class weights are measured on


@dataclass(frozen=True)
class Segmentation(Task):
    """A class for every pixel. `cross_entropy`, `dice` and `focal` are the factors of these losses, 0 for none."""

    classes: tuple[str, ...]
    target: str = "mask"  # the column of annotations: masks
    cross_entropy: float = 1.0
    dice: float = 0.0
    focal: float = 0.0
    gamma: float = 2.0  # focal: how much less easy pixels count
    class_weights: tuple[float, ...] | None = None  # K numbers >= 0
    inverse_frequency: float = 0.5  # p of class weights (n / (K·n_k))^p from the training part's pixels; 0: alike
    balance: bool = False  # p = 1
    border_weight: float = 0.0  # w0 of ops/border_weights.py: how much thin borders between cells count; 10 in U-Net
    border_sigma: float = 5.0  # pixels of the network's input: how wide such borders are
    tolerance: float = 0.0075  # of the image's diagonal: how far off a border is still met

    name = "segmentation"
    dense = every_pixel = True
    primary = Objective("miou")
    measure = "error"

    def __post_init__(self) -> None:
        super().__post_init__()
        for option in ("cross_entropy", "dice", "focal", "gamma", "border_weight", "inverse_frequency"):
            check_range(option, getattr(self, option), 0, float("inf"), closed=True)
        check_range("border_sigma", self.border_sigma, 0, float("inf"))
        check_range("tolerance", self.tolerance, 0, 1)
        if not self.factors:
            raise UserError("Options 'cross_entropy', 'dice' and 'focal' are all 0, so nothing would be learnt.")
        check_balance("class_weights", self.class_weights, self.balance)

    @property
    def factors(self) -> dict[str, float]:
        """The terms of the loss and their factors."""
        each = {"cross_entropy": self.cross_entropy, "dice": self.dice, "focal": self.focal}
        return {name: factor for name, factor in each.items() if factor}

    @property
    def width(self) -> int:
        return len(self.classes)

    def head(self, network: Any) -> nn.Module:
        if not hasattr(network, "dense_head"):
            raise UserError(
                f"{type(network).__name__} has no dense_head(outputs), so there is no score for every pixel. Define it "
                "as hubel.models.base.Network does, or let forward return (B, K, h, w) and leave default_head out."
            )
        return network.dense_head(self.width)

    # Data -------------------------------------------------------------------------------------------------

    def accepts(self, dataset: Dataset) -> None:
        masks: Any = dataset.annotations.get(self.target)
        if not hasattr(masks, "read"):
            known = ", ".join(f"'{name}'" for name in dataset.annotations) or "none"
            raise UserError(
                f"The task '{self.name}' needs a class for every pixel (the column '{self.target}', masks); the "
                f"dataset '{dataset.name}' has these columns: {known}. Choose another --task, or give masks beside the "
                "images."
            )
        if len(masks.classes) < 2:
            raise UserError(
                f"The task '{self.name}' needs at least two classes; the masks of '{dataset.name}' have "
                f"{len(masks.classes)} ({', '.join(masks.classes) or 'none'}). Name the background in data.yaml too."
            )

    def fitted(self, dataset: Dataset, index: np.ndarray) -> Self:
        found = replace(self, classes=tuple(dataset.annotations[self.target].classes))  # with a background
        check_numbers("class_weights", self.class_weights, len(found.classes))
        power = 1.0 if self.balance else self.inverse_frequency
        if found.class_weights is not None or not power:
            return found
        weights = np.array(balanced(found.counts(dataset, index))) ** power
        return replace(found, class_weights=tuple(weights.tolist()), balance=False)

    def counts(self, dataset: Dataset, index: np.ndarray) -> np.ndarray:
        """(K,) pixels of each class in the masks of `index`, of at most COUNTED evenly spaced ones."""
        masks, total = dataset.annotations[self.target], np.zeros(256, np.int64)
        for row in index[np.linspace(0, len(index) - 1, min(COUNTED, len(index))).astype(np.int64)]:
            try:
                total += np.bincount(masks.read(int(row)).ravel(), minlength=256)
            except (BadImage, OSError):
                continue  # it is found again, and said, by whoever reads the images
        return total[: len(self.classes)]

    def targets(self, dataset: Dataset, index: np.ndarray) -> Any:
        masks = dataset.take(self.target, index)
        if masks.classes == self.classes:
            return masks
        unknown = [name for name in masks.classes if name not in self.classes]
        if unknown:
            raise UserError(f"{dataset.name}: the masks have classes that were not learnt: {', '.join(unknown[:5])}.")
        return masks.renumbered(np.array([self.classes.index(name) for name in masks.classes]), self.classes)

    # Loss and prediction ----------------------------------------------------------------------------------

    def losses(self, scores: Tensor, values: Tensor, pixel_weights: Tensor | None = None) -> dict[str, PerImage]:
        """{term: sums and counts of each image}; scores (B, K, h, w), values (B, h, w), pixel_weights (B, h, w)."""
        c = None if self.class_weights is None else torch.tensor(self.class_weights, device=scores.device)
        nats = partial(pixel_losses.cross_entropy, scores, values, class_weights=c, pixel_weights=pixel_weights)
        overlap = partial(pixel_losses.dice, scores, values, class_weights=c)
        ways = {"cross_entropy": nats, "dice": overlap, "focal": partial(nats, gamma=self.gamma)}
        return {name: ways[name]() for name in self.factors}

    def pixel_weights(self, batch: Batch) -> Tensor | None:
        """(B, H, W): how much each pixel of the batch's images counts in cross-entropy and focal loss; None: alike.

        With `border_weight` those of `border_maps`; between the cells is the class "background", or else the first one.
        """
        if not self.border_weight:
            return None
        outside = self.classes.index("background") if "background" in self.classes else 0
        return border_maps(batch.targets.values, outside, (self.border_weight, self.border_sigma), self.class_weights)

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, Term]:
        scores = network(batch.images)
        inside = answered(batch.input_size, getattr(network, "margin", 0))
        weights = self.pixel_weights(batch)
        weights = None if weights is None else centre(weights, inside)
        own = self.losses(enlarged(scores, inside), centre(batch.targets.values, inside), weights)
        return {name: pixel_losses.term(found, batch.weights, self.factors[name]) for name, found in own.items()}

    def predict(self, network: nn.Module, batch: Batch, outputs: Any = None) -> SegmentationPredictions:
        margin, matrices = getattr(network, "margin", 0), batch.matrices
        inside = batch.input_size
        if outputs is None:
            outputs = network(mirrored_edge(batch.images, margin))
        elif margin:  # from a training step: of the middle alone
            inside, matrices = answered(inside, margin), shift(-margin).to(matrices) @ matrices
        return SegmentationPredictions(enlarged(outputs, inside).softmax(1), matrices, batch.sizes)

    # Scores and words -------------------------------------------------------------------------------------

    def metric(self) -> Metric:
        return Metric(self.classes, self.tolerance, lambda p, y: self.losses(log(p), y), tuple(self.factors.values()))

    def train_metric(self) -> Metric:
        return Metric(self.classes)

    def condensed(self, predictions: Any, targets: PixelClasses) -> tuple[PixelCounts, Tensor]:
        """Counts of pixels: of predictions by truth, and (B, K) of the truth."""
        counts = self.metric().count(predictions, targets)
        return counts, counts.confusion.sum(2)

    def scores(self, predictions: Any, targets: Any) -> Tensor:
        """1 − the mean IoU of the classes that the image shows or was given; 0 where no pixel counts."""
        counts = predictions if isinstance(predictions, PixelCounts) else self.condensed(predictions, targets)[0]
        each = torch.from_numpy(iou(counts.confusion.cpu().numpy()))  # (B, K)
        return (1 - each).nanmean(1).nan_to_num(0.0).float()

    def rankings(self, predictions: PixelCounts, targets: Any) -> dict[str, Tensor]:
        """Shares of wrong pixels near borders, inside and in small regions; 1 − IoU of each class, the worst first."""
        parts = {"Near borders": predictions.near[:, :2], "Inside, away from borders": predictions.near[:, 2:]}
        parts["In small regions"] = predictions.regions[:, 0]
        found = {name: 1 - part[:, 0] / part[:, 1] for name, part in parts.items()}  # NaN where there is none: 0 / 0
        each = torch.from_numpy(1 - iou(predictions.confusion.cpu().numpy()))
        whole = np.nan_to_num(iou(predictions.confusion.cpu().numpy().sum(0)), nan=1.0)
        return found | {self.classes[k]: each[:, k] for k in np.argsort(whole, kind="stable")}

    def details(self, predictions: Any, targets: Any, weights: Tensor | None = None) -> dict[str, Any]:
        """Of counts of pixels, as `condensed` gives them."""
        counts = predictions if isinstance(predictions, PixelCounts) else self.condensed(predictions, targets)[0]
        w = np.ones(len(counts)) if weights is None else weights.cpu().numpy()
        confusion = counts.confusion.cpu().numpy()[w > 0].sum(0, dtype=np.int64)
        found = {"confusion": confusion, "counted": "pixels", "classes": self.classes}
        return found | {"per_class": class_rows(self.classes, counts, w), "places": place_rows(counts, w)}

    def constant(self, details: Mapping[str, Any], learnt: Tensor, weights: Any = None) -> tuple[str, float]:
        """Always the class with most pixels; `learnt` (B, K), as `condensed` has them."""
        most = int(learnt.sum(0).argmax())
        return f"always answering “{self.classes[most]}”", miou_of_one(details["confusion"], most)

    def entropy(self, predictions: Any) -> Tensor | None:
        """−Σ p ln p, the mean over the pixels."""
        if isinstance(predictions, PixelCounts):
            return None
        return torch.special.entr(predictions.probabilities).sum(1).mean((1, 2))

    def describe(self, predictions: Any, row: int) -> dict[str, Any]:
        if isinstance(predictions, PixelCounts):
            pixels, sure = predictions.answered[row], predictions.confidence[row]
        else:
            pixels = torch.bincount(predictions.in_source(row).flatten().long(), minlength=self.width)
            sure = predictions.probabilities[row].amax(0).mean()
        shares = shares_of(pixels, self.classes)
        return {"prediction": in_words(shares), "confidence": float(sure), "shares": shares}

    def truth(self, targets: Any, row: int) -> str:
        if not isinstance(targets, PixelClasses):
            return in_words(shares_of(targets[row], self.classes))
        values = targets.values[row] if targets.source is None else targets.source[row]
        return in_words(shares_of(torch.bincount(values[values != IGNORE].long(), minlength=self.width), self.classes))

    def draw(self, image: np.ndarray, prediction: Any, target: Any = None) -> np.ndarray:
        """Each class in its colour; where the truth is given it stands first, then the answer, then what is wrong."""
        answer, plain = prediction.in_source(0).cpu().numpy(), plain_class(self.classes)
        if target is None:
            return overlay(image, answer, plain)
        return compared(image, target.source[0].cpu().numpy(), answer, plain)

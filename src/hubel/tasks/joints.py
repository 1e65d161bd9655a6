"""What the two ways to find J joints share (pose.py, heatmap.py): the data, the words, the scores, the drawing.

One example is one object, cut out with a margin around its box (data/cutouts.py), or the whole image with the one
object in it. Targets: types.Boxes with keypoints (M, J, 3) x, y, v; v 0 teaches nothing, 1 is hidden, 2 visible. A
mirror exchanges left and right: in the targets (ops/follow.py), and here in what is seen in a mirrored view.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from hubel.data.cutouts import TRAIT, cut_out
from hubel.data.largest import largest
from hubel.data.objects import Objects, Skeleton
from hubel.errors import UserError
from hubel.metrics.pose import COCO_JOINTS, COCO_SIGMAS, THRESHOLDS, Posed, Poses, distances, posed, sizes_by
from hubel.ops import losses
from hubel.tasks.base import Objective, Task
from hubel.tasks.checks import check_range
from hubel.tasks.joints_data import check_joints, labelled
from hubel.tasks.joints_seen import PosePredictions, in_source, in_view
from hubel.tasks.joints_shown import ANSWER, TRUTH, draw_joints, words
from hubel.types import Batch, Boxes, Term

if TYPE_CHECKING:
    from hubel.data.dataset import Dataset

SIGMA = 0.05  # of joints that COCO does not know


@dataclass(frozen=True)
class Joints(Task):
    """Where the J joints of one object are; a subclass says how a network answers."""

    margin: float = 0.25  # of the box's longer side: how much larger the square is that is cut out
    whole: bool = False  # whole images, with one object each, in place of objects that are cut out
    reference: str = "box"  # what PCK measures by: box, torso, head, or two joints such as left_eye-right_eye
    threshold: float | None = None  # PCK's share of it; None: 0.1 of a box, 0.2 of a torso, 0.5 of a head or of joints
    names: tuple[str, ...] = ()  # of the joints; fitted, as all below
    edges: tuple[tuple[int, int], ...] = ()  # joints that are joined when drawn
    swaps: tuple[int, ...] = ()  # which joint each becomes in a mirror
    sigmas: tuple[float, ...] = ()  # of OKS

    target: str = "objects"
    one_object = True
    primary = Objective("pck")
    measure = "mean distance"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("margin", self.margin, 0, 10, closed=True)
        if self.threshold is not None:
            check_range("threshold", self.threshold, 0, float("inf"))

    # The data --------------------------------------------------------------------------------------------

    def accepts(self, dataset: Dataset) -> None:
        check_joints(self, dataset)

    def examples(self, dataset: Dataset) -> Dataset:
        if self.whole or TRAIT in dataset.traits:
            return dataset
        return cut_out(dataset, labelled(dataset.annotations[self.target]), self.margin)

    def fitted(self, dataset: Dataset, index: np.ndarray) -> Self:
        objects = dataset.annotations[self.target]
        if not self.whole and TRAIT not in dataset.traits:
            raise UserError(
                f"The task '{self.name}' learns from objects that were cut out; give task.examples(dataset), or say "
                "whole=True where each image has one object."
            )
        if not len(index) or not labelled(objects.take(index)).any():
            raise UserError("The training part holds no object with a labelled joint to learn from. Change the split.")
        count = objects.keypoints.shape[1]
        skeleton = objects.skeleton or Skeleton(tuple(str(j + 1) for j in range(count)))
        sigmas = self.sigmas or (COCO_SIGMAS if skeleton.names == COCO_JOINTS else (SIGMA,) * count)
        if len(sigmas) != count or min(sigmas) <= 0:
            raise UserError(f"Option 'sigmas' needs {count} numbers above 0, one per joint; got {sigmas}.")
        swaps = tuple(int(j) for j in skeleton.mirrored())
        found = replace(self, names=skeleton.names, edges=skeleton.edges, swaps=swaps, sigmas=sigmas)
        found._size_of()  # what is wrong with the reference is said before anything is trained
        return found

    def targets(self, dataset: Dataset, index: np.ndarray) -> Objects:
        objects: Objects = dataset.take(self.target, index)
        known = objects.where(labelled(objects))
        return replace(largest(known) if self.whole else known, outlines=None, runs=None)

    def valid(self, dataset: Dataset, index: np.ndarray) -> Tensor:
        return torch.from_numpy(self.targets(dataset, index).counts > 0)

    # What outputs mean -----------------------------------------------------------------------------------

    @abstractmethod
    def decoded(self, outputs: Tensor, batch: Batch, margin: int) -> tuple[Tensor, Tensor | None]:
        """Joints (B, J, 2) in pixels of the batch's images, and their confidence (B, J) where it is known."""

    @abstractmethod
    def errors(self, outputs: Tensor, truth: Posed, size: tuple[int, int], margin: int) -> Tensor:
        """(B, J) the loss of each joint; whatever where it is not labelled. `size` is (H, W) of the batch's images."""

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, Term]:
        truth = posed(batch.targets, len(self.names))
        errors = self.errors(losses.precise(network(batch.images)), truth, batch.input_size, margin_of(network))
        return {"joints": losses.term(errors, batch.weights, scale=truth.known)}

    def predict(self, network: nn.Module, batch: Batch, outputs: Any = None) -> PosePredictions:
        found = losses.precise(network(batch.images) if outputs is None else outputs)
        margin = margin_of(network)
        joints, confidence = self.decoded(found, batch, margin)
        if batch.targets is None or batch.targets.source is not None:
            joints, confidence = in_source(joints, confidence, batch.matrices, self.swaps)
        error = None
        if batch.targets is not None and batch.targets.source is not None:
            truth = in_view(posed(batch.targets.source, len(self.names)), batch, self.swaps)
            error = torch.where(truth.known, self.errors(found, truth, batch.input_size, margin), torch.nan)
        return PosePredictions(joints, confidence, error)

    # How good it is --------------------------------------------------------------------------------------

    def _judged(self, targets: Boxes) -> Posed:
        """In source pixels where they are known, as in evaluation."""
        return posed(targets.source or targets, len(self.names))

    def _size_of(self) -> Callable[[Posed], Tensor]:
        return sizes_by(self.reference, self.names)

    @property
    def least(self) -> float:
        """PCK's share."""
        return self.threshold or THRESHOLDS.get(self.reference, 0.5)

    def _far(self, predictions: PosePredictions, targets: Boxes) -> tuple[Tensor, Tensor]:
        """(B, J) distances in sizes of the reference, and which joints count."""
        truth = self._judged(targets)
        size = self._size_of()(truth).to(predictions.joints)[:, None]
        known = truth.known & (size > 0)
        return torch.where(known, distances(predictions.joints, truth) / size, 0), known

    def scores(self, predictions: PosePredictions, targets: Boxes) -> Tensor:
        """The mean distance of the labelled joints, in sizes of the reference; 0 where none is labelled."""
        far, known = self._far(predictions, targets)
        return far.sum(1) / known.sum(1).clamp(min=1)

    def right(self, predictions: PosePredictions, targets: Boxes) -> Tensor:
        """Every labelled joint is near enough."""
        return (self._far(predictions, targets)[0] <= self.least).all(1)

    def ratio(self, predictions: PosePredictions, targets: Boxes) -> tuple[Tensor, Tensor]:
        far, known = self._far(predictions, targets)
        return (known & (far <= self.least)).sum(1), known.sum(1)

    def metric(self) -> Poses:
        return Poses(self.names, self.sigmas, self.least, self._size_of(), self._judged, self.loss_of)

    def loss_of(self, predictions: PosePredictions, targets: Boxes, weights: Tensor) -> Term | None:
        """The loss that these predictions would have had in training."""
        if predictions.error is None:
            return None
        return losses.term(predictions.error, weights, scale=~predictions.error.isnan())

    # Words and pictures ----------------------------------------------------------------------------------

    def describe(self, predictions: PosePredictions, row: int) -> dict[str, Any]:
        points = [(name, *at) for name, at in zip(self.names, predictions.joints[row].tolist(), strict=True)]
        joints: list[dict[str, Any]] = [{"name": n, "x": round(x, 2), "y": round(y, 2)} for n, x, y in points]
        found: dict[str, Any] = {"prediction": words(points), "joints": joints}
        if predictions.confidence is not None:
            each = predictions.confidence[row].tolist()
            found["joints"] = [{**j, "confidence": round(c, 4)} for j, c in zip(joints, each, strict=True)]
            found["confidence"] = sum(each) / len(each)
        return found

    def truth(self, targets: Boxes, row: int) -> str:
        points = self._judged(targets).joints[row].tolist()
        return words([(name, x, y) for name, (x, y, v) in zip(self.names, points, strict=True) if v > 0])

    def details(self, predictions: PosePredictions, targets: Boxes, weights: Tensor | None = None) -> dict[str, Any]:
        """True and found coordinates of all labelled joints."""
        truth = self._judged(targets)
        known = truth.known if weights is None else truth.known & (weights > 0)[:, None]
        each = [points[known].double().cpu().numpy() for points in (truth.joints[..., :2], predictions.joints)]
        return {"scatter": {"truth": each[0], "prediction": each[1], "names": ("x", "y")}} if len(each[0]) else {}

    def draw(self, image: np.ndarray, prediction: PosePredictions, target: Boxes | None = None) -> np.ndarray:
        """The found joints in orange over the true ones in white, of one image in source pixels."""
        drawn = np.array(np.broadcast_to(image, (*image.shape[:2], 3)))
        if target is not None:
            points = self._judged(target).joints[0]
            draw_joints(drawn, points[:, :2].numpy(), self.edges, TRUTH, points[:, 2].numpy() > 0)
        draw_joints(drawn, prediction.joints[0].numpy(), self.edges, ANSWER)
        return drawn


def margin_of(network: Any) -> int:
    """Pixels on each side of the image that the network's maps leave out; see models/base.py."""
    return int(getattr(network, "margin", 0))

"""Where the one object of an image is: y = (p, bx, by, bw, bh), centre and sides as fractions of what the network sees.

    L = Σ_object error(b, t) / n_object + BCE(p, is there one) / n          the box only where there is an object

squared: Σ(b − t)², as in the notes;  smooth_l1: Σ of the four;  iou: 1 − IoU;  giou, diou: see ops/boxes.py; several
joined by + are added. p is learnt where some training images show no object. Of several objects the largest is meant.

Outputs (B, 4), with p (B, 5): bx, by, bw, bh as they are, p a logit before them. Targets: types.Boxes, at most one
an image. Predictions and metrics are in pixels of the source images; see BoxPredictions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from hubel.data.largest import largest, single
from hubel.data.objects import Objects
from hubel.errors import UserError, close_to
from hubel.metrics.boxes import OneBox
from hubel.models.edge_votes import EdgeVotes
from hubel.ops import boxes as ops
from hubel.ops import losses
from hubel.predictions import Predictions
from hubel.tasks.base import Objective, Task
from hubel.tasks.box_data import judged, objects_of, plain, spans
from hubel.tasks.box_shown import ANSWER, TRUTH, outline, words
from hubel.tasks.checks import check_range
from hubel.tasks.prior import write_prior
from hubel.types import Batch, Boxes, Term

if TYPE_CHECKING:
    from hubel.data.dataset import Dataset

BETA = 0.05  # smooth L1 turns linear at a twentieth of the image
START = (0.5, 0.5, 0.5, 0.5)  # what a fresh dense layer answers: the middle half

Error = Callable[[Tensor, Tensor], Tensor]  # centre and sides (M, 4), (M, 4) -> (M,)
ERRORS: dict[str, Error] = {
    "squared": lambda z, t: losses.squared(z, t).sum(-1),
    "smooth_l1": lambda z, t: losses.smooth_l1(z, t, BETA).sum(-1),
    "iou": lambda z, t: 1 - ops.iou(ops.to_edges(z), ops.to_edges(t)),
    "giou": lambda z, t: 1 - ops.giou(ops.to_edges(z), ops.to_edges(t)),
    "diou": lambda z, t: 1 - ops.diou(ops.to_edges(z), ops.to_edges(t)),
}


@dataclass(frozen=True)
class BoxPredictions(Predictions):
    """Boxes in pixels of the source images; of a training batch in its own pixels, where its targets are."""

    boxes: Tensor  # (B, 4) fp32 x0, y0, x1, y1, cut at the image's edges
    sizes: Tensor  # (B, 2) fp32 height and width of these images
    presence: Tensor | None = None  # (B,) fp32: how probable it is that there is an object

    places = ("sizes",)

    @property
    def answered(self) -> Tensor:
        """(B,) bool: is an object said to be there?"""
        there = torch.ones(len(self.boxes), dtype=torch.bool, device=self.boxes.device)
        return there if self.presence is None else self.presence > 0.5


@dataclass(frozen=True)
class Box(Task):
    """The box of the one object in each image."""

    error: str = "smooth_l1+giou"  # squared, smooth_l1, iou, giou, diou, or a sum of them
    votes: bool = True  # each place of the last map votes for the edges; false: the network's own pooled head
    presence: bool | None = None  # is p learnt? None: where some training images show no object
    least_iou: float = 0.5  # in (0, 1): from which overlap a box counts as right
    several: str = "largest"  # of several objects in one image; or "error"
    target: str = "objects"

    name = "box"
    one_object = True
    primary = Objective("iou")

    def __post_init__(self) -> None:
        super().__post_init__()
        for word in self.error.split("+"):
            if word not in ERRORS:
                raise UserError(
                    f"Option 'error' is one of {', '.join(ERRORS)}, or several joined by '+'; got '{self.error}'"
                    f"{close_to(word, ERRORS)}"
                )
        if self.several not in ("largest", "error"):
            raise UserError(f"Option 'several' is largest or error; got '{self.several}'.")
        check_range("least_iou", self.least_iou, 0, 1)

    @property
    def width(self) -> int:
        return 5 if self.presence else 4

    # The data --------------------------------------------------------------------------------------------

    def accepts(self, dataset: Dataset) -> None:
        objects = objects_of(self, dataset)
        counted = np.asarray(dataset.weights) > 0
        counts = np.bincount(objects.images[single(objects)], minlength=len(objects))
        if not counts[counted].any():
            raise UserError(f"No object of '{dataset.name}' has a box and a class. `hubel data` shows what is there.")
        many = np.flatnonzero(counted & (counts > 1))
        if self.several == "error" and len(many):
            raise UserError(
                f"{len(many):,} of {len(objects):,} images of '{dataset.name}' show several objects "
                f"({dataset.images.name(int(many[0]))}: {counts[many[0]]}); the task '{self.name}' knows one. "
                "Use --task.several largest, or images with one object each."
            )

    def notes(self, dataset: Dataset) -> tuple[str, ...]:
        objects = objects_of(self, dataset)
        counts = np.bincount(objects.images[single(objects)], minlength=len(objects))
        many = int((counts > 1).sum())
        if not many:
            return ()
        return (f"{many:,} of {len(counts):,} images show several objects: the largest is learnt, the others are not",)

    def fitted(self, dataset: Dataset, index: np.ndarray) -> Self:
        if self.presence is not None:
            return self
        usable = index[np.asarray(dataset.weights)[index] > 0]
        return replace(self, presence=bool((~self._there(dataset, usable)).any()))

    def targets(self, dataset: Dataset, index: np.ndarray) -> Objects:
        return plain(largest(dataset.take(self.target, index)))

    def valid(self, dataset: Dataset, index: np.ndarray) -> Tensor:
        """Those with an object; all where p is learnt."""
        there = np.ones(len(index), bool) if self.presence is not False else self._there(dataset, index)
        return torch.from_numpy(there)

    def _there(self, dataset: Dataset, index: np.ndarray) -> np.ndarray:
        return self.targets(dataset, index).counts > 0

    # The network -----------------------------------------------------------------------------------------

    def head(self, network: Any) -> nn.Module:
        if self.votes and getattr(network, "strides", None):
            return EdgeVotes(network.channels[-1], bool(self.presence))
        return network.default_head(self.width)

    def prepare(self, network: nn.Module, dataset: Dataset, index: np.ndarray) -> None:
        if isinstance(getattr(network, "head", None), EdgeVotes):
            return  # places and softmax give the middle of the image, whatever the bias
        write_prior(network, np.array([0.0, *START] if self.presence else START))

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, Term]:
        size = batch.weights.new_tensor([batch.input_size]).expand(len(batch), 2)
        return self._terms(network(batch.images), batch.targets, batch.weights, size)

    def _terms(self, outputs: Tensor, targets: Boxes, weights: Tensor, sizes: Tensor) -> dict[str, Term]:
        """Outputs (B, width); the targets lie in images of `sizes` (B, 2)."""
        z, logits = self._split(losses.precise(outputs))
        t = ops.to_centre(targets.boxes.to(z) / spans(sizes.to(z))[targets.image])
        own = weights[targets.image]
        values = sum(ERRORS[word](z[targets.image], t) for word in self.error.split("+"))
        terms = {"box": losses.term(values, own)}  # type: ignore[arg-type]
        if logits is not None:
            there = torch.zeros_like(logits).index_fill(0, targets.image, 1.0)
            terms["presence"] = losses.term(losses.binary_cross_entropy(logits, there), weights)
        return terms

    def _split(self, outputs: Tensor) -> tuple[Tensor, Tensor | None]:
        return (outputs[:, 1:], outputs[:, 0]) if self.presence else (outputs, None)

    def predict(self, network: nn.Module, batch: Batch, outputs: Any = None) -> BoxPredictions:
        z, logits = self._split(losses.precise(network(batch.images) if outputs is None else outputs))
        height, width = batch.input_size
        seen = ops.to_edges(z) * z.new_tensor([width, height, width, height])
        sizes = batch.sizes
        if batch.targets is None or batch.targets.source is not None:
            seen = ops.move(seen, ops.inverse(batch.matrices))
        else:
            sizes = sizes.new_tensor([[height, width]]).expand(len(sizes), 2)
        sizes = sizes.to(seen)
        return BoxPredictions(ops.clip(seen, sizes), sizes, None if logits is None else logits.sigmoid())

    # How good it is --------------------------------------------------------------------------------------

    def match(self, predictions: BoxPredictions, targets: Boxes) -> tuple[Tensor, Tensor, Tensor]:
        """IoU (B,), 0 where no object was answered; whether there is one (B,) bool; whether one was answered."""
        truth = judged(targets).boxes.to(predictions.boxes)
        image = judged(targets).image.to(truth.device)
        there = torch.zeros(len(predictions), dtype=torch.bool, device=truth.device).index_fill(0, image, True)
        overlap = ops.iou(predictions.boxes[image], truth)
        iou = truth.new_zeros(len(predictions)).index_copy(0, image, overlap)
        answered = predictions.answered
        return iou * answered, there, answered

    def loss_of(self, predictions: BoxPredictions, targets: Boxes, weights: Tensor) -> dict[str, Term]:
        """The loss that these predictions would have had in training, were the whole image shown."""
        z = ops.to_centre(predictions.boxes / spans(predictions.sizes))
        if predictions.presence is not None:
            z = torch.cat([predictions.presence.logit(eps=1e-6)[:, None], z], 1)
        return self._terms(z, judged(targets), weights.to(z), predictions.sizes)

    def scores(self, predictions: BoxPredictions, targets: Boxes) -> Tensor:
        """1 − IoU; of an image without an object the probability that was given to one."""
        iou, there, answered = self.match(predictions, targets)
        wrongly = answered.to(iou) if predictions.presence is None else predictions.presence
        return torch.where(there, 1 - iou, wrongly)

    def right(self, predictions: BoxPredictions, targets: Boxes) -> Tensor:
        iou, there, answered = self.match(predictions, targets)
        return torch.where(there, iou >= self.least_iou, ~answered)

    def ratio(self, predictions: BoxPredictions, targets: Boxes) -> tuple[Tensor, Tensor]:
        iou, there, _ = self.match(predictions, targets)
        return iou * there, there.to(iou)

    def metric(self) -> OneBox:
        return OneBox(self.match, self.loss_of, self.least_iou, bool(self.presence))

    # Words and pictures ----------------------------------------------------------------------------------

    def describe(self, predictions: BoxPredictions, row: int) -> dict[str, Any]:
        box = [round(float(v), 2) for v in predictions.boxes[row]]
        there, p = bool(predictions.answered[row]), predictions.presence
        found = {"prediction": words(box) if there else "no object", "box": box if there else None}
        return found if p is None else {**found, "presence": float(p[row])}

    def truth(self, targets: Boxes, row: int) -> str:
        one = judged(targets).take(torch.tensor([row])).boxes
        return words(one[0].tolist()) if len(one) else "no object"

    def details(self, predictions: BoxPredictions, targets: Boxes, weights: Tensor | None = None) -> dict[str, Any]:
        """True and predicted centre and sides, of the objects."""
        truth = judged(targets)
        image = truth.image if weights is None else truth.image[weights[truth.image] > 0]
        rows = truth.boxes if weights is None else truth.boxes[weights[truth.image] > 0]
        each = [ops.to_centre(boxes.double()).cpu().numpy() for boxes in (rows, predictions.boxes[image])]
        names = ("centre x", "centre y", "width", "height")
        return {"scatter": {"truth": each[0], "prediction": each[1], "names": names}}

    def draw(self, image: np.ndarray, prediction: BoxPredictions, target: Boxes | None = None) -> np.ndarray:
        """The predicted box in orange over the true one in white, of one image in source pixels."""
        drawn = np.broadcast_to(image, (*image.shape[:2], 3)).copy()
        true = [] if target is None else judged(target).boxes.tolist()
        answers = prediction.boxes[prediction.answered].tolist()
        for box, colour in [*((b, TRUTH) for b in true), *((b, ANSWER) for b in answers)]:
            outline(drawn, box, colour)
        return drawn

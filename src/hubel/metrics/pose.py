"""Poses: how far found joints lie from true ones, as a share of right joints and as a similarity.

    PCK  = share of the labelled joints with |p − t| <= α · s      s: box, torso or head.  Yang & Ramanan 2013
    OKS  = mean over labelled joints of exp(−|p − t|² / (2 · A · (2σ_j)²))                  COCO's similarity

A joint is labelled where its visibility is 1 (hidden) or 2 (visible); the others count nowhere. A is the area of the
object, σ_j how far people's own clicks on joint j scatter. OKS equals pycocotools' `COCOeval.computeOks`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hubel.errors import UserError, did_you_mean
from hubel.metrics.base import Streaming, ones_like_batch, ratio
from hubel.types import Boxes, Term

COCO_JOINTS = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle",
)  # fmt: skip
COCO_SIGMAS = (
    0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089,
    0.089,
)  # fmt: skip
THRESHOLDS = {"box": 0.1, "torso": 0.2, "head": 0.5}  # of PCK: PARSE; FLIC and LSP, arXiv:1312.4659; MPII
PAIRS = {
    "torso": (("left_shoulder", "right_hip"),),
    "head": (("head_top", "upper_neck"), ("head_top", "neck"), ("head", "neck"), ("left_ear", "right_ear")),
}
HIT = (0.5, 0.75)  # similarities from which a pose counts as found


@dataclass(frozen=True)
class Posed:
    """The one object of each of B images."""

    joints: Tensor  # (B, J, 3) x, y, v; v 0 where an image has none
    boxes: Tensor  # (B, 4); NaN where there is none
    areas: Tensor  # (B,): of the object as the data says it, else of its box

    @property
    def known(self) -> Tensor:
        """(B, J) bool: labelled, hidden or visible."""
        return self.joints[..., 2] > 0


def posed(objects: Boxes, joints: int) -> Posed:
    """Packed objects, at most one an image, as one row for each image."""
    shape, like = objects.count, objects.boxes
    points = objects.keypoints if objects.keypoints is not None else like.new_zeros(len(like), joints, 3)
    own = (like[:, 2:] - like[:, :2]).prod(1)
    areas = own if objects.areas is None else torch.where(objects.areas.isnan(), own, objects.areas.to(own))
    rows = objects.image
    return Posed(
        points.new_zeros(shape, joints, 3).index_copy(0, rows, points),
        like.new_full((shape, 4), torch.nan).index_copy(0, rows, like),
        own.new_full((shape,), torch.nan).index_copy(0, rows, areas),
    )


def distances(found: Tensor, truth: Posed) -> Tensor:
    """(B, J) pixels between joints (B, J, 2) and the true ones; 0 where a joint is not labelled."""
    return torch.where(truth.known, (found - truth.joints[..., :2].to(found)).norm(dim=-1), 0)


def box_sizes(truth: Posed) -> Tensor:
    """(B,) the longer side of the box, NaN where there is none."""
    return (truth.boxes[:, 2:] - truth.boxes[:, :2]).amax(1)


def spans(truth: Posed, first: int, second: int) -> Tensor:
    """(B,) the distance between two joints, NaN where one of them is not labelled."""
    ends = truth.joints[:, [first, second]]
    length = (ends[:, 0, :2] - ends[:, 1, :2]).norm(dim=-1)
    return torch.where((ends[..., 2] > 0).all(1), length, torch.nan)


def sizes_by(reference: str, names: Sequence[str]) -> Callable[[Posed], Tensor]:
    """What gives (B,) the sizes that PCK measures by: of the "box", the "torso", the "head", or between two joints,
    "left_eye-right_eye". Raises UserError where `names` lack the joints that it needs."""
    if reference == "box":
        return box_sizes
    pairs = PAIRS.get(reference) or (tuple(reference.split("-")),)
    ends = next((pair for pair in pairs if len(pair) == 2 and set(pair) <= set(names)), None)
    if ends is None:
        known = f"The joints of this data: {', '.join(names)}."
        if reference in PAIRS:
            needed = ", or ".join(" and ".join(pair) for pair in pairs)
            raise UserError(f"Option 'reference' {reference} needs the joints {needed}. {known}")
        raise UserError(
            "Option 'reference' is box, torso, head, or two joints joined by '-'; got "
            f"'{reference}'{did_you_mean(reference, [*PAIRS, 'box'])}. {known}"
        )
    first, second = (list(names).index(name) for name in ends)
    return lambda truth: spans(truth, first, second)


def oks(found: Tensor, truth: Posed, sigmas: Tensor) -> Tensor:
    """(B,) in [0, 1] for joints (B, J, 2) and sigmas (J,); NaN where no joint is labelled."""
    spread = (2 * sigmas.to(found)) ** 2
    tiny = torch.finfo(torch.float64).eps
    e = distances(found, truth) ** 2 / spread / (truth.areas.to(found)[:, None] + tiny) / 2
    return ratio(torch.where(truth.known, torch.exp(-e), 0).sum(1), truth.known.sum(1))


class Poses(Streaming):
    """pck, oks, oks_50, oks_75 (shares of the poses), pck.hidden, pck.NAME of each joint, and the loss.

    `truth` and `loss` read the task's targets, `size` gives (B,) what distances are measured by; NaN takes no part.
    """

    def __init__(
        self,
        names: Sequence[str],
        sigmas: Sequence[float],
        threshold: float,
        size: Callable[[Posed], Tensor],
        truth: Callable[[Any], Posed],
        loss: Callable[[Any, Any, Tensor], Term | None],
    ):
        super().__init__()
        self._names, self._sigmas, self._threshold = tuple(names), torch.tensor(sigmas), threshold
        self._size, self._truth, self._loss = size, truth, loss

    def update(self, predictions: Any, targets: Any, weights: Tensor | None = None) -> None:
        found, truth = predictions.joints, self._truth(targets)
        w = ones_like_batch(weights, found)
        size = self._size(truth).to(found)
        known = truth.known & (size > 0)[:, None] & (w > 0)[:, None]
        hit = known & (distances(found, truth) <= self._threshold * size[:, None])
        hidden = truth.joints[..., 2] == 1
        for name, rows in (("joints", known), ("hits", hit), ("hidden", known & hidden), ("seen", hit & hidden)):
            self.add(name, (w[:, None] * rows).sum(0))
        similar = oks(found, truth, self._sigmas)
        judged = ~similar.isnan() & (w > 0)
        self.add("poses", (w * judged).sum())
        self.add("oks", torch.where(judged, w * similar, 0).sum())
        for least in HIT:
            self.add(f"oks_{least:.2f}", (w * (judged & (similar >= least))).sum())
        term = self._loss(predictions, targets, w)
        if term is not None:
            self.add("loss.sum", term.sum)
            self.add("loss.count", torch.as_tensor(term.count))

    def compute(self) -> dict[str, float]:
        """NaN where nothing was labelled."""
        poses, each = self.sum("poses"), ratio(self.sum("hits"), self.sum("joints"))
        found = {
            "pck": float(ratio(self.sum("hits").sum(), self.sum("joints").sum())),
            "oks": float(ratio(self.sum("oks"), poses)),
            **{f"oks_{least * 100:.0f}": float(ratio(self.sum(f"oks_{least:.2f}"), poses)) for least in HIT},
            "loss": float(ratio(self.sum("loss.sum"), self.sum("loss.count"))),
            "pck.hidden": float(ratio(self.sum("seen").sum(), self.sum("hidden").sum())),
        }
        return found | {
            f"pck.{name}": float(v) for name, v in zip(self._names, each.expand(len(self._names)), strict=True)
        }

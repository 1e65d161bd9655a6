"""One box per image: how much of the true box is found, IoU = |A ∩ B| / |A ∪ B|, and how often it is not.

Localisation error: the share of the objects whose box has an IoU below 0.5, as in ILSVRC (arXiv:1409.0575, section
4.2), whatever class was answered. Images without an object take part in `presence_accuracy` alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from hubel.metrics.base import Streaming, ones_like_batch, ratio
from hubel.types import Term


class OneBox(Streaming):
    """iou, localisation_error, loss; with `presence` also presence_accuracy.

    `match` gives of predictions and targets IoU (B,), whether there is an object (B,) bool, whether one was answered
    (B,) bool; `loss` their Term. An object that was not answered has an IoU of 0.
    """

    def __init__(
        self,
        match: Callable[[Any, Any], tuple[Tensor, Tensor, Tensor]],
        loss: Callable[[Any, Any, Tensor], dict[str, Term]],
        least: float = 0.5,
        presence: bool = False,
    ):
        super().__init__()
        self._match, self._loss, self._least, self._presence = match, loss, least, presence

    def update(self, predictions: Any, targets: Any, weights: Tensor | None = None) -> None:
        iou, there, answered = self._match(predictions, targets)
        w = ones_like_batch(weights, iou)
        own = w * there
        self.add("objects", own.sum())
        self.add("iou", (own * iou).sum())
        self.add("missed", (own * (iou < self._least)).sum())
        self.add("examples", w.sum())
        self.add("told", (w * (there == answered)).sum())
        for name, term in self._loss(predictions, targets, w).items():
            self.add(f"{name}.sum", term.sum)
            self.add(f"{name}.count", torch.as_tensor(term.count))

    def compute(self) -> dict[str, float]:
        """NaN where no object was seen."""
        objects = self.sum("objects")
        terms = [name.removesuffix(".sum") for name in self._sums if name.endswith(".sum")]
        losses = [ratio(self.sum(f"{name}.sum"), self.sum(f"{name}.count")) for name in terms]
        known = [float(loss) for loss in losses if loss == loss]
        found = {
            "iou": float(ratio(self.sum("iou"), objects)),
            "localisation_error": float(ratio(self.sum("missed"), objects)),
            "loss": sum(known) if known else float("nan"),
        }
        if self._presence:
            found["presence_accuracy"] = float(ratio(self.sum("told"), self.sum("examples")))
        return found

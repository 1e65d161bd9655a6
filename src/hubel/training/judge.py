"""Which weights are kept, and when it is enough: the best dev score so far, and early stopping (Prechelt 1998)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hubel.tasks.base import Objective

TELLING = 1_000  # dev images: with fewer, a share of 0.9 has a standard error of more than a point


def weights_to_keep(n_dev: int, every_pixel: bool, falls: bool, patience: int | None) -> tuple[str, str]:
    """ "last" or "best", and why.

    The best of many epochs on few images is the luckiest one, often from the time of a high rate. A schedule that
    `falls` to 0 needs nobody to choose: its last weights are those that it was drawn for. Masks are judged at every
    pixel, so a few images tell there (`every_pixel`).
    """
    if not n_dev:
        return "last", "there is no dev part to choose by"
    if patience is not None:
        return "best", f"chosen on the dev part, which also stops the training (patience {patience})"
    if not falls:
        return "best", "chosen on the dev part: the rate does not fall to 0 by itself"
    if n_dev < TELLING and not every_pixel:
        return "last", f"the rate falls to 0, and {n_dev} dev images are too few to choose an epoch by"
    return "best", "chosen on the dev part"


class Judge:
    """Hears the dev score of each epoch. `patience`: epochs without a better one that are borne; None: any number."""

    def __init__(self, objective: Objective, patience: int | None):
        self.objective, self.patience = objective, patience
        self.best: float | None = None
        self.best_epoch = self.bad_epochs = 0

    def is_best(self, score: float, epoch: int) -> bool:
        """Take in the score after `epoch` epochs: is it better than all before?"""
        if self.objective.better(score, self.best):
            self.best, self.best_epoch, self.bad_epochs = score, epoch, 0
            return True
        self.bad_epochs += 1
        return False

    def waited_enough(self) -> bool:
        return self.patience is not None and self.bad_epochs >= self.patience

    def verdict(self, epoch: int) -> str:
        """Why the training ends after `epoch` epochs."""
        return (
            f"Stopped after epoch {epoch}: dev {self.objective.metric} has not improved for {self.bad_epochs} "
            f"epochs; the best weights are those of epoch {self.best_epoch}."
        )

    def state(self) -> dict[str, Any]:
        return {"score": self.best, "epoch": self.best_epoch, "bad_epochs": self.bad_epochs}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.best, self.best_epoch, self.bad_epochs = (state[k] for k in ("score", "epoch", "bad_epochs"))

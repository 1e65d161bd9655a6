"""Which weights are kept, and when it is enough: the best dev score so far, and early stopping (Prechelt 1998)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hubel.tasks.base import Objective


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

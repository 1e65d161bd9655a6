"""What the one object of an image is: exactly one of K classes, that of the largest object with a box.

Loss, predictions and metrics are those of a classification; images without an object have no target.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from hubel.data.largest import labels_of
from hubel.errors import UserError
from hubel.tasks.box_data import objects_of
from hubel.tasks.classification import Classification

if TYPE_CHECKING:
    from hubel.data.dataset import Dataset


@dataclass(frozen=True)
class ObjectClass(Classification):
    """The class of the largest object in each image."""

    target: str = "objects"

    name = "object_class"
    one_object = True
    mixes = False

    def accepts(self, dataset: Dataset) -> None:
        labels = labels_of(objects_of(self, dataset))
        if len(self.classes) < 2:
            raise UserError(
                f"The task '{self.name}' needs at least two classes to choose from; '{dataset.name}' has "
                f"{len(self.classes)}. For one class use --task box."
            )
        if labels.max(initial=-1) >= len(self.classes):
            raise UserError(f"Objects have classes 0 … {labels.max()}, but only {len(self.classes)} have a name.")

    def counts(self, dataset: Dataset, index: np.ndarray) -> np.ndarray:
        labels = self._labels(dataset, index[np.asarray(dataset.weights)[index] > 0])
        return np.bincount(labels[labels >= 0], minlength=len(self.classes))

    def targets(self, dataset: Dataset, index: np.ndarray) -> Tensor:
        return torch.from_numpy(self._labels(dataset, index).clip(min=0))

    def valid(self, dataset: Dataset, index: np.ndarray) -> Tensor:
        return torch.from_numpy(self._labels(dataset, index) >= 0)

    def _labels(self, dataset: Dataset, index: np.ndarray) -> np.ndarray:
        return labels_of(dataset.take(self.target, index))

"""Whether data has the joints that a task asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hubel.data.cutouts import TRAIT
from hubel.data.objects import Objects
from hubel.errors import UserError
from hubel.tasks.checks import needs_column

if TYPE_CHECKING:
    from hubel.data.dataset import Dataset
    from hubel.tasks.joints import Joints


def check_joints(task: Joints, dataset: Dataset) -> None:
    """Raises UserError where no object has a labelled joint, they have others than `task` knows, or, of whole images,
    where one shows several objects."""
    needs_column(task, dataset, "objects with keypoints")
    objects = dataset.annotations[task.target]
    points = objects.keypoints if isinstance(objects, Objects) else np.empty(0)
    if points.ndim != 3 or not (points[..., 2] > 0).any():
        raise UserError(
            f"The objects of '{dataset.name}' have no keypoints, and the task '{task.name}' learns from these. "
            "COCO annotations and YOLO labels with a kpt_shape bring them; `hubel data` shows what is there."
        )
    if task.names and len(task.names) != points.shape[1]:
        raise UserError(
            f"The network knows {len(task.names)} joints ({', '.join(task.names[:4])} …); the objects of "
            f"'{dataset.name}' have {points.shape[1]}. Give data with the same joints."
        )
    if task.whole and TRAIT not in dataset.traits:
        counts = np.bincount(objects.images[labelled(objects)], minlength=len(objects))
        many = np.flatnonzero(counts > 1)
        if len(many):
            raise UserError(
                f"{len(many):,} of {len(counts):,} images of '{dataset.name}' show several objects with joints "
                f"({dataset.images.name(int(many[0]))}: {counts[many[0]]}), and with task.whole an image has one. "
                "Leave task.whole out: each object is then cut out."
            )


def labelled(objects: Objects) -> np.ndarray:
    """(M,) bool: has a joint that is hidden or visible."""
    if objects.keypoints.ndim != 3:
        return np.zeros(objects.count, bool)
    return np.asarray((objects.keypoints[..., 2] > 0).any(1))

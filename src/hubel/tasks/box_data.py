"""Of objects with boxes: the column that a task reads, what is learnt of it, and in which pixels it is judged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from hubel.data.objects import Objects
from hubel.errors import UserError
from hubel.tasks.base import Task
from hubel.types import Boxes

if TYPE_CHECKING:
    from hubel.data.dataset import Dataset


def objects_of(task: Task, dataset: Dataset) -> Objects:
    """The column that `task` reads. Raises UserError where there is none."""
    found: Any = dataset.annotations.get(task.target)
    if not isinstance(found, Objects):
        known = ", ".join(f"'{name}'" for name in dataset.annotations) or "none"
        raise UserError(
            f"This task needs objects with boxes (the column '{task.target}'); the dataset '{dataset.name}' has these "
            f"columns: {known}. COCO, YOLO and VOC annotations bring them; see `hubel data`. Or choose another --task."
        )
    return found


def plain(objects: Objects) -> Objects:
    """Boxes alone. What is learnt are then the boxes that are judged, moved by their corners: those of an outline may
    be up to a pixel smaller, and under a turn much tighter."""
    return Objects(objects.offsets, objects.boxes, objects.labels, flags=objects.flags)


def judged(targets: Boxes) -> Boxes:
    """In source pixels where they are known, as in evaluation."""
    return targets.source or targets


def spans(sizes: Tensor) -> Tensor:
    """(B, 2) heights and widths -> (B, 4) w, h, w, h."""
    return torch.cat([sizes.flip(-1)] * 2, -1)

"""One object per image: the largest, for tasks that know a single one."""

from __future__ import annotations

import numpy as np

from hubel.data.objects import CROWD, Objects


def largest(objects: Objects) -> Objects:
    """Of each image the object whose box covers most, the first of equals; no object where `single` finds none."""
    rows = np.flatnonzero(single(objects))
    boxes, images = objects.boxes.reshape(-1, 4)[rows], objects.images[rows]
    covered = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    rows = rows[np.lexsort((rows, -covered, images))]
    _, first = np.unique(objects.images[rows], return_index=True)
    keep = np.zeros(objects.count, bool)
    keep[rows[first]] = True
    return objects.where(keep)


def single(objects: Objects) -> np.ndarray:
    """(M,) bool: has a class, a box with an area, and is no crowd."""
    boxes = objects.boxes.reshape(-1, 4)
    with np.errstate(invalid="ignore"):
        area = np.isfinite(boxes).all(1) & (boxes[:, 2:] > boxes[:, :2]).all(1)
    alone = (objects.flags & CROWD) == 0 if len(objects.flags) else True
    return area & (objects.labels >= 0) & alone


def labels_of(objects: Objects) -> np.ndarray:
    """(N,) int64: the class of each image's largest object, −1 where there is none."""
    one = largest(objects)
    found = np.full(len(one), -1, np.int64)
    found[one.images] = one.labels
    return found

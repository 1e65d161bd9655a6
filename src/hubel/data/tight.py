"""Tight crops: each object of a data set as an image of its own, and background that holds none; for classifiers that
are slid over images (hubel/sliding.py).

A crop is a square whose side is the longer one of the object's box, times 1 + `margin`, moved by up to `shift` of it:
a window of a grid never meets an object exactly. Background windows have an IoU of at most 0.3 with every object; half
of them lie on one, as a sliding window's mistakes would.
"""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np

from hubel.data.dataset import Dataset
from hubel.data.decode import BadImage
from hubel.data.images import ArrayImages
from hubel.data.largest import single
from hubel.errors import UserError

BACKGROUND = "background"
LARGEST_OVERLAP, TRIES = 0.3, 20


def tight_crops(
    dataset: Dataset, side: int, background: float = 1.0, shift: float = 0.1, margin: float = 0.15, seed: int = 0
) -> Dataset:
    """Images (side, side) of `dataset`'s objects with their class, and `background` windows for each object.

    The classes are those of `dataset` and "background". Parts stay parts; images that can't be read are left out and
    counted in the notes. Raises UserError where there are no objects, and for numbers out of range.
    """
    if side < 4 or not 0 <= background <= 100:
        raise UserError(
            f"Crops are at least 4 pixels a side, with 0 to 100 windows of background for each object; got {side} "
            f"pixels and {background:g} windows."
        )
    if "objects" not in dataset.annotations:
        raise UserError(f"'{dataset.name}' has no objects with boxes, so nothing can be cut out of it.")
    random = np.random.default_rng(seed)
    pixels, labels, source, unread = [], [], [], 0
    everything = dataset.annotations["objects"]
    boxes, good = everything.boxes.reshape(-1, 4).astype(np.float64), single(everything)
    for i, (first, last) in enumerate(pairwise(everything.offsets.tolist())):
        here, rows = boxes[first:last], np.flatnonzero(good[first:last])
        try:
            image = dataset.images.read(i)
        except (BadImage, OSError):
            unread += 1
            continue
        found = [(_around(here[m], shift, margin, random), int(everything.labels[first + m])) for m in rows]
        count = round(background * max(len(rows), 1))
        empty = _between(here[np.isfinite(here).all(1)], image.shape[:2], count, random)
        for square, label in [*found, *((one, len(dataset.classes)) for one in empty)]:
            pixels.append(cut(image, square, side))
            labels.append(label)
            source.append(i)
    if not pixels:
        raise UserError(f"'{dataset.name}' has no objects, so nothing can be cut out of it.")
    notes = [f"{len(pixels):,} crops of {side} x {side} pixels from {len(dataset.images) - unread:,} images"]
    notes += [f"left out: {unread:,} images that can't be read"] * bool(unread)
    splits = {name: np.flatnonzero(np.isin(source, index)) for name, index in dataset.splits.items()}
    return Dataset(
        f"{dataset.name}-crops", ArrayImages(np.stack(pixels)), {"label": np.array(labels, np.int64)},
        (*dataset.classes, BACKGROUND), splits, source=dataset.source, format="python",
        notes=tuple(notes),
        traits=dict(dataset.traits),
    )  # fmt: skip


def cut(image: np.ndarray, square: np.ndarray, side: int) -> np.ndarray:
    """(H, W, C) -> (side, side, C): the box x0, y0, x1, y1, resampled; what lies outside is the mirrored image."""
    x0, y0, x1, y1 = square.tolist()
    across, down = (x1 - x0) / side, (y1 - y0) / side
    reduced = max(1.0, across, down)
    smooth = cv2.GaussianBlur(image, (0, 0), reduced / 2.5) if reduced > 1.25 else image
    matrix = np.array([[across, 0, x0 + across / 2 - 0.5], [0, down, y0 + down / 2 - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    found = cv2.warpAffine(smooth, matrix, (side, side), flags=flags, borderMode=cv2.BORDER_REFLECT)
    return found.reshape(side, side, image.shape[2])


def _around(box: np.ndarray, shift: float, margin: float, random: np.random.Generator) -> np.ndarray:
    """The square around a box, moved a little."""
    length = (box[2:] - box[:2]).max() * (1 + margin * random.uniform(0, 2))
    centre = (box[:2] + box[2:]) / 2 + length * random.uniform(-shift, shift, 2)
    return np.concatenate([centre - length / 2, centre + length / 2])


def _between(boxes: np.ndarray, shape: tuple[int, int], count: int, random: np.random.Generator) -> list[np.ndarray]:
    """Squares that no box overlaps much; fewer than `count` where there is no room."""
    found: list[np.ndarray] = []
    for k in range(count * TRIES):
        if len(found) == count:
            break
        length = random.uniform(0.15, 0.7) * min(shape)
        corner = random.uniform(0, np.maximum(np.array(shape[::-1]) - length, 1))
        if k % 2 and len(boxes):  # beside an object
            corner = boxes[random.integers(len(boxes))][:2] + random.uniform(-0.7, 0.7, 2) * length
        square = np.concatenate([corner, corner + length])
        if not len(boxes) or _overlap(square, boxes).max() <= LARGEST_OVERLAP:
            found.append(square)
    return found


def _overlap(square: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """(M,) IoU of one box with each of (M, 4)."""
    sides = np.minimum(square[2:], boxes[:, 2:]) - np.maximum(square[:2], boxes[:, :2])
    common = np.clip(sides, 0, None).prod(1)
    return common / ((square[2:] - square[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(1) - common)

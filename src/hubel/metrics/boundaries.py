"""How well the borders of classes are met, and how much of the error lies near them.

    P_k = share of the answer's border pixels of class k with a true one of k within d;  R_k the other way round
    F_k = 2·P_k·R_k / (P_k + R_k)                                    (Csurka et al., BMVC 2013, doi:10.5244/C.27.32)

A border pixel of class k is one of k beside (above, below, left, right) a pixel of another class; the image's edge and
ignored pixels (255) are no other class. d is a share of the image's diagonal, at least one pixel, Euclidean. Pixels are
added up over the images of a class before the division, as for IoU; the paper averages images.
Label maps (H, W) uint8, 255 where nothing is known.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

IGNORE = 255
AREAS = (32**2, 96**2)  # pixels
WIDEST = 12.0  # pixels: up to there a disc at each point takes less time than a map of distances


def reach(size: tuple[int, int], tolerance: float) -> float:
    """d in pixels for an image (H, W)."""
    return max(1.0, tolerance * float(np.hypot(*size)))


def borders(labels: np.ndarray) -> np.ndarray:
    """(H, W) bool: pixels beside one of another class."""
    found = np.zeros(labels.shape, bool)
    for one, other in (
        ((slice(1, None),), (slice(None, -1),)),
        ((slice(None), slice(1, None)), (..., slice(None, -1))),
    ):
        a, b = labels[one], labels[other]
        differ = (a != b) & (a != IGNORE) & (b != IGNORE)
        found[one] |= differ
        found[other] |= differ
    return found


def near(points: np.ndarray, distance: float) -> np.ndarray:
    """(H, W) bool: pixels within `distance` of one of the `points` (H, W) bool."""
    if not points.any():
        return np.zeros(points.shape, bool)
    if distance <= WIDEST:
        return cv2.dilate(points.view(np.uint8), disc(distance)).view(bool)
    return cv2.distanceTransform((~points).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) <= distance + 1e-4


@lru_cache(256)  # images of many sizes have many distances
def disc(distance: float) -> np.ndarray:
    """(2r + 1, 2r + 1) uint8: 1 for the steps from one pixel to another that are no longer than `distance`."""
    r = int(distance + 1e-4)
    y, x = np.mgrid[-r : r + 1, -r : r + 1]
    return (np.hypot(y, x) <= distance + 1e-4).astype(np.uint8)


def border_counts(truth: np.ndarray, answers: np.ndarray, classes: int, distance: float) -> np.ndarray:
    """(K, 4) int64: border pixels of the answer that are met, all of them; of the truth that are met, all of them.

    `answers` must be 255 where `truth` is.
    """
    found = np.zeros((classes, 4), np.int64)
    lines = borders(truth), borders(answers)
    for k in np.unique(np.concatenate([truth[lines[0]], answers[lines[1]]])).tolist():
        true, said = (line & (labels == k) for line, labels in zip(lines, (truth, answers), strict=True))
        found[k] = ((said & near(true, distance)).sum(), said.sum(), (true & near(said, distance)).sum(), true.sum())
    return found


def near_and_far(truth: np.ndarray, answers: np.ndarray, distance: float) -> np.ndarray:
    """(4,) int64: right and all pixels within `distance` of a true border, right and all beyond it."""
    counted, close = truth != IGNORE, near(borders(truth), distance)
    right = (truth == answers) & counted
    return np.array([(right & close).sum(), (counted & close).sum(), (right & ~close).sum(), (counted & ~close).sum()])


def region_counts(truth: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """(3, 2) int64: right and all pixels of connected true regions of one class that are small, medium, large.

    By their area as COCO has it: below 32², below 96² pixels, above. Pixels are connected to their eight neighbours.
    """
    found = np.zeros((3, 2), np.int64)
    right = (truth == answers) & (truth != IGNORE)
    for k in np.unique(truth[truth != IGNORE]).tolist():
        count, regions, facts, _ = cv2.connectedComponentsWithStats((truth == k).astype(np.uint8), connectivity=8)
        areas = facts[:, cv2.CC_STAT_AREA].astype(np.int64)
        met = np.bincount(regions[right].ravel(), minlength=count)
        kinds = np.searchsorted(AREAS, areas, side="right")
        for kind in range(3):
            own = np.flatnonzero(kinds == kind)
            own = own[own > 0]  # region 0 is everything else
            found[kind] += met[own].sum(), areas[own].sum()
    return found


def f_scores(counts: np.ndarray) -> np.ndarray:
    """(K, 4) summed counts -> (K,); NaN for a class without a border in truth and answers."""
    met, said, found, true = (counts[:, i].astype(np.float64) for i in range(4))
    precision, recall = met / np.maximum(said, 1), found / np.maximum(true, 1)
    total = precision + recall
    score = np.where(total > 0, 2 * precision * recall / np.where(total > 0, total, 1), 0.0)
    return np.where(said + true > 0, score, np.nan)

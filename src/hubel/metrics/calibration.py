"""Does a confidence of 0.8 mean right in 80 % of cases? The reliability curve and the expected calibration error.

ECE = Σ_b n_b/n · |share right in b − mean confidence in b| over bins of equal mass: 15 as in arXiv:1706.04599, which
cuts at equal widths; equal mass has the smaller bias (arXiv:2012.08668).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hubel.errors import UserError


@dataclass(frozen=True)
class Reliability:
    """Per bin, from the least confident up: mean confidence, share right, number of examples. Each (bins,)."""

    confidence: np.ndarray
    accuracy: np.ndarray
    count: np.ndarray

    @property
    def ece(self) -> float:
        """Expected calibration error in [0, 1]; NaN without examples."""
        if not self.count.sum():
            return float("nan")
        return float(np.abs(self.accuracy - self.confidence) @ self.count / self.count.sum())

    def row(self) -> dict[str, Any]:
        """Plain values: {"confidence": […], "accuracy": […], "count": […], "ece": …}."""
        lists = {name: getattr(self, name).tolist() for name in ("confidence", "accuracy", "count")}
        return {**lists, "ece": self.ece}


def reliability(confidence: np.ndarray, right: np.ndarray, bins: int = 15) -> Reliability:
    """(N,) confidences in [0, 1], (N,) 0 or 1 -> the curve over at most `bins` bins of N / bins examples each.

    Examples of equal confidence share their mean of `right`, so their order changes nothing.
    """
    confidence, right = np.asarray(confidence, np.float64), np.asarray(right, np.float64)
    if confidence.shape != right.shape or confidence.ndim != 1:
        raise UserError(f"One confidence per answer is needed, got {confidence.shape} and {right.shape}.")
    values, place, counts = np.unique(confidence, return_inverse=True, return_counts=True)
    mean = np.bincount(place, right, minlength=len(values)) / counts
    groups = [g for g in np.array_split(np.argsort(confidence, kind="stable"), bins) if len(g)]
    return Reliability(
        np.array([confidence[g].mean() for g in groups]),
        np.array([mean[place[g]].mean() for g in groups]),
        np.array([len(g) for g in groups], np.int64),
    )

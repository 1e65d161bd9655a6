"""In which order an epoch shows its examples: a pure function of (index, epoch, seed, sampling, weights).

A shuffle sorts the positions by independent uniform keys; drawing with replacement inverts the cumulative weights.
Nothing is remembered between epochs, so a resumed training sees the batches that it would have seen.
"""

from __future__ import annotations

import numpy as np

from hubel.data.draws import uniform
from hubel.errors import UserError, close_to

SAMPLINGS = ("shuffle", "replacement", "sequential")


def epoch_order(
    index: np.ndarray, epoch: int, seed: int, sampling: str = "shuffle", weights: np.ndarray | None = None
) -> np.ndarray:
    """(n,) int64: the positions `index` (n,) in the order of this epoch.

    "shuffle" is a partition: each once. "replacement" draws n times, each example with probability proportional to
    its weight (n,) ≥ 0, or all alike. "sequential" keeps the order of `index`. Raises UserError for other names and
    for weights that don't fit.
    """
    if sampling not in SAMPLINGS:
        raise UserError(f"sampling is one of {', '.join(SAMPLINGS)}; got '{sampling}'{close_to(sampling, SAMPLINGS)}")
    if weights is not None and sampling != "replacement":
        raise UserError(f"Weights of examples need sampling 'replacement'; got '{sampling}'.")
    index = np.asarray(index, dtype=np.int64)
    if sampling == "sequential" or not len(index):
        return index.copy()
    draws = uniform(seed, epoch, np.arange(len(index)), f"order:{sampling}", 1)[:, 0]
    if sampling == "shuffle":
        return index[np.argsort(draws, kind="stable")]
    return index[_invert(draws, weights)]


def _invert(draws: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Uniform draws -> rows, each as often as its weight says."""
    if weights is None:
        return np.floor(draws * len(draws)).astype(np.int64)
    weights = np.asarray(weights, dtype=np.float64)
    if weights.shape != draws.shape or not np.isfinite(weights).all() or weights.min() < 0 or weights.sum() <= 0:
        raise UserError(
            f"Weights are {len(draws)} finite numbers, at least 0 and not all 0; got shape {weights.shape}."
        )
    cumulative = np.cumsum(weights)
    rows = np.searchsorted(cumulative, draws * cumulative[-1], side="right")
    return np.minimum(rows, np.flatnonzero(weights)[-1])

"""Two ways judged on the same images: what they differ by, its interval, and whether a difference was shown.

Shares: with b images that only the first has right and c that only the second has, the difference is (b − c) / n. Its
interval is the bootstrap over images, which for shares draws (b, c, n − b − c) from a multinomial distribution.
McNemar's exact test asks how often a fair coin splits b + c images at least so unevenly (McNemar 1947,
doi:10.1007/BF02295996).
Means: the bootstrap over images of mean(first) − mean(second). Efron & Tibshirani 1993, chapter 13.

A difference is shown where the interval leaves 0 out and p is below 0.05: of few images the interval alone is too
narrow. "No difference shown" is not a proof that there is none.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hubel.metrics.interval import Interval, bootstrap

RESAMPLES = 10_000
ALPHA = 0.05


@dataclass(frozen=True)
class Difference:
    """first − second in the units of the metric, its interval, and McNemar's p for shares (None otherwise)."""

    value: float
    interval: Interval
    n: int
    p: float | None = None

    @property
    def shown(self) -> bool:
        """Does the interval leave 0 out, and does the exact test agree?"""
        apart = self.interval[0] > 0 or self.interval[1] < 0
        return apart and (self.p is None or self.p < ALPHA)


def of_shares(first: np.ndarray, second: np.ndarray, *, level: float = 0.95, seed: int = 0) -> Difference:
    """(n,), (n,) bool: which images each has right. The share right of the first minus that of the second."""
    first, second = np.asarray(first, bool), np.asarray(second, bool)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"both need one answer for each image; got shapes {first.shape} and {second.shape}")
    n = len(first)
    if n == 0:
        return Difference(math.nan, (math.nan, math.nan), 0)
    b, c = int((first & ~second).sum()), int((second & ~first).sum())
    draws = np.random.default_rng(seed).multinomial(n, [b / n, c / n, (n - b - c) / n], RESAMPLES)
    low, high = np.quantile((draws[:, 0] - draws[:, 1]) / n, [0.5 - level / 2, 0.5 + level / 2])
    return Difference((b - c) / n, (float(low), float(high)), n, mcnemar(b, c))


def mcnemar(b: int, c: int) -> float:
    """The exact two-sided p of b against c: min(1, 2 · P(X ≤ min(b, c))), X ~ Binomial(b + c, 1/2)."""
    n = b + c
    whole = math.lgamma(n + 1) - n * math.log(2)
    logs = (whole - math.lgamma(k + 1) - math.lgamma(n - k + 1) for k in range(min(b, c) + 1))
    return min(1.0, 2 * math.fsum(map(math.exp, logs)))


def of_statistics(
    first: Callable[[np.ndarray], float], second: Callable[[np.ndarray], float], n: int, *, resamples: int = 400
) -> Difference:
    """Of any figure of a set of images: each function gives it for rows (n,) of the same n images, with repetition."""
    if n == 0:
        return Difference(math.nan, (math.nan, math.nan), 0)
    every = np.arange(n)
    interval = bootstrap(lambda rows: first(rows) - second(rows), n, resamples=resamples)
    return Difference(first(every) - second(every), interval, n)

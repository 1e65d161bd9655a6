"""How far a score can be trusted: Wilson's interval for shares, the bootstrap for everything else.

Wilson 1927, doi:10.2307/2276774:  (p + z²/2n ± z·√(p(1 − p)/n + z²/4n²)) / (1 + z²/n).
Percentile bootstrap: Efron & Tibshirani 1993, chapter 13.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np

from hubel.errors import UserError

Interval = tuple[float, float]


def wilson(right: float, n: float, level: float = 0.95) -> Interval:
    """The interval of the share right / n, both ends in [0, 1]; (0, 1) for n = 0."""
    if n <= 0:
        return 0.0, 1.0
    if not 0 <= right <= n:
        raise UserError(f"A share needs 0 <= right <= n, got right = {right} and n = {n}.")
    z, p = NormalDist().inv_cdf(0.5 + level / 2), right / n
    centre, reach = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = (centre - reach) / (1 + z * z / n), (centre + reach) / (1 + z * z / n)
    # At the ends the algebra gives 0 and 1 exactly; rounding must not.
    return (0.0 if right == 0 else low), (1.0 if right == n else high)


def bootstrap(
    statistic: Callable[[np.ndarray], float], n: int, *, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> Interval:
    """The interval of `statistic(index)`, index (n,) drawn with replacement from 0 … n − 1; the same for a seed.

    Resamples on which the statistic is NaN (a class that was not drawn) are left out; (NaN, NaN) where all are.
    """
    if n < 1:
        return math.nan, math.nan
    draws = np.random.default_rng(seed)
    found = np.array([statistic(draws.integers(0, n, n)) for _ in range(resamples)], np.float64)
    found = found[~np.isnan(found)]
    if not len(found):
        return math.nan, math.nan
    low, high = np.quantile(found, [0.5 - level / 2, 0.5 + level / 2])
    return float(low), float(high)

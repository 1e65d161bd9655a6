"""Two ways on the same images, against an explicit bootstrap and SciPy's exact test."""

import numpy as np
import pytest
from scipy.stats import binomtest

from hubel.metrics.paired import Difference, mcnemar, of_shares, of_statistics


@pytest.mark.parametrize("b, c", [(0, 0), (0, 1), (5, 0), (3, 9), (12, 12), (140, 190), (2000, 1800)])
def test_mcnemar_is_the_exact_binomial_test(b, c):
    expected = binomtest(b, b + c, 0.5).pvalue if b + c else 1.0
    assert mcnemar(b, c) == pytest.approx(expected, rel=1e-7)
    assert mcnemar(c, b) == mcnemar(b, c)


def pair(n=500, both=400, b=40, c=20):
    first, second = np.zeros(n, bool), np.zeros(n, bool)
    first[:both] = second[:both] = True
    first[both : both + b] = True
    second[both + b : both + b + c] = True
    return first, second


def test_the_interval_is_that_of_resampled_images():
    first, second = pair()
    found = of_shares(first, second)
    draws = np.random.default_rng(5)
    values = first.astype(float) - second
    means = [values[draws.integers(0, 500, 500)].mean() for _ in range(6000)]
    assert found.value == pytest.approx(0.04) and found.n == 500 and found.p == mcnemar(40, 20)
    assert found.interval == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.002)
    assert found == of_shares(first, second)  # the same for the same images


def test_pairing_shows_what_two_intervals_would_not():
    first, second = pair()
    assert of_shares(first, second).shown and of_shares(second, first).value == pytest.approx(-0.04)
    shuffled = np.random.default_rng(0).permutation(second)  # the same shares, not paired
    assert of_shares(first, shuffled).interval[0] < of_shares(first, second).interval[0]


def test_a_difference_of_few_images_is_not_shown():
    first, second = pair(30, 20, 4, 0)  # the interval alone leaves 0 out
    found = of_shares(first, second)
    assert found.interval[0] > 0 and found.p == 0.125 and not found.shown
    assert not of_shares(first, first).shown and of_shares(first, first).value == 0
    assert not of_shares(np.zeros(0, bool), np.zeros(0, bool)).shown


def test_answers_must_pair_up():
    with pytest.raises(ValueError, match="one answer for each image"):
        of_shares(np.zeros(3, bool), np.zeros(4, bool))


def test_any_statistic():
    random = np.random.default_rng(0)
    a = random.normal(size=200)
    b = a + random.normal(0.3, 0.2, 200)
    found = of_statistics(lambda rows: float(b[rows].mean()), lambda rows: float(a[rows].mean()), 200)
    error = 0.2 / np.sqrt(200)
    assert found.value == pytest.approx((b - a).mean()) and found.p is None and found.shown
    assert found.interval == pytest.approx((found.value - 1.96 * error, found.value + 1.96 * error), abs=0.4 * error)
    assert not of_statistics(lambda rows: 1.0, lambda rows: 1.0, 5).shown
    assert not Difference(0.1, (float("nan"), float("nan")), 0).shown

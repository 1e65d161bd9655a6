"""Calibration and intervals: against scikit-learn, scipy-free formulas and simulated coverage."""

import math

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from hubel.errors import UserError
from hubel.metrics.calibration import reliability
from hubel.metrics.interval import bootstrap, wilson
from hubel.metrics.report import f1_interval


def test_reliability_curve_equals_scikit_learn():
    draws = np.random.default_rng(0)
    confidence = draws.permutation(np.linspace(0.01, 0.99, 301))
    right = draws.random(301) < confidence**2
    found = reliability(confidence, right, bins=15)
    share, mean = calibration_curve(right, confidence, n_bins=15, strategy="quantile")
    # 301 = 15·20 + 1: the odd one may fall to either side of a border
    np.testing.assert_allclose(found.confidence, mean, atol=5e-3)
    np.testing.assert_allclose(found.accuracy, share, atol=0.06)
    assert found.count.sum() == 301
    assert set(found.count.tolist()) == {20, 21}


def test_ece_equals_a_loop():
    draws = np.random.default_rng(1)
    confidence = draws.permutation(np.linspace(0, 1, 300))
    right = (draws.random(300) < 0.6).astype(float)
    order = np.argsort(confidence)
    expected = 0.0
    for b in range(15):
        rows = order[20 * b : 20 * b + 20]
        expected += 20 / 300 * abs(right[rows].mean() - confidence[rows].mean())
    assert reliability(confidence, right).ece == pytest.approx(expected)


def test_calibrated_answers_have_a_small_error_and_overconfident_ones_a_large():
    draws = np.random.default_rng(2)
    confidence = draws.uniform(0.5, 1, 20000)
    right = draws.random(20000) < confidence
    assert reliability(confidence, right).ece < 0.015
    assert reliability(np.full(20000, 0.99), right).ece == pytest.approx(0.99 - right.mean())


def test_order_of_equal_confidences_changes_nothing():
    confidence, right = np.repeat([0.6, 0.9], 50), np.random.default_rng(3).random(100) < 0.7
    found = reliability(confidence, right)
    again = reliability(confidence[::-1], right[::-1])
    np.testing.assert_allclose(found.accuracy, again.accuracy)
    expected = 0.5 * abs(right[:50].mean() - 0.6) + 0.5 * abs(right[50:].mean() - 0.9)
    # one bin straddles the two confidences; there the two gaps may cancel
    assert found.ece <= expected + 1e-12


def test_fewer_examples_than_bins_and_none():
    assert len(reliability(np.array([0.2, 0.7]), np.array([0, 1])).count) == 2
    assert math.isnan(reliability(np.empty(0), np.empty(0)).ece)
    with pytest.raises(UserError, match="One confidence per answer"):
        reliability(np.ones(3), np.ones(2))


@pytest.mark.parametrize(
    ("right", "n", "expected"),
    # Newcombe 1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E, table I, score method
    [(81, 263, (0.2553, 0.3662)), (15, 148, (0.0624, 0.1605)), (0, 20, (0.0, 0.1611)), (1, 29, (0.0061, 0.1718))],
)
def test_wilson_interval_equals_the_published_ones(right: int, n: int, expected: tuple[float, float]):
    assert wilson(right, n) == pytest.approx(expected, abs=5e-5)


def test_wilson_interval_solves_its_equation():
    z = 1.959963985
    for bound in wilson(37, 50):
        assert abs(37 / 50 - bound) == pytest.approx(z * math.sqrt(bound * (1 - bound) / 50))


def test_wilson_interval_at_the_ends():
    assert wilson(0, 10)[0] == 0
    assert wilson(10, 10)[1] == 1
    assert wilson(0, 0) == (0, 1)
    assert wilson(5, 10, level=0.5)[0] > wilson(5, 10)[0]
    with pytest.raises(UserError, match="right = 11"):
        wilson(11, 10)


def test_bootstrap_covers_the_mean_about_as_often_as_it_says():
    draws, hits = np.random.default_rng(0), 0
    for i in range(100):
        x = draws.normal(size=60)
        low, high = bootstrap(lambda rows, x=x: float(x[rows].mean()), 60, resamples=200, seed=i)
        hits += low <= 0 <= high
    assert 86 <= hits <= 100


def test_bootstrap_is_seeded_and_leaves_out_what_is_not_measured():
    x = np.random.default_rng(1).random(30)

    def mean(rows: np.ndarray) -> float:
        return float(x[rows].mean())

    assert bootstrap(mean, 30, seed=4) == bootstrap(mean, 30, seed=4) != bootstrap(mean, 30, seed=5)
    low, high = bootstrap(lambda rows: math.nan if 0 in rows else 1.0, 5)
    assert (low, high) == (1, 1)
    assert all(map(math.isnan, bootstrap(lambda rows: math.nan, 5)))
    assert all(map(math.isnan, bootstrap(mean, 0)))


def test_f1_interval_covers_the_truth_as_often_as_it_says():
    """A class with prevalence 0.3, found 0.7, given in error 0.1 of the time: F1 = 0.42 / (0.28 + 0.3)."""
    draws, truth, hits = np.random.default_rng(0), 0.42 / 0.58, 0
    for _ in range(1000):
        tp, fp, fn, _ = draws.multinomial(200, [0.21, 0.07, 0.09, 0.63])
        low, high = f1_interval(tp, tp + fp, tp + fn)
        assert low <= 2 * tp / (2 * tp + fp + fn) <= high
        hits += low <= truth <= high
    assert 0.93 <= hits / 1000 <= 0.975
    assert f1_interval(0, 0, 0) == (0, 1) and f1_interval(5, 5, 5)[1] == 1

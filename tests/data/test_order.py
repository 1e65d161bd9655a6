"""The order of an epoch: a partition, or draws with the right frequencies; a pure function."""

import numpy as np
import pytest

from hubel.data.order import _invert, epoch_order
from hubel.errors import UserError

INDEX = np.array([5, 3, 99, 7, 12, 40])


def test_shuffle_is_a_partition_that_changes():
    orders = [epoch_order(INDEX, epoch, 0) for epoch in range(20)]
    assert all(sorted(order) == sorted(INDEX) for order in orders)
    assert len({tuple(order) for order in orders}) > 15
    assert orders[0].dtype == np.int64


def test_pure_in_epoch_and_seed():
    for sampling in ("shuffle", "replacement"):
        first = epoch_order(INDEX, 3, 7, sampling)
        np.random.seed(0)
        assert np.array_equal(first, epoch_order(INDEX.copy(), 3, 7, sampling))
        assert not np.array_equal(
            epoch_order(np.arange(99), 3, 7, sampling), epoch_order(np.arange(99), 3, 8, sampling)
        )
    first = epoch_order(np.arange(8), 0, 0)
    assert (epoch_order(np.arange(8) + 50, 0, 0) - 50).tolist() == first.tolist()  # of places, not of examples
    assert first.tolist() == [2, 4, 0, 3, 6, 1, 7, 5]  # stays in later versions, too


def test_every_place_is_equally_likely():
    counts = np.zeros((4, 4))
    for epoch in range(4000):
        counts[np.arange(4), epoch_order(np.arange(4), epoch, 0)] += 1
    assert np.abs(counts / 4000 - 0.25).max() < 0.03


def test_sequential():
    assert epoch_order(INDEX, 5, 1, "sequential").tolist() == INDEX.tolist()


def test_replacement_draws_all_alike():
    drawn = np.concatenate([epoch_order(INDEX, epoch, 0, "replacement") for epoch in range(2000)])
    values, counts = np.unique(drawn, return_counts=True)
    assert sorted(values) == sorted(INDEX) and np.abs(counts / len(drawn) - 1 / 6).max() < 0.01
    assert any(len(set(epoch_order(INDEX, epoch, 0, "replacement"))) < 6 for epoch in range(5))


def test_weights_are_frequencies():
    weights = np.array([0, 1, 2, 3, 0, 4])
    drawn = np.concatenate([epoch_order(np.arange(6), e, 0, "replacement", weights) for e in range(3000)])
    assert np.abs(np.bincount(drawn, minlength=6) / len(drawn) - weights / 10).max() < 0.01
    assert set(drawn) == {1, 2, 3, 5}
    edges = np.array([0.0, 0.1, 0.3, 0.6, 1 - 2**-53, 0.5])  # draws on the borders between two examples
    assert _invert(edges, weights).tolist() == [1, 2, 3, 5, 5, 3]


def test_empty():
    assert len(epoch_order(np.arange(0), 0, 0)) == 0
    assert len(epoch_order(np.arange(0), 0, 0, "replacement")) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampling": "shufle"}, "did you mean 'shuffle'"),
        ({"weights": np.ones(6)}, "replacement"),
        ({"sampling": "replacement", "weights": np.ones(5)}, "6 finite"),
        ({"sampling": "replacement", "weights": -np.ones(6)}, "6 finite"),
        ({"sampling": "replacement", "weights": np.zeros(6)}, "6 finite"),
        ({"sampling": "replacement", "weights": np.full(6, np.nan)}, "6 finite"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(UserError, match=message):
        epoch_order(INDEX, 0, 0, **options)

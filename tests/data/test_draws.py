"""Draws are pure, uniform and independent across seeds, epochs, slots, names and columns."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubel.data.draws import integers, uniform

MASK = 2**64 - 1
PINNED = [
    [0.21470543874217451, 0.12633848309107798],
    [0.12642681732975292, 0.48287996723881177],
    [0.9603695637339226, 0.8146127204227618],
]  # rows are slots 0, 1, 2


def reference(seed: int, epoch: int, slot: int, name: str, column: int) -> float:
    """The same hash with Python's integers, one number at a time."""

    def mix(x: int) -> int:
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
        return x ^ (x >> 31)

    key = hashlib.blake2b(f"{seed} {epoch} {name}".encode(), digest_size=16).digest()
    first, second = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    row = mix((slot * 0x9E3779B97F4A7C15 + first) & MASK)
    return (mix(row ^ (((column + 1) * 0x9E3779B97F4A7C15 + second) & MASK)) >> 11) / 2**53


@given(st.integers(-(2**70), 2**70), st.integers(0, 10**6), st.lists(st.integers(0, 2**62), max_size=5), st.text())
def test_equals_the_loop(seed, epoch, slots, name):
    got = uniform(seed, epoch, np.array(slots, dtype=np.int64), name, 3)
    assert got.shape == (len(slots), 3)
    assert got.tolist() == [[reference(seed, epoch, s, name, c) for c in range(3)] for s in slots]


def test_pinned_values():
    """Changing these numbers changes every training: a new major version."""
    got = uniform(0, 0, np.arange(3), "shift", 2)
    np.testing.assert_array_equal(got, PINNED)


def kolmogorov_smirnov(u: np.ndarray) -> float:
    """sqrt(n) · largest distance to the uniform distribution; above 1.95 once in a thousand times."""
    u, n = np.sort(u), len(u)
    steps = np.arange(n + 1) / n
    return np.sqrt(n) * max((steps[1:] - u).max(), (u - steps[:-1]).max())


@pytest.mark.parametrize("name", ["shift", "flip", "cutout"])
def test_uniform(name):
    u = uniform(1, 2, np.arange(50_000), name, 2)
    assert u.min() >= 0 and u.max() < 1
    assert kolmogorov_smirnov(u[:, 0]) < 1.95 and kolmogorov_smirnov(u[:, 1]) < 1.95
    assert kolmogorov_smirnov((u[:, 0] + u[:, 1]) % 1) < 1.95


def test_neighbours_are_independent():
    """Correlation of 50,000 independent pairs has a deviation of 1 / sqrt(50,000) = 0.0045."""
    slots, n = np.arange(50_000), 50_000
    base = uniform(7, 3, slots, "shift", 2)
    others = {
        "next slot": uniform(7, 3, slots + 1, "shift", 1),
        "partner": uniform(7, 3, slots ^ 1, "shift", 1),
        "next epoch": uniform(7, 4, slots, "shift", 1),
        "next seed": uniform(8, 3, slots, "shift", 1),
        "seed and epoch swapped": uniform(3, 7, slots, "shift", 1),
        "other name": uniform(7, 3, slots, "flip", 1),
        "next column": base[:, 1:],
    }
    for what, other in others.items():
        cells = np.histogram2d(base[:, 0], other[:, 0], bins=8)[0]
        chi_squared = ((cells - n / 64) ** 2 / (n / 64)).sum()  # 63 degrees of freedom: 99.9 % below 103
        assert abs(np.corrcoef(base[:, 0], other[:, 0])[0, 1]) < 4 / np.sqrt(n), what
        assert chi_squared < 103, what


def test_a_row_depends_on_its_slot_alone():
    slots = np.array([5, 900, 3, 5])
    whole = uniform(0, 1, np.arange(1000), "flip", 4)
    np.testing.assert_array_equal(uniform(0, 1, slots, "flip", 4), whole[slots])
    np.testing.assert_array_equal(uniform(0, 1, slots, "flip", 2), whole[slots, :2])


def test_integers_cover_the_range_evenly():
    values = integers(uniform(0, 0, np.arange(90_000), "shift", 1)[:, 0], -4, 4)
    assert sorted(set(values.tolist())) == list(range(-4, 5))
    assert np.abs(np.bincount(values + 4) - 10_000).max() < 400  # deviation 94
    assert integers(np.array([0.0, np.nextafter(1, 0)]), -4, 4).tolist() == [-4, 4]

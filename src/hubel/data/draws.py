"""Random numbers without a state: u = hash(seed, epoch, name, slot, column) / 2⁵³, uniform in [0, 1).

A draw belongs to a place (slot) in an epoch and to the name of the operation that asks, so it does not matter who
asks, when, or in what order: an image that comes twice gets two draws, a new operation changes no other's, and
workers, devices and a resumed training see the same numbers. The hash is blake2b over (seed, epoch, name), once,
then two rounds of the SplitMix64 finaliser (Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195; constants of
Stafford's variant 13) over slot and column.
"""

from __future__ import annotations

import functools
import hashlib

import numpy as np

GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2⁶⁴ / golden ratio: spreads consecutive counters
SHIFTS = np.uint64(30), np.uint64(27), np.uint64(31)
FACTORS = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def uniform(seed: int, epoch: int, slots: np.ndarray, name: str, count: int) -> np.ndarray:
    """(len(slots), count) float64 in [0, 1): row i depends on slots[i] alone, never on its neighbours.

    `slots` are int64 positions in the epoch's order, from 0; `seed` and `epoch` any integers; a larger `count` adds
    columns and leaves the first ones as they are.
    """
    first, columns = _key(seed, epoch, name, count)
    rows = _mix(np.asarray(slots, dtype=np.int64).view(np.uint64) * GOLDEN + first)  # (n,)
    bits = _mix(rows[:, None] ^ columns)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


@functools.lru_cache(maxsize=256)
def _key(seed: int, epoch: int, name: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """What all slots share: (1,) and, column by column, (1, count)."""
    key = hashlib.blake2b(f"{seed} {epoch} {name}".encode(), digest_size=16).digest()
    first, second = np.frombuffer(key, dtype="<u8").astype(np.uint64)[:, None]  # (1,) each
    return first, (np.arange(1, count + 1, dtype=np.uint64) * GOLDEN + second)[None]


def normal(seed: int, epoch: int, slots: np.ndarray, name: str, count: int) -> np.ndarray:
    """(len(slots), count) float64, standard normal: √(−2 ln u) cos 2πv (Box and Muller 1958), by the same rules."""
    u, v = np.split(uniform(seed, epoch, slots, name, 2 * count), 2, axis=1)
    return np.sqrt(-2 * np.log1p(-u)) * np.cos(2 * np.pi * v)


def symmetric_beta(u: np.ndarray, alpha: float) -> np.ndarray:
    """Uniform draws in [0, 1) -> draws of Beta(α, α), by its inverse distribution function.

    Below ½, F(x) ∝ ∫ s^(α − 1) (1 − s)^(α − 1) ds is summed up over v = s^e, e = min(α, 1), which takes a peak at 0
    away: the integrand becomes s^(α − e) (1 − s)^(α − 1). Above ½ by symmetry.
    """
    e = min(alpha, 1.0)
    v = np.linspace(0, 0.5**e, 4097)
    s = v ** (1 / e)
    density = s ** (alpha - e) * (1 - s) ** (alpha - 1)
    mass = np.concatenate([[0], np.cumsum(density[1:] + density[:-1])])
    low = np.interp(np.minimum(u, 1 - u), mass / (2 * mass[-1]), v) ** (1 / e)
    return np.where(u < 0.5, low, 1 - low)


def integers(u: np.ndarray, low: int, high: int) -> np.ndarray:
    """Uniform draws in [0, 1) -> int64 in low … high, both included."""
    return low + np.floor(u * (high - low + 1)).astype(np.int64)


def _mix(x: np.ndarray) -> np.ndarray:
    """uint64 -> uint64, one to one; every input bit turns each output bit with probability near one half."""
    x = (x ^ (x >> SHIFTS[0])) * FACTORS[0]
    x = (x ^ (x >> SHIFTS[1])) * FACTORS[1]
    return x ^ (x >> SHIFTS[2])

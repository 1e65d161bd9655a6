"""Images that are equal or nearly so: leaks between splits, copies, and copies with different labels.

Two images are alike where their perceptual prints differ in at most BITS of 63 bits and their 16×16 miniatures, brought
to the same mean and deviation, differ by less than APART on average. Candidates are found without comparing all pairs:
two prints that differ in at most BITS bits agree in one of BITS + 1 bands (pigeonhole; Manku, Jain and Das Sarma 2007).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from hubel.data.looks import SIDE, Looks

BITS = 5
APART = 0.12  # of a standard deviation
CLOSE = 0.05  # where most images of a kind are alike
CROWD = 4096  # images of one band's value that are compared each with each; of more, each with so many neighbours
AT_ONCE = 2**20  # pairs whose prints are compared together
BLOCK = 2**14  # pairs whose miniatures are


def equal_groups(looks: Looks) -> list[np.ndarray]:
    """Positions of images whose pixels are equal, a group each; groups by their first image."""
    rows = looks.rows
    return _groups(np.flatnonzero(rows["read"]), rows["same"][rows["read"]])


def similar_pairs(looks: Looks) -> np.ndarray:
    """(P, 2) int64 positions i < j of images that look alike but are not equal, one pair per two groups of equals.

    Images without contrast look like anything and are left out.
    """
    rows = looks.rows
    usable = np.flatnonzero(rows["read"] & (rows["contrast"] > 0.02))
    _, first = np.unique(rows["same"][usable], return_index=True)
    chosen = usable[np.sort(first)]
    prints = rows["print"][chosen]
    small = standard(rows["small"][chosen])
    found: list[np.ndarray] = []
    for band in _bands(BITS + 1):
        for i, j in _pairs_within(prints & band, prints):
            near = np.bitwise_count(prints[i] ^ prints[j]) <= BITS
            i, j = i[near], j[near]
            alike = _distances(small, i, j) < APART
            found.append(np.column_stack([chosen[i[alike]], chosen[j[alike]]]))
    pairs = np.concatenate([np.empty((0, 2), np.int64), *found])
    return np.unique(np.sort(pairs, axis=1), axis=0)


def closest(looks: Looks, pairs: np.ndarray, apart: float = CLOSE) -> np.ndarray:
    """Those of the pairs (P, 2) whose miniatures differ by less than `apart` of a standard deviation."""
    used, rows = np.unique(pairs, return_inverse=True)
    rows = rows.reshape(-1, 2)
    return pairs[_distances(standard(looks.rows["small"][used]), rows[:, 0], rows[:, 1]) < apart]


def standard(small: np.ndarray) -> np.ndarray:
    """(n, 16, 16) uint8 -> (n, 256) float32 of mean 0 and deviation 1."""
    flat = small.reshape(len(small), SIDE * SIDE).astype(np.float32)
    flat -= flat.mean(1, keepdims=True)
    return flat / np.maximum(flat.std(1, keepdims=True), 1e-6)


def _distances(small: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """(p,) mean differences of the miniatures of p pairs, block after block: pairs are many where all is alike."""
    found = np.empty(len(i), np.float32)
    for low in range(0, len(i), BLOCK):
        part = slice(low, low + BLOCK)
        found[part] = np.abs(small[i[part]] - small[j[part]]).mean(1)
    return found


def _bands(count: int) -> list[np.uint64]:
    """Masks that cut 64 bits into `count` parts."""
    cuts = np.linspace(0, 64, count + 1).astype(int)
    return [np.uint64(sum(1 << bit for bit in range(a, b))) for a, b in pairwise(cuts.tolist())]


def _groups(positions: np.ndarray, keys: np.ndarray) -> list[np.ndarray]:
    """Positions that share a key, where more than one does."""
    order = np.argsort(keys, kind="stable")
    cuts = np.flatnonzero(np.diff(keys[order])) + 1
    groups = [np.sort(positions[part]) for part in np.split(order, cuts) if len(part) > 1]
    return sorted(groups, key=lambda group: int(group[0]))


def _pairs_within(keys: np.ndarray, prints: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Blocks (i, j) of the pairs of positions that share a key; in a crowd, of those next in the order of prints."""
    for group in _groups(np.arange(len(keys)), keys):
        group = group[np.argsort(prints[group], kind="stable")]
        reach = min(len(group) - 1, CROWD)
        step = max(1, AT_ONCE // reach)
        for low in range(0, len(group), step):
            first = np.repeat(np.arange(low, min(low + step, len(group))), reach)
            second = first + np.tile(np.arange(1, reach + 1), len(first) // reach)
            inside = second < len(group)
            yield group[first[inside]], group[second[inside]]

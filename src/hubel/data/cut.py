"""Take a part out of a pool of images: by class and group, in an order that the seed decides.

An image's key is a hash of (seed, its position, what for); of each class the lowest keys are taken, and the numbers
are allotted in proportion, by largest remainders.
"""

from __future__ import annotations

import numpy as np

from hubel.data.dataset import Dataset
from hubel.data.draws import uniform


def bootstrap(pool: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(in the bag, with repeats, sorted, (n,); out of the bag): n draws with replacement leave about 36.8 % out."""
    pool = np.sort(pool)
    draws = uniform(seed, 0, np.arange(len(pool)), "bootstrap", 1)[:, 0]
    bag = pool[np.sort(np.floor(draws * len(pool)).astype(np.int64))]
    return bag, np.setdiff1d(pool, bag)


class Cut:
    """Takes a part out of a pool: by class and group, in an order that the seed decides."""

    def __init__(self, dataset: Dataset, seed: int, groups: np.ndarray | None, stratify: bool):
        self.strata = _strata(dataset) if stratify else np.zeros(len(dataset), np.int64)
        self.groups = None if groups is None else np.unique(groups, return_inverse=True)[1]  # any values -> numbers
        self.seed, self.stratified = seed, stratify and bool(self.strata.any())

    def how(self) -> str:
        if self.groups is not None:
            return ", groups kept whole"
        return ", in the proportions of the classes" if self.stratified else ""

    def keys(self, positions: np.ndarray, name: str) -> np.ndarray:
        return uniform(self.seed, 0, np.asarray(positions, dtype=np.int64), name, 1)[:, 0]

    def hold_out(self, pool: np.ndarray, wanted: int, name: str, pieces: int = 2) -> tuple[np.ndarray, np.ndarray]:
        """(rest, taken), each sorted; about `wanted` are taken, and no class loses its last image.

        `pieces` is the number of parts that the pool will be in the end: a class with so many images is in each.
        """
        if self.groups is None:
            taken = self._images(pool, wanted, name, pieces)
        else:
            taken = self._whole_groups(pool, wanted, name, self.groups)
        return np.sort(pool[~taken]), np.sort(pool[taken])

    def _images(self, pool: np.ndarray, wanted: int, name: str, pieces: int) -> np.ndarray:
        strata = self.strata[pool]
        order = np.lexsort((self.keys(pool, name), strata))
        _, starts, counts = np.unique(strata[order], return_index=True, return_counts=True)
        rank = np.arange(len(pool)) - np.repeat(starts, counts)
        taken = np.zeros(len(pool), dtype=bool)
        taken[order] = rank < np.repeat(_allot(counts, wanted, pieces), counts)
        return taken

    def _whole_groups(self, pool: np.ndarray, wanted: int, name: str, groups: np.ndarray) -> np.ndarray:
        """Whole groups in random order, as long as each brings the size nearer to `wanted`; one always stays."""
        values, index, counts = np.unique(groups[pool], return_inverse=True, return_counts=True)
        chosen, size = np.zeros(len(values), dtype=bool), 0
        for g in np.argsort(self.keys(values, name)):
            if abs(size + counts[g] - wanted) < abs(size - wanted) and chosen.sum() < len(values) - 1:
                chosen[g] = True
                size += int(counts[g])
        return chosen[index]

    def bootstrap(self, pool: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if self.groups is None:
            return bootstrap(pool, self.seed)
        of = self.groups[pool]
        bag, left = bootstrap(np.unique(of), self.seed)
        return np.sort(np.concatenate([pool[of == g] for g in bag])), np.sort(pool[np.isin(of, left)])


def _strata(dataset: Dataset) -> np.ndarray:
    """(N,) what is kept in proportion: the class; with several labels the rarest of them; nothing for numbers."""
    if "label" in dataset.annotations:
        return dataset.annotations["label"]
    if "labels" in dataset.annotations:
        labels = dataset.annotations["labels"] > 0.5
        rank = np.argsort(np.argsort(labels.sum(0), kind="stable"))  # 0 for the rarest
        rarity = np.where(labels, rank, labels.shape[1])
        return rarity.min(axis=1)
    return np.zeros(len(dataset), np.int64)


def _allot(counts: np.ndarray, wanted: int, pieces: int) -> np.ndarray:
    """How many of each class: in proportion, by largest remainders; at least 1 of a class that has `pieces`."""
    exact = counts * (wanted / counts.sum())
    base = np.floor(exact).astype(np.int64)
    extra = np.argsort(base - exact, kind="stable")[: wanted - base.sum()]
    base[extra] += 1
    return np.clip(base, counts >= pieces, counts - 1) if wanted else base


def fold_numbers(cut: Cut, pool: np.ndarray, k: int) -> np.ndarray:
    """(len(pool),) the fold in which each image is dev."""
    if cut.groups is None:
        number = np.empty(len(pool), dtype=np.int64)
        number[np.lexsort((cut.keys(pool, "folds"), cut.strata[pool]))] = np.arange(len(pool)) % k
        return number
    values, index, counts = np.unique(cut.groups[pool], return_inverse=True, return_counts=True)
    filled, fold = np.zeros(k, dtype=np.int64), np.empty(len(values), dtype=np.int64)
    for g in np.lexsort((cut.keys(values, "folds"), -counts)):  # the largest group first, into the emptiest fold
        fold[g] = filled.argmin()
        filled[fold[g]] += counts[g]
    return fold[index]

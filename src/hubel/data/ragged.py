"""Sequences of different lengths in one array: sequence i is values[offsets[i]:offsets[i + 1]].

N sequences of rows cost two arrays and not N Python objects, however they nest: the outlines of M objects are a Ragged
of M sequences of rings, whose values are a Ragged of rings, whose values are points (P, 2).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np


def rows_of(offsets: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows of the sequences `index` (n,), one after the other, and the offsets (n + 1,) that they have then."""
    starts, counts = offsets[:-1][index], np.diff(offsets)[index]
    after = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return np.repeat(starts - after[:-1], counts) + np.arange(after[-1]), after


@dataclass(frozen=True, eq=False)
class Ragged:
    """N sequences; `values` is an array of rows (V, …), or a Ragged of V sequences."""

    values: Any  # np.ndarray (V, …) or Ragged
    offsets: np.ndarray  # (N + 1,) int64, from 0 to V, never falling

    def __post_init__(self) -> None:
        o = self.offsets
        if o.ndim != 1 or not len(o) or o[0] != 0 or o[-1] != len(self.values) or (np.diff(o) < 0).any():
            raise ValueError(f"offsets must rise from 0 to {len(self.values)}, the number of rows")

    @classmethod
    def pack(cls, sequences: Sequence[Any], like: np.ndarray) -> Self:
        """From a list of arrays (n_i, …); `like` (0, …) has the shape and type of the rows."""
        offsets = np.concatenate([[0], np.cumsum([len(one) for one in sequences])]).astype(np.int64)
        return cls(np.concatenate([like, *sequences]).astype(like.dtype, copy=False), offsets)

    @classmethod
    def pack_nested(cls, sequences: Sequence[Sequence[Any]], like: np.ndarray) -> Self:
        """From a list of lists of arrays: M objects of rings of points, say."""
        offsets = np.concatenate([[0], np.cumsum([len(one) for one in sequences])]).astype(np.int64)
        return cls(Ragged.pack([inner for one in sequences for inner in one], like), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, i: int) -> Any:
        """Sequence i: an array (n, …), or a Ragged of n sequences."""
        return take(self.values, np.arange(*self.bounds(i))) if isinstance(self.values, Ragged) else self._slice(i)

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def _slice(self, i: int) -> np.ndarray:
        low, high = self.bounds(i)
        return self.values[low:high]

    def bounds(self, i: int) -> tuple[int, int]:
        """First row of sequence i, and the row after its last."""
        if not -len(self) <= i < len(self):
            raise IndexError(f"{i} of {len(self)} sequences")
        i %= len(self)
        return int(self.offsets[i]), int(self.offsets[i + 1])

    @property
    def counts(self) -> np.ndarray:
        """(N,) how many rows each has."""
        return np.diff(self.offsets)

    @property
    def owners(self) -> np.ndarray:
        """(V,) int64: the sequence that each row belongs to."""
        return np.repeat(np.arange(len(self)), self.counts)

    def take(self, index: np.ndarray) -> Self:
        """The sequences `index` (n,), in that order; they may repeat."""
        rows, offsets = rows_of(self.offsets, np.asarray(index, dtype=np.int64))
        return type(self)(take(self.values, rows), offsets)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Ragged) or not np.array_equal(self.offsets, other.offsets):
            return False
        if isinstance(self.values, Ragged) or isinstance(other.values, Ragged):
            return bool(self.values == other.values)
        return np.array_equal(self.values, other.values)

    __hash__ = None  # type: ignore[assignment]

    def arrays(self) -> Iterator[np.ndarray]:
        """What it is made of: for hashes and files."""
        yield self.offsets
        if isinstance(self.values, Ragged):
            yield from self.values.arrays()
        else:
            yield self.values


def take(values: Any, index: np.ndarray) -> Any:
    """Rows `index` of an array, or sequences `index` of a Ragged."""
    return values.take(index) if isinstance(values, Ragged) else values[index]


def concat(parts: Iterable[Ragged]) -> Ragged:
    """Several in a row."""
    parts = list(parts)
    shifts = np.cumsum([0, *(part.offsets[-1] for part in parts)])
    offsets = [np.zeros(1, np.int64), *(part.offsets[1:] + shift for part, shift in zip(parts, shifts, strict=False))]
    inner = [part.values for part in parts]
    values = concat(inner) if isinstance(inner[0], Ragged) else np.concatenate(inner)
    return Ragged(values, np.concatenate(offsets))

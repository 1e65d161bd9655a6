"""What lies in each image: boxes, outlines, masks and keypoints of M objects in N images, packed into flat arrays.

Objects are sorted by image: those of image i are the rows offsets[i] … offsets[i + 1] − 1. Coordinates are pixels of
the source image as it is shown (EXIF applied), (0, 0) its top left corner and (W, H) its bottom right one; a box is
(x0, y0, x1, y1). What a file says is kept as it says it, faults too: `data/faults.py` finds them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

import numpy as np

from hubel.data.images import PackedNames
from hubel.data.ragged import Ragged, concat, rows_of, take

CROWD, DIFFICULT, TRUNCATED, OCCLUDED = 1, 2, 4, 8  # bits of `flags`


def _none() -> np.ndarray:
    return np.empty(0)


@dataclass(frozen=True)
class Skeleton:
    """The J keypoints of one kind of object."""

    names: tuple[str, ...]  # "nose", "left_eye" …; numbers from 1 where the file has none
    edges: tuple[tuple[int, int], ...] = ()  # pairs of positions, joined when drawn
    swaps: tuple[int, ...] = ()  # which keypoint each becomes in a mirror; () = left_… and right_… by name

    def mirrored(self) -> np.ndarray:
        """(J,) int64: keypoint j of a mirrored image is keypoint mirrored()[j] of the image."""
        if self.swaps:
            return np.array(self.swaps, dtype=np.int64)
        twins = {name.lower(): j for j, name in enumerate(self.names)}
        return np.array([twins.get(_twin(name), j) for j, name in enumerate(self.names)], dtype=np.int64)


def _twin(name: str) -> str:
    lower = name.lower()
    for one, other in (("left", "right"), ("right", "left")):
        if one in lower:
            return lower.replace(one, other)
    return lower


@dataclass(frozen=True, eq=False)
class Objects:
    """M objects in N images. An empty array or None in an optional column means that no object has it."""

    offsets: np.ndarray  # (N + 1,) int64
    boxes: np.ndarray  # (M, 4) float64 x0, y0, x1, y1; NaN where an object has none
    labels: np.ndarray  # (M,) int64: position in Dataset.classes; −1 where the file names a class that it never lists
    flags: np.ndarray = field(default_factory=_none)  # (M,) uint8: CROWD | DIFFICULT | TRUNCATED | OCCLUDED
    outlines: Ragged | None = None  # M sequences of rings; a ring is (P, 2) float32 points, closed from last to first
    runs: Ragged | None = None  # M sequences of uint32: lengths of runs, zeros first, down the columns (COCO's RLE)
    keypoints: np.ndarray = field(default_factory=_none)  # (M, J, 3) float32 x, y, v; v: 0 none, 1 hidden, 2 visible
    areas: np.ndarray = field(default_factory=_none)  # (M,) float64 as the file says; NaN where it does not
    ids: np.ndarray = field(default_factory=_none)  # (M,) int64 as in the file
    lines: np.ndarray = field(default_factory=_none)  # (M,) int64: the line or the entry in its file, from 1
    skeleton: Skeleton | None = None
    files: PackedNames | None = None  # N names, relative to the source: where each image's objects are written down

    def __post_init__(self) -> None:
        m = len(self.labels)
        if self.offsets[0] != 0 or self.offsets[-1] != m or (np.diff(self.offsets) < 0).any():
            raise ValueError(f"offsets must rise from 0 to {m}, the number of objects")
        for name, column in self._columns():
            if len(column) != m:
                raise ValueError(f"{m} objects but {len(column)} values in '{name}'")
        if self.files is not None and len(self.files) != len(self):
            raise ValueError(f"{len(self)} images but {len(self.files)} names of annotation files")
        if m and self.boxes.shape != (m, 4):
            raise ValueError(f"boxes must be ({m}, 4), got {self.boxes.shape}")

    def _columns(self) -> Iterator[tuple[str, Any]]:
        """Every column that is there, boxes and labels first."""
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name in ("offsets", "skeleton", "files") or value is None:
                continue
            if len(value) or one.name in ("boxes", "labels"):
                yield one.name, value

    def __len__(self) -> int:
        """N, the number of images: an annotation column like any other."""
        return len(self.offsets) - 1

    @property
    def count(self) -> int:
        """M, the number of objects."""
        return len(self.labels)

    @property
    def counts(self) -> np.ndarray:
        """(N,) objects per image."""
        return np.diff(self.offsets)

    @property
    def images(self) -> np.ndarray:
        """(M,) int64: the image of each object."""
        return np.repeat(np.arange(len(self)), self.counts)

    def take(self, index: np.ndarray) -> Self:
        """The objects of the images `index` (n,), in that order: image k of the result is image index[k]."""
        rows, offsets = rows_of(self.offsets, np.asarray(index, dtype=np.int64))
        files = None if self.files is None else self.files.take(index)
        columns = {name: take(column, rows) for name, column in self._columns()}
        return replace(self, offsets=offsets, files=files, **columns)

    def where(self, keep: np.ndarray) -> Self:
        """Only the objects with keep (M,) True; the images stay."""
        rows = np.flatnonzero(keep)
        counts = np.bincount(self.images[rows], minlength=len(self))
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return replace(self, offsets=offsets, **{name: take(column, rows) for name, column in self._columns()})

    def sorted_by(self, images: np.ndarray, count: int) -> Self:
        """Objects in any order, object m lying in image images[m] of `count` -> packed by image, order kept within."""
        order = np.argsort(images, kind="stable")
        counts = np.bincount(images, minlength=count)
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return replace(self, offsets=offsets, **{name: take(column, order) for name, column in self._columns()})

    def renumbered(self, number: np.ndarray) -> Self:
        """With labels as positions in another list of classes: class k becomes number[k]; −1 stays."""
        return replace(self, labels=np.where(self.labels < 0, -1, number[self.labels]))

    def digest(self) -> bytes:
        """Changes when anything that is learnt from changes: where it is written down does not count."""
        seen = hashlib.blake2b(repr((len(self), self.skeleton)).encode(), digest_size=16)
        seen.update(np.ascontiguousarray(self.offsets).data)
        for name, column in self._columns():
            if name == "lines":
                continue
            for array in column.arrays() if isinstance(column, Ragged) else (column,):
                seen.update(f"{name} {array.shape} {array.dtype}".encode())
                seen.update(np.ascontiguousarray(array).data)
        return seen.digest()

    @classmethod
    def unsorted(cls, images: np.ndarray, count: int, *, labels: np.ndarray, **columns: Any) -> Self:
        """From columns (M, …) in any order and the image (M,) of each, for `count` images."""
        first = cls(np.array([0, len(labels)], dtype=np.int64), labels=labels, **columns)
        return first.sorted_by(np.asarray(images, dtype=np.int64), count)


def join(parts: list[Objects]) -> Objects:
    """Several in a row, images after images; a column is kept where all parts that have objects have it."""
    full = [part for part in parts if part.count] or parts[:1]
    names = set.intersection(*({name for name, _ in part._columns()} for part in full))
    columns: dict[str, Any] = {}
    for name in sorted(names):
        values = [getattr(part, name) for part in full]
        columns[name] = concat(values) if isinstance(values[0], Ragged) else np.concatenate(values)
    offsets = np.concatenate([[0], np.cumsum(np.concatenate([part.counts for part in parts]))]).astype(np.int64)
    return Objects(offsets, skeleton=full[0].skeleton, files=_join_files(parts), **columns)


def _join_files(parts: list[Objects]) -> PackedNames | None:
    known = [part.files for part in parts if part.files is not None]
    return PackedNames.concat(known) if len(known) == len(parts) else None

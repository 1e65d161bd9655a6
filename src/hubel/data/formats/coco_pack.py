"""Chunks of entries -> flat arrays: what 2,048 Python objects say goes to NumPy before the next ones are read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np

from hubel.data import rle
from hubel.data.formats.coco_entries import NO_ID, Entry, RunLengths
from hubel.data.objects import CROWD, Objects, Skeleton
from hubel.data.ragged import Ragged, concat

NOWHERE = (np.nan,) * 4


@dataclass(frozen=True)
class Table:
    """From the numbers that a file gives to positions."""

    numbers: np.ndarray  # (n,) int64, rising
    positions: np.ndarray  # (n,) int64

    @classmethod
    def of(cls, numbers: Sequence[int] | np.ndarray, first: int = 0) -> Table:
        """Number k stands for position first + k."""
        array = np.asarray(numbers, dtype=np.int64)
        order = np.argsort(array, kind="stable")
        return cls(array[order], order + first)

    def find(self, wanted: np.ndarray) -> np.ndarray:
        """(m,) numbers -> (m,) positions, −1 where there is none."""
        if not len(self.numbers):
            return np.full(len(wanted), -1, np.int64)
        place = np.minimum(np.searchsorted(self.numbers, wanted), len(self.numbers) - 1)
        return np.where(self.numbers[place] == wanted, self.positions[place], -1)


def doubtful(entries: Sequence[Entry]) -> bool:
    """Whether one of them says something that its types allow and COCO does not."""
    rings = [len(ring) for e in entries if type(e.segmentation) is list for ring in e.segmentation]
    return (
        None in [e.bbox for e in entries]
        or NO_ID in [e.id for e in entries]
        or not {e.iscrowd for e in entries} <= {0, 1}
        or bool((np.array(rings, dtype=np.int64) % 2).any())
        or any(len(e.keypoints) % 3 for e in entries if e.keypoints)
    )


@dataclass
class Columns:
    """The columns of all objects read so far, in chunks."""

    chunks: dict[str, list[np.ndarray]] = field(default_factory=lambda: defaultdict(list))

    def add(self, entries: Sequence[Entry], images: np.ndarray, labels: np.ndarray, lines: np.ndarray) -> list[str]:
        """n entries; images, labels and lines (n,) of each. Gives what is wrong with each mask, "" for nothing."""
        places = chain.from_iterable(NOWHERE if e.bbox is None else e.bbox for e in entries)
        boxes = np.fromiter(places, np.float64, 4 * len(entries)).reshape(-1, 4)
        with np.errstate(over="ignore", invalid="ignore"):
            boxes[:, 2:] += boxes[:, :2]
        self._put(
            images=images,
            labels=labels,
            lines=lines,
            boxes=boxes,
            ids=np.array([e.id for e in entries], np.int64),
            flags=np.array([e.iscrowd for e in entries], np.uint8) * np.uint8(CROWD),
            areas=np.array([np.nan if e.area is None else e.area for e in entries], np.float64),
        )
        self._add_rings([e.segmentation if type(e.segmentation) is list else [] for e in entries])
        self._add_keypoints([e.keypoints or [] for e in entries])
        return self._add_runs([e.segmentation if type(e.segmentation) is RunLengths else None for e in entries])

    def _put(self, **arrays: np.ndarray) -> None:
        for name, array in arrays.items():
            self.chunks[name].append(array)

    def _add_rings(self, outlines: Sequence[list[list[float]]]) -> None:
        rings = list(chain.from_iterable(outlines))
        numbers = np.fromiter(map(len, rings), np.int64, len(rings))
        with np.errstate(over="ignore"):
            points = np.fromiter(chain.from_iterable(rings), np.float32, int(numbers.sum()))
        self._put(points=points, ring_points=numbers // 2, object_rings=np.array([len(o) for o in outlines], np.int64))

    def _add_keypoints(self, keypoints: Sequence[list[float]]) -> None:
        counts = np.array([len(k) // 3 for k in keypoints], np.int64)
        with np.errstate(over="ignore"):
            values = np.fromiter(chain.from_iterable(keypoints), np.float32, 3 * int(counts.sum()))
        self._put(keypoints=values, object_keypoints=counts)

    def _add_runs(self, masks: Sequence[RunLengths | None]) -> list[str]:
        """Texts are read together; those that are numbers already follow, and all go back to their places."""
        texts = [(k, m.counts) for k, m in enumerate(masks) if m is not None and isinstance(m.counts, str)]
        lists = [(k, m.counts) for k, m in enumerate(masks) if m is not None and isinstance(m.counts, list)]
        found, said = rle.from_texts([text for _, text in texts])
        both = concat([found, Ragged.pack([np.array(one, np.uint32) for _, one in lists], np.empty(0, np.uint32))])
        order = np.array([k for k, _ in (*texts, *lists)], np.int64)
        counts = np.zeros(len(masks), np.int64)
        counts[order] = both.counts
        self._put(runs=both.take(np.argsort(order)).values, object_runs=counts)
        faults = [""] * len(masks)
        for (k, _), fault in zip(texts, said, strict=True):
            faults[k] = fault
        return faults

    # Joined ------------------------------------------------------------------------------------------------------

    def objects(self, count: int, skeleton: Skeleton | None) -> Objects:
        """All of them, sorted by image, for `count` images. The chunks are gone afterwards."""
        columns: dict[str, Any] = {name: self._join(name) for name in ("labels", "boxes", "ids", "lines", "areas")}
        columns["boxes"] = columns["boxes"].astype(np.float64, copy=False).reshape(-1, 4)
        columns["areas"] = columns["areas"].astype(np.float64, copy=False)
        flags = self._join("flags").astype(np.uint8, copy=False)
        if flags.any():
            columns["flags"] = flags
        columns["outlines"], columns["runs"] = self._outlines(), self._runs()
        points = self._keypoints(len(skeleton.names) if skeleton else 0)
        if points is not None:
            columns["keypoints"] = points
        images = self._join("images")
        if (np.diff(images) < 0).any():
            return Objects.unsorted(images, count, skeleton=skeleton, **columns)
        offsets = np.searchsorted(images, np.arange(count + 1)).astype(np.int64)
        return Objects(offsets, skeleton=skeleton, **columns)

    def most_keypoints(self) -> int:
        """J of the object that has most."""
        return max((int(part.max(initial=0)) for part in self.chunks["object_keypoints"]), default=0)

    def _join(self, name: str) -> np.ndarray:
        parts = self.chunks.pop(name, [])
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)

    def _outlines(self) -> Ragged | None:
        points = self._join("points").astype(np.float32, copy=False).reshape(-1, 2)
        rings, objects = _offsets(self._join("ring_points")), _offsets(self._join("object_rings"))
        return Ragged(Ragged(points, rings), objects) if len(rings) > 1 else None

    def _runs(self) -> Ragged | None:
        values = self._join("runs").astype(np.uint32, copy=False)
        counts = self._join("object_runs")
        return Ragged(values, _offsets(counts)) if len(values) else None

    def _keypoints(self, most: int) -> np.ndarray | None:
        """(M, J, 3); zeros where an object has none."""
        values, counts = self._join("keypoints").astype(np.float32, copy=False), self._join("object_keypoints")
        if not most or not len(counts):
            return None
        found = np.zeros((len(counts), most, 3), np.float32)
        found[np.arange(most) < counts[:, None]] = values.reshape(-1, 3)
        return found


def _offsets(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

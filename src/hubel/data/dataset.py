"""Images plus annotations plus class names plus splits: what a training is given.

An index of flat arrays, so that memory does not grow with workers: `annotations["label"]` (N,) int64 for one of K
classes, `["labels"]` (N, K) float32 for several of K, `["numbers"]` (N, D) float32 for regression, `["group"]` (N,)
int64 for what must stay together in one split, `["objects"]` Objects (boxes, outlines, keypoints), `["mask"]` Masks
(a class for every pixel), `["image_id"]` (N,) int64 and `["declared_size"]` (N, 2) int64 as annotation files say them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self

import numpy as np
import torch

from hubel.data.findings import Finding, in_short
from hubel.data.images import Images
from hubel.data.objects import Objects
from hubel.errors import UserError, close_to, did_you_mean

SPLITS = ("train", "train-dev", "dev", "test")
FOUND = "found"  # the trait of a dataset that was made of another one: the other one's hash


class Column(Protocol):
    """Annotations of N images that are no plain array: Objects, Masks. Picklable, and small to pickle or packed."""

    def __len__(self) -> int: ...

    def take(self, index: np.ndarray) -> Self:
        """Those of the images `index` (n,), in that order."""
        ...

    def digest(self) -> bytes:
        """Changes when the annotations change."""
        ...


@dataclass(frozen=True)
class Bad:
    """A file that takes no part, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Dataset:
    """N images and what is known about them; positions 0 … N − 1 never change, whatever is left out."""

    name: str  # "digits", "cifar10_dev": names the run folder
    images: Images
    annotations: Mapping[str, Any]  # arrays (N, …) or Columns
    classes: tuple[str, ...] = ()
    splits: Mapping[str, np.ndarray] = field(default_factory=dict)  # int64 positions; {} = not split yet
    weights: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))  # (N,) 1 unless given; 0: left out
    source: str = ""  # resolved path or built-in name
    format: str = "python"  # "folder", "idx", "npz", "built-in", "python"
    notes: tuple[str, ...] = ()  # what was recognised and why: printed before training
    quarantine: tuple[Bad, ...] = ()
    traits: Mapping[str, Any] = field(default_factory=dict)  # {"mirror": False}: a flip changes the label
    findings: tuple[Finding, ...] = ()  # what the reader of the format found wrong in the annotations
    tables: Mapping[str, np.ndarray] = field(default_factory=dict)  # not per image: "pairs" (P, 3) image, image, same

    def __post_init__(self) -> None:
        n = len(self.images)
        if n and not self.weights.size:
            object.__setattr__(self, "weights", np.ones(n, np.float32))
        for column, values in {**self.annotations, "weights": self.weights}.items():
            if len(values) != n:
                raise UserError(
                    f"{self.name}: {n:,} images but {len(values):,} values in '{column}'. "
                    "Give one per image, in the same order."
                )
        if n and not (np.isfinite(self.weights).all() and (np.asarray(self.weights) >= 0).all()):
            raise UserError(
                f"{self.name}: weights of examples are {np.min(self.weights)} … {np.max(self.weights)}; expected "
                "finite numbers from 0 on, 1 for an ordinary example."
            )
        self._check_labels()
        for part, index in self.splits.items():
            if part not in SPLITS:
                raise UserError(
                    f"{self.name}: a split is one of {', '.join(SPLITS)}; got '{part}'{close_to(part, SPLITS)}"
                )
            if len(index) and not 0 <= index.min() <= index.max() < n:
                raise UserError(f"{self.name}: the split '{part}' names images beyond 0 … {n - 1}.")

    def _check_labels(self) -> None:
        labels = self.annotations.get("label")
        if labels is None or not len(labels):
            return
        if labels.min() < 0 or labels.max() >= len(self.classes):
            raise UserError(
                f"{self.name}: labels must be 0 … {len(self.classes) - 1} for {len(self.classes)} classes; "
                f"found {labels.min()} … {labels.max()}. Number the classes from 0."
            )

    def __repr__(self) -> str:
        classes = f", {len(self.classes)} classes" if self.classes else ""
        parts = ", ".join(f"{part} {len(index):,}" for part, index in self.splits.items()) or "no parts yet"
        return f"<Dataset {self.name}: {len(self):,} images{classes}; {parts}; {', '.join(self.annotations) or 'bare'}>"

    def __len__(self) -> int:
        return len(self.images)

    def remarks(self, example: bool = True) -> tuple[str, ...]:
        """What a training says of the data before it begins: the notes, and in short what was found wrong."""
        return (*self.notes, *filter(None, [in_short(self.findings, example)]))

    def take(self, column: str, index: np.ndarray) -> Any:
        """The annotations of the images `index` (n,): a tensor (n, …), or the Column of these images.

        Raises UserError where the dataset has no such column.
        """
        if column not in self.annotations:
            known = ", ".join(f"'{name}'" for name in self.annotations) or "nothing"
            raise UserError(
                f"{self.name} has no '{column}' for its images, only {known}{did_you_mean(column, self.annotations)}. "
                "Choose another task, or give the annotations that it needs."
            )
        values = self.annotations[column]
        return torch.from_numpy(np.ascontiguousarray(values[index])) if is_array(values) else values.take(index)

    def with_splits(self, splits: Mapping[str, np.ndarray], *notes: str) -> Self:
        """The same images in other parts; `notes` are added to those that are printed."""
        arrays = {name: np.asarray(index, dtype=np.int64) for name, index in splits.items()}
        return replace(self, splits=arrays, notes=(*self.notes, *notes))

    def with_classes(self, classes: tuple[str, ...]) -> Self:
        """Labels renumbered as a network knows them, by name. UserError for classes that it doesn't know."""
        unknown = [name for name in self.classes if name not in classes]
        if unknown:
            raise UserError(
                f"{self.name} has classes that the network doesn't know: {', '.join(unknown[:5])}. It knows "
                f"{', '.join(classes[:10])}{' …' if len(classes) > 10 else ''}."
            )
        if self.classes == classes:
            return self
        number = np.array([classes.index(name) for name in self.classes], dtype=np.int64)
        columns = dict(self.annotations)
        if "label" in columns:
            columns["label"] = number[columns["label"]]
        if "labels" in columns:
            wide = np.zeros((len(self), len(classes)), columns["labels"].dtype)
            wide[:, number] = columns["labels"]
            columns["labels"] = wide
        if isinstance(columns.get("objects"), Objects):
            columns["objects"] = columns["objects"].renumbered(number)
        if "mask" in columns:
            columns["mask"] = _masks_with(columns["mask"], self.classes, classes)
        return replace(self, annotations=columns, classes=classes)

    def without(self, positions: np.ndarray, bad: tuple[Bad, ...]) -> Self:
        """The same dataset with the images at `positions` left out: weight 0, in no split, in quarantine."""
        weights = self.weights.copy()
        weights[positions] = 0
        splits = {name: index[~np.isin(index, positions)] for name, index in self.splits.items()}
        return replace(self, weights=weights, splits=splits, quarantine=(*self.quarantine, *bad))

    def usable(self) -> np.ndarray:
        """(n,) int64 positions whose weight is above 0."""
        return np.flatnonzero(self.weights > 0)

    def hash(self) -> str:
        """32 hexadecimal digits: of the pixels, or name, size and time of the files; of annotations and classes."""
        seen = hashlib.blake2b(self.images.digest(), digest_size=16)
        seen.update(repr(self.classes).encode("utf-8", "surrogateescape"))
        for column in sorted(self.annotations):
            if not is_array(self.annotations[column]):
                seen.update(column.encode() + self.annotations[column].digest())
                continue
            values = np.ascontiguousarray(self.annotations[column])
            seen.update(f"{column} {values.shape} {values.dtype}".encode())
            seen.update(values.data)
        if (self.weights != 1).any():
            seen.update(np.ascontiguousarray(self.weights, dtype=np.float32).data)
        return seen.hexdigest()


def _masks_with(masks: Any, before: tuple[str, ...], classes: tuple[str, ...]) -> Any:
    """Masks with the numbers of `classes`; what no object is of (a background that `before` lacks) stays in front."""
    wanted = (*(name for name in masks.classes if name not in before), *classes)
    number = np.array([wanted.index(name) for name in masks.classes], dtype=np.int64)
    return masks.renumbered(number, wanted)


def is_array(values: Any) -> bool:
    """Whether an annotation is a plain array (N, …), not a Column."""
    return isinstance(values, np.ndarray)

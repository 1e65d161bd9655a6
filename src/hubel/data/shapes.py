"""Drawn data of any size for tests and demonstrations, with exact annotations: figures in scenes, and faces.

    shapes(count=1000, size=64, seed=0, kind="scenes", classes=8, most=5)

Image i is a pure function of (seed, i, size, kind, classes, most): a larger count only adds images. Nothing is kept
but these numbers; every read draws anew. kind is what is annotated:

    scenes        everything below together, but `label`
    detection     objects: boxes, outlines, five keypoints each, flags (occluded, truncated), areas
    segmentation  mask: a class for every pixel, "background" the first
    labels        labels (N, K): which figures are there
    counts        numbers (N, K): how many of each
    classes       label: the largest figure, by far
    faces         label: whose face it is, ten pictures each; objects with one face and its keypoints; parts that share
                  no identity; tables["pairs"] of the test part
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from hubel.data import faces, figures
from hubel.data.dataset import Dataset
from hubel.data.drawn import EACH, Drawn, DrawnImages, DrawnMasks
from hubel.data.objects import OCCLUDED, TRUNCATED, Objects
from hubel.data.ragged import Ragged
from hubel.data.sides import sides_of, within
from hubel.errors import UserError, did_you_mean

KINDS = {
    "scenes": ("objects", "mask", "labels", "numbers"),
    "detection": ("objects",),
    "segmentation": ("mask",),
    "labels": ("labels",),
    "counts": ("numbers",),
    "classes": ("label",),
    "faces": ("label", "objects"),
}


def shapes(
    count: int = 1000, size: str | int | tuple[int, int] = "64", seed: int = 0, kind: str = "scenes",
    classes: int = 8, most: int = 5,
) -> Dataset:  # fmt: skip
    """`count` images of `size` pixels ("64", "48x96" height by width) with up to `most` figures of `classes` kinds.

    Raises UserError for an unknown kind, and numbers out of range.
    """
    if kind not in KINDS:
        raise UserError(f"shapes: there is no kind '{kind}'{did_you_mean(kind, KINDS)}")
    height, width = sides_of("shapes", size)
    within("shapes", "count", count, 1, 10_000_000)
    within("shapes", "classes", classes, 2, len(figures.NAMES))
    within("shapes", "most", most, 1, 50)
    drawn = Drawn(int(seed), height, width, kind == "faces", classes, most)
    return (_faces if kind == "faces" else _scenes)(drawn, count, kind)


# Scenes ----------------------------------------------------------------------------------------------------------


def _scenes(drawn: Drawn, count: int, kind: str) -> Dataset:
    names = figures.NAMES[: drawn.classes]
    everything = ("background", *names)
    makers: dict[str, Callable[[], Any]] = {
        "objects": lambda: _objects(drawn, count),
        "mask": lambda: DrawnMasks.of(drawn, np.arange(count), everything),
        "labels": lambda: (_counts(drawn, count) > 0).astype(np.float32),
        "numbers": lambda: _counts(drawn, count).copy(),
        "label": lambda: np.array([drawn.scene(i).placed[0].kind for i in range(count)], np.int64),
    }
    return Dataset(
        "shapes" if kind == "scenes" else f"shapes-{kind}",
        DrawnImages(drawn, count),
        {column: makers[column]() for column in KINDS[kind]},
        everything if kind == "segmentation" else names,
        source=f"drawn: shapes, kind {kind}",
        format="built-in",
        notes=(f"{count:,} drawn scenes of {drawn.height} x {drawn.width} pixels, seed {drawn.seed}",),
        traits={"mirror": True},
    )


@functools.lru_cache(maxsize=4)
def _objects(drawn: Drawn, count: int) -> Objects:
    """Everything about every figure of all scenes."""
    boxes, labels, flags, rings, points, areas, images = [], [], [], [], [], [], []
    for i in range(count):
        scene = drawn.scene(i)
        for k, one in enumerate(scene.placed):
            boxes.append(scene.box(k))
            labels.append(one.kind)
            covered, leaves = scene.hidden[k]
            flags.append(OCCLUDED * covered | TRUNCATED * leaves)
            rings.append(scene.rings(k))
            points.append(scene.keypoints(k))
            areas.append(int(scene.visible(k).sum()))
            images.append(i)
    return Objects.unsorted(
        np.array(images),
        count,
        boxes=np.array(boxes, np.float64),
        labels=np.array(labels, np.int64),
        flags=np.array(flags, np.uint8),
        outlines=Ragged.pack_nested(rings, np.empty((0, 2), np.float32)),
        keypoints=np.array(points, np.float32),
        areas=np.array(areas, np.float64),
        skeleton=figures.SKELETON,
    )


@functools.lru_cache(maxsize=4)
def _counts(drawn: Drawn, count: int) -> np.ndarray:
    """(N, K) float32: how many figures of each class."""
    kinds = [[one.kind for one in drawn.scene(i).placed] for i in range(count)]
    return np.array([np.bincount(one, minlength=drawn.classes) for one in kinds], np.float32)


# Faces -----------------------------------------------------------------------------------------------------------


def _faces(drawn: Drawn, count: int, kind: str) -> Dataset:
    identity = np.arange(count, dtype=np.int64) // EACH
    part = np.array(["train", "train", "train", "dev", "test"])[identity % 5]  # of an identity, whatever the count
    splits = {name: np.flatnonzero(part == name) for name in ("train", "dev", "test") if (part == name).any()}
    people = int(identity[-1]) + 1
    return Dataset(
        "shapes-faces",
        DrawnImages(drawn, count),
        {"label": identity, "objects": _face_objects(drawn, count)},
        tuple(f"person {k + 1}" for k in range(people)),
        splits,
        source="drawn: shapes, kind faces",
        format="built-in",
        notes=(
            f"{count:,} drawn faces of {people:,} people, {drawn.height} x {drawn.width} pixels, seed {drawn.seed}",
            "each person is in one part only",
        ),
        traits={"mirror": True, "identities": True},
        tables={"pairs": _pairs(splits.get("test", np.empty(0, np.int64)), identity)},
    )


@functools.lru_cache(maxsize=4)
def _face_objects(drawn: Drawn, count: int) -> Objects:
    """One face an image. Its class is the person."""
    limit = (drawn.width, drawn.height)
    seen = [drawn.face(i) for i in range(count)]
    outlines = [np.clip(faces.outline(*one), 0, limit) for one in seen]
    points = [np.column_stack([np.clip(faces.keypoints(*one), 0, limit), np.full(5, 2.0)]) for one in seen]
    return Objects(
        np.arange(count + 1, dtype=np.int64),
        boxes=np.array([[*one.min(0), *one.max(0)] for one in outlines]),
        labels=np.arange(count, dtype=np.int64) // EACH,
        outlines=Ragged.pack_nested([[one] for one in outlines], np.empty((0, 2), np.float32)),
        keypoints=np.array(points, np.float32),
        skeleton=faces.SKELETON,
    )


def _pairs(index: np.ndarray, identity: np.ndarray) -> np.ndarray:
    """(P, 3) image, image, same: each of `index` with the next of its person, and with one of the next person."""
    found = []
    for k, i in enumerate(index.tolist()):
        after = index[(k + 1) % len(index)] if k + 1 < len(index) and identity[index[k + 1]] == identity[i] else -1
        other = index[(k + EACH) % len(index)]
        found += [(i, after, 1)] * bool(after >= 0) + [(i, other, 0)] * bool(identity[other] != identity[i])
    return np.array(found, np.int64).reshape(-1, 3)

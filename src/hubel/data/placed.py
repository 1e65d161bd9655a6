"""Annotations where the pixels of their images went: Objects and Masks of S images -> those of a batch's B scenes.

A scene is one image or several: layers, each with its move. Whoever reads the pixels does this too.

An object is dropped where a finding on it is an error (`faults.sound`: a class that its file never lists, a box that is
inverted, of no area or outside its image, a number that is none, run lengths of another size), or where the batch's
image shows less than a tenth of it, or less than one pixel² (`ops.follow.Rules`); of a crowd any part counts. An image
that cannot be read has no objects, and 255 everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hubel.data.collage import cut_out, lay_over, outline_mask, together, with_runs
from hubel.data.decode import BadImage
from hubel.data.faults import sound
from hubel.data.masks import IGNORE
from hubel.data.moved import move_objects
from hubel.data.objects import CROWD, Objects, join
from hubel.data.targets import Instances, PlacedMasks, objects_of
from hubel.ops.follow import Move

BACKGROUND = "background"  # the class of pixels that is never copied onto another image


# Scenes ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layer:
    """One image of a scene."""

    row: int  # among the images of the columns
    move: Move
    pasted: bool = False  # only the objects that were chosen, on top of everything


@dataclass(frozen=True, eq=False)
class Scene:
    """What one image of the batch is made of, from the bottom to the top; nothing where its image can't be read."""

    layers: tuple[Layer, ...] = ()
    coins: Callable[[int], np.ndarray] = lambda count: np.zeros(count, bool)  # which of so many things are copied
    covered: np.ndarray | None = None  # (h, w) bool: the pixels of what is pasted


def cover(columns: Sequence[Any], layer: Layer, coins: Callable[[int], np.ndarray]) -> np.ndarray:
    """(h, w) bool: the pixels of what is copied from an image: objects, else, where there are only masks, classes.

    Each by the toss of a coin. Crowds and the background are never copied.
    """
    column = next((one for one in columns if isinstance(one, Objects | Instances)), None)
    if column is not None:
        return _copied(objects_of(column), layer, coins)[1]
    masks = columns[0]
    chosen = coins(len(masks.classes)) & np.array([name != BACKGROUND for name in masks.classes])
    try:
        return np.isin(layer.move.mask(masks.read(layer.row), IGNORE), np.flatnonzero(chosen))
    except (BadImage, OSError):
        return np.zeros(layer.move.size, bool)


def _copied(objects: Objects, layer: Layer, coins: Callable[[int], np.ndarray]) -> tuple[Objects, np.ndarray]:
    """The objects of a layer that are copied, in target pixels, and what they cover."""
    own = objects.take(np.array([layer.row]))
    own = own.where(sound(own, np.array([layer.move.size_in])))
    single = (own.flags & CROWD == 0) if len(own.flags) else np.ones(own.count, bool)
    moved = move_objects(own.where(coins(own.count) & single), [layer.move])
    return cut_out(moved, layer.move.size)


def place(
    columns: Sequence[Any],
    scenes: Sequence[Scene],
    size: tuple[int, int],
    whole: bool = False,
    memory: dict[Any, np.ndarray] | None = None,
    index: np.ndarray | None = None,
) -> tuple[list[Any], dict[int, str]]:
    """The columns as B images of `size` (h, w) show them; and of images (rows) whose mask can't be read the reason.

    `whole` keeps masks in source pixels too: B images of one layer each. `memory` keeps masks by `index`, their
    position in the dataset.
    """
    faults: dict[int, str] = {}
    placed: list[Any] = []
    layers = [layer for scene in scenes for layer in scene.layers]
    for number, column in enumerate(columns):
        if isinstance(column, Instances):
            placed.append(_instances(_placed(_sound(column.objects, layers), scenes), size))
        elif isinstance(column, Objects):
            placed.append(_placed(_sound(column, layers), scenes))
        else:
            read = _Reading(column, faults, memory, number, index)
            values = np.stack([_mask(read, scene, size) for scene in scenes])
            source = tuple(read.one(k) for k in range(len(scenes))) if whole else None
            placed.append(PlacedMasks(values, source))
    return placed, faults


def _sound(objects: Objects, layers: Iterable[Layer]) -> Objects:
    """Without the objects that are at fault, in the images of these layers."""
    sizes = np.zeros((len(objects), 2), np.int64)
    for layer in layers:
        sizes[layer.row] = layer.move.size_in
    good = sound(objects, sizes)
    return objects if good.all() else objects.where(good)


def _placed(objects: Objects, scenes: Sequence[Scene]) -> Objects:
    found = [_scene(objects, scene) for scene in scenes]
    covered = any(scene.covered is not None for scene in scenes)  # what is left of an object is a run-length mask
    return join([with_runs(one) for one in found] if covered else found)


def _scene(objects: Objects, scene: Scene) -> Objects:
    """The objects of one scene, as those of one image."""
    none = objects.take(np.array([0])).where(np.zeros(int(objects.counts[0]), bool))
    found = none
    for layer in scene.layers:
        if layer.pasted and scene.covered is not None:
            found = lay_over(found, _copied(objects, layer, scene.coins)[0], scene.covered)
        elif not layer.pasted:
            moved = move_objects(objects.take(np.array([layer.row])), [layer.move])
            found = together([found, moved]) if found.count else moved
    return found


def _instances(objects: Objects, size: tuple[int, int]) -> Instances:
    masks = [outline_mask(objects, m, size) for m in range(objects.count)]
    return Instances(objects, np.stack(masks) if masks else np.zeros((0, *size), bool))


@dataclass(frozen=True)
class _Reading:
    """Masks of a column by row; those that can't be read are 255."""

    column: Any
    faults: dict[int, str]
    memory: dict[Any, np.ndarray] | None
    number: int
    index: np.ndarray | None

    def one(self, row: int) -> np.ndarray:
        """(H, W) uint8; (0, 0) where it can't be read."""
        key = None if self.memory is None or self.index is None else (self.number, int(self.index[row]))
        if key is None or self.memory is None:
            return self._read(row)
        if key not in self.memory:
            self.memory[key] = self._read(row)
        return self.memory[key]

    def _read(self, row: int) -> np.ndarray:
        try:
            return self.column.read(row)
        except (BadImage, OSError) as fault:
            self.faults[row] = f"its mask: {fault}"
            return np.zeros((0, 0), np.uint8)


def _mask(read: _Reading, scene: Scene, size: tuple[int, int]) -> np.ndarray:
    canvas = np.full(size, IGNORE, np.uint8)
    for layer in scene.layers:
        mask = read.one(layer.row)
        fits = mask.shape == layer.move.size_in
        moved = layer.move.mask(mask, IGNORE) if fits else np.full(size, IGNORE, np.uint8)
        if layer.pasted and scene.covered is not None:
            canvas[scene.covered] = moved[scene.covered]
        elif not layer.pasted:
            x0, y0, x1, y1 = (round(v) for v in layer.move.window)
            canvas[y0:y1, x0:x1] = moved[y0:y1, x0:x1]
    return canvas

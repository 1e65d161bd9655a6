"""Drawn tissue of any size: cells that touch, with thin borders between them, as an electron microscope shows them.

    membranes(count=200, size=128, seed=0, cell=24, thickness=2)

Cells are the regions of a Voronoi diagram (each pixel belongs to the nearest of jittered, warped centres); a pixel is
border where it lies within thickness / 2 of the line between two cells, so a border is that thin everywhere. What
makes it hard: each pair of cells has a border of its own darkness, some hardly visible; dark specks inside cells look
like pieces of borders; noise. Some cells are missing: a gap is border too. Image i is a pure function of seed, i, size,
cell and thickness. Masks: 0 "border", 1 "cell"; of five images three train, one is dev, one test.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import astuple, dataclass

import cv2
import numpy as np

from hubel.data.dataset import Dataset
from hubel.data.drawn import DrawnImages, DrawnMasks, rng_of
from hubel.data.sides import sides_of, within

VERSION = 1  # of what is drawn: a change makes other data of it
CLASSES = ("border", "cell")
PARTS = ("train", "train", "train", "dev", "test")
NEAR = [(dy, dx) for dy in range(-2, 3) for dx in range(-2, 3)]  # centres that can be nearest, in cells of the grid


def membranes(count: int = 200, size: str | int | tuple[int, int] = "128", seed: int = 0, cell: int = 24,
              thickness: int = 2) -> Dataset:  # fmt: skip
    """`count` grey images of `size` pixels ("128", "96x160" height by width), cells of about `cell` pixels.

    Raises UserError for numbers out of range.
    """
    height, width = sides_of("membranes", size)
    within("membranes", "count", count, 1, 10_000_000)
    within("membranes", "cell", cell, 8, 256)
    within("membranes", "thickness", thickness, 1, cell // 3)
    tissue = Tissue(int(seed), height, width, cell, int(thickness))
    index = np.arange(count)
    splits = {name: np.flatnonzero(np.array(PARTS)[index % 5] == name) for name in ("train", "dev", "test")}
    return Dataset(
        "membranes",
        DrawnImages(tissue, count, channels=1),
        {"mask": DrawnMasks.of(tissue, index, CLASSES)},
        CLASSES,
        {name: part for name, part in splits.items() if len(part)},
        source="drawn: membranes",
        format="built-in",
        notes=(f"{count:,} drawn images of touching cells, {height} x {width} pixels, seed {seed}",),
        traits={"mirror": True},
    )


@dataclass(frozen=True)
class Cells:
    """One image's geometry."""

    owner: np.ndarray  # (H, W) int64: the centre that is nearest
    other: np.ndarray  # (H, W) int64: the centre whose border is nearest
    distance: np.ndarray  # (H, W) float32: to that border, in pixels
    missing: np.ndarray  # (centres,) bool: gaps


@dataclass(frozen=True)
class Tissue:
    """What decides every image."""

    seed: int
    height: int
    width: int
    cell: int
    thickness: int

    def rng(self, i: int, what: str) -> np.random.Generator:
        return rng_of("membranes", VERSION, self.seed, i, what)

    def cells(self, i: int) -> Cells:
        rng, step = self.rng(i, "cells"), float(self.cell)
        rows, columns = int(self.height / step) + 7, int(self.width / step) + 7
        centres = (np.moveaxis(np.mgrid[:rows, :columns], 0, -1) + rng.uniform(0.1, 0.9, (rows, columns, 2)) - 3) * step
        place = np.moveaxis(np.mgrid[: self.height, : self.width], 0, -1) + 0.5
        place += np.stack([smooth(rng, self.height, self.width, step) for _ in range(2)], -1) * (0.15 * step)
        grid = np.clip(np.floor(place / step).astype(np.int64) + 3, 2, (rows - 3, columns - 3))
        return _nearest(place, grid, centres, rng.random(rows * columns) < 0.05)

    def labels(self, i: int) -> np.ndarray:
        """(H, W) int64: 1 in cells, 0 on borders and in gaps."""
        found = cells_of(self, i)
        return ((found.distance > self.thickness / 2) & ~found.missing[found.owner]).astype(np.int64)

    def image(self, i: int) -> np.ndarray:
        """(H, W, 1) uint8."""
        found, rng = cells_of(self, i), self.rng(i, "paint")
        gap = found.missing[found.owner]
        light = 0.62 + 0.05 * rng.standard_normal(len(found.missing))[found.owner]
        light = np.where(gap, 0.8, light) + 0.04 * smooth(rng, self.height, self.width, self.cell / 4)
        darkness = rng.uniform(0.08, 0.4, 4096)[(found.owner + found.other) % 4096]  # the same from both sides
        light -= darkness * np.exp(-np.square(found.distance / self.thickness))
        light -= self._specks(rng) * ~gap
        light += 0.05 * rng.standard_normal(light.shape)
        return np.rint(np.clip(light, 0, 1) * 255).astype(np.uint8)[..., None]

    def _specks(self, rng: np.random.Generator) -> np.ndarray:
        """(H, W): dark discs and short streaks, about one for each cell."""
        marks = np.zeros((self.height, self.width), np.float32)
        for _ in range(rng.poisson(self.height * self.width / self.cell**2)):
            centre, turn = rng.uniform((0, 0), (self.width, self.height)), rng.uniform(0, 180)
            axes = rng.uniform(0.03, 0.16) * self.cell, rng.uniform(0.03, 0.08) * self.cell
            cv2.ellipse(marks, (tuple(centre.tolist()), tuple(2 * a for a in axes), turn), rng.uniform(0.1, 0.35), -1)
        return cv2.GaussianBlur(marks, (0, 0), 0.7)

    def digest(self) -> bytes:
        return hashlib.blake2b(repr(("membranes", VERSION, astuple(self))).encode(), digest_size=16).digest()


@functools.lru_cache(maxsize=4)
def cells_of(tissue: Tissue, i: int) -> Cells:
    """An image and its mask need the same ones, one after the other."""
    return tissue.cells(i)


def _nearest(place: np.ndarray, grid: np.ndarray, centres: np.ndarray, missing: np.ndarray) -> Cells:
    """place (H, W, 2) in pixels, grid (H, W, 2) its cell of the grid, centres (rows, columns, 2)."""
    shape = place.shape[:2]
    y, x = place[..., 0].astype(np.float32), place[..., 1].astype(np.float32)
    flat = centres.reshape(-1, 2).astype(np.float32)
    first = grid[..., 0] * centres.shape[1] + grid[..., 1]
    owner, least = np.zeros(shape, np.int64), np.full(shape, np.inf, np.float32)
    for step in NEAR:
        number = first + step[0] * centres.shape[1] + step[1]
        square = (y - flat[number, 0]) ** 2 + (x - flat[number, 1]) ** 2
        nearer = square < least
        owner[nearer], least[nearer] = number[nearer], square[nearer]
    other, distance = owner.copy(), np.full(shape, np.inf, np.float32)
    for step in NEAR:
        number = first + step[0] * centres.shape[1] + step[1]
        square = (y - flat[number, 0]) ** 2 + (x - flat[number, 1]) ** 2
        apart = np.hypot(flat[number, 0] - flat[owner, 0], flat[number, 1] - flat[owner, 1])
        line = np.where(number == owner, np.float32(np.inf), (square - least) / np.maximum(2 * apart, 1e-6))
        nearer = line < distance  # to the line at equal distance from both
        other[nearer], distance[nearer] = number[nearer], line[nearer]
    return Cells(owner, other, distance, missing)


def smooth(rng: np.random.Generator, height: int, width: int, length: float) -> np.ndarray:
    """(H, W) float32 noise that changes over `length` pixels, mean about 0, deviation about 1."""
    rows, columns = int(height / length) + 4, int(width / length) + 4
    coarse = rng.standard_normal((rows, columns)).astype(np.float32)
    y, x = (np.arange(height) + 0.5) / length + 1, (np.arange(width) + 0.5) / length + 1
    at = np.meshgrid(x.astype(np.float32), y.astype(np.float32))
    return cv2.remap(coarse, at[0], at[1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT) * np.float32(1.4)

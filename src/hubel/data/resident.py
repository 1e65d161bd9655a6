"""The resident path: every image once, as evaluation sees it, in one array on the device; a batch is an index.

pixels (N, h, w, C) uint8, or int32 where the images have 16 bits.
"""

from __future__ import annotations

import itertools
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from hubel.data.apply import apply_batch, look_batch
from hubel.data.assemble import Assembler, Request, kept_of
from hubel.data.augment import Augment, Draws
from hubel.data.decode import BadImage
from hubel.data.images import ArrayImages, Images
from hubel.data.placed import Layer, Scene, place
from hubel.data.preprocess import Preprocess
from hubel.data.read import Examples, Reader
from hubel.data.windows import Windows
from hubel.ops.follow import Move
from hubel.ops.geometry import compose

CHUNK = 32  # batches whose draws are made at once
AT_ONCE = 1024  # images that are moved at once: fewer calls, and still in the processor's cache


@dataclass(frozen=True)
class Fetched:
    """A batch on the device, ready but for normalisation, targets and weights."""

    pixels: Tensor  # (B, h, w, C) uint8 or int32
    matrices: Tensor  # (B, 3, 3) float32
    sizes: Tensor  # (B, 2) int64
    erase: np.ndarray  # (B, 4) int32, on the host
    faults: tuple[tuple[int, str], ...] = ()
    control: np.ndarray | None = None  # (B, 2, POINTS, POINTS) of an elastic distortion, on the host
    exact: np.ndarray | None = None  # (B, 3, 3) float64: the matrices on the host, where nothing is placed yet
    placed: tuple[Any, ...] = ()  # annotations where their pixels went: see placed.py


def fetched(pixels: Tensor, examples: Examples, device: torch.device) -> Fetched:
    """A batch that was read image by image, brought to the device."""
    matrices, sizes = (torch.from_numpy(a).to(device) for a in (examples.matrices, examples.sizes))
    moved = pixels.to(device, non_blocking=True)
    return Fetched(moved, matrices, sizes, examples.erase, examples.faults, examples.control, placed=examples.placed)


@dataclass(frozen=True, eq=False)
class Resident:
    """All images of a dataset on one device."""

    pixels: Tensor  # (N, h, w, C)
    fits: np.ndarray  # (N, 3, 3) float64, source -> pixels
    sizes: np.ndarray  # (N, 2) int64
    faults: dict[int, str] = field(default_factory=dict)
    _windows: dict[Augment, Windows | None] = field(default_factory=dict)
    _masks: dict[Any, np.ndarray] = field(default_factory=dict)  # that were read before, by number and position

    @classmethod
    def load(cls, images: Images, preprocess: Preprocess, device: torch.device) -> Resident:
        """Read every image once; an array that needs no fitting is taken as it is."""
        return _as_it_is(images, preprocess, device) or _decode(images, preprocess, device)

    def fetch(
        self, order: np.ndarray, epoch: int, parts: list[np.ndarray], augment: Augment | None, seed: int
    ) -> Iterator[Fetched]:
        """One batch per part; `parts` are the slots of each. Draws are made for many batches at once."""
        for start in range(0, len(parts), CHUNK):
            chunk = parts[start : start + CHUNK]
            ends = np.cumsum([0, *map(len, chunk)])
            slots = np.concatenate(chunk)
            yield from self._chunk(order[slots], slots, ends, epoch, augment, seed)

    def _chunk(
        self, index: np.ndarray, slots: np.ndarray, ends: np.ndarray, epoch: int, augment: Augment | None, seed: int
    ) -> Iterator[Fetched]:
        device, size = self.pixels.device, (self.pixels.shape[1], self.pixels.shape[2])
        draws = augment.draw(seed, epoch, slots, size, size, examples=index) if augment else None
        fits = self.fits[index]
        exact = compose(fits, draws.matrices) if draws else fits
        matrices = torch.from_numpy(exact.astype(np.float32)).to(device)
        sizes = torch.from_numpy(self.sizes[index]).to(device)
        erase = draws.erase if draws else np.zeros((len(slots), 4), dtype=np.int32)
        for group in _groups(ends):
            first, last = group[0], group[-1]
            pixels = self._pixels(index[first:last], draws.rows(slice(first, last)) if draws else None, augment)
            for low, high in itertools.pairwise(group):
                part, own = slice(low, high), pixels[low - first : high - first]
                bent = None if draws is None or draws.control is None else draws.control[part]
                faults = self._faults(index[part])
                yield Fetched(own, matrices[part], sizes[part], erase[part], faults, bent, exact[part])

    def _pixels(self, index: np.ndarray, draws: Draws | None, augment: Augment | None) -> Tensor:
        if augment is not None and augment not in self._windows:
            self._windows[augment] = Windows.of(self.pixels, augment)
        windows = self._windows.get(augment) if augment is not None else None
        if windows is not None and draws is not None:
            return look_batch(windows.batch(index, draws), draws.look)
        pixels = self.pixels.index_select(0, torch.from_numpy(index).to(self.pixels.device))
        return apply_batch(pixels, draws) if draws is not None else pixels

    def place(self, found: Fetched, request: Request, preprocess: Preprocess) -> Fetched:
        """With the annotations where the pixels went."""
        if not request.columns or found.exact is None:
            return found
        lost = {i for i, _ in found.faults}
        size = (self.pixels.shape[1], self.pixels.shape[2])
        scenes = []
        for row, (i, matrix) in enumerate(zip(request.index.tolist(), found.exact, strict=True)):
            height, width = self.sizes[i].tolist()
            bent = None if found.control is None else found.control[row]
            move = Move(matrix, (height, width), size, bent, kept=kept_of(preprocess, (height, width)))
            scenes.append(Scene() if i in lost else Scene((Layer(row, move),)))
        placed, faults = place(request.columns, scenes, size, request.whole, self._masks, request.index)
        bad = tuple((int(request.index[row]), reason) for row, reason in faults.items())
        return replace(found, placed=tuple(placed), faults=(*found.faults, *bad))

    def assemble(
        self, requests: Iterable[Request], preprocess: Preprocess, augment: Augment, seed: int
    ) -> Iterator[Fetched]:
        """Scenes of several images, which are read one by one. On the CPU only."""
        reader = Reader(FittedImages.of(self), preprocess, augment, seed)
        assembler = Assembler(reader, self.fits, self.sizes, self._masks)
        for request in requests:
            examples = assembler.batch(request)
            yield fetched(torch.from_numpy(examples.pixels), examples, self.pixels.device)

    def _faults(self, index: np.ndarray) -> tuple[tuple[int, str], ...]:
        if not self.faults:
            return ()
        return tuple((int(i), self.faults[int(i)]) for i in index if int(i) in self.faults)


@dataclass(frozen=True, eq=False)
class FittedImages(ArrayImages):
    """Resident images as a reader sees images."""

    faults: Mapping[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, resident: Resident) -> Self:
        array = resident.pixels.numpy()
        return cls(array if array.dtype == np.uint8 else array.astype(np.uint16), resident.faults)

    def read(self, i: int) -> np.ndarray:
        if i in self.faults:
            raise BadImage(self.faults[i])
        return super().read(i)


def _groups(ends: np.ndarray) -> Iterator[list[int]]:
    """The ends of as many batches as make AT_ONCE images, or of one: these are moved together."""
    group = [int(ends[0])]
    for end in ends[1:].tolist():
        if end - group[0] > AT_ONCE and len(group) > 1:
            yield group
            group = [group[-1]]
        group.append(end)
    yield group


def _as_it_is(images: Images, preprocess: Preprocess, device: torch.device) -> Resident | None:
    """An array that needs no fitting is used where it stands: on the CPU without a copy."""
    if not isinstance(images, ArrayImages) or not len(images):
        return None
    array = images.array
    first, matrix = preprocess.geometry(array[0])
    if first.shape != array.shape[1:] or not np.allclose(matrix, np.eye(3)) or not np.array_equal(first, array[0]):
        return None
    size = np.array(array.shape[1:3], dtype=np.int64)
    fits = np.broadcast_to(np.eye(3), (len(array), 3, 3))
    return Resident(_tensor(array, device), fits, np.broadcast_to(size, (len(array), 2)))


def _tensor(array: np.ndarray, device: torch.device) -> Tensor:
    array = np.ascontiguousarray(array if array.dtype == np.uint8 else array.astype(np.int32))
    with warnings.catch_warnings():  # "not writable": we only read
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(array).to(device)


def _decode(images: Images, preprocess: Preprocess, device: torch.device) -> Resident:
    """By threads: decoding and resizing release the interpreter."""
    count = len(images)
    read = Reader(images, preprocess, None, 0).one
    fits, sizes = np.empty((count, 3, 3)), np.empty((count, 2), dtype=np.int64)
    faults: dict[int, str] = {}
    depth = np.uint8 if preprocess.depth == 8 else np.uint16
    pixels = np.empty((count, *preprocess.size, preprocess.channels), dtype=depth)

    def store(i: int) -> None:
        example = read(i)
        pixels[i], fits[i], sizes[i] = example.pixels, example.matrix, example.size
        if example.fault is not None:
            faults[i] = example.fault

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        _drain(pool.map(store, range(count), chunksize=64))
    return Resident(_tensor(pixels, device), fits, sizes, faults)


def _drain(results: Iterator[Any]) -> None:
    for _ in results:  # raises what a thread raised
        pass

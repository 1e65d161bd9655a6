"""One look at everything: each image decoded once, measured, its kind noted; each mask read beside it.

images, masks -> Seen: arrays (N, …), reasons of what can't be read, sums for statistics. Large images are read one at a
time, large JPEGs at a smaller scale, and what would blow up far beyond its file's size is not decoded: memory stays
bounded however many threads look.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from hubel.data.decode import BadImage, Header, damage, header_of, opened, orientation_of, reading, whole
from hubel.data.images import ConcatImages, FileImages, Images, evenly
from hubel.data.looks import LOOK, Looks, measure
from hubel.data.masks import IGNORE, Masks
from hubel.data.odd import odd_kinds
from hubel.data.pixels import convert, orient
from hubel.data.recalled import Recalled
from hubel.data.whole import fault_of

LARGE = 8_000_000  # pixels: from here on one at a time, and made smaller before they are measured
BOMB_BYTES, BOMB_RATIO = 2**26, 200  # an image that fills so much memory, and so many times its file, is not decoded
BLOCK = 2048  # images in flight
TALLIED = 2000  # images whose values are counted for the statistics of channels
POINTS = 65536  # values of each that are counted


@dataclass(eq=False)
class Seen:
    """What one look at N images found."""

    rows: np.ndarray  # (N,) of LOOK
    facts: np.ndarray  # (N, 2) channels and bits per value; 0 where not read
    odd: np.ndarray  # (N,) uint16: bits of odd.KINDS
    faults: dict[int, str] = field(default_factory=dict)  # position: why the image can't be read
    bombs: dict[int, str] = field(default_factory=dict)  # position: what it would become
    mask_faults: dict[int, str] = field(default_factory=dict)
    strange: dict[int, dict[int, int]] = field(default_factory=dict)  # position: {value of the mask: pixels}
    pixels: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.int64))  # (N, K + 1) per class; last: none
    tally: np.ndarray = field(default_factory=lambda: np.zeros((3, 256)))  # shares of values of each channel, added up
    tallied: int = 0

    @property
    def looks(self) -> Looks:
        return Looks(self.rows)


def look_at(
    images: Images, masks: Any = None, *, train: np.ndarray | None = None, workers: int | None = None,
    tick: Callable[[], None] = lambda: None, cache: Path | None = None,
) -> Seen:  # fmt: skip
    """Look at every image, and its mask, by threads; `tick` is called after each. Values of `train` are counted.

    Files that haven't changed since they were looked at with the same folder `cache` are not read again.
    """
    count = len(images)
    seen = Seen(np.zeros(count, LOOK), np.zeros((count, 2), np.int64), np.zeros(count, np.uint16))
    if masks is not None:
        seen.pixels = np.zeros((count, len(masks.classes) + 1), np.int64)
    train = np.arange(count) if train is None else train
    counted = train[evenly(len(train), TALLIED)]
    memory = Recalled.of(cache, images, masks) if cache is not None else None
    todo = memory.recall(seen, counted) if memory is not None else np.arange(count)
    for _ in range(count - len(todo)):
        tick()
    eye = _Eye(images, masks, seen, set(counted.tolist()) if not seen.tallied else set())
    with warnings.catch_warnings(), ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        warnings.filterwarnings("ignore", module="PIL")  # of damage and size: findings say it
        for start in range(0, len(todo), BLOCK):
            for _ in pool.map(eye.look, todo[start : start + BLOCK].tolist()):
                tick()
    if memory is not None and len(todo):
        memory.keep(seen, counted)
    return seen


class _Eye:
    """Looks at one image after the other; each call writes rows of its own."""

    def __init__(self, images: Images, masks: Any, seen: Seen, counted: set[int]):
        self.images, self.masks, self.seen, self.counted = images, masks, seen, counted
        self.alone, self.adding = threading.Lock(), threading.Lock()

    def look(self, i: int) -> None:
        try:
            self._image(i)
        except (BadImage, OSError, MemoryError) as fault:
            self.seen.faults[i] = str(fault) or type(fault).__name__
        if self.masks is not None:
            self._mask(i)

    def _image(self, i: int) -> None:
        images, inner = self.images, i
        while isinstance(images, ConcatImages):
            images, inner = images._find(inner)
        if isinstance(images, FileImages):
            self._file(i, images, inner)
            return
        image = images.read(inner)
        self.seen.facts[i] = image.shape[2], 8 * image.dtype.itemsize
        self._measured(i, image, *image.shape[:2])

    def _file(self, i: int, images: FileImages, inner: int) -> None:
        path = images.path(inner)
        with reading(), open(path, "rb") as file:  # noqa: PTH123, hot
            data = file.read()
        with opened(io.BytesIO(data), images.max_pixels) as source:
            head = header_of(source)
            with contextlib.suppress(Exception):  # damage behind the header: decoding names it
                self.seen.odd[i] = odd_kinds(source, path, head.depth)
            if _memory(head) > max(BOMB_BYTES, BOMB_RATIO * len(data)) and source.mode != "1":
                self.seen.bombs[i] = f"{len(data) / 1e3:,.1f} kB would become {_memory(head) / 1e6:,.0f} MB"
                self.seen.rows[i]["height"], self.seen.rows[i]["width"] = head.height, head.width
                return
            large = head.height * head.width > LARGE
            with self.alone if large else contextlib.nullcontext():
                image = _small(source, data, head) if large else convert(whole(source, data), head.channels)
                self.seen.facts[i] = image.shape[2], 8 * image.dtype.itemsize
                self._measured(i, convert(image, images.channels, images.depth), head.height, head.width)

    def _measured(self, i: int, image: np.ndarray, height: int, width: int) -> None:
        self.seen.rows[i] = measure(image)
        self.seen.rows[i]["height"], self.seen.rows[i]["width"] = height, width
        if i in self.counted:
            shares = value_shares(image)
            with self.adding:
                self.seen.tally += shares
                self.seen.tallied += 1

    def _mask(self, i: int) -> None:
        try:
            if isinstance(self.masks, Masks):
                if not len(self.masks.names[i]):
                    return
                raw = self.masks.raw(i)
                numbers = self.masks.numbers(raw)
                odd = _strange(self.masks, raw, numbers)
                if odd:
                    self.seen.strange[i] = odd
            else:
                numbers = self.masks.read(i)
        except (BadImage, OSError) as fault:
            self.seen.mask_faults[i] = str(fault)
            return
        classes = len(self.masks.classes)
        counts = np.bincount(numbers.ravel(), minlength=IGNORE + 1)
        self.seen.pixels[i, :classes], self.seen.pixels[i, classes] = counts[:classes], counts[IGNORE]


def _memory(head: Header) -> int:
    """Bytes of the decoded image."""
    return head.height * head.width * head.channels * head.depth // 8


def _strange(masks: Masks, raw: np.ndarray, numbers: np.ndarray) -> dict[int, int]:
    """{value: pixels} of what is neither a class nor ignored."""
    unknown = raw[numbers == IGNORE]
    if not unknown.size:
        return {}
    values, counts = np.unique(unknown, return_counts=True)
    odd = ~np.isin(values, [*masks.values.tolist(), *masks.ignore])
    return dict(zip(values[odd].tolist(), counts[odd].tolist(), strict=True))


def _small(source: Image.Image, data: bytes, head: Header) -> np.ndarray:
    """A large image in at most LARGE pixels or so, whole or BadImage: JPEG by its own smaller scales."""
    factor = math.ceil(math.sqrt(head.height * head.width / LARGE))
    if source.mode not in ("L", "RGB") or "transparency" in source.info or head.depth > 8:
        pixels = whole(source, data)
        size = max(1, pixels.shape[1] // factor), max(1, pixels.shape[0] // factor)
        return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], -1)
    fault = fault_of(source.format, data)
    if fault:
        raise BadImage(fault)
    with damage():
        source.draft(None, (source.width // factor, source.height // factor))
        source.load()
        turn = orientation_of(source, header_only=False)
        left = max(1, round(math.sqrt(source.height * source.width / LARGE)))  # what a decoder without scales leaves
        pixels = np.asarray(source.reduce(left) if left > 1 else source)  # no copies of the whole
    return orient(pixels.reshape(*pixels.shape[:2], -1), turn)


def value_shares(image: np.ndarray) -> np.ndarray:
    """(H, W, C) -> (3, 256): the share of each channel's values that falls on each of 256 levels; grey three times."""
    step = max(1, math.isqrt(image.shape[0] * image.shape[1] // POINTS))
    some = image[::step, ::step]
    some = (some >> 8).astype(np.uint8) if some.dtype == np.uint16 else some
    counts = [np.bincount(some[..., c].ravel(), minlength=256) for c in range(some.shape[2])]
    return np.stack(counts * (3 // len(counts))) / (some.shape[0] * some.shape[1])

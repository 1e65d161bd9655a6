"""Mean and standard deviation of each channel over the training part: μ = Σv / n, σ² = Σv² / n − μ², in [0, 1].

The sums are whole numbers, so they are exact and do not depend on the order. Other parts are never read: what is
learnt from dev or test images would make their scores look better than they are.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np

from hubel.data.dataset import Dataset
from hubel.data.decode import BadImage
from hubel.data.images import evenly
from hubel.data.preprocess import Preprocess
from hubel.errors import UserError

CHUNK = 256  # images whose pixels are added up at once
SMALLEST = 1e-3  # a channel that varies less than this is constant: dividing by it would only magnify noise


class Readable(Protocol):
    def read(self, i: int) -> np.ndarray: ...


def channel_statistics(
    dataset: Dataset, index: np.ndarray, preprocess: Preprocess, most: int = 20_000
) -> tuple[np.ndarray, np.ndarray]:
    """(C,), (C,) float64 mean and deviation, in [0, 1], of the images `index` as the network sees them.

    Of more than `most` images, that many are taken, evenly spaced: the mean then is within about 0.002 of the whole.
    A constant channel gets the deviation 1. Images that can't be read are left out; UserError where all are.
    """
    index = np.asarray(index)[evenly(len(index), most)]
    count, total, squares = 0, np.zeros(preprocess.channels, object), np.zeros(preprocess.channels, object)
    for pixels in _pixels(dataset.images, index, preprocess):  # (n, C)
        count += len(pixels)
        total += _whole(pixels.sum(0, dtype=np.uint64))
        squares += _whole((pixels.astype(np.uint64) ** 2).sum(0))
    if not count:
        raise UserError(f"{dataset.name}: no image of the training part can be read. See the quarantine list.")
    top = 2**preprocess.depth - 1
    mean = np.array([t / (count * top) for t in total], dtype=np.float64)
    variance = [(count * s - t * t) / (count * top) ** 2 for s, t in zip(squares, total, strict=True)]
    deviation = np.sqrt(np.array(variance, dtype=np.float64))
    return mean, np.where(deviation < SMALLEST, 1.0, deviation)


def _whole(values: np.ndarray) -> np.ndarray:
    """Python's integers never overflow."""
    return np.array([int(v) for v in values], dtype=object)


def _pixels(images: Readable, index: np.ndarray, preprocess: Preprocess) -> Iterator[np.ndarray]:
    """(n, C) pixels, many images at a time; decoded by threads, since decoders release the interpreter's lock."""

    def one(i: int) -> np.ndarray:
        try:
            return preprocess.geometry(images.read(int(i)))[0].reshape(-1, preprocess.channels)
        except BadImage:
            return np.empty((0, preprocess.channels), np.uint8)

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(index), CHUNK):
            yield np.concatenate(list(pool.map(one, index[start : start + CHUNK])))

"""Height and width of every image, from the headers of the files: what turns fractions of an image into pixels.

Read once by threads and remembered in the user's cache by name, size, time of change and inode, as data/check.py does.
"""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from hubel.data.decode import BadImage, header
from hubel.data.images import ArrayImages, ConcatImages, FileImages, Images
from hubel.data.jpeg import plain_size
from hubel.data.places import cache_folder, keep_arrays

BLOCK = 256  # files per task
HEAD = 4096  # bytes of a file: where a JPEG without tags says its size
VERSION = b"1"  # of what `header` accepts


def image_sizes(images: Images, workers: int | None = None, cache: Path | None = None) -> np.ndarray:
    """(N, 2) int64 height and width, after EXIF orientation; 0, 0 where the file can't be read.

    `workers` threads read headers (all cores, at least 4, unless given); `cache` is the folder of what is remembered.
    """
    if isinstance(images, ConcatImages):
        return np.concatenate([image_sizes(part, workers, cache) for part in images.parts])
    if isinstance(images, ArrayImages):
        return np.tile(np.array(images.array.shape[1:3], dtype=np.int64), (len(images), 1))
    own = getattr(images, "source_sizes", None)
    if own is not None:
        return np.asarray(own(), dtype=np.int64)
    if not isinstance(images, FileImages):
        return np.array([images.read(i).shape[:2] for i in range(len(images))], dtype=np.int64).reshape(-1, 2)
    prints = _fingerprints(images)
    store = (cache or cache_folder() / "sizes") / f"{hashlib.blake2b(os.fsencode(images.root)).hexdigest()[:24]}.npz"
    keys, known = _recall(store)
    sizes = _look_up(prints, keys, known)
    todo = np.flatnonzero(sizes[:, 0] == 0)
    if len(todo):
        sizes[todo] = _headers(images, todo, workers)
        good = sizes[:, 0] > 0
        if good[todo].any():
            _remember(store, prints[good], sizes[good], keys, known)
    return sizes


def _headers(images: FileImages, todo: np.ndarray, workers: int | None) -> np.ndarray:
    def block(part: np.ndarray) -> list[tuple[int, int]]:
        return [_size(images, i) for i in part.tolist()]

    parts = [todo[start : start + BLOCK] for start in range(0, len(todo), BLOCK)]
    with ThreadPoolExecutor(workers or max(4, os.cpu_count() or 1)) as pool:  # a disk far away answers several at once
        found = [size for sizes in pool.map(block, parts) for size in sizes]
    return np.array(found, dtype=np.int64).reshape(-1, 2)


def _size(images: FileImages, i: int) -> tuple[int, int]:
    try:
        with open(images.path(i), "rb", buffering=0) as file:  # noqa: PTH123, hot
            found = plain_size(file.read(HEAD))
    except OSError:
        return 0, 0
    if found is not None:
        return found if found[0] * found[1] <= images.max_pixels else (0, 0)
    try:
        head = header(images.path(i), images.max_pixels)
    except BadImage:
        return 0, 0
    return head.height, head.width


def _fingerprints(images: FileImages) -> np.ndarray:
    """(N,) 16 bytes each: of name, size, time of change and inode; kept as two uint64, which sort fast."""
    salt = VERSION + images.max_pixels.to_bytes(16, "little")
    stats = images.stats().tobytes()  # 24 bytes each
    found = [
        hashlib.blake2b(salt + name + b"\0" + stats[24 * i : 24 * i + 24], digest_size=16).digest()
        for i, name in enumerate(images.names)
    ]
    return np.frombuffer(b"".join(found), dtype=np.uint64).reshape(-1, 2)


def _look_up(prints: np.ndarray, keys: np.ndarray, known: np.ndarray) -> np.ndarray:
    sizes = np.zeros((len(prints), 2), dtype=np.int64)
    if not len(keys) or not len(prints):
        return sizes
    order = np.argsort(keys[:, 0], kind="stable")
    at = order[np.minimum(np.searchsorted(keys[order, 0], prints[:, 0]), len(keys) - 1)]
    hit = (keys[at] == prints).all(1)
    sizes[hit] = known[at[hit]]
    return sizes


def _recall(store: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        with np.load(store, allow_pickle=False) as saved:
            keys, sizes = saved["prints"], saved["sizes"]
    except Exception:  # no cache, or a damaged one: look at the files
        return np.empty((0, 2), np.uint64), np.empty((0, 2), np.int64)
    fits = keys.dtype == np.uint64 and sizes.dtype == np.int64 and keys.shape == sizes.shape == (len(keys), 2)
    return (keys, sizes) if fits else (np.empty((0, 2), np.uint64), np.empty((0, 2), np.int64))


def _remember(store: Path, prints: np.ndarray, sizes: np.ndarray, keys: np.ndarray, known: np.ndarray) -> None:
    """Best effort: a cache that can't be written only costs time. What other openings of the root found is kept."""
    if len(keys) <= 4 * len(prints):
        prints, first = np.unique(np.concatenate([prints, keys]), axis=0, return_index=True)
        sizes = np.concatenate([sizes, known])[first]
    keep_arrays(store, prints=prints, sizes=sizes)

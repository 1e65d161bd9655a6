"""Every file is decoded once before training: what is bad takes no part, and the user is told its name and why.

What was found good is remembered by name, size, time of change and inode, so the second training starts at once.
The same pass settles exactly how many channels and bits the images have. The user's files are only read.
"""

from __future__ import annotations

import csv
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hubel.data.dataset import Bad, Dataset
from hubel.data.decode import BadImage, decode
from hubel.data.images import FileImages
from hubel.data.places import cache_folder, keep_arrays
from hubel.errors import UserError

WORST = 0.5  # a larger share of bad files is a mistake in the path, not in the files
BLOCK = 4096  # files in flight at once
VERSION = b"1"  # of what `decode` accepts: a change makes everything be looked at again


def check_files(dataset: Dataset, workers: int | None = None, cache: Path | None = None) -> Dataset:
    """The dataset without the files that can't be decoded: weight 0, in no split, listed in `quarantine`.

    `workers` threads decode (all cores unless given); `cache` is the folder of what is remembered, the user's unless
    given. Images in memory are as they are. Raises UserError where more than half of the files are bad.
    """
    images = dataset.images
    if not isinstance(images, FileImages) or not len(images):
        return dataset
    prints = _fingerprints(images)
    store = (cache or cache_folder() / "checked") / f"{hashlib.blake2b(os.fsencode(images.root)).hexdigest()[:24]}.npz"
    facts = _recall(store, prints)  # (N, 2) channels and depth; 0 where not known
    todo = np.flatnonzero(facts[:, 0] == 0)
    bad = _decode_all(images, todo, facts, workers)
    if len(todo) > len(bad):
        keep_arrays(store, prints=prints[facts[:, 0] > 0], facts=facts[facts[:, 0] > 0])
    _refuse_mostly_bad(dataset, bad)
    return settled(dataset, facts, bad)


def settled(dataset: Dataset, facts: np.ndarray, bad: dict[int, str]) -> Dataset:
    """With the channels and bits that hold all good files, without the bad ones.

    facts (N, 2) channels and depth of each image, 0 where it is bad; bad {position: reason}.
    """
    images, good = dataset.images, facts[facts[:, 0] > 0]
    if isinstance(images, FileImages) and len(good):
        channels, depth = (int(high) for high in good.max(axis=0))
        images = replace(images, channels=images.channels if images.fixed else channels, depth=depth)
        dataset = replace(dataset, images=images, notes=(*dataset.notes, *_mixed(images, good)))
    found = sorted(bad)
    return dataset.without(np.array(found, dtype=np.int64), tuple(Bad(images.name(i), bad[i]) for i in found))


def write_quarantine(path: Path, quarantine: tuple[Bad, ...]) -> None:
    """A CSV file with the columns file and reason, one bad file a line."""
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("file", "reason"))
        rows.writerows((bad.name, bad.reason) for bad in quarantine)


def _decode_all(images: FileImages, todo: np.ndarray, facts: np.ndarray, workers: int | None) -> dict[int, str]:
    """Decode the files at `todo`; fills in `facts`, returns {position: reason} of the bad ones."""

    def one(i: int) -> tuple[int, int] | str:
        try:
            image = decode(images.path(i), max_pixels=images.max_pixels)
        except BadImage as fault:
            return fault.reason
        return image.shape[2], 8 * image.dtype.itemsize

    bad: dict[int, str] = {}
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:  # decoders release the interpreter's lock
        for start in range(0, len(todo), BLOCK):
            block = todo[start : start + BLOCK].tolist()
            for i, found in zip(block, pool.map(one, block), strict=True):
                if isinstance(found, str):
                    bad[i] = found
                else:
                    facts[i] = found
    return bad


def _refuse_mostly_bad(dataset: Dataset, bad: dict[int, str]) -> None:
    if len(bad) > WORST * len(dataset):
        first = min(bad)
        raise UserError(
            f"{dataset.source}: {len(bad):,} of {len(dataset):,} files can't be decoded, such as "
            f"{dataset.images.name(first)} ({bad[first]}). Check that these are images and were copied whole."
        )


def _mixed(images: FileImages, good: np.ndarray) -> list[str]:
    notes = []
    for column, what in ((0, "colour"), (1, "16 bits")):
        high = int((good[:, column] == good[:, column].max()).sum())
        if high < len(good):
            notes.append(f"{high:,} of {len(good):,} images have {what}")
    if notes:
        notes.append(f"all are read with {images.channels} channel(s) of {images.depth} bits")
    return notes


# What is remembered ----------------------------------------------------------------------------------------------


def _fingerprints(images: FileImages) -> np.ndarray:
    """(N,) 16 bytes each: of name, size, time of change and inode."""
    out = np.empty(len(images), dtype="V16")
    for i, stat in enumerate(images.stats()):
        seen = hashlib.blake2b(VERSION + images.max_pixels.to_bytes(8, "little"), digest_size=16)
        seen.update(images.names[i])
        seen.update(stat.tobytes())
        out[i] = seen.digest()
    return out


def _recall(store: Path, prints: np.ndarray) -> np.ndarray:
    """(N, 2) int64 channels and depth of the files that were good before and haven't changed; else 0."""
    facts = np.zeros((len(prints), 2), dtype=np.int64)
    try:
        with np.load(store, allow_pickle=False) as saved:
            known: dict[Any, Any] = dict(zip(saved["prints"].tolist(), saved["facts"].tolist(), strict=True))
    except Exception:  # no cache, or a damaged one: look at the files
        return facts
    for i, key in enumerate(prints.tolist()):
        facts[i] = known.get(key, (0, 0))
    return facts

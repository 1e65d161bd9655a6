"""What the writers of arrays share: the images of each part as one array (n, H, W, C), and what arrays can't say.

Arrays hold images of one size, in the parts train, dev and test; names of files have no place in them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hubel.data.dataset import Dataset
from hubel.data.formats.copies import REST, overlapping, parts_of, source_file
from hubel.data.images import BadImage
from hubel.errors import UserError

PARTS = ("", "train", "dev", "test")  # "": the data set has no parts


@dataclass(frozen=True)
class Stack:
    """One part: its images (n, H, W, C) uint8 or uint16, and the positions (n,) that they had."""

    part: str
    images: np.ndarray
    index: np.ndarray


def stacks(dataset: Dataset) -> tuple[list[Stack], int]:
    """Each part as arrays, and how many images could not be read. Raises UserError where sizes differ."""
    parts = np.array(parts_of(dataset), dtype=object)
    found, bad, shape = [], 0, None
    for part in PARTS:
        pixels, kept = [], []
        for i in np.flatnonzero(parts == part).tolist():
            try:
                image = dataset.images.read(i)
            except BadImage:
                bad += 1
                continue
            shape = shape or image.shape
            if image.shape != shape:
                raise UserError(
                    f"{dataset.name} has images of {shape[1]} x {shape[0]} and of {image.shape[1]} x {image.shape[0]} "
                    "pixels; arrays hold one size. Choose folder, csv, coco, yolo, voc or masks."
                )
            pixels.append(image)
            kept.append(i)
        if kept:
            found.append(Stack(part, np.stack(pixels), np.array(kept)))
    if not found:
        raise UserError(f"{dataset.name} has no image that could be written in the parts train, dev or test.")
    return found, bad


def lost(dataset: Dataset, written: tuple[str, ...], bad: int) -> list[str]:
    """Sentences on what arrays can't say, beside the columns `written`."""
    count, parts = len(dataset), parts_of(dataset)
    found = [f"lost: '{name}' of {count:,} images" for name in dataset.annotations if name not in written]
    found += [
        f"lost: the table '{name}' of {len(table):,} rows" for name, table in dataset.tables.items() if len(table)
    ]
    named = sum(source_file(dataset.images, i) is not None for i in range(count))
    if named:
        found.append(f"lost: the names of {named:,} files")
    for part, what in ((REST, "no part"), ("train-dev", "the part train-dev")):
        if part in parts:
            found.append(f"lost: {parts.count(part):,} images in {what}")
    if overlapping(dataset):
        found.append("images in several parts, or twice in one: each is there once")
    return found + [f"{bad:,} images could not be read and were not written"] * bool(bad)

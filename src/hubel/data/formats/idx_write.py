"""Writes IDX files as MNIST comes: OUT/train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-… for test, val-….

0 0 type rank | rank sizes, 4 bytes each, big-endian | values; type 8: uint8
"""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

from hubel.data.dataset import Dataset
from hubel.data.formats import arrays_write
from hubel.data.formats.copies import new_folder
from hubel.errors import UserError

PARTS = {"": "train", "train": "train", "dev": "val", "test": "t10k"}
UINT8, MOST = 8, 256  # the type's number; a label is one byte


def write(dataset: Dataset, out: Path) -> list[str]:
    """The data set as IDX files in the new folder `out`; gives what was lost, one sentence each.

    Raises UserError where images have several sizes, 16 bits or no single label of up to 256 classes, or something
    stands in `out`.
    """
    labels = dataset.annotations.get("label")
    if labels is None or len(dataset.classes) > MOST or dataset.images.depth != 8:
        raise UserError(
            f"{dataset.name} can't be IDX files: these hold images of 8 bits with one label of up to {MOST} classes. "
            "Choose npz, csv, coco, yolo, voc or masks."
        )
    parts, bad = arrays_write.stacks(dataset)
    out = new_folder(Path(out))
    for stack in parts:
        images = stack.images[..., 0] if dataset.images.channels == 1 else stack.images
        _save(out / f"{PARTS[stack.part]}-images-idx{images.ndim}-ubyte.gz", images)
        _save(out / f"{PARTS[stack.part]}-labels-idx1-ubyte.gz", labels[stack.index].astype(np.uint8))
    return arrays_write.lost(dataset, ("label", "image_id"), bad) + _lost(dataset, parts)


def _save(path: Path, values: np.ndarray) -> None:
    """(…) uint8; gzip without a time, so that the same data give the same bytes."""
    header = bytes([0, 0, UINT8, values.ndim]) + np.array(values.shape, ">u4").tobytes()
    try:
        path.write_bytes(gzip.compress(header + values.tobytes(), mtime=0))
    except OSError as fault:
        raise UserError(f"{path} can't be written: {fault.strerror}. Make room, or choose another folder.") from fault


def _lost(dataset: Dataset, parts: list[arrays_write.Stack]) -> list[str]:
    found = []
    highest = max(int(dataset.annotations["label"][stack.index].max()) for stack in parts)
    if dataset.classes != tuple(str(k) for k in range(highest + 1)):
        found.append(f"lost: the names of {len(dataset.classes):,} classes, which become numbers")
    if (dataset.weights != 1).any():
        found.append(f"lost: the weights of {int((dataset.weights != 1).sum()):,} images")
    if parts[0].part == "":
        found.append("there are no parts: all images are written as train")
    return found

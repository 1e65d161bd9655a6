"""Writes a NumPy archive: OUT/data.npz with train_images, train_labels, train_weights …, or images, labels, weights.

Labels are (N,) int64 of the classes named in `classes`, (N, K) of 0 and 1 (NaN: not known), or numbers (N, D) float32.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hubel.data.dataset import Dataset
from hubel.data.formats import arrays_write
from hubel.data.formats.copies import new_folder
from hubel.errors import UserError


def write(dataset: Dataset, out: Path) -> list[str]:
    """The data set as data.npz in the new folder `out`; gives what was lost, one sentence each.

    Raises UserError where images have several sizes or nothing that an array can say, or something stands in `out`.
    """
    column = _column(dataset)
    values = dataset.annotations[column]
    parts, bad = arrays_write.stacks(dataset)
    out = new_folder(Path(out))
    arrays = {"classes": np.array(dataset.classes)} if column != "numbers" else {}
    for stack in parts:
        head = f"{stack.part}_" if stack.part else ""
        arrays[f"{head}images"] = stack.images
        arrays[f"{head}labels"] = _plain(np.asarray(values)[stack.index], column)
        if (dataset.weights != 1).any():
            arrays[f"{head}weights"] = dataset.weights[stack.index]
    try:
        np.savez_compressed(out / "data.npz", **arrays)  # type: ignore[arg-type]
    except OSError as fault:
        raise UserError(f"{out} can't be written: {fault.strerror}. Make room, or choose another folder.") from fault
    same = ("label", "labels") if column == "labels" else (column,)
    return arrays_write.lost(dataset, (*same, "image_id"), bad)


def _column(dataset: Dataset) -> str:
    """What the archive says of each image: several labels before one, which follows from them."""
    for name in ("labels", "label", "numbers"):
        if name in dataset.annotations and (name != "labels" or dataset.annotations[name].shape[1] > 1):
            return name
    known = ", ".join(dataset.annotations) or "nothing"
    raise UserError(
        f"{dataset.name} has no labels and no numbers for its images, only {known}: arrays can't say that. Choose "
        "another format: coco, yolo, voc, masks or csv."
    )


def _plain(values: np.ndarray, column: str) -> np.ndarray:
    """Zeros and ones as whole numbers where all are known, so that they are not taken for numbers to predict."""
    return values.astype(np.int8) if column == "labels" and not np.isnan(values).any() else values

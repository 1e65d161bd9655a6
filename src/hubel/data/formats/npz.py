"""NumPy archives: `images` and `labels` (or x and y), or one pair per part (x_train, y_train, test_images …).

Images (N, H, W), (N, H, W, C) or (N, C, H, W) with C 1 or 3. Whole-number y (N,) are labels of K classes, (N, K) of
zeros and ones (of any type; NaN where a label isn't known) several labels per image, other floating-point y (N,) or
(N, D) numbers to predict. `weights` (N,), or `train_weights` …, say how much each image counts: 2 is as if it were
listed twice, 0 leaves it out.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from hubel.data.dataset import Dataset
from hubel.data.images import ArrayImages
from hubel.errors import UserError

MAX_BYTES = 2**36  # of all arrays together
IMAGES, LABELS, WEIGHTS = ("images", "x"), ("labels", "y"), ("weights",)
PARTS = {"train": "train", "test": "test"} | dict.fromkeys(("val", "valid", "validation", "dev"), "dev")


def recognise(path: Path) -> str | None:
    """Why this file is such an archive, or None."""
    if not path.is_file() or not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    return f"a NumPy archive of {', '.join(sorted(names))}" if names else None


def read(path: Path) -> Dataset:
    """The archive as a dataset. Raises UserError where arrays are missing, of the wrong shape, or don't agree."""
    found = from_arrays(_load(path), path.stem, str(path))
    return replace(found, source=str(path.resolve()), format="npz")


def from_arrays(arrays: Mapping[str, np.ndarray], name: str, path: str) -> Dataset:
    """Arrays by name, as an archive holds them; `path` is what messages call them."""
    pairs = {part: pair for part in ("", *PARTS) if (pair := _pair(arrays, part)) is not None}
    if not pairs or (len(pairs) > 1 and "" in pairs):
        raise UserError(
            f"{path} holds {', '.join(sorted(arrays))}; expected images and labels (or x and y), or one pair per part "
            "such as train_images, train_labels, test_images, test_labels."
        )
    images, notes = to_pixels(_images(path, [x for x, _ in pairs.values()]), path)
    for part, (x, y) in pairs.items():
        if len(x) != len(y):
            raise UserError(f"{path}: {len(x):,} {part} images but {len(y):,} labels. Give one label per image.")
    y = _stack(path, [y for _, y in pairs.values()])
    annotations, classes, more = annotate(y, arrays.get("classes"), path)
    ends = np.cumsum([0, *(len(x) for x, _ in pairs.values())])
    splits = {PARTS[part]: np.arange(ends[i], ends[i + 1]) for i, part in enumerate(pairs) if part}
    return Dataset(
        name,
        ArrayImages(images),
        annotations,
        classes,
        splits,
        _weights(path, arrays, {part: len(x) for part, (x, _) in pairs.items()}),
        source=path,
        notes=(f"NumPy arrays: {len(images):,} images", *notes, *more),
    )


def to_pixels(images: np.ndarray, where: str) -> tuple[np.ndarray, list[str]]:
    """Any numbers that can be pixels -> the same as uint8 or uint16, and notes on what was done.

    Floating-point values in [0, 1] become uint8 where they are multiples of 1/255, else uint16 (no step is wider than
    1/65535); other whole numbers are taken as they are. Raises UserError for what has no such meaning.
    """
    if images.dtype in (np.uint8, np.uint16):
        return images, []
    if images.dtype == bool:
        return images.astype(np.uint8) * np.uint8(255), ["True and False became 255 and 0"]
    if images.dtype.kind in "iu":
        low, high = int(images.min(initial=0)), int(images.max(initial=0))
        if low >= 0 and high <= 65535:
            return images.astype(np.uint8 if high <= 255 else np.uint16), []
        raise UserError(f"{where}: pixels are {low} … {high}; expected 0 … 255 (8 bits) or 0 … 65535 (16 bits).")
    if images.dtype.kind != "f":
        raise UserError(f"{where}: images are {images.dtype}; expected uint8 or uint16.")
    return _from_fractions(images, where)


def _from_fractions(images: np.ndarray, where: str) -> tuple[np.ndarray, list[str]]:
    if not np.isfinite(images).all() or images.min(initial=0) < 0 or images.max(initial=0) > 1:
        raise UserError(
            f"{where}: floating-point pixels are {images.min():.3g} … {images.max():.3g}; expected [0, 1], or uint8 or "
            "uint16. Give them as they were before normalisation: hubel does that itself."
        )
    steps = images * 255
    if np.abs(steps - np.round(steps)).max(initial=0) <= 255 * np.finfo(images.dtype).eps:  # two roundings
        return np.round(steps).astype(np.uint8), ["floating-point pixels were multiples of 1/255: read as 8 bits"]
    pixels = np.round(images.astype(np.float64) * 65535).astype(np.uint16)
    return pixels, ["floating-point pixels in [0, 1] became 16 bits per value, rounded to 1/65535"]


def annotate(
    y: np.ndarray, classes: np.ndarray | None, where: str
) -> tuple[dict[str, np.ndarray], tuple[str, ...], list[str]]:
    """The column that `y` is, the names of its classes, and notes."""
    names = () if classes is None else tuple(_text(c) for c in np.asarray(classes).ravel())
    if y.dtype.kind in "US":
        return _labels(*np.unique(y, return_inverse=True), (), where)
    if y.dtype.kind not in "biuf" or y.ndim not in (1, 2):
        raise UserError(f"{where}: labels are {y.dtype} {y.shape}; expected numbers or text, (N,) or (N, K).")
    if y.ndim == 2 and y.shape[1] > 1 and (y.dtype.kind != "f" or _are_flags(y)):
        return _several(y, names, where)
    if y.dtype.kind == "f":
        if not np.isfinite(y).all():
            raise UserError(f"{where}: some numbers to predict are not finite. Leave these images out.")
        return {"numbers": y.reshape(len(y), -1).astype(np.float32)}, (), ["floating-point labels: numbers to predict"]
    y = y.ravel().astype(np.int64)
    if y.min(initial=0) < 0:
        raise UserError(f"{where}: labels are {y.min()} … {y.max()}; expected 0 … K - 1 for K classes.")
    values, index = np.unique(y, return_inverse=True)
    return _labels(values, index, names, where)


def _labels(
    values: np.ndarray, index: np.ndarray, names: tuple[str, ...], where: str
) -> tuple[dict[str, np.ndarray], tuple[str, ...], list[str]]:
    """Values that occur, in order, and which of them each image has."""
    if names:
        if values[-1] >= len(names):
            raise UserError(f"{where}: labels go up to {values[-1]}, but `classes` names {len(names)}.")
        return {"label": values[index].astype(np.int64)}, names, []
    if values.dtype.kind in "US" or (values != np.arange(len(values))).any():
        shown = ", ".join(f"{_text(v)} -> {k}" for k, v in enumerate(values[:5])) + (" …" if len(values) > 5 else "")
        notes = [f"labels were numbered anew: {shown}"]
    else:
        notes = []
    return {"label": index.astype(np.int64)}, tuple(_text(v) for v in values), notes


def _are_flags(y: np.ndarray) -> bool:
    """Floating-point 0 and 1 only, as losses want them, or NaN for a label that is not known."""
    return bool(((y == 0) | (y == 1) | np.isnan(y)).all() and (y == 1).any())


def _several(
    y: np.ndarray, names: tuple[str, ...], where: str
) -> tuple[dict[str, np.ndarray], tuple[str, ...], list[str]]:
    if y.min(initial=0) < 0 or y.max(initial=0) > 1:
        raise UserError(f"{where}: labels of shape {y.shape} must be 0 or 1; found {y.min()} … {y.max()}.")
    if names and len(names) != y.shape[1]:
        raise UserError(f"{where}: {y.shape[1]} columns of labels, but `classes` names {len(names)}.")
    names = names or tuple(str(k) for k in range(y.shape[1]))
    columns = {"labels": y.astype(np.float32)}
    if (y.sum(axis=1) == 1).all():
        columns["label"] = y.argmax(axis=1).astype(np.int64)
        return columns, names, [f"{y.shape[1]} columns of 0 and 1, one 1 in each row: one of {y.shape[1]} classes"]
    return columns, names, [f"{y.shape[1]} columns of 0 and 1: several labels per image"]


def _text(value: object) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def _load(path: Path) -> Mapping[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > MAX_BYTES:
        raise UserError(f"{path} unpacks to {size / 1e9:.0f} GB, more than the limit of {MAX_BYTES / 1e9:.0f} GB.")
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, MemoryError) as fault:
        if "pickle" in str(fault):
            raise UserError(f"{path} holds Python objects, which are never loaded. Save plain arrays.") from fault
        raise UserError(f"{path} can't be read: {fault}. Save or copy it again.") from fault


def _pair(arrays: Mapping[str, np.ndarray], part: str) -> tuple[np.ndarray, np.ndarray] | None:
    found = [_named(arrays, words, part) for words in (IMAGES, LABELS)]
    return None if found[0] is None or found[1] is None else (found[0], found[1])


def _named(arrays: Mapping[str, np.ndarray], words: tuple[str, ...], part: str) -> np.ndarray | None:
    tails = [f"{w}_{part}" for w in words] + [f"{part}_{w}" for w in words] if part else list(words)
    lower = {name.lower(): array for name, array in arrays.items()}
    return next((lower[tail] for tail in tails if tail in lower), None)


def _weights(path: str, arrays: Mapping[str, np.ndarray], counts: Mapping[str, int]) -> np.ndarray:
    """(N,) float32, 1 for the parts that give none; Dataset refuses what is negative or not finite."""
    found = []
    for part, count in counts.items():
        given = _named(arrays, WEIGHTS, part)
        if given is not None and (given.shape != (count,) or given.dtype.kind not in "biuf"):
            raise UserError(
                f"{path}: weights are {given.dtype} {given.shape} for {count:,} {part} images; expected one number "
                f"for each, ({count},)."
            )
        found.append(np.ones(count, np.float32) if given is None else given.astype(np.float32))
    return np.concatenate(found)


def _images(path: str, parts: list[np.ndarray]) -> np.ndarray:
    arrays = [_layout(path, images) for images in parts]
    kinds = {(array.shape[1:], str(array.dtype)) for array in arrays}
    if len(kinds) > 1:
        found = " and ".join(f"{shape} {dtype}" for shape, dtype in sorted(kinds))
        raise UserError(f"{path}: the parts have images of different kinds, {found}. Give them one shape and type.")
    if not sum(map(len, arrays)):
        raise UserError(f"{path} holds no images: the array is empty.")
    return np.concatenate(arrays)


def _layout(path: str, images: np.ndarray) -> np.ndarray:
    """-> (N, H, W, C): the axis of length 1 or 3 is C, the last one where both could be."""
    if images.ndim == 3:
        return images[..., None]
    if images.ndim == 4 and images.shape[3] in (1, 3):
        return images
    if images.ndim == 4 and images.shape[1] in (1, 3):
        return np.ascontiguousarray(images.transpose(0, 2, 3, 1))
    raise UserError(
        f"{path}: images have the shape {images.shape}; expected (N, H, W), (N, H, W, C) or (N, C, H, W) with C 1 or 3."
    )


def _stack(path: str, labels: list[np.ndarray]) -> np.ndarray:
    shapes = {y.shape[1:] for y in labels}
    if len(shapes) > 1 or any(y.ndim == 0 for y in labels):
        raise UserError(f"{path}: the parts have labels of different shapes, {sorted(shapes)}.")
    return np.concatenate(labels)

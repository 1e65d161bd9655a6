"""IDX files, as MNIST and its relatives come: a big-endian header, then the values, maybe gzipped.

    0 0 type rank | rank sizes, 4 bytes each | values
    type: 8 uint8, 9 int8, 11 int16, 12 int32, 13 float32, 14 float64

A folder holds <part>-images-idx3-ubyte[.gz] and <part>-labels-idx1-ubyte[.gz]; the part `t10k` is the test part.
"""

from __future__ import annotations

import gzip
import math
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from hubel.data.dataset import Dataset
from hubel.data.images import ArrayImages
from hubel.errors import UserError

TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
NAME = re.compile(r"^(?P<part>[\w-]+?)-(?P<kind>images|labels)[-.]idx(?P<rank>\d)-\w+?(?:\.gz)?$")
PARTS = {"train": "train", "t10k": "test", "test": "test"} | dict.fromkeys(("val", "valid", "validation", "dev"), "dev")
GZIP_BEST = 1040  # gzip never shrinks by more: a header that claims more is not believed


def recognise(path: Path) -> str | None:
    """Why this folder is a set of IDX files, or None."""
    found = _files(path)
    return f"{len(found)} IDX files" if any(kind == "images" for _, kind in found) else None


def read(path: Path, name: str | None = None, classes: tuple[str, ...] | None = None, **traits: Any) -> Dataset:
    """The folder as a dataset with its splits. Raises UserError where files are missing, damaged or don't agree."""
    files = _files(path)
    images, labels = [], []
    splits: dict[str, np.ndarray] = {}
    start = 0
    for part in sorted({part for part, _ in files}, key=lambda p: list(PARTS).index(p)):
        if PARTS[part] in splits:
            raise UserError(f"{path} holds two {PARTS[part]} parts, '{part}' among them. Move one of them away.")
        pixels, numbers = _part(path, files, part)
        images.append(pixels)
        labels.append(numbers)
        splits[PARTS[part]] = np.arange(start, start + len(pixels))
        start += len(pixels)
    shapes = {array.shape[1:] for array in images}
    if len(shapes) > 1:
        raise UserError(f"{path}: the parts have images of different sizes, {sorted(shapes)}. Give them one size.")
    label = np.concatenate(labels)
    classes = classes or tuple(str(k) for k in range(int(label.max(initial=0)) + 1))
    return Dataset(
        name or path.resolve().name,
        ArrayImages(np.concatenate(images)),
        {"label": label},
        classes,
        splits,
        source=str(path.resolve()),
        format="idx",
        notes=(f"IDX files: {', '.join(f'{part} {len(index):,}' for part, index in splits.items())} images",),
        traits=traits,
    )


def read_array(path: Path) -> np.ndarray:
    """One IDX file as an array in the machine's byte order. Raises UserError where it is none, or is cut short."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if packed else path.open("rb") as file:
            dtype, shape = _header(file.read(4), file, path)
            size = dtype.itemsize * math.prod(shape)
            if size > path.stat().st_size * (GZIP_BEST if packed else 1):
                raise UserError(f"{path} announces {size:,} bytes of values but is far too small for them.")
            data = file.read(size + 1)  # one more, to see that nothing follows
    except (OSError, EOFError, zlib.error) as fault:
        raise UserError(f"{path} can't be read: {fault}. Copy or download it again.") from fault
    if len(data) != size:
        more = "more" if len(data) > size else f"{len(data):,}"
        raise UserError(f"{path} announces {size:,} bytes of values but holds {more}. Copy or download it again.")
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def _header(start: bytes, file: Any, path: Path) -> tuple[np.dtype, tuple[int, ...]]:
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in TYPES or not start[3]:
        raise UserError(f"{path} is no IDX file: it starts with {start.hex(' ') or 'nothing'}, expected 00 00 08 03.")
    sizes = file.read(4 * start[3])
    if len(sizes) != 4 * start[3]:
        raise UserError(f"{path} ends in its header. Copy or download it again.")
    return np.dtype(TYPES[start[2]]), tuple(int(n) for n in np.frombuffer(sizes, ">u4"))


def _files(path: Path) -> dict[tuple[str, str], Path]:
    """{(part, "images" | "labels"): file}; the unpacked file where both are there."""
    if not path.is_dir():
        return {}
    found: dict[tuple[str, str], Path] = {}
    for file in sorted(path.iterdir(), reverse=True):  # "….gz" sorts after the plain name
        match = NAME.match(file.name)
        if match and match["part"] in PARTS and file.is_file():
            found[match["part"], match["kind"]] = file
    return found


def _part(path: Path, files: dict[tuple[str, str], Path], part: str) -> tuple[np.ndarray, np.ndarray]:
    for kind in ("images", "labels"):
        if (part, kind) not in files:
            raise UserError(f"{path} has no {part}-{kind} file beside the other one. Copy or download it again.")
    images, labels = read_array(files[part, "images"]), read_array(files[part, "labels"])
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or images.shape[3:] not in ((), (1,), (3,)):
        raise UserError(
            f"{files[part, 'images']}: images are uint8 (N, H, W) or (N, H, W, 1 or 3); got {images.dtype} "
            f"{images.shape}. Convert them, or give an .npz file."
        )
    if labels.ndim != 1 or labels.dtype.kind == "f" or (len(labels) and not 0 <= labels.min() <= labels.max() <= 255):
        raise UserError(f"{files[part, 'labels']}: labels are whole numbers 0 … 255, one per image.")
    if len(images) != len(labels):
        raise UserError(
            f"{path}: {len(images):,} {part} images but {len(labels):,} labels. They don't belong together."
        )
    return images.reshape(*images.shape[:3], -1), labels.astype(np.int64)

"""Write a pack: every image read once, resized until its shorter side is `side`, and laid into shards with hashes.

Shrinking is the mean over areas (ops/resize.py); nothing is enlarged, and 16 bits stay 16 bits. Image i goes into shard
i mod S, so that shards have equal shares of every class, and each of S machines can read its own only.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from safetensors.numpy import save_file

from hubel.data.dataset import Dataset, is_array
from hubel.data.decode import BadImage
from hubel.data.images import PackedNames
from hubel.data.objects import Objects
from hubel.data.pack_columns import flatten, pack_names
from hubel.data.packed import seal_of, shard_path
from hubel.data.source import open_image
from hubel.errors import UserError
from hubel.ops.resize import resize

VERSION = 1
SIDE = 256  # pixels of the shorter side, for crops of 224
BLOCK = 64  # images in flight at once


@dataclass(frozen=True)
class Blob:
    """One image or mask, ready to be written."""

    data: bytes = b""
    stored: tuple[int, int] = (0, 0)
    source: tuple[int, int] = (0, 0)
    fault: str | None = None


def pack(
    dataset: Dataset,
    out: str | Path,
    *,
    side: int | None = SIDE,
    quality: int | None = None,
    shards: int = 1,
    progress: Callable[[int], None] = lambda done: None,
) -> Path:
    """Pack `dataset` into the new folder `out`, and return it.

    `side` is the shorter side in pixels (None: as it is); `quality` 1 … 100 re-encodes as JPEG, None keeps pixels as
    they are, memory-mapped; `shards` files, at least one for each machine. Images that can't be read keep their
    position, with weight 0, and are listed. Raises UserError where `out` exists, or something can't be packed.
    """
    out = Path(out).expanduser()
    _check(dataset, out, side, quality, shards)
    arrays, rest = flatten(dataset)
    partial = out.with_name(f".{out.name}-{os.getpid()}.partial")
    try:
        partial.mkdir(parents=True)
        packed, hashes, bad = _images(dataset, partial, side, quality, shards, progress)
        masks, mask_rest, mask_hashes = _masks(dataset, partial, shards)
        arrays |= packed | masks
        if bad:
            arrays["weights"] = np.where(np.isin(np.arange(len(dataset)), list(bad)), np.float32(0), arrays["weights"])
        save_file(arrays, partial / "index.safetensors")
        rest["quarantine"] += _new_bad(dataset, bad)
        files = hashes | mask_hashes | {"index.safetensors": _hash_of(partial / "index.safetensors")}
        rest |= {"shards": shards, "masks": mask_rest, "files": files, **_told(dataset, side, quality, bad)}
        head = json.dumps({**rest, "seal": seal_of(rest)}, indent=1)
        (partial / "pack.json").write_text(head, encoding="utf-8")
        partial.rename(out)
    except OSError as fault:
        raise UserError(f"{out} can't be written: {fault.strerror or fault}. Choose another place.") from fault
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out


def _new_bad(dataset: Dataset, bad: dict[int, str]) -> list[dict[str, str]]:
    """The images that could not be read now, and were not known to be bad before."""
    known = {one.name for one in dataset.quarantine}
    names = {i: dataset.images.name(i) for i in bad}
    return [{"name": names[i], "reason": reason} for i, reason in bad.items() if names[i] not in known]


def _told(dataset: Dataset, side: int | None, quality: int | None, bad: dict[int, str]) -> dict[str, Any]:
    """What pack.json says of all images."""
    return {
        "hubel pack": VERSION,
        "kind": "raw" if quality is None else "jpeg",
        "channels": dataset.images.channels,
        "depth": dataset.images.depth,
        "packed from": dataset.source,
        "how": _how(side, quality),
        "bad": {str(i): reason for i, reason in bad.items()},
    }


def _check(dataset: Dataset, out: Path, side: int | None, quality: int | None, shards: int) -> None:
    if out.exists():
        raise UserError(f"{out} exists. Give a new folder, or remove it.")
    if side is not None and side < 1:
        raise UserError(f"The shorter side is at least 1 pixel; got {side}.")
    if quality is not None and not 1 <= quality <= 100:
        raise UserError(f"The quality of JPEG is 1 … 100; got {quality}.")
    if quality is not None and dataset.images.depth != 8:
        raise UserError("JPEG has 8 bits per value and these images have 16. Pack them without a quality: as they are.")
    if not 1 <= shards <= max(1, len(dataset)):
        raise UserError(
            f"{len(dataset):,} images can be packed into 1 … {max(1, len(dataset)):,} shards; got {shards}."
        )


def _how(side: int | None, quality: int | None) -> str:
    size = "at their own size" if side is None else f"shorter side at most {side} pixels"
    return f"{size}, {'as they are, memory-mapped' if quality is None else f'as JPEG of quality {quality}'}"


# Images --------------------------------------------------------------------------------------------------------


def _images(
    dataset: Dataset, folder: Path, side: int | None, quality: int | None, shards: int, progress: Callable[[int], None]
) -> tuple[dict[str, np.ndarray], dict[str, Any], dict[int, str]]:
    def one(i: int) -> Blob:
        try:
            source = open_image(dataset.images, i)
            pixels, _ = source.pixels()
        except (BadImage, OSError) as fault:
            return Blob(fault=str(fault) or type(fault).__name__)
        small = _fit(pixels, side)
        data = small.astype(small.dtype.newbyteorder("<")).tobytes() if quality is None else _jpeg(small, quality)
        return Blob(data, (small.shape[0], small.shape[1]), source.size)

    sizes = np.zeros((2, len(dataset), 2), dtype=np.int64)
    bad: dict[int, str] = {}

    def told() -> Iterator[Blob]:
        for i, blob in enumerate(_each(one, len(dataset))):
            sizes[:, i] = blob.stored, blob.source
            if blob.fault is not None:
                bad[i] = blob.fault
            progress(i + 1)
            yield blob

    places, hashes = _write(told(), folder, "images", shards, len(dataset))
    names = PackedNames.pack([_raw_name(dataset, i) for i in range(len(dataset))])
    return {**places, "images.stored": sizes[0], "images.source": sizes[1], **pack_names("names", names)}, hashes, bad


def _raw_name(dataset: Dataset, i: int) -> str:
    names = getattr(dataset.images, "names", None)
    return os.fsdecode(names[i]) if isinstance(names, PackedNames) else dataset.images.name(i)


def _fit(pixels: np.ndarray, side: int | None) -> np.ndarray:
    height, width = pixels.shape[:2]
    if side is None or min(height, width) <= side:
        return pixels
    factor = side / min(height, width)
    return resize(pixels, (max(1, round(height * factor)), max(1, round(width * factor))))


def _jpeg(pixels: np.ndarray, quality: int) -> bytes:
    image = pixels[:, :, 0] if pixels.shape[2] == 1 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise UserError(f"An image of {pixels.shape[1]} x {pixels.shape[0]} pixels can't be written as JPEG.")
    return data.tobytes()


# Masks ---------------------------------------------------------------------------------------------------------


def _masks(
    dataset: Dataset, folder: Path, shards: int
) -> tuple[dict[str, np.ndarray], dict[str, Any] | None, dict[str, Any]]:
    """At the source's size; one column at most. A mask that can't be read stands there without bytes."""
    found = {n: c for n, c in dataset.annotations.items() if not is_array(c) and not isinstance(c, Objects)}
    if not found:
        return {}, None, {}
    if len(found) > 1:
        raise UserError(f"A pack has one column of masks; {dataset.name} has {', '.join(found)}.")
    name, column = next(iter(found.items()))

    def one(i: int) -> Blob:
        try:
            mask = column.read(i)
        except (BadImage, OSError) as fault:
            return Blob(fault=str(fault))
        return Blob(cv2.imencode(".png", mask)[1].tobytes(), mask.shape)

    places, hashes = _write(_each(one, len(dataset)), folder, "masks", shards, len(dataset))
    names = PackedNames.pack([column.name(i) for i in range(len(dataset))])
    rest = {"column": name, "classes": list(column.classes), "colours": np.asarray(column.colours).tolist()}
    return {**places, **pack_names("mask_names", names)}, rest, hashes


# Files ---------------------------------------------------------------------------------------------------------


def _each(function: Callable[[int], Blob], count: int) -> Iterator[Blob]:
    """In order, by threads, a block at a time: decoders and encoders release the interpreter's lock."""
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for start in range(0, count, BLOCK):
            yield from pool.map(function, range(start, min(start + BLOCK, count)))


def _write(
    blobs: Iterator[Blob], folder: Path, stem: str, shards: int, count: int
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Blob i at the end of shard i mod S: where each is, and size and hash of each file."""
    places = np.zeros((3, count), dtype=np.int64)  # shard, offset, length
    ends, hashes = [0] * shards, [hashlib.blake2b(digest_size=32) for _ in range(shards)]
    with ExitStack() as stack:
        files: list[BinaryIO] = [
            stack.enter_context(shard_path(folder, stem, shard).open("wb")) for shard in range(shards)
        ]
        for i, blob in enumerate(blobs):
            shard = i % shards
            files[shard].write(blob.data)
            hashes[shard].update(blob.data)
            places[:, i] = shard, ends[shard], len(blob.data)
            ends[shard] += len(blob.data)
        for file in files:
            file.flush()
            os.fsync(file.fileno())
    found = {
        shard_path(folder, stem, shard).name: {"bytes": ends[shard], "blake2b": hashes[shard].hexdigest()}
        for shard in range(shards)
    }
    return {f"{stem}.{key}": row for key, row in zip(("shard", "offset", "length"), places, strict=True)}, found


def _hash_of(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    return {"bytes": len(data), "blake2b": hashlib.blake2b(data, digest_size=32).hexdigest()}

"""Packs: images resized once, with their annotations, as data/pack_write.py lays them down. See data/packed.py.

Every file is checked by size each time, and by its hash once: what was found whole is remembered by size, time of
change and inode. A pack that is cut short, changed or of another version is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from hubel.data.dataset import Dataset
from hubel.data.pack_columns import rebuild, unpack_names
from hubel.data.packed import KINDS, PackedImages, PackedMasks, Shards, seal_of
from hubel.data.places import cache_folder
from hubel.errors import UserError

VERSION = 1
LARGEST_HEAD = 2**28  # bytes of pack.json


def recognise(path: Path) -> str | None:
    """Why this folder is a pack, or None."""
    if path.name == "pack.json":
        path = path.parent
    return "pack.json beside images-00000.bin" if (path / "pack.json").is_file() and any(path.glob("*.bin")) else None


def read(path: Path, *, cache: Path | None = None) -> Dataset:
    """The dataset as it was packed; `cache` is the folder of what is remembered, the user's unless given.

    Raises UserError where the pack is damaged, not whole, or written by a later version.
    """
    root = (path.parent if path.name == "pack.json" else path).resolve()
    head, seal = _head(root)
    _check_files(root, head["files"], (cache or cache_folder() / "packs"))
    try:
        arrays = load_file(root / "index.safetensors")
        return _dataset(root, head, arrays, seal)
    except UserError:
        raise
    except Exception as fault:  # whatever a hostile index makes of it
        raise _damaged(root / "index.safetensors", f"{type(fault).__name__}: {fault}") from fault


def _dataset(root: Path, head: Mapping[str, Any], arrays: Mapping[str, np.ndarray], seal: str) -> Dataset:
    count = len(arrays["images.stored"])
    images = PackedImages(
        _shards(root, "images", arrays, head, count),
        arrays["images.stored"],
        arrays["images.source"],
        unpack_names(arrays, "names"),
        head["channels"],
        head["depth"],
        head["kind"],
        seal,
        {int(i): reason for i, reason in head["bad"].items()},
        head["shards"],
    )
    _check_raw(images)
    found = rebuild(arrays, head)
    if head["masks"] is not None:
        found["annotations"][head["masks"]["column"]] = PackedMasks(
            _shards(root, "masks", arrays, head, count),
            np.arange(count),
            tuple(head["masks"]["classes"]),
            np.array(head["masks"]["colours"], np.uint8).reshape(-1, 3),
            seal,
            names=unpack_names(arrays, "mask_names"),
        )
    dataset = Dataset(head["name"], images, source=str(root), format="pack", **found)
    first = f"packed from {head['packed from']}: {count:,} images, {head['how']}, {head['shards']} shard(s)"
    return replace(dataset, notes=(first, *dataset.notes))


def _shards(root: Path, stem: str, arrays: Mapping[str, np.ndarray], head: Mapping[str, Any], count: int) -> Shards:
    shard, offset, length = (arrays[f"{stem}.{key}"] for key in ("shard", "offset", "length"))
    ends = np.array([head["files"][f"{stem}-{k:05}.bin"]["bytes"] for k in range(head["shards"])])
    if not shard.shape == offset.shape == length.shape == (count,):
        raise ValueError("places of unequal number")
    if count and (min(shard.min(), offset.min(), length.min()) < 0 or (offset + length > ends[shard]).any()):
        raise ValueError("places beyond the files")
    return Shards(str(root), stem, shard, offset, length)


def _check_raw(images: PackedImages) -> None:
    if images.kind not in KINDS or images.channels not in (1, 3) or images.depth not in (8, 16):
        raise ValueError(f"images of kind {images.kind}, {images.channels} channels, {images.depth} bits")
    if images.stored.shape != images.source.shape or len(images.names) != len(images):
        raise ValueError("sizes or names of unequal number")
    needed = images.stored.prod(1) * images.channels * images.depth // 8
    if images.kind == "raw" and (needed != images.shards.length).any():
        raise ValueError("sizes that do not fit the bytes")


# Whole? --------------------------------------------------------------------------------------------------------


def _head(root: Path) -> tuple[dict[str, Any], str]:
    """pack.json, and its seal."""
    path = root / "pack.json"
    try:
        if path.stat().st_size > LARGEST_HEAD:
            raise ValueError("it is too large")
        head = json.loads(path.read_bytes())
        version, seal = head["hubel pack"], head["seal"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as fault:
        raise _damaged(path, str(fault)) from fault
    if version != VERSION:
        raise UserError(f"{root} is a pack of version {version}; this hubel reads {VERSION}. Pack the images again.")
    if seal_of(head) != seal:
        raise _damaged(path, "it was changed after it was written")
    return head, seal


def _check_files(root: Path, files: Any, cache: Path) -> None:
    try:
        wanted = {str(name): (int(facts["bytes"]), str(facts["blake2b"])) for name, facts in files.items()}
    except (TypeError, ValueError, KeyError, AttributeError) as fault:
        raise _damaged(root / "pack.json", f"{type(fault).__name__}: {fault}") from fault
    if any(Path(name).name != name for name in wanted):
        raise _damaged(root / "pack.json", "it names files elsewhere")
    store = cache / f"{hashlib.blake2b(os.fsencode(root)).hexdigest()[:24]}.json"
    known, facts = _recall(store), {}
    for name, (size, told) in wanted.items():
        try:
            stat = (root / name).stat()
        except OSError as fault:
            raise UserError(f"{root / name} is missing: the pack is not whole. Copy it again.") from fault
        if stat.st_size != size:
            raise UserError(
                f"{root / name} has {stat.st_size:,} bytes instead of {size:,}: it was cut short or changed. "
                "Copy the pack again."
            )
        facts[name] = [stat.st_size, stat.st_mtime_ns, stat.st_ino, told]
    todo = [name for name in wanted if known.get(name) != facts[name]]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:  # hashing releases the interpreter's lock
        for name, found in zip(todo, pool.map(lambda name: _hash(root / name), todo), strict=True):
            if found != wanted[name][1]:
                raise _damaged(root / name, "its hash is another one than when it was packed")
    if todo:
        _remember(store, facts)


def _hash(path: Path) -> str:
    seen = hashlib.blake2b(digest_size=32)
    with path.open("rb") as file:
        while block := file.read(2**22):
            seen.update(block)
    return seen.hexdigest()


def _recall(store: Path) -> dict[str, Any]:
    try:
        found = json.loads(store.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _remember(store: Path, facts: Mapping[str, Any]) -> None:
    """Best effort: what can't be remembered is only looked at again."""
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=store.parent, prefix=".hubel-", suffix=".tmp", delete=False) as file:
            json.dump(facts, file)
        Path(file.name).replace(store)
    except OSError:
        return


def _damaged(path: Path, reason: str) -> UserError:
    return UserError(f"{path} is damaged ({reason}). Copy the pack again, or pack the images anew.")

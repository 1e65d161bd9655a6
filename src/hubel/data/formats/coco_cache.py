"""Parsed COCO JSON in the user's cache: flat arrays that are mapped into memory the next time, 0.3 s in place of 10.

One folder for each set of files, named by their paths; it holds for their sizes, times of change and inodes. Every
array has its sum written down: what is damaged, or by another version, is read from the JSON again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from hubel.data.findings import Finding
from hubel.data.formats.coco_parse import Parsed, parse
from hubel.data.images import PackedNames
from hubel.data.objects import Objects, Skeleton
from hubel.data.places import cache_folder
from hubel.data.ragged import Ragged

VERSION = 2
LEAST = 2**22  # bytes of JSON that are worth it
PLAIN = ("boxes", "labels", "flags", "keypoints", "areas", "ids", "lines")


def parse_cached(paths: Sequence[Path], shown: Sequence[str]) -> tuple[Parsed, bool]:
    """As `parse`, and whether it came from the cache."""
    key = _key(paths, shown)
    if key is None or sum(entry["size"] for entry in key) < LEAST:
        return parse(paths, shown), False
    folder = _folder(paths)
    found = load(folder, key)
    if found is not None:
        return found, True
    parsed = parse(paths, shown)
    if key == _key(paths, shown):  # not written to while it was read
        store(folder, key, parsed)
    return parsed, False


def _key(paths: Sequence[Path], shown: Sequence[str]) -> list[dict[str, Any]] | None:
    entries = []
    for path, name in zip(paths, shown, strict=True):
        try:
            stat = path.stat()
        except OSError:
            return None
        entries.append({"name": name, "size": stat.st_size, "time": stat.st_mtime_ns, "inode": stat.st_ino})
    return entries


def _folder(paths: Sequence[Path]) -> Path:
    names = b"\0".join(os.fsencode(path.resolve()) for path in paths)
    return cache_folder() / "coco" / hashlib.blake2b(names, digest_size=16).hexdigest()


# Loading ---------------------------------------------------------------------------------------------------------


def load(folder: Path, key: Sequence[dict[str, Any]]) -> Parsed | None:
    """What was stored there for the same files, or None. Arrays are read-only views of files."""
    try:
        digest, text = (folder / "index").read_bytes().split(b"\n", 1)
        told = json.loads(text) if digest == _digest(text) else {}
        if told["version"] != VERSION or told["key"] != list(key):
            return None
        arrays = {name: _mapped(folder / f"{name}.npy", *kind) for name, kind in told["arrays"].items()}
        return _parsed(arrays, told)
    except (OSError, ValueError, TypeError, KeyError, EOFError, IndexError, AttributeError, RecursionError):
        return None


def _mapped(path: Path, kind: str, shape: Sequence[int], total: int) -> np.ndarray:
    array = np.asarray(np.load(path, mmap_mode="r" if 0 not in shape else None, allow_pickle=False))
    if array.dtype.str != kind or list(array.shape) != shape or _sum(array) != total:
        raise ValueError(f"{path} is damaged")
    return array


def _digest(text: bytes) -> bytes:
    return hashlib.blake2b(text, digest_size=16).hexdigest().encode()


def _sum(array: np.ndarray) -> int:
    """Of all bytes, eight at a time, modulo 2^64."""
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    whole = len(flat) // 8 * 8
    return (int(flat[:whole].view(np.uint64).sum(dtype=np.uint64)) + int(flat[whole:].sum(dtype=np.int64))) % 2**64


def _parsed(arrays: dict[str, np.ndarray], told: dict[str, Any]) -> Parsed:
    columns: dict[str, Any] = {name: arrays[name] for name in PLAIN if name in arrays}
    if "points" in arrays:
        columns["outlines"] = Ragged(Ragged(arrays["points"], arrays["rings"]), arrays["outlines"])
    if "runs" in arrays:
        columns["runs"] = Ragged(arrays["runs"], arrays["run_offsets"])
    points = told["skeleton"]
    skeleton = None if points is None else Skeleton(tuple(points[0]), tuple((a, b) for a, b in points[1]))
    return Parsed(
        PackedNames(arrays["names"], arrays["name_offsets"]), arrays["files"], arrays["image_ids"], arrays["sizes"],
        Objects(arrays["offsets"], skeleton=skeleton, **columns), tuple(told["classes"]), arrays["category_ids"],
        tuple(Finding(**one) for one in told["findings"]),
    )  # fmt: skip


# Storing ---------------------------------------------------------------------------------------------------------


def store(folder: Path, key: Sequence[dict[str, Any]], parsed: Parsed) -> None:
    """Written beside, then renamed: a reader sees all or nothing. Where that can't be done there is no cache."""
    temporary = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".hubel-"))
        arrays = _arrays(parsed)
        for name, array in arrays.items():
            np.save(temporary / f"{name}.npy", array, allow_pickle=False)
        skeleton = parsed.objects.skeleton
        told = {
            "version": VERSION, "key": list(key), "classes": parsed.classes,
            "arrays": {name: (array.dtype.str, array.shape, _sum(array)) for name, array in arrays.items()},
            "skeleton": None if skeleton is None else (skeleton.names, skeleton.edges),
            "findings": [asdict(finding) for finding in parsed.findings],
        }  # fmt: skip
        text = json.dumps(told).encode("utf-8")
        (temporary / "index").write_bytes(_digest(text) + b"\n" + text)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    except (OSError, ValueError):
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _arrays(parsed: Parsed) -> dict[str, np.ndarray]:
    objects = parsed.objects
    found = {
        "names": parsed.names.buffer, "name_offsets": parsed.names.offsets, "files": parsed.files,
        "image_ids": parsed.image_ids, "sizes": parsed.sizes, "category_ids": parsed.category_ids,
        "offsets": objects.offsets,
    }  # fmt: skip
    found |= {name: array for name in PLAIN if len(array := getattr(objects, name)) or name in ("boxes", "labels")}
    if objects.outlines is not None:
        rings = objects.outlines.values
        found |= {"outlines": objects.outlines.offsets, "rings": rings.offsets, "points": rings.values}
    if objects.runs is not None:
        found |= {"runs": objects.runs.values, "run_offsets": objects.runs.offsets}
    return found

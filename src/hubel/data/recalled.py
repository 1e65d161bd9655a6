"""What a look found is remembered in the user's cache, so that an unchanged folder isn't decoded a second time.

A row per file, found again by the hash of its path, size, time of change and inode, those of its mask, and how it is
read. A cache that is broken, foreign or made up is no cache: everything in it is checked before it is used.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL

from hubel.data.images import ConcatImages, FileImages, Images
from hubel.data.looks import LOOK
from hubel.data.masks import Masks
from hubel.data.places import keep_arrays

if TYPE_CHECKING:
    from hubel.data.seen import Seen

VERSION = f"1 {PIL.__version__} {LOOK.descr}".encode()  # of what is measured, and by what it is decoded
FRESH = 2 * 10**9  # ns: files changed so lately may change again within one tick of their clock
MOST = 2**31  # bytes of a cache
WORDS = 500  # characters of a reason
FAILED = "can't be read"  # reasons that lie in the disk and not in the file: looked at again
NONE = bytes(16)


@dataclass(frozen=True)
class Recalled:
    """The cache of one data set: `place`, and (N,) V16 `prints`, zero where nothing is remembered."""

    place: Path
    prints: np.ndarray
    classes: int  # of the masks

    @classmethod
    def of(cls, folder: Path, images: Images, masks: Any = None) -> Recalled | None:
        """None where nothing lies in files."""
        parts = _parts(images)
        files = [part for part in parts if isinstance(part, FileImages)]
        if not files or not (masks is None or isinstance(masks, Masks)):
            return None
        prints = np.concatenate([_prints(part) for part in parts])
        if isinstance(masks, Masks):
            prints = _with_masks(prints, masks)
        name = hashlib.blake2b(b"\0".join(os.fsencode(part.root) for part in files), digest_size=12).hexdigest()
        return cls(folder / f"{name}.npz", prints, len(getattr(masks, "classes", ())))

    def recall(self, seen: Seen, counted: np.ndarray) -> np.ndarray:
        """Fill in what is known; returns the positions (n,) still to look at. `counted` are those of `seen.tally`."""
        known = np.zeros(len(self.prints), bool)
        try:
            saved = _load(self.place, self.classes)
        except Exception:  # no cache, or none of ours: look at the files
            return np.flatnonzero(~known)
        rows = {key: row for row, key in enumerate(saved["prints"].tolist())}
        at = np.array([rows.get(key, -1) if key != NONE else -1 for key in self.prints.tolist()], dtype=np.int64)
        known = at >= 0
        if saved["counted"].tobytes() == self._print_of(counted):
            seen.tally, seen.tallied = saved["tally"], int(saved["tallied"])
        else:
            known[counted] = False
        _fill(seen, saved, np.flatnonzero(known), at[known])
        return np.flatnonzero(~known)

    def keep(self, seen: Seen, counted: np.ndarray) -> None:
        """Best effort: a cache that can't be written only costs time."""
        good = np.array([key != NONE for key in self.prints.tolist()], dtype=bool)
        good[[i for faults in (seen.faults, seen.mask_faults) for i, why in faults.items() if FAILED in why]] = False
        rows = np.flatnonzero(good)
        number = {int(i): row for row, i in enumerate(rows)}
        words = {
            name: {number[i]: value for i, value in getattr(seen, name).items() if i in number}
            for name in ("faults", "bombs", "mask_faults", "strange")
        }
        keep_arrays(
            self.place, prints=self.prints[rows], rows=seen.rows[rows], facts=seen.facts[rows], odd=seen.odd[rows],
            pixels=seen.pixels[rows] if self.classes else seen.pixels, tally=seen.tally,
            tallied=np.array(seen.tallied), counted=np.frombuffer(self._print_of(counted), np.uint8),
            words=np.frombuffer(json.dumps(words).encode(), np.uint8),
        )  # fmt: skip

    def _print_of(self, index: np.ndarray) -> bytes:
        return hashlib.blake2b(np.ascontiguousarray(self.prints[index]).tobytes(), digest_size=16).digest()


# Prints ----------------------------------------------------------------------------------------------------------


def _parts(images: Images) -> list[Images]:
    """In order, none of them a row of others."""
    return [inner for part in images.parts for inner in _parts(part)] if isinstance(images, ConcatImages) else [images]


def _prints(images: Images) -> np.ndarray:
    """(N,) V16 of path, size, time of change, inode and how it is read; zero for what is no file, or too fresh."""
    out = np.zeros(len(images), dtype="V16")
    if not isinstance(images, FileImages):
        return out
    read = f"{images.channels} {images.depth} {images.max_pixels} {images.root}"
    start = hashlib.blake2b(VERSION + read.encode("utf-8", "surrogateescape"), digest_size=16)
    now = time.time_ns()
    for i, stat in enumerate(images.stats()):
        if stat[2] and stat[1] < now - FRESH:
            seen = start.copy()
            seen.update(stat.tobytes() + images.names[i])
            out[i] = seen.digest()
    return out


def _with_masks(prints: np.ndarray, masks: Masks) -> np.ndarray:
    """The same, of the masks too, and of what their values mean."""
    told = repr((masks.root, masks.values.tolist(), masks.ignore, masks.coloured, masks.max_pixels))
    start = hashlib.blake2b(told.encode("utf-8", "surrogateescape"), digest_size=16)
    stats = FileImages(masks.root, masks.names).stats()
    out, now = np.zeros_like(prints), time.time_ns()
    for i, key in enumerate(prints.tolist()):
        bare = not len(masks.names[i])
        if key != NONE and (bare or (stats[i, 2] and stats[i, 1] < now - FRESH)):
            seen = start.copy()
            seen.update(key + (b"" if bare else stats[i].tobytes() + masks.names[i]))
            out[i] = seen.digest()
    return out


# What is read back -----------------------------------------------------------------------------------------------


def _load(place: Path, classes: int) -> dict[str, Any]:
    """The arrays of a cache, each of the kind, shape and range that `keep` writes. Raises anything otherwise."""
    with zipfile.ZipFile(place) as packed:
        members = packed.infolist()
        if any(one.compress_type != zipfile.ZIP_STORED for one in members) or place.stat().st_size > MOST:
            raise ValueError("not ours: compressed, or too large")
    with np.load(place, allow_pickle=False) as saved:
        found: dict[str, Any] = {name: saved[name] for name in saved.files}
    n = len(found["prints"])
    shapes: dict[str, tuple[Any, tuple[int, ...] | None]] = {
        "prints": ("V16", (n,)), "rows": (LOOK, (n,)), "facts": (np.int64, (n, 2)), "odd": (np.uint16, (n,)),
        "pixels": (np.int64, (n, classes + 1) if classes else None), "tally": (np.float64, (3, 256)),
        "tallied": (np.int64, ()), "counted": (np.uint8, (16,)), "words": (np.uint8, None),
    }  # fmt: skip
    for name, (kind, shape) in shapes.items():
        if found[name].dtype != np.dtype(kind) or (shape is not None and found[name].shape != shape):
            raise ValueError(f"not ours: {name}")
    _check_rows(found["rows"], found["facts"])
    if not np.isfinite(found["tally"]).all() or (found["tally"] < 0).any() or (found["pixels"] < 0).any():
        raise ValueError("not ours: counts")
    return found | {"words": _words(found["words"].tobytes(), n)}


def _check_rows(rows: np.ndarray, facts: np.ndarray) -> None:
    read = rows["read"]
    numbers = np.stack([rows[name] for name in ("mean", "low", "high", "contrast", "filled", "detail", "colour")])
    sizes = np.stack([rows["height"], rows["width"]])
    good = np.isfinite(numbers).all() and (sizes >= 0).all() and (sizes[:, read] > 0).all()
    if not good or not np.isin(facts[:, 0], (0, 1, 3)).all() or not np.isin(facts[:, 1], (0, 8, 16)).all():
        raise ValueError("not ours: numbers")


def _words(text: bytes, count: int) -> dict[str, dict[int, Any]]:
    """{"faults", "bombs", "mask_faults": {row: reason}, "strange": {row: {value: pixels}}}."""
    told = json.loads(text)
    found: dict[str, dict[int, Any]] = {}
    for name in ("faults", "bombs", "mask_faults"):
        found[name] = {int(row): str(reason)[:WORDS] for row, reason in told[name].items()}
    found["strange"] = {
        int(row): {int(value): int(pixels) for value, pixels in values.items()}
        for row, values in told["strange"].items()
    }
    if any(not 0 <= row < count for rows in found.values() for row in rows):
        raise ValueError("not ours: rows")
    return found


def _fill(seen: Seen, saved: dict[str, Any], positions: np.ndarray, rows: np.ndarray) -> None:
    """The saved `rows` (n,) at `positions` (n,) of what is seen."""
    seen.rows[positions], seen.facts[positions] = saved["rows"][rows], saved["facts"][rows]
    seen.odd[positions] = saved["odd"][rows]
    if seen.pixels.size:
        seen.pixels[positions] = saved["pixels"][rows]
    for name, told in saved["words"].items():
        target = getattr(seen, name)
        for i, row in zip(positions.tolist(), rows.tolist(), strict=True):
            if row in told:
                target[i] = told[row]

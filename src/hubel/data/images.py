"""Where pixels come from: an array in memory, files on disk, or several of these in a row.

Every kind gives (H, W, C) uint8 or uint16 with C = `channels` and `depth` bits, the same for all its images. Names
are packed into one buffer, so that a million of them are two arrays and not a million Python objects.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from hubel.data.decode import MAX_PIXELS, BadImage, decode, header
from hubel.data.pixels import convert
from hubel.data.ragged import rows_of
from hubel.errors import UserError

__all__ = ["ArrayImages", "BadImage", "ConcatImages", "FileImages", "Images", "PackedNames"]


@runtime_checkable
class Images(Protocol):
    """N images; picklable, for processes that decode."""

    @property
    def channels(self) -> int: ...  # 1 or 3

    @property
    def depth(self) -> int: ...  # bits per value: 8 or 16

    def __len__(self) -> int: ...

    def read(self, i: int) -> np.ndarray:
        """(H, W, C) uint8 or uint16, upright. Raises BadImage where the file can't be decoded."""
        ...

    def name(self, i: int) -> str:
        """The file's name relative to the source, printable; "#i" where there are no files."""
        ...

    def sizes(self, most: int) -> np.ndarray:
        """(n, 2) int64 height and width of up to `most` images, evenly spaced; unreadable ones are left out."""
        ...

    def digest(self) -> bytes:
        """Changes when pixels change: of the values in memory, or of name, size and time of files."""
        ...


def evenly(count: int, most: int) -> np.ndarray:
    """Up to `most` positions of `count`, evenly spaced, first and last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)) if count else np.arange(0)


@dataclass(frozen=True)
class ArrayImages:
    """Images of one size in memory: (N, H, W, C) uint8 or uint16, C in {1, 3}."""

    array: np.ndarray

    def __post_init__(self) -> None:
        shape, kind = self.array.shape, self.array.dtype
        if len(shape) != 4 or shape[3] not in (1, 3) or kind not in (np.uint8, np.uint16):
            raise UserError(
                "Images in memory are (N, H, W, C) uint8 or uint16 with C 1 or 3; "
                f"got {tuple(shape)} {kind}. Convert them before."
            )

    @property
    def channels(self) -> int:
        return self.array.shape[3]

    @property
    def depth(self) -> int:
        return 8 * self.array.dtype.itemsize

    def __len__(self) -> int:
        return len(self.array)

    def read(self, i: int) -> np.ndarray:
        return self.array[i]

    def name(self, i: int) -> str:
        return f"#{i}"

    def sizes(self, most: int) -> np.ndarray:
        return np.tile(np.array(self.array.shape[1:3], dtype=np.int64), (min(len(self), most), 1))

    def digest(self) -> bytes:
        seen = hashlib.blake2b(f"{self.array.shape} {self.array.dtype}".encode(), digest_size=16)
        for start in range(0, len(self.array), 4096):
            seen.update(np.ascontiguousarray(self.array[start : start + 4096]).data)
        return seen.digest()


@dataclass(frozen=True)
class PackedNames:
    """N byte strings in one buffer; string i is buffer[offsets[i]:offsets[i + 1]]."""

    buffer: np.ndarray  # (bytes,) uint8
    offsets: np.ndarray  # (N + 1,) int64

    @classmethod
    def pack(cls, names: Iterable[str]) -> PackedNames:
        """Any names that the file system gives, also those that are not UTF-8."""
        encoded = [os.fsencode(name) for name in names]
        offsets = np.zeros(len(encoded) + 1, dtype=np.int64)
        np.cumsum([len(name) for name in encoded], out=offsets[1:])
        return cls(np.frombuffer(b"".join(encoded), dtype=np.uint8), offsets)

    @classmethod
    def concat(cls, parts: Sequence[PackedNames]) -> PackedNames:
        """Several in a row."""
        ends = np.cumsum([0, *(part.offsets[-1] for part in parts)])
        offsets = [part.offsets[1:] + end for part, end in zip(parts, ends, strict=False)]
        return cls(np.concatenate([part.buffer for part in parts]), np.concatenate([np.zeros(1, np.int64), *offsets]))

    def take(self, index: np.ndarray) -> PackedNames:
        """The names at `index` (n,), in that order."""
        rows, offsets = rows_of(self.offsets, np.asarray(index, dtype=np.int64))
        return PackedNames(self.buffer[rows], offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __iter__(self) -> Iterator[bytes]:
        data, ends = self.buffer.tobytes(), self.offsets.tolist()
        return (data[start:end] for start, end in itertools.pairwise(ends))

    def __getitem__(self, i: int) -> bytes:
        if not -len(self) <= i < len(self):
            raise IndexError(f"{i} of {len(self)} names")
        i %= len(self)
        return self.buffer[self.offsets[i] : self.offsets[i + 1]].tobytes()


@dataclass(frozen=True)
class FileImages:
    """One file per image, under `root`; every read decodes. `channels` and `depth` hold for all of them."""

    root: str
    names: PackedNames
    channels: int = 3
    depth: int = 8
    max_pixels: int = MAX_PIXELS
    fixed: bool = False  # the user asked for these channels, whatever the files have

    def __len__(self) -> int:
        return len(self.names)

    def path(self, i: int) -> str:
        return os.path.join(self.root, os.fsdecode(self.names[i]))  # noqa: PTH118, hot: a Path per read is slow

    def read(self, i: int) -> np.ndarray:
        image = decode(self.path(i), self.channels, self.max_pixels)
        if image.dtype == np.uint16 and self.depth == 8:
            raise BadImage("16 bits per value among images of 8; open the dataset again to read all with 16")
        return convert(image, self.channels, self.depth)

    def name(self, i: int) -> str:
        return self.names[i].decode("utf-8", "backslashreplace")

    def sizes(self, most: int) -> np.ndarray:
        found = []
        for i in evenly(len(self), most):
            try:
                head = header(self.path(int(i)), self.max_pixels)
            except BadImage:
                continue
            found.append((head.height, head.width))
        return np.array(found, dtype=np.int64).reshape(-1, 2)

    def digest(self) -> bytes:
        seen = hashlib.blake2b(f"{self.channels} {self.depth}".encode(), digest_size=16)
        seen.update(np.ascontiguousarray(self.names.buffer).data)
        seen.update(np.ascontiguousarray(self.names.offsets).data)
        seen.update(np.ascontiguousarray(self.stats()[:, :2]).data)
        return seen.digest()

    def stats(self) -> np.ndarray:
        """(N, 3) int64: size in bytes, time of change in ns, inode; zeros where the file is gone."""
        found, root = [], os.path.join(os.fsencode(self.root), b"")  # noqa: PTH118
        for name in self.names:
            try:
                stat = os.stat(root + name)  # noqa: PTH116, as above
            except (OSError, ValueError):
                found.append((0, 0, 0))
            else:
                found.append((stat.st_size, stat.st_mtime_ns, stat.st_ino))
        return np.array(found, dtype=np.uint64).reshape(-1, 3).astype(np.int64)


@dataclass(frozen=True)
class ConcatImages:
    """Several sources in a row, converted to the widest of their channels and depths."""

    parts: tuple[Images, ...]

    @property
    def channels(self) -> int:
        return max(part.channels for part in self.parts)

    @property
    def depth(self) -> int:
        return max(part.depth for part in self.parts)

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def _find(self, i: int) -> tuple[Images, int]:
        for part in self.parts:
            if i < len(part):
                return part, i
            i -= len(part)
        raise IndexError(i)

    def read(self, i: int) -> np.ndarray:
        part, i = self._find(i)
        return convert(part.read(i), self.channels, self.depth)

    def name(self, i: int) -> str:
        part, i = self._find(i)
        return part.name(i)

    def sizes(self, most: int) -> np.ndarray:
        shares = [max(1, round(most * len(part) / max(1, len(self)))) for part in self.parts]
        return np.concatenate([part.sizes(share) for part, share in zip(self.parts, shares, strict=True)])[:most]

    def digest(self) -> bytes:
        return hashlib.blake2b(b"".join(part.digest() for part in self.parts), digest_size=16).digest()


def survey(paths: Sequence[str], most: int = 64, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Channels and depth that hold every one of up to `most` files, evenly spaced; (3, 8) where none is readable."""
    heads = []
    for i in evenly(len(paths), most):
        try:
            heads.append(header(paths[i], max_pixels))
        except BadImage:
            continue
    return max((h.channels for h in heads), default=3), max((h.depth for h in heads), default=8)

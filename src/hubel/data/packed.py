"""A pack: a folder in which images stand resized once, memory-mapped or as JPEG, in shards, with their annotations.

    OUT/pack.json             kind, sizes and hashes of all other files, classes, notes
    OUT/index.safetensors     where each image stands, its sizes, names, splits, annotations
    OUT/images-00000.bin …    pixels (H, W, C) one after the other, or JPEG files
    OUT/masks-00000.bin …     classes of pixels as PNG, at the source's size, where the dataset has masks

Positions, splits and annotations are those of the source, coordinates too: `open(i).size` is the source's size, and
its matrix leads from there to the packed pixels. `pack_write.pack` makes one.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import cv2
import numpy as np

from hubel.data.decode import BadImage, decode
from hubel.data.images import PackedNames, evenly
from hubel.data.jpeg import SCALES, plain_jpeg
from hubel.data.source import Scale, scaled_rows

KINDS = ("raw", "jpeg")


def seal_of(head: Mapping[str, Any]) -> str:
    """Hash of pack.json without its seal; pack.json holds the hashes of all other files."""
    told = json.dumps({key: value for key, value in head.items() if key != "seal"}, sort_keys=True)
    return hashlib.blake2b(told.encode(), digest_size=32).hexdigest()


@dataclass(frozen=True, eq=False)
class Shards:
    """N blobs in several files; file k is <root>/<stem>-<k>.bin. A blob of no bytes is one that is missing."""

    root: str
    stem: str
    shard: np.ndarray  # (N,) int64: the file of each
    offset: np.ndarray  # (N,) int64: its first byte in it
    length: np.ndarray  # (N,) int64
    _maps: dict[int, Any] = field(default_factory=dict, repr=False)

    def __getstate__(self) -> dict[str, Any]:  # each process maps the files that it reads
        return {**self.__dict__, "_maps": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def take(self, index: np.ndarray) -> Self:
        """Those blobs alone, from the files that are mapped already."""
        places = {name: getattr(self, name)[index] for name in ("shard", "offset", "length")}
        return replace(self, **places)

    def blob(self, i: int) -> memoryview:
        """Its bytes, in place."""
        shard, start = int(self.shard[i]), int(self.offset[i])
        if not self.length[i]:
            return memoryview(b"")
        if shard not in self._maps:
            self._maps[shard] = self._map(shard)
        return self._maps[shard][start : start + int(self.length[i])]

    def _map(self, shard: int) -> memoryview:
        path = shard_path(Path(self.root), self.stem, shard)
        try:
            with path.open("rb") as file:
                return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except (OSError, ValueError) as fault:  # gone, or emptied, since it was opened
            raise BadImage(f"{path.name} can't be read: {fault}") from fault


def shard_path(root: Path, stem: str, shard: int) -> Path:
    return root / f"{stem}-{shard:05}.bin"


@dataclass(frozen=True, eq=False)
class PackedImages:
    """Images of a pack, as they are stored: at most the source's size."""

    shards: Shards
    stored: np.ndarray  # (N, 2) int64 height and width in the pack; 0 where the image could not be read
    source: np.ndarray  # (N, 2) int64 of the source
    names: PackedNames
    channels: int
    depth: int
    kind: str  # "raw" or "jpeg"
    hash: str  # of the whole pack
    bad: dict[int, str] = field(default_factory=dict)  # position: why it could not be read
    files: int = 1  # number of shards

    def __len__(self) -> int:
        return len(self.stored)

    def read(self, i: int) -> np.ndarray:
        """(H, W, C) as stored, a copy."""
        return self._whole(i).copy() if self.kind == "raw" else self._jpeg(i, 1)

    def open(self, i: int) -> Packed:
        """Not yet decoded; `size` is the source's."""
        if not self.shards.length[i]:
            raise BadImage(self.bad.get(i, "it could not be read when it was packed"))
        (height, width), (h, w) = self.source[i].tolist(), self.stored[i].tolist()
        return Packed(self, i, (height, width), (h, w))

    def name(self, i: int) -> str:
        return self.names[i].decode("utf-8", "backslashreplace")

    def sizes(self, most: int) -> np.ndarray:
        found = self.stored[evenly(len(self), most)]
        return found[found[:, 0] > 0]

    def source_sizes(self) -> np.ndarray:
        """(N, 2) int64 height and width of the sources, in whose pixels annotations stand."""
        return self.source

    def digest(self) -> bytes:
        return hashlib.blake2b(self.hash.encode(), digest_size=16).digest()

    def owners(self, world: int) -> np.ndarray | None:
        """(N,) the process of `world` that reads each image, so that each reads its own shards; None: too few."""
        return self.shards.shard % world if self.files >= world else None

    def _whole(self, i: int) -> np.ndarray:
        height, width = self.stored[i].tolist()
        blob = self.shards.blob(i)
        if not len(blob):
            raise BadImage(self.bad.get(i, "it could not be read when it was packed"))
        kind = np.uint8 if self.depth == 8 else np.dtype("<u2")
        pixels = np.frombuffer(blob, kind).reshape(height, width, self.channels)
        return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)

    def _jpeg(self, i: int, scale: int, rows: int | None = None) -> np.ndarray:
        blob = self.shards.blob(i)
        if not len(blob):
            raise BadImage(self.bad.get(i, "it could not be read when it was packed"))
        found = plain_jpeg(bytes(blob))
        return decode(bytes(blob), self.channels) if found is None else found.read(self.channels, scale, rows)


class Packed(NamedTuple):
    """One image of a pack: see data/source.py."""

    images: PackedImages
    i: int
    size: tuple[int, int]  # of the source
    stored: tuple[int, int]

    @property
    def by_rows(self) -> bool:
        """Whether less is read where fewer rows are needed."""
        return self.images.kind == "jpeg"

    def pixels(self, shrinkage: float = 1.0, rows: int | None = None) -> tuple[np.ndarray, Scale]:
        """As stored, without a copy; a JPEG at the scale that is needed, and the rows."""
        y, x = self.stored[0] / self.size[0], self.stored[1] / self.size[1]
        if self.images.kind == "raw":
            return self.images._whole(self.i), None if x == y == 1 else (x, y)
        scale = next((s for s in SCALES if s <= shrinkage * min(x, y)), 1)
        needed = None if rows is None else scaled_rows(rows, y / scale)
        image = self.images._jpeg(self.i, scale, needed)
        if scale == 1:
            return image, None if x == y == 1 else (x, y)
        return image[: max(1, self.stored[0] // scale), : max(1, self.stored[1] // scale)], (x / scale, y / scale)


@dataclass(frozen=True, eq=False)
class PackedMasks:
    """Classes of the pixels of N images, at the source's size: a column as data/masks.py has it."""

    shards: Shards
    index: np.ndarray  # (n,) int64: which masks of the pack
    classes: tuple[str, ...]
    colours: np.ndarray  # (K, 3) uint8, or none
    hash: str
    number: np.ndarray = field(default_factory=lambda: np.arange(256, dtype=np.uint8))  # (256,) classes renumbered
    names: PackedNames | None = None

    def __len__(self) -> int:
        return len(self.index)

    def read(self, i: int) -> np.ndarray:
        """(H, W) uint8 numbers of classes, 255 where none is given. Raises BadImage."""
        blob = self.shards.blob(int(self.index[i]))
        mask = cv2.imdecode(np.frombuffer(blob, np.uint8), cv2.IMREAD_GRAYSCALE) if len(blob) else None
        if mask is None:
            raise BadImage("the mask could not be read when it was packed")
        return self.number[mask]

    def strange(self, i: int) -> dict[int, int]:
        """None is left in a pack."""
        return {}

    def name(self, i: int) -> str:
        if self.names is None:
            return ""
        return self.names[int(self.index[i])].decode("utf-8", "backslashreplace")

    def take(self, index: np.ndarray) -> Self:
        return replace(self, index=self.index[index])

    def renumbered(self, number: np.ndarray, classes: tuple[str, ...]) -> Self:
        """With the numbers of another list of classes that has all of ours: class k becomes number[k]."""
        table = np.full(256, 255, np.uint8)
        table[: len(number)] = number
        colours = np.zeros((len(classes) if len(self.colours) else 0, 3), np.uint8)
        if len(self.colours):
            colours[number] = self.colours
        joined = np.where(self.number == 255, np.uint8(255), table[self.number])
        return replace(self, number=joined, classes=classes, colours=colours)

    def apart(self) -> Self:
        """The same masks, without what says where the others of the pack are: small to send."""
        return replace(self, shards=self.shards.take(self.index), index=np.arange(len(self.index)), names=None)

    def digest(self) -> bytes:
        seen = hashlib.blake2b(f"{self.hash} {self.classes}".encode("utf-8", "surrogateescape"), digest_size=16)
        seen.update(np.ascontiguousarray(self.index).data)
        seen.update(self.number.tobytes())
        return seen.digest()

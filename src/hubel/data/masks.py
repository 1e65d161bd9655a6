"""A class for every pixel: one mask file per image, read when it is asked for.

A mask file holds numbers (8 or 16 bits, a palette, one bit) or colours; `values` says which of them mean class k.
Masks lie on the image as it is shown: a mask with an EXIF orientation of its own is turned by it; one that has the
size of the stored, not yet turned image is turned as the image is; any other is taken as it is.
"""

from __future__ import annotations

import functools
import hashlib
import io
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image

from hubel.data.decode import MAX_PIXELS, BadImage, header
from hubel.data.images import PackedNames
from hubel.data.pixels import orient
from hubel.data.whole import fault_of

IGNORE = 255  # in what `read` gives: pixels that take no part
LOSSLESS = (".png", ".bmp", ".tif", ".tiff", ".gif")
FORMATS = ("PNG", "BMP", "TIFF", "GIF")


@dataclass(frozen=True, eq=False)
class Masks:
    """N masks below `root`; images without a mask have the name "". At most 255 classes."""

    root: str
    names: PackedNames  # N mask files, relative to the root
    images: PackedNames  # N image files, relative to the root: their size and orientation hold for their masks
    classes: tuple[str, ...]  # of the numbers that `read` gives; where there is "background", it is one of them
    values: np.ndarray  # (K,) int64: the value in the file that means class k; for colours 65536 R + 256 G + B
    ignore: tuple[int, ...] = ()  # values in the file that take no part
    coloured: bool = False  # the files hold colours, not numbers
    colours: np.ndarray = field(default_factory=lambda: np.empty((0, 3), np.uint8))  # (K, 3) to draw with, or none
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        if not len(self.values) == len(self.classes) <= IGNORE:
            raise ValueError(f"{len(self.classes)} classes, {len(self.values)} values; expected as many, at most 255")
        if len(self.names) != len(self.images):
            raise ValueError(f"{len(self.images)} images but {len(self.names)} masks")

    def __len__(self) -> int:
        return len(self.names)

    def read(self, i: int) -> np.ndarray:
        """(H, W) uint8 numbers of classes, 255 where none is given; of the image's size. Raises BadImage.

        Values that mean no class are 255 here, and listed by `strange`.
        """
        if not len(self.names[i]):
            head = header(self._path(self.images, i), self.max_pixels)
            return np.full((head.height, head.width), IGNORE, np.uint8)
        return self.numbers(self.raw(i))

    def raw(self, i: int) -> np.ndarray:
        """(H, W) whole numbers as in the file, upright, of the image's size. Raises BadImage."""
        pixels = self.as_stored(i)
        turned = self._laid(pixels, self._path(self.images, i))
        return np.ascontiguousarray(turned)

    def as_stored(self, i: int) -> np.ndarray:
        """(H, W) whole numbers as in the file, whatever the image is. Raises BadImage."""
        path = self._path(self.names, i)
        stored = read_values(path, self.max_pixels)
        if stored.colours is None and self.coloured:
            return stored.values.astype(np.int32) * 65793  # grey: R = G = B
        if stored.colours is None or (not self.coloured and stored.palette):
            return stored.values
        packed = stored.colours.astype(np.int32) @ np.array([65536, 256, 1], np.int32)
        if self.coloured:
            return packed
        if (stored.colours != stored.colours[..., :1]).any():
            raise BadImage("a mask in colours among masks of numbers; give the colour of each class")
        return packed & 255

    def numbers(self, raw: np.ndarray) -> np.ndarray:
        """(H, W) values as in the file -> (H, W) uint8 numbers of classes, 255 for all others."""
        order, sorted_values = self._sorted
        if not len(order):
            return np.full(raw.shape, IGNORE, np.uint8)
        if raw.dtype in (np.uint8, np.uint16):
            return self._table[raw]
        if not self.coloured:
            inside = (raw >= 0) & (raw < len(self._table))
            return np.where(inside, self._table[np.where(inside, raw, 0)], np.uint8(IGNORE))
        at = np.minimum(np.searchsorted(sorted_values, raw), len(order) - 1)
        return np.where(sorted_values[at] == raw, order[at].astype(np.uint8), np.uint8(IGNORE))

    def strange(self, i: int) -> dict[int, int]:
        """{value: pixels} of what is neither a class nor ignored in mask i. Raises BadImage."""
        if not len(self.names[i]):
            return {}
        values, counts = np.unique(self.as_stored(i), return_counts=True)
        known = np.concatenate([self.values, np.array(self.ignore, dtype=np.int64)])
        odd = ~np.isin(values, known)
        return dict(zip(values[odd].tolist(), counts[odd].tolist(), strict=True))

    def name(self, i: int) -> str:
        """The mask's file, relative to the root, printable; "" where there is none."""
        return self.names[i].decode("utf-8", "backslashreplace")

    def take(self, index: np.ndarray) -> Self:
        """Those of the images `index` (n,), in that order."""
        return replace(self, names=self.names.take(index), images=self.images.take(index))

    def renumbered(self, number: np.ndarray, classes: tuple[str, ...]) -> Self:
        """With the numbers of another list of classes that has all of ours: class k becomes number[k]."""
        values = np.full(len(classes), -1, dtype=np.int64)
        values[number] = self.values
        colours = np.zeros((len(classes) if len(self.colours) else 0, 3), np.uint8)
        if len(self.colours):
            colours[number] = self.colours
        return replace(self, classes=classes, values=values, colours=colours)

    def digest(self) -> bytes:
        """Changes when masks change: by names, sizes and times of the files, and what their values mean."""
        told = (self.classes, self.values.tolist(), self.ignore, self.coloured)
        seen = hashlib.blake2b(repr(told).encode("utf-8", "surrogateescape"), digest_size=16)
        seen.update(np.ascontiguousarray(self.names.buffer).data)
        seen.update(np.ascontiguousarray(self.names.offsets).data)
        for i in range(len(self)):
            try:
                stat = os.stat(self._path(self.names, i)) if len(self.names[i]) else None  # noqa: PTH116
            except OSError:
                stat = None
            seen.update(f"{(stat.st_size, stat.st_mtime_ns) if stat else None}".encode())
        return seen.digest()

    def _path(self, names: PackedNames, i: int) -> str:
        return os.path.join(self.root, os.fsdecode(names[i]))  # noqa: PTH118, hot: a Path per read is slow

    def _laid(self, mask: np.ndarray, image: str) -> np.ndarray:
        """On the image as it is shown."""
        head = header(image, self.max_pixels)
        if mask.shape == (head.height, head.width):
            return mask
        if mask.shape == (head.width, head.height) and (turn := _orientation(image)) in (5, 6, 7, 8):
            return orient(mask[:, :, None], turn)[:, :, 0]
        (h, w), (height, width) = mask.shape, (head.height, head.width)
        raise BadImage(f"the mask has {w} x {h} pixels, the image {width} x {height}")

    @functools.cached_property
    def _sorted(self) -> tuple[np.ndarray, np.ndarray]:
        order = np.argsort(self.values, kind="stable")
        return order, self.values[order]

    @functools.cached_property
    def _table(self) -> np.ndarray:
        table = np.full(65536, IGNORE, np.uint8)
        for number, value in enumerate(self.values.tolist()):
            if 0 <= value < len(table):
                table[value] = number
        return table

    def __getstate__(self) -> dict[str, Any]:  # tables are made anew where they are needed
        return {key: value for key, value in self.__dict__.items() if key not in ("_sorted", "_table")}


# One file ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stored:
    """What a mask file holds, upright by its own EXIF orientation."""

    values: np.ndarray  # (H, W) whole numbers; of a file of colours only zeros
    colours: np.ndarray | None  # (H, W, 3) uint8 where it holds colours, or a palette
    palette: bool = False


def read_values(path: str | os.PathLike, max_pixels: int = MAX_PIXELS) -> Stored:
    """Numbers and colours of a mask file, nothing converted. Raises BadImage where it is damaged or lossy."""
    head = header(path, max_pixels)  # limits, and whether it is an image at all
    try:
        data = Path(path).read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            if image.format not in FORMATS:
                raise BadImage(f"a mask in {image.format} is not exact; save it as PNG")
            if fault := fault_of(image.format, data):
                raise BadImage(fault)
            return _stored(image, head.depth)
    except BadImage:
        raise
    except OSError as fault:
        raise BadImage(f"damaged or unreadable: {fault}") from fault
    except Exception as fault:  # decoders raise a dozen kinds of errors on damaged files
        raise BadImage(f"damaged: {fault}") from fault


def _stored(image: Image.Image, depth: int) -> Stored:
    few = _few_bits(image)
    image.load()
    turn = int(image.getexif().get(0x0112, 1))
    if image.mode in ("P", "PA"):
        whole = image if image.mode == "P" else image.getchannel(0)
        values = orient(np.asarray(whole)[:, :, None], turn)[:, :, 0]
        return Stored(values, orient(np.asarray(image.convert("RGB")), turn), palette=True)
    if image.mode in ("1", "L", "LA", "La") or image.mode.startswith("I"):
        values = np.asarray(image if image.mode in ("1", "L") or image.mode[0] == "I" else image.getchannel(0))
        values = values.astype(np.uint8) if values.dtype == bool else values
        return Stored(orient(values[:, :, None], turn)[:, :, 0] // values.dtype.type(few), None)
    if image.mode not in ("RGB", "RGBA", "RGBX") or depth != 8:
        raise BadImage(f"a mask of the kind {image.mode} with {depth} bits is not known; save it as PNG")
    colours = orient(np.asarray(image)[:, :, :3], turn)
    return Stored(np.zeros(colours.shape[:2], np.uint8), colours)


def _few_bits(image: Image.Image) -> int:
    """What Pillow multiplies the values of grey files of 2 and 4 bits with."""
    tiles = getattr(image, "tile", ())  # (codec, extents, offset, arguments with the raw mode)
    mode = str(tiles[0][3]) if tiles else ""
    return {"L;2": 85, "L;4": 17}.get(mode.strip("(',)"), 1)


def _orientation(path: str) -> int:
    try:
        with Image.open(path) as image:
            return int(image.getexif().get(0x0112, 1))
    except Exception:  # an unreadable EXIF block leaves the image as it is stored
        return 1

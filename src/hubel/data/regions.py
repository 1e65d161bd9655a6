"""Parts of an image that is too large to be read at once: rows y0 … y1 and columns x0 … x1 of its pixels.

    .npy     mapped into memory: only what is asked for is read
    TIFF     its tiles or strips, each decoded alone: a TIFF of one strip is made of it, so that every compression that
             can be decoded at all can be read in parts
    others   JPEG, PNG … are decoded whole, once, as 4 bytes a pixel (grey: 1), and turned into arrays part by part

The pixels are those of data/decode.py: upright, opaque, grey or RGB, 8 or 16 bits.
"""

from __future__ import annotations

import functools
import io
import os
import struct
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import TiffImagePlugin

from hubel.data.decode import (
    MAX_PIXELS,
    BadImage,
    damage,
    decode,
    header_of,
    opened,
    orientation_of,
    pixels_of,
    reading,
)
from hubel.data.pixels import orient
from hubel.data.python import to_array
from hubel.data.whole import fault_of
from hubel.errors import UserError, looked_for

KEPT = 2**27  # bytes of decoded tiles of a TIFF that are kept for the next part
LARGEST = 2**26  # pixels of one tile or strip; larger ones are not worth it
TILED, STRIPS = (322, 323, 324, 325), (256, 278, 273, 279)  # the tags: width and height of a part, offsets, lengths
NEEDED = (258, 259, 262, 266, 277, 284, 292, 293, 317, 320, 338, 339, 347, 529, 530, 532)  # for decoding one part
PLANAR, COMPRESSION, OLD_JPEG = 284, 259, 6


@dataclass(frozen=True)
class Regions:
    """An image (H, W, C): `read(y0, y1, x0, x1)` gives (y1 − y0, x1 − x0, C) uint8 or uint16 of what lies inside."""

    name: str
    size: tuple[int, int]
    channels: int
    read: Callable[[int, int, int, int], np.ndarray]


def regions(source: Any, max_pixels: int = MAX_PIXELS) -> Regions:
    """Of a path, a PIL image or an array. Raises UserError where it can't be read or has more than `max_pixels`."""
    if not isinstance(source, (str, os.PathLike)):
        return _of_array(source if isinstance(source, np.ndarray) else to_array(source), "the image", max_pixels)
    path = Path(source)
    if path.is_dir():
        raise UserError(f"'{source}' is a folder; name the images in it.")
    if not path.exists():
        raise UserError(f"There is no file '{source}'{looked_for(path)}.")
    if path.suffix.lower() == ".npy":
        return _of_npy(path, max_pixels)
    try:
        return _of_file(path, max_pixels)
    except BadImage as fault:
        raise UserError(f"'{source}' can't be read as an image: {fault}{_hint(fault)}") from fault


def mirrored(image: Regions, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
    """(y1 − y0, x1 − x0, C): a window that may reach beyond the image, reflected about its outermost pixels."""
    (height, width), wanted = image.size, ((y0, y1), (x0, x1))
    rows, columns = (_inside(*part, length) for part, length in zip(wanted, (height, width), strict=True))
    low = int(rows.min()), int(columns.min())
    pixels = image.read(low[0], int(rows.max()) + 1, low[1], int(columns.max()) + 1)
    if pixels.shape[:2] == (y1 - y0, x1 - x0):
        return pixels
    return pixels[(rows - low[0])[:, None], columns - low[1]]


def _inside(start: int, stop: int, length: int) -> np.ndarray:
    """(stop − start,) int64: c b | a b c | b a, as often as needed."""
    period = max(1, 2 * (length - 1))
    place = np.arange(start, stop) % period
    return np.minimum(place, period - place) if length > 1 else np.zeros(stop - start, np.int64)


def _hint(fault: BadImage) -> str:
    return ". Allow it with --large (large=True)" if fault.reason.startswith("too large:") else ""


# Arrays ----------------------------------------------------------------------------------------------------------


def _mapped(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as fault:
        raise UserError(f"'{path}' can't be read as an array: {fault}. Save it with numpy.save.") from fault


def _of_npy(path: Path, max_pixels: int) -> Regions:
    """Mapped anew for each part: what was read of a mapping that stays counts as this process's memory."""

    def read(y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        return _of_array(_mapped(path), str(path), max_pixels).read(y0, y1, x0, x1)

    return replace(_of_array(_mapped(path), str(path), max_pixels), read=read)


def _of_array(array: np.ndarray, name: str, max_pixels: int) -> Regions:
    pixels = array[..., None] if array.ndim == 2 else array
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or pixels.dtype not in (np.uint8, np.uint16):
        raise UserError(
            f"'{name}': an image is (H, W) or (H, W, C), C 1 or 3, of uint8 or uint16; got {array.shape} {array.dtype}."
        )
    height, width, channels = pixels.shape
    if height * width > max_pixels:
        raise UserError(
            f"'{name}' has {width} x {height} pixels, more than the limit of {max_pixels:,}. Allow it with --large "
            "(large=True)."
        )
    return Regions(name, (height, width), channels, lambda y0, y1, x0, x1: np.ascontiguousarray(pixels[y0:y1, x0:x1]))


# Files -----------------------------------------------------------------------------------------------------------


def _of_file(path: Path, max_pixels: int) -> Regions:
    with reading(), path.open("rb") as file, opened(file, max_pixels) as image:
        head = header_of(image)
        parts = Parts.of(path, image) if isinstance(image, TiffImagePlugin.TiffImageFile) else None
    if parts is None and head.depth == 16 and head.channels == 3:  # Pillow has no 16-bit colour
        return _of_array(decode(path, max_pixels=max_pixels), str(path), max_pixels)
    read = _whole(path, max_pixels, (head.height, head.width)) if parts is None else parts.read
    return Regions(str(path), (head.height, head.width), head.channels, functools.partial(_named, read, str(path)))


def _named(read: Callable[..., np.ndarray], name: str, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
    try:
        return read(y0, y1, x0, x1)
    except BadImage as fault:
        raise UserError(f"'{name}' can't be read as an image: {fault}") from fault


def _whole(path: Path, max_pixels: int, size: tuple[int, int]) -> Callable[..., np.ndarray]:
    """Decoded once, and kept as Pillow keeps it; parts become arrays as whole images do."""
    with reading():
        data = path.read_bytes()
    with opened(io.BytesIO(data), max_pixels) as image:
        if fault := fault_of(image.format, data):
            raise BadImage(fault)
        with damage():
            image.load()
        turn = orientation_of(image, header_only=False)  # 1 for a TIFF, which Pillow has turned
        kept = image._new(image.im)  # the same pixels, which closing the file leaves
    kept.info = {key: value for key, value in kept.info.items() if key == "transparency"}

    def read(y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        rows = (size[0] - y1, size[0] - y0) if turn in (3, 4, 7, 8) else (y0, y1)
        columns = (size[1] - x1, size[1] - x0) if turn in (2, 3, 6, 7) else (x0, x1)
        (top, bottom), (left, right) = (columns, rows) if turn in (5, 6, 7, 8) else (rows, columns)
        return orient(pixels_of(kept.crop((left, top, right, bottom))), turn)

    return read


# TIFF ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Parts:
    """The tiles of a TIFF, or its strips, which are tiles as wide as the image."""

    path: Path
    size: tuple[int, int]
    side: tuple[int, int]
    offsets: tuple[int, ...]
    lengths: tuple[int, ...]
    order: bytes  # b"II" or b"MM"
    tags: Mapping[int, tuple[int, Any]]  # {tag: (type, value)} that each part needs
    decoded: OrderedDict[int, np.ndarray] = field(default_factory=OrderedDict, repr=False)

    @classmethod
    def of(cls, path: Path, image: TiffImagePlugin.TiffImageFile) -> Self | None:
        """None where the image must be decoded whole: turned, planes apart, or all in one part."""
        tags = image.tag_v2
        width, height, offsets, lengths = TILED if TILED[2] in tags else STRIPS
        planes_apart = tags.get(PLANAR, 1) == 2 and tags.get(277, 1) > 1
        if any(tag not in tags for tag in (width, height, offsets, lengths)) or planes_apart:
            return None
        if orientation_of(image, header_only=False) != 1 or tags.get(COMPRESSION) == OLD_JPEG:
            return None
        side = min(int(tags[height]), image.height) if width == 256 else int(tags[height]), int(tags[width])
        rows, columns = -(-image.height // side[0]), -(-image.width // side[1])
        if side[0] * side[1] > LARGEST or len(tags[offsets]) != rows * columns or len(tags[lengths]) != rows * columns:
            return None
        needed = {tag: (tags.tagtype[tag], tags[tag]) for tag in NEEDED if tag in tags}
        order = tags.prefix
        return cls(path, (image.height, image.width), side, tuple(tags[offsets]), tuple(tags[lengths]), order, needed)

    def read(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        (h, w), across = self.side, -(-self.size[1] // self.side[1])
        out = None
        for row, column in product(range(y0 // h, -(-y1 // h)), range(x0 // w, -(-x1 // w))):
            pixels = self._decoded(row * across + column, row)
            out = np.empty((y1 - y0, x1 - x0, pixels.shape[2]), pixels.dtype) if out is None else out
            top, left = max(y0, row * h), max(x0, column * w)
            part = pixels[top - row * h : y1 - row * h, left - column * w : x1 - column * w]
            out[top - y0 : top - y0 + part.shape[0], left - x0 : left - x0 + part.shape[1]] = part
        assert out is not None
        return out

    def _decoded(self, k: int, row: int) -> np.ndarray:
        if k in self.decoded:
            self.decoded.move_to_end(k)
            return self.decoded[k]
        pixels = decode(self._alone(k, row), max_pixels=LARGEST)
        self.decoded[k] = pixels
        while len(self.decoded) * pixels.nbytes > KEPT and len(self.decoded) > 1:
            self.decoded.popitem(last=False)
        return pixels

    def _alone(self, k: int, row: int) -> bytes:
        """A TIFF whose only strip is part k."""
        with reading(), self.path.open("rb") as file:
            file.seek(self.offsets[k])
            content = file.read(self.lengths[k])
        if len(content) < self.lengths[k]:
            raise BadImage("truncated: a part of the TIFF lies beyond the file's end")
        strip = self.side[1] == self.size[1]
        height = min(self.side[0], self.size[0] - row * self.side[0]) if strip else self.side[0]
        start = self.order + struct.pack("<HI" if self.order == b"II" else ">HI", 42, 8)
        directory = TiffImagePlugin.ImageFileDirectory_v2(ifh=start)
        for tag, (kind, value) in self.tags.items():
            directory.tagtype[tag] = kind
            directory[tag] = value
        for tag, number in ((256, self.side[1]), (257, height), (273, 0), (278, height), (279, len(content))):
            directory.tagtype[tag] = 4
            directory[tag] = number
        return start + directory.tobytes(8) + content  # Pillow counts the strip's offset from the directory's end

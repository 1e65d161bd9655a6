"""Plain JPEG files in a fast lane: headers first, then libjpeg-turbo at the scale that is needed: 1, 1/2, 1/4 or 1/8.

Baseline or progressive, 8 bits, grey or three colours. At scale 1 the pixels are those of `decode.decode`, bit for bit;
at 1/s each is what the lowest (8/s)² frequencies of its block of s × s say, about their mean. Where only the first rows
are needed a baseline file is decoded no further: the same bits in proportionally less time. Everything else (CMYK, 12
bits, what has no header as it should be) is None here and goes through `decode`.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass

import cv2
import numpy as np

from hubel.data.decode import MAX_PIXELS, BadImage, opened, orientation_of
from hubel.data.pixels import convert, orient
from hubel.data.whole import fault_of

SCALES = (8, 4, 2)
BASELINE_OR_PROGRESSIVE = (0xC0, 0xC1, 0xC2)
OTHER_FRAMES = (0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xDA)  # or a scan without one
NO_LENGTH = (0x01, *range(0xD0, 0xD9))  # markers that stand alone
SCAN = 0xDA
WHOLE_ONLY = (0xC2, 0xDC, 0xDD)  # progressive, height given later, restarts: no reading of the first rows alone
END = 0xD9FF  # its two bytes, the first one lowest
BELOW = 2  # rows: the last one is interpolated from the one below it
LARGEST_BLOCK = 32  # rows; with fewer left out, nothing is gained
_RGB = getattr(cv2, "IMREAD_COLOR_RGB", 0)  # from OpenCV 4.11 on
_COLOUR = cv2.IMREAD_IGNORE_ORIENTATION | (_RGB or cv2.IMREAD_COLOR)
_GREY = cv2.IMREAD_IGNORE_ORIENTATION | cv2.IMREAD_GRAYSCALE
_REDUCED = {
    1: 0,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}


@dataclass(frozen=True)
class PlainJpeg:
    """A file's content, and what its header says."""

    data: bytes
    stored: tuple[int, int]  # height and width before the EXIF orientation
    components: int  # 1 or 3
    orientation: int  # 1 … 8
    frame: int  # where in the content the header of the frame stands

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, upright."""
        height, width = self.stored
        return (width, height) if self.orientation >= 5 else (height, width)

    def scale(self, shrinkage: float) -> int:
        """1, 2, 4 or 8: the coarsest scale that has still a pixel for each of the target's.

        `shrinkage` is how many source pixels fall on one. Turned files are scaled only by what divides both sides:
        else a last, half-filled column would become the first.
        """
        for scale in SCALES:
            whole = self.orientation == 1 or not (self.stored[0] % scale or self.stored[1] % scale)
            if scale <= shrinkage and whole:
                return scale
        return 1

    def read(self, channels: int, scale: int = 1, rows: int | None = None) -> np.ndarray:
        """(⌈H / scale⌉, ⌈W / scale⌉, channels) uint8, upright. Raises BadImage for what is damaged.

        Where only the first `rows` of these are needed, those below may be missing.
        """
        damage = fault_of("JPEG", self.data)
        if damage:
            raise BadImage(damage)
        flags = (_GREY if self.components == 1 else _COLOUR) | _REDUCED[scale]
        image = None if rows is None else self._first(rows, scale, flags)
        image = _decoded(self.data, flags) if image is None else image
        if image is None:
            raise BadImage("damaged: it can't be decoded")
        if self.components == 3 and not _RGB:
            image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        image = image if image.ndim == 3 else image[:, :, None]
        return convert(orient(image, self.orientation) if self.orientation != 1 else image, channels)

    def _first(self, rows: int, scale: int, flags: int) -> np.ndarray | None:
        """The first rows alone; None where that can't be done, or gains nothing.

        The header is given a smaller height. Without the end marker the decoder, which then looks for it, comes to the
        end of the data and stops without a complaint.
        """
        height = scale * (rows + BELOW)
        if self.orientation != 1 or height + LARGEST_BLOCK > self.stored[0]:
            return None
        end = _end_of_scan(self.data, self.components)
        if not end:
            return None
        data = bytearray(memoryview(self.data)[:end])
        data[self.frame + 5 : self.frame + 7] = height.to_bytes(2, "big")
        image = _decoded(data, flags)
        return None if image is None else image[:rows]


def _decoded(data: bytes | bytearray, flags: int) -> np.ndarray | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as fault:
        raise BadImage(f"damaged: {fault.err}") from fault


def _end_of_scan(data: bytes, components: int) -> int:
    """Where the end marker stands behind the only scan; 0 where there are several, or it can't be read in part."""
    at = 2
    while at + 4 < len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == SCAN:
            return _find_end(data, at) if data[at + 4] == components else 0
        if marker in WHOLE_ONLY:
            return 0
        at += 1 if marker == 0xFF else 2 + _number(data, at + 2)
    return 0


def _find_end(data: bytes, start: int) -> int:
    """The first end marker from `start` on, or 0: ten times as fast as bytes.find, which every 0xFF holds up."""
    found = []
    for first in (start, start + 1):
        pairs = np.frombuffer(data, "<u2", (len(data) - first) // 2, first)
        found += (first + 2 * np.flatnonzero(pairs == END)[:1]).tolist()
    return min(found, default=0)


def plain_jpeg(data: bytes, max_pixels: int = MAX_PIXELS) -> PlainJpeg | None:
    """The file's header, or None where it is no plain JPEG. Raises BadImage where it is too large."""
    found = _frame(data)
    if found is None:
        return None
    at, height, width, components, tagged = found
    if height * width > max_pixels:
        raise BadImage(f"too large: {width} x {height} pixels, more than the limit of {max_pixels:,}")
    return PlainJpeg(data, (height, width), components, _orientation(data, max_pixels) if tagged else 1, at)


def plain_size(head: bytes) -> tuple[int, int] | None:
    """Height and width from the first bytes of a file; None where it is no plain JPEG, or may be turned."""
    found = _frame(head)
    return None if found is None or found[4] else found[1:3]


def plain_file(path: str | os.PathLike, max_pixels: int = MAX_PIXELS) -> PlainJpeg | None:
    """The same of a file; None, too, where it can't be read."""
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123, hot
            if file.read(3) != b"\xff\xd8\xff":
                return None
            file.seek(0)
            return plain_jpeg(file.read(), max_pixels)
    except OSError:
        return None


def _orientation(data: bytes, max_pixels: int) -> int:
    with opened(io.BytesIO(data), max_pixels) as image:
        turn = orientation_of(image, header_only=False)
    return turn if 1 <= turn <= 8 else 1


def _frame(data: bytes) -> tuple[int, int, int, int, bool] | None:
    """Place, height, width, components of the frame, and whether segments before it may hold an orientation."""
    at, tagged = 2, False
    if data[:2] != b"\xff\xd8":
        return None
    while at + 9 < len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in BASELINE_OR_PROGRESSIVE:
            bits, height, width, components = data[at + 4], _number(data, at + 5), _number(data, at + 7), data[at + 9]
            good = bits == 8 and height and width and components in (1, 3)
            return (at, height, width, components, tagged) if good else None
        elif marker in OTHER_FRAMES or marker in NO_LENGTH:
            return None
        else:
            tagged |= marker == 0xE1
            at += 2 + _number(data, at + 2)
    return None


def _number(data: bytes, at: int) -> int:
    return data[at] << 8 | data[at + 1]

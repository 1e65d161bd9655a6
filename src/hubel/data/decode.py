"""From the bytes of one image file to pixels: (H, W, C) uint8 or uint16, C in {1, 3}, upright, opaque.

Decided by content, never by the file's extension. EXIF orientation is applied; transparency is laid on white; the
first frame of an animation is taken; palettes and CMYK become RGB; 16 bits stay 16 bits, in colour too. Embedded
colour profiles are not applied. What is damaged raises BadImage: nothing is filled in.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import cv2
import numpy as np
from PIL import Image

from hubel.data import libtiff
from hubel.data.pixels import convert, on_white, orient
from hubel.data.whole import fault_of

MAX_PIXELS = 178_956_970  # 0.5 GB as RGB; where Pillow refuses, too
FORMATS = ("JPEG", "MPO", "PNG", "GIF", "BMP", "DIB", "WEBP", "TIFF", "PPM", "JPEG2000", "AVIF")
GREY_MODES = {"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N"}
_limit_lock = threading.Lock()


class BadImage(Exception):
    """A file that is no whole image; `reason` is one sentence without the file's name."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Header:
    """What an image says about itself before it is decoded; height and width after EXIF orientation."""

    height: int
    width: int
    channels: int  # 1 or 3
    depth: int  # bits per value: 8 or 16


def decode(source: str | bytes | os.PathLike, channels: int | None = None, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """(H, W, C) uint8 or uint16 of a path, or of a file's content given as bytes.

    `channels` 1 or 3 converts between grey and colour; None keeps what the file has. Raises BadImage for anything
    that is damaged, no image, unreadable or larger than `max_pixels` (checked before memory is taken).
    """
    data = source if isinstance(source, bytes) else _read(source)
    with opened(io.BytesIO(data), max_pixels) as image:
        channels = channels or header_of(image).channels
        return convert(whole(image, data), channels)


def whole(image: Image.Image, data: bytes) -> np.ndarray:
    """(H, W, C) uint8 or uint16 of an image as `opened` gives it, and its file's content; BadImage where damaged."""
    fault = fault_of(image.format, data)
    if fault:
        raise BadImage(fault)
    with damage():
        deep = _is_deep_colour(image)
        return orient(_deep_pixels(data), orientation_of(image, header_only=False)) if deep else pixels_of(image)


def pixels_of(image: Image.Image) -> np.ndarray:
    """(H, W, C) uint8 or uint16 of a PIL image: upright, opaque, C 1 or 3."""
    pixels = _pixels(image)  # first: damage must not be met, and passed over, while looking for EXIF
    return orient(pixels, orientation_of(image, header_only=False))


def header(source: str | bytes | os.PathLike, max_pixels: int = MAX_PIXELS) -> Header:
    """Size, channels and depth, from the first bytes of the file. Raises BadImage as `decode` does."""
    if isinstance(source, bytes):
        with opened(io.BytesIO(source), max_pixels) as image:
            return header_of(image)
    with reading(), Path(source).open("rb") as file, opened(file, max_pixels) as image:
        return header_of(image)


# Reading -------------------------------------------------------------------------------------------------------


def _read(path: str | os.PathLike) -> bytes:
    with reading():
        return Path(path).read_bytes()


@contextlib.contextmanager
def reading() -> Iterator[None]:
    try:
        yield
    except OSError as fault:
        raise BadImage(f"can't be read: {os.strerror(fault.errno) if fault.errno else fault}") from fault


@contextlib.contextmanager
def damage() -> Iterator[None]:
    """Decoders raise a dozen kinds of errors on damaged files; all mean the same to us."""
    libtiff.listen()
    try:
        yield
    except (BadImage, MemoryError):
        raise
    except Exception as fault:
        text = libtiff.said() or (str(fault).splitlines()[0] if str(fault) else type(fault).__name__)
        raise BadImage(f"{'truncated' if 'truncated' in text.lower() else 'damaged'}: {text}") from fault


@contextlib.contextmanager
def opened(file: IO[bytes], max_pixels: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """The file as Pillow opens it, not yet decoded. Raises BadImage: no image, damaged header, too many pixels."""
    if not file.read(1):
        raise BadImage("the file is empty")
    file.seek(0)
    with _raised_limit(max_pixels):
        try:
            image = Image.open(file, formats=_known_formats())
        except Image.UnidentifiedImageError as fault:
            raise BadImage("not an image of a known format") from fault
        except Image.DecompressionBombError as fault:
            raise BadImage(f"too large: more than {max_pixels:,} pixels") from fault
        except Exception as fault:
            raise BadImage(f"damaged header: {fault}") from fault
    with image:
        if image.width * image.height > max_pixels:
            raise BadImage(f"too large: {image.width} x {image.height} pixels, more than the limit of {max_pixels:,}")
        yield image


@functools.cache
def _known_formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


@contextlib.contextmanager
def _raised_limit(max_pixels: int) -> Iterator[None]:
    """Pillow's own limit is global: lift it only while a larger one is asked for."""
    if max_pixels <= MAX_PIXELS:
        yield
        return
    with _limit_lock:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


# Pixels --------------------------------------------------------------------------------------------------------


def header_of(image: Image.Image) -> Header:
    turned = orientation_of(image) in (5, 6, 7, 8)
    stored = getattr(image, "tag_v2", {})  # of a TIFF, whose width and height Pillow may have exchanged already
    width, height = stored.get(256, image.width), stored.get(257, image.height)
    height, width = (width, height) if turned else (height, width)
    if image.mode == "F":
        raise BadImage("floating-point pixels; save it with 8 or 16 bits per value")
    deep = image.mode.startswith("I") or _is_deep_colour(image)
    return Header(height, width, 1 if image.mode in GREY_MODES else 3, 16 if deep else 8)


def orientation_of(image: Image.Image, header_only: bool = True) -> int:
    """The EXIF tag, 1 … 8. A PNG may carry it behind its pixels: `header_only` does not look there, nor decodes it."""
    try:
        exif = Image.Image.getexif(image) if header_only else image.getexif()
        return int(exif.get(0x0112, 1))
    except Exception:  # an unreadable EXIF block leaves the image as it is stored
        return 1


def _is_deep_colour(image: Image.Image) -> bool:
    """16 bits per value with several channels: Pillow would cut them to 8 without a word."""
    tiles = getattr(image, "tile", ())  # (codec, extents, offset, arguments with the raw mode)
    return not image.mode.startswith("I") and any(";16" in str(tile[3]) for tile in tiles)


def _deep_pixels(data: bytes) -> np.ndarray:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None or pixels.dtype != np.uint16:
        raise BadImage("16-bit colour of a kind that can't be decoded; save it as PNG")
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    colours, alpha = pixels[:, :, 2::-1], pixels[:, :, 3:]  # OpenCV keeps blue first
    return on_white(colours, alpha) if alpha.size else np.ascontiguousarray(colours)


def _pixels(image: Image.Image) -> np.ndarray:
    image.load()
    if image.mode.startswith("I"):
        return _sixteen_bits(np.asarray(image))
    grey = image.mode in GREY_MODES
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        pixels = np.asarray(image.convert("RGBA"))
        pixels = on_white(pixels[:, :, :3], pixels[:, :, 3:])
        return pixels[:, :, :1] if grey else pixels
    pixels = np.array(image.convert("L" if grey else "RGB"))  # a copy: torch needs writable memory
    return pixels[:, :, None] if grey else pixels


def _sixteen_bits(values: np.ndarray) -> np.ndarray:
    if values.min(initial=0) < 0 or values.max(initial=0) > 65535:
        raise BadImage("values outside 0 … 65535; save it with 8 or 16 bits per value")
    return values.astype(np.uint16)[:, :, None]

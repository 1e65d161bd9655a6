"""Decoded pixels as we want them: upright, opaque, with the channels and the depth that are asked for.

(H, W, C) uint8 or uint16, C in {1, 3}.
"""

from __future__ import annotations

import numpy as np


def convert(image: np.ndarray, channels: int, depth: int | None = None) -> np.ndarray:
    """(H, W, C) -> the same image with `channels` 1 or 3 and, where given, `depth` 8 or 16 bits.

    Grey is the luma of ITU-R BT.601 with Pillow's rounding: (19595 R + 38470 G + 7471 B + 2¹⁵) / 2¹⁶. Eight bits
    become sixteen by · 257 (255 -> 65535) and sixteen become eight by the nearest value.
    """
    if image.shape[2] != channels:
        image = np.repeat(image, 3, axis=2) if channels == 3 else _luma(image)
    if depth == 16 and image.dtype == np.uint8:
        return image.astype(np.uint16) * np.uint16(257)
    if depth == 8 and image.dtype == np.uint16:
        return ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return image


def orient(image: np.ndarray, orientation: int) -> np.ndarray:
    """(H, W, C) as stored -> upright, by the EXIF tag 0x0112: 1 as it is … 8 a quarter turn anticlockwise."""
    if orientation in (5, 6, 7, 8):
        image = image.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)


def on_white(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """alpha · colour + (1 − alpha) · white, rounded: (H, W, 3), (H, W, 1) -> (H, W, 3)."""
    top = np.uint32(np.iinfo(colours.dtype).max)
    c, a = colours.astype(np.uint64), alpha.astype(np.uint64)
    return ((c * a + top * (top - a) + top // 2) // top).astype(colours.dtype)


def _luma(image: np.ndarray) -> np.ndarray:
    weighted = image.astype(np.uint32) * np.array([19595, 38470, 7471], np.uint32)
    return ((weighted.sum(axis=2, keepdims=True, dtype=np.uint32) + np.uint32(0x8000)) >> np.uint32(16)).astype(
        image.dtype
    )

"""Pictures inside the page: an array becomes a small data URI without any of the file's metadata.

(H, W), (H, W, 1), (H, W, 3) or (H, W, 4) uint8 -> "data:image/webp;base64,…"
"""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from PIL import Image, features

SIDE = 128  # pixels of the longer side: sharp at the size that a gallery shows
OPTIONS: dict[str, dict[str, Any]] = {
    "png": {"optimize": True},
    "webp": {"quality": 78, "method": 4},
    "jpeg": {"quality": 80},
}
SMALL = 48  # up to here pixels count one by one: stored without loss, shown without smoothing


def to_uint8(image: np.ndarray) -> np.ndarray:
    """(H, W) or (H, W, 3) uint8. 16 bits lose the lower eight; floats are weights: 0 is mid-grey, ± the largest
    magnitude black and white; NaN is grey."""
    image = np.asarray(image)
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    if image.ndim == 3:
        image = image[:, :, :3] if image.shape[2] >= 3 else image[:, :, 0]
    if image.dtype == np.uint16:
        return (image >> 8).astype(np.uint8)
    if image.dtype.kind == "f":
        image = np.nan_to_num(image.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
        return np.rint(127.5 + 127.5 * image / (np.abs(image).max(initial=0.0) or 1.0)).astype(np.uint8)
    return image.astype(np.uint8)


def shrink(image: np.ndarray, side: int = SIDE) -> Image.Image:
    """The image with its longer side at most `side` pixels, antialiased; small ones stay as they are."""
    picture = Image.fromarray(np.ascontiguousarray(to_uint8(image)))
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    return picture


def is_small(image: np.ndarray) -> bool:
    """Are single pixels worth seeing (an 8×8 digit), so that they are enlarged without smoothing?"""
    return max(image.shape[:2]) <= SMALL


def data_uri(image: np.ndarray, side: int = SIDE) -> str:
    """The thumbnail as a data URI: PNG for small images, else WebP (JPEG where Pillow lacks it)."""
    picture = shrink(image, side)
    kind = "png" if is_small(image) else "webp" if features.check("webp") else "jpeg"
    stream = io.BytesIO()
    picture.save(stream, kind, **OPTIONS[kind])
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"

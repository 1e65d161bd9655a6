"""What a sliding window finds in images, as documents and as pictures; sliding.py has the window itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hubel.explain.picture import enlarged
from hubel.explaining import folder_for, name_in
from hubel.ops.palette import PALETTE
from hubel.rebuild import Parts
from hubel.sliding import OVERLAP, SCALES, THRESHOLD, Detection, objects_in, slides, windows
from hubel.trained import named, read

INK = ((0, 0, 0), (255, 255, 255))


def find(
    parts: Parts,
    images: Iterable[Any],
    out: str | Path | None = None,
    *,
    scales: Sequence[float] = SCALES,
    threshold: float = THRESHOLD,
    most: float = OVERLAP,
) -> list[dict[str, Any]]:
    """One dict per image, JSON-ready: "image", "size" [height, width], "windows" (how many were looked at),
    "convolutional" (or window by window), "objects" [{"class", "probability", "box" [x0, y0, x1, y1]}] by falling
    probability, in pixels of the image; with `out`, a folder, also the "picture" that was written there.

    Raises UserError as `sliding.detect` does, and where nothing can be written.
    """
    folder = None if out is None else folder_for(out)
    size = (parts.preprocess.channels, *parts.preprocess.size)
    at_once, written, found = slides(parts.network, size), list[Path](), list[dict[str, Any]]()
    for name, source in named(images):
        image = read(source, parts)
        looked = windows(parts, image, scales, at_once)
        objects = objects_in(looked, parts, threshold, most)
        rows = [{"class": one.label, "probability": one.probability, "box": list(one.box)} for one in objects]
        about = {"image": name, "size": list(image.shape[:2]), "windows": len(looked.boxes), "convolutional": at_once}
        found.append(about | {"objects": rows})
        if folder is not None:
            written.append(name_in(folder, name, "objects", written))
            drawn(image, objects, parts.classes).save(written[-1])
            found[-1]["picture"] = str(written[-1])
    return found


def drawn(image: np.ndarray, objects: Sequence[Detection], classes: Sequence[str]) -> Image.Image:
    """The image (H, W, C) with its boxes, each in its class's colour and with its class and probability, the most
    probable one on top; small images are enlarged.
    """
    pixels, factor = enlarged(image)
    picture = Image.fromarray(pixels)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(13)
    for one in reversed(objects):
        colour = PALETTE[list(classes).index(one.label) % len(PALETTE)]
        x0, y0, x1, y1 = (v * factor for v in one.box)
        draw.rectangle([x0, y0, x1 - 1, y1 - 1], outline=INK[0], width=4)
        draw.rectangle([x0 + 1, y0 + 1, x1 - 2, y1 - 2], outline=colour, width=2)
        words = f"{one.label} {one.probability:.0%}"
        left, top, right, bottom = draw.textbbox((x0 + 4, y0 + 3), words, font)
        draw.rectangle([left - 3, top - 2, right + 3, bottom + 2], fill=colour)
        draw.text((x0 + 4, y0 + 3), words, _ink_on(colour), font)
    return picture


def _ink_on(colour: Sequence[int]) -> tuple[int, int, int]:
    """Black or white, what can be read on it: by its luma (ITU-R BT.601)."""
    return INK[float(np.dot(colour, (0.299, 0.587, 0.114))) < 128]

"""What one network or several find in images with a sliding window, as documents and as pictures; see sliding.py."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from hubel.errors import UserError
from hubel.explain.picture import enlarged
from hubel.ops.palette import PALETTE
from hubel.prediction.explaining import folder_for, name_in
from hubel.rebuild import Parts
from hubel.sliding import OVERLAP, SCALES, THRESHOLD, Detection, Windows, objects_in, slides, step_of, windows
from hubel.trained import named, read

INK = ((0, 0, 0), (255, 255, 255))
PAD, EDGE = 3, 3  # pixels: around the letters of a label; of a box's line


class Slider:
    """One classifier or several, whose probabilities are averaged, for the same windows of any images.

    Windows lie the smallest of their steps apart; `at_once` says of each whether it looks convolutionally. Raises
    UserError for classifiers of other classes, or with windows of another size.
    """

    def __init__(self, members: Sequence[Parts]):
        self.members, first = tuple(members), members[0]
        for other in members[1:]:
            if other.classes != first.classes:
                words = "; ".join(", ".join(one.classes) for one in (first, other))
                raise UserError(f"Networks that slide together need the same classes; these have {words}.")
            if other.preprocess.size != first.preprocess.size:
                sides = " and ".join("{} x {}".format(*one.preprocess.size) for one in (first, other))
                raise UserError(
                    f"Networks that slide together need windows of one size; these have {sides} pixels. Train with "
                    "the same --size."
                )
        inputs = [(one.network, (one.preprocess.channels, *one.preprocess.size)) for one in members]
        steps = [step_of(network, size) for network, size in inputs]
        self.step = min(steps)
        self.at_once = tuple(
            step == self.step and slides(*one) for step, one in zip(steps, inputs, strict=True)
        )  # fmt: skip

    def windows(self, image: Any, scales: Sequence[float] = SCALES) -> Windows:
        """Of an image (a path, PIL image or array); its outputs are logarithms of probabilities. Raises UserError as
        the function `windows` does."""
        pairs = zip(self.members, self.at_once, strict=True)
        looked = [windows(one, read(image, one), scales, way, self.step) for one, way in pairs]
        mean = torch.stack([one.outputs.softmax(1) for one in looked]).mean(0)
        return Windows(looked[0].boxes, mean.log())


def find(
    runs: Parts | Sequence[Parts],
    images: Iterable[Any],
    out: str | Path | None = None,
    *,
    scales: Sequence[float] = SCALES,
    threshold: float = THRESHOLD,
    most: float = OVERLAP,
) -> list[dict[str, Any]]:
    """One dict per image, JSON-ready: "image", "size" [height, width], "windows" (how many were looked at),
    "convolutional" (or window by window), "objects" [{"class", "probability", "box" [x0, y0, x1, y1]}] by falling
    probability, in pixels of the image; with `out`, a folder, also the "picture" that was written there. Several
    networks average their probabilities of each window.

    Raises UserError as `Slider` does, and where nothing can be written.
    """
    folder = None if out is None else folder_for(out)
    members = [runs] if isinstance(runs, Parts) else list(runs)
    slider, written, found = Slider(members), list[Path](), list[dict[str, Any]]()
    parts, at_once = members[0], all(slider.at_once)
    for name, source in named(images):
        image = read(source, parts)
        looked = slider.windows(source, scales)
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
    probable one on top; labels keep clear of each other where there is room. Small images are enlarged.
    """
    pixels, factor = enlarged(image)
    picture = Image.fromarray(pixels)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(13)
    boxes = np.array([one.box for one in objects], np.float64).reshape(-1, 4) * factor
    words = [f"{one.label} {one.probability:.0%}" for one in objects]
    colours = [PALETTE[list(classes).index(one.label) % len(PALETTE)] for one in objects]
    for (x0, y0, x1, y1), colour in reversed(list(zip(boxes.tolist(), colours, strict=True))):
        draw.rectangle([x0, y0, x1 - 1, y1 - 1], outline=INK[0], width=4)
        draw.rectangle([x0 + 1, y0 + 1, x1 - 2, y1 - 2], outline=colour, width=2)
    top, bottom = draw.textbbox((0, 0), "Ag", font)[1::2]
    sizes = [(draw.textlength(word, font) + 2 * PAD, bottom - top + 2 * PAD) for word in words]
    for (x, y), size, word, colour in zip(places(boxes, sizes, picture.size), sizes, words, colours, strict=True):
        draw.rectangle([x, y, x + size[0] - 1, y + size[1] - 1], fill=colour, outline=INK[0])
        draw.text((x + PAD, y + PAD - top), word, _ink_on(colour), font)
    return picture


def places(
    boxes: np.ndarray, sizes: Sequence[tuple[float, float]], whole: tuple[int, int]
) -> list[tuple[float, float]]:
    """Where the labels (width, height) of boxes (M, 4) have their top left corners, in a picture (width, height).

    In turn, each takes the first place that no label before it covers: in the box at its top left, above it, at the
    other corners, then down its left edge; where none is free, the place that is covered least.
    """
    taken = np.zeros((0, 4))
    found = []
    for box, size in zip(boxes, np.array(sizes, np.float64).reshape(-1, 2), strict=True):
        corners = np.clip(_corners(box, *size), 0, np.maximum(np.array(whole) - size, 0))
        frames = np.hstack([corners, corners + size])
        best = int(np.argmin([_covered(frame, taken) for frame in frames]))
        taken = np.concatenate([taken, frames[best : best + 1]])
        found.append((float(corners[best, 0]), float(corners[best, 1])))
    return found


def _corners(box: np.ndarray, width: float, height: float) -> np.ndarray:
    """(N, 2): the places to try, the best first."""
    (x0, y0), (x1, y1) = box[:2] + EDGE, box[2:] - EDGE
    inside, outside = [(x0, y0), (x1 - width, y0)], [(x0, y0 - height - EDGE), (x1 - width, y0 - height - EDGE)]
    below = [(x0, y1 - height), (x1 - width, y1 - height), (x0, y1 + EDGE), (x1 - width, y1 + EDGE)]
    down = [(x0, y) for y in np.arange(y0 + height, y1 - height, height)]
    return np.array([inside[0], outside[0], inside[1], outside[1], *below, *down])


def _covered(frame: np.ndarray, others: np.ndarray) -> float:
    """Pixels of a frame (4,) that lie in others (M, 4)."""
    sides = np.minimum(frame[2:], others[:, 2:]) - np.maximum(frame[:2], others[:, :2])
    return float(np.clip(sides, 0, None).prod(1).sum())


def _ink_on(colour: Sequence[int]) -> tuple[int, int, int]:
    """Black or white, what can be read on it: by its luma (ITU-R BT.601)."""
    return INK[float(np.dot(colour, (0.299, 0.587, 0.114))) < 128]

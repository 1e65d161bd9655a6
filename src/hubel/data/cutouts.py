"""One example per object: squares around boxes, cut out of the images when they are read.

    side = (1 + margin) · the longer side of the box, its centre in the middle

N images with M objects -> M' images, each with one object, in pixels of the cut-out: source − corner of the square.
What a square shows of the world beyond its image is black, so that every cut-out is square whatever the object. Flat
arrays alone are kept: the image and the corners of each. The squares of larger objects begin at multiples of 8
pixels: then a JPEG can be read at 1/2, 1/4 or 1/8 of its size, and the cut is still exact.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hubel.data.dataset import FOUND, Dataset
from hubel.data.drawn import DrawnImages
from hubel.data.faults import sound
from hubel.data.images import ArrayImages, Images, evenly
from hubel.data.objects import CROWD, Objects
from hubel.data.ragged import rows_of
from hubel.data.sizes import image_sizes
from hubel.data.source import Scale, Source, open_image
from hubel.errors import UserError

STEP = 8  # pixels: the coarsest scale at which a JPEG is read
ALIGNED_FROM = 64  # pixels: smaller squares are never read at a smaller scale
DRAWN_ONCE = 1 << 26  # pixels
TRAIT = "one example per object"  # of a dataset of cut-outs: it is not cut again


@dataclass(frozen=True)
class Cutouts:
    """M' squares out of N images; each is read from its image alone."""

    whole: Images
    rows: np.ndarray  # (M',) int64: the image of each
    windows: np.ndarray  # (M', 4) int64 x0, y0, x1, y1; may reach beyond the image

    @property
    def channels(self) -> int:
        return self.whole.channels

    @property
    def depth(self) -> int:
        return self.whole.depth

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, i: int) -> np.ndarray:
        return cut(self.whole.read(int(self.rows[i])), self.windows[i])

    def open(self, i: int) -> Source:
        return Cutout(open_image(self.whole, int(self.rows[i])), self.windows[i])

    def name(self, i: int) -> str:
        """The image's name, and which of its objects, from 1."""
        first = int(np.searchsorted(self.rows, self.rows[i]))
        return f"{self.whole.name(int(self.rows[i]))} ({i - first + 1})"

    def sizes(self, most: int) -> np.ndarray:
        return self.source_sizes()[evenly(len(self), most)]

    def source_sizes(self) -> np.ndarray:
        """(M', 2) height and width of each."""
        return (self.windows[:, 2:] - self.windows[:, :2])[:, ::-1]

    def digest(self) -> bytes:
        seen = hashlib.blake2b(self.whole.digest(), digest_size=16)
        seen.update(np.ascontiguousarray(self.rows).data)
        seen.update(np.ascontiguousarray(self.windows).data)
        return seen.digest()


@dataclass(frozen=True)
class Cutout:
    """One square of an image that is opened but not yet decoded."""

    source: Source
    window: np.ndarray  # (4,)

    @property
    def size(self) -> tuple[int, int]:
        x0, y0, x1, y1 = self.window.tolist()
        return y1 - y0, x1 - x0

    def pixels(self, shrinkage: float = 1.0, rows: int | None = None) -> tuple[np.ndarray, Scale]:
        bottom = int(self.window[3])
        below = getattr(self.source, "by_rows", False) and bottom < self.source.size[0]
        image, scale = self.source.pixels(shrinkage if self._aligned() else 1.0, bottom if below else None)
        if scale is None:
            return cut(image, self.window), None
        return cut(image, np.round(self.window * np.tile(scale, 2)).astype(np.int64)), scale

    def _aligned(self) -> bool:
        return not (self.window % STEP).any()


def cut(image: np.ndarray, window: np.ndarray) -> np.ndarray:
    """(H, W, C) -> (y1 − y0, x1 − x0, C) for the window (x0, y0, x1, y1); black outside of the image."""
    x0, y0, x1, y1 = window.tolist()
    height, width = image.shape[:2]
    inner = image[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)]
    if x0 >= 0 and y0 >= 0 and x1 <= width and y1 <= height:
        return inner
    canvas = np.zeros((y1 - y0, x1 - x0, *image.shape[2:]), image.dtype)
    top, left = max(0, -y0), max(0, -x0)
    canvas[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return canvas


def squares(boxes: np.ndarray, margin: float) -> np.ndarray:
    """(M, 4) boxes in pixels -> (M, 4) int64 squares around them."""
    sides = (boxes[:, 2:] - boxes[:, :2]).max(1) * (1 + margin)
    step = np.where(sides >= ALIGNED_FROM, STEP, 1)
    count = np.ceil(sides / step).astype(np.int64) + (step > 1)  # one step more: corners move by up to half of one
    corner = (boxes[:, :2] + boxes[:, 2:]) / 2 - (count * step)[:, None] / 2
    low = np.round(corner / step[:, None]).astype(np.int64) * step[:, None]
    return np.concatenate([low, low + (count * step)[:, None]], 1)


def cut_out(dataset: Dataset, keep: np.ndarray, margin: float) -> Dataset:
    """The dataset with one example for each of its objects where `keep` (M,) is True, in the part of its image.

    Raises UserError where none is left. Examples from one image share their "group": they stay in one part.
    """
    objects: Objects = dataset.annotations["objects"]
    keep = keep & usable(dataset) & np.isfinite(objects.boxes.reshape(-1, 4)).all(1)
    chosen = objects.where(keep)
    if not chosen.count:
        raise UserError(f"{dataset.name}: none of its {objects.count:,} objects has what is asked for.")
    rows, windows = chosen.images, squares(chosen.boxes, margin)
    group = np.asarray(dataset.annotations.get("group", np.arange(len(dataset), dtype=np.int64)))
    columns = {"objects": single(chosen, windows), "group": group[rows]}
    known = {name: dataset.annotations[name][rows] for name in ("image_id",) if name in dataset.annotations}
    splits = {name: rows_of(chosen.offsets, np.asarray(index))[0] for name, index in dataset.splits.items()}
    return replace(
        dataset,
        images=Cutouts(_drawn_once(dataset.images), rows, windows),
        annotations={**columns, **known},
        splits=splits,
        weights=np.asarray(dataset.weights)[rows],
        notes=(*dataset.notes, _note(objects, chosen, margin)),
        traits={**dataset.traits, TRAIT: True, FOUND: dataset.hash()},
    )


def _drawn_once(images: Images) -> Images:
    """Images that are drawn anew at each read, as pixels, where they are few: else each object would draw its scene."""
    if not isinstance(images, DrawnImages) or len(images) * images.drawn.height * images.drawn.width > DRAWN_ONCE:
        return images
    return ArrayImages(np.stack([images.read(i) for i in range(len(images))]))


def usable(dataset: Dataset) -> np.ndarray:
    """(M,) bool: objects without a fault, no crowds, in images that take part."""
    objects: Objects = dataset.annotations["objects"]
    fine = sound(objects, image_sizes(dataset.images))
    fine &= np.asarray(dataset.weights)[objects.images] > 0
    return fine & (objects.flags & CROWD == 0) if len(objects.flags) else fine


def single(objects: Objects, windows: np.ndarray) -> Objects:
    """M images of one object each, in pixels of its window; outlines and masks are left out."""
    corner = windows[:, :2].astype(np.float64)
    columns: dict[str, Any] = {"boxes": objects.boxes - np.tile(corner, 2)}
    if len(objects.keypoints):
        moved = objects.keypoints.copy()
        moved[..., :2] = np.where(moved[..., 2:] > 0, moved[..., :2] - corner[:, None], 0)
        columns["keypoints"] = moved
    files = None if objects.files is None else objects.files.take(objects.images)
    offsets = np.arange(objects.count + 1, dtype=np.int64)
    return replace(objects, offsets=offsets, outlines=None, runs=None, files=files, **columns)


def _note(objects: Objects, chosen: Objects, margin: float) -> str:
    images = int((chosen.counts > 0).sum())
    left = objects.count - chosen.count
    said = f"one example for each object: {chosen.count:,} squares out of {images:,} images, {margin:.0%} larger than"
    return f"{said} the boxes" + (f"; {left:,} objects without what is asked for are left out" if left else "")

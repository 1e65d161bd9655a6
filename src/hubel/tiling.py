"""A class for every pixel of an image of any size: tile by tile, with a memory that does not grow with its height.

    source window -> the network's input -> probabilities (K, h, w) -> source pixels -> blended -> the largest

Tiles lie at multiples of the network's coarsest stride. A network of valid convolutions sees `margin` pixels more on
each side of what a tile answers for (the image mirrored at its edge), so its tiles agree, and with the whole image too,
to rounding. The tiles of other networks differ where they pad: they overlap, and are blended there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hubel.data.preprocess import Preprocess
from hubel.data.regions import Regions, mirrored
from hubel.errors import UserError
from hubel.inference import Way, prepared
from hubel.ops.tiles import Grid, Window, fitting, joined
from hubel.rebuild import Parts
from hubel.training.evaluate import evaluating
from hubel.types import Batch

SIDE = 512  # pixels of the network's input, at least, where no other size is asked for
SHARED = 8  # of a tile of a padded network so much, one part in 8, overlaps with the next one


@dataclass(frozen=True)
class Tiling:
    """How a large image is cut: `tile` pixels a side that the network sees at once, `overlap` pixels of its input that
    neighbours share, `scale` input pixels per source pixel (as in training by default), `join` "blend" or "cut"."""

    tile: int | None = None
    overlap: int | None = None
    scale: float | None = None
    join: str = "blend"

    def __post_init__(self) -> None:
        for name, least in (("tile", 1), ("overlap", 0)):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < least):
                raise UserError(f"'{name}' is a whole number of pixels, at least {least}; got {value!r}.")
        if self.scale is not None and not 0 < self.scale <= 16:
            raise UserError(f"'scale' is above 0, at most 16 pixels of input for one of the image; got {self.scale!r}.")


@dataclass(frozen=True)
class Plan:
    """The tiles of one image: where they answer, and what the network is shown for each."""

    grid: Grid
    margin: tuple[int, int]  # source pixels on each side that the network sees and does not answer for
    geometry: Preprocess  # from the window of a tile to the network's input
    scale: tuple[float, float]

    @property
    def tiles(self) -> int:
        rows, columns = self.grid.counts
        return rows * columns


def scale_of(parts: Parts, asked: float | None) -> tuple[float, float]:
    """Input pixels per source pixel, down and across: as asked for, or as the training images were seen.

    Raises UserError where the run does not say what its images were like.
    """
    if asked is not None:
        return asked, asked
    if parts.preprocess.policy == "none":
        return 1.0, 1.0
    if parts.typical is None:
        raise UserError(
            "This run does not say how large its training images were, so the scale of a large image is unknown. Say "
            "it: --scale 1 (scale=1.0) shows the network the image's own pixels, 0.5 half as many a side."
        )
    matrix = parts.preprocess.matrix(*parts.typical)
    return float(matrix[1, 1]), float(matrix[0, 0])


def plan(parts: Parts, size: tuple[int, int], asked: Tiling) -> Plan:
    """The tiles of an image of `size` (H, W). Raises UserError for tiles that are smaller than the margins."""
    margin = int(getattr(parts.network, "margin", 0))
    stride = max(getattr(parts.network, "strides", ()) or (1,))
    scale = scale_of(parts, asked.scale)
    sides, overlaps, margins, inputs = [], [], [], []
    for length, trained, factor in zip(size, parts.preprocess.size, scale, strict=True):
        whole = asked.tile or trained + max(0, -(-(SIDE - trained) // stride)) * stride
        kept = whole - 2 * margin  # input pixels that a tile answers for
        if kept < 1:
            raise UserError(
                f"The network needs {margin} pixels around what it answers for, so tiles of {whole} are too small. "
                f"Take more than {2 * margin}."
            )
        overlap = asked.overlap if asked.overlap is not None else 0 if margin else kept // SHARED
        side, overlap = fitting(max(1, round(length * factor)), kept, overlap, stride)
        inputs.append(side + 2 * margin)
        margins.append(round(margin / factor))
        sides.append(max(1, round(side / factor)))
        overlaps.append(min(round(overlap / factor), sides[-1] // 2) if factor != 1 else overlap)
    grid = Grid(size, (sides[0], sides[1]), (overlaps[0], overlaps[1]), asked.join)
    geometry = replace(parts.preprocess, size=(inputs[0], inputs[1]), policy="stretch")
    return Plan(grid, (margins[0], margins[1]), geometry, scale)


def labels(
    parts: Parts, image: Regions, chosen: Plan, path: str = "auto"
) -> tuple[Way, Iterator[tuple[int, np.ndarray]]]:
    """How the network runs, and bands (y, (h, W) uint8 numbers of classes) from top to bottom."""
    batch = max(1, SIDE**2 // (chosen.geometry.size[0] * chosen.geometry.size[1]))
    margin = getattr(parts.network, "margin", 0)
    parts, way = prepared(replace(parts, preprocess=chosen.geometry), chosen.tiles, batch, path)
    answers = _answers(parts, image, chosen, batch, margin)
    return way, _bands(chosen.grid, answers)


def _bands(grid: Grid, answers: Iterator[Tensor]) -> Iterator[tuple[int, np.ndarray]]:
    band, top = np.zeros((0, grid.size[1]), np.uint8), 0
    for y, x, scores in joined(grid, answers):
        if x == 0:
            if len(band):
                yield top, band
            band, top = np.empty((scores.shape[1], grid.size[1]), np.uint8), y
        band[:, x : x + scores.shape[2]] = scores.argmax(0).to(torch.uint8).numpy()
    yield top, band


def _answers(parts: Parts, image: Regions, chosen: Plan, batch: int, margin: int) -> Iterator[Tensor]:
    """(K, h, w) float32 for each tile, on the CPU, in source pixels."""
    windows = chosen.grid.windows()
    while some := list(islice(windows, batch)):
        found = _probabilities(parts, [_shown(image, window, chosen) for window in some], chosen, margin)
        if tuple(found.shape[2:]) != chosen.grid.side:
            found = F.interpolate(found, chosen.grid.side, mode="bilinear", align_corners=False)
        yield from found


def _shown(image: Regions, window: Window, chosen: Plan) -> np.ndarray:
    """(h, w, C): the network's input for one tile."""
    rows, columns = chosen.margin
    pixels = mirrored(image, window.y0 - rows, window.y1 + rows, window.x0 - columns, window.x1 + columns)
    return chosen.geometry.geometry(pixels)[0]


def _probabilities(parts: Parts, pixels: list[np.ndarray], chosen: Plan, margin: int) -> Tensor:
    """(B, K, h, w) of the inputs (h + 2 margin, w + 2 margin, C), whether the task leaves the margin out or not."""
    images = parts.preprocess.normalise(torch.from_numpy(np.stack(pixels)).to(parts.device))
    height, width = chosen.geometry.size
    batch = Batch(
        images,
        None,
        torch.arange(len(images)),
        torch.ones(len(images)),
        torch.tensor([[height, width]]).expand(len(images), 2),
        torch.eye(3).expand(len(images), 3, 3),
    )
    with evaluating(parts.network), torch.inference_mode(), parts.autocast():
        found = parts.task.predict(parts.network, batch, parts.network(images)).probabilities.float().cpu()  # type: ignore[attr-defined]
    inside = height - 2 * margin, width - 2 * margin
    if tuple(found.shape[2:]) == (height, width):
        found = found[:, :, margin : height - margin, margin : width - margin]
    if tuple(found.shape[2:]) != inside:
        raise UserError(
            f"The task '{parts.task.name}' answers with {tuple(found.shape[2:])} pixels for an input of "
            f"{(height, width)} with a margin of {margin}; tiles need {inside}."
        )
    return found


def masks_of(
    parts: Parts, image: Regions, asked: Tiling, path: str = "auto"
) -> tuple[Plan, Way, Iterator[tuple[int, np.ndarray]]]:
    """One image's tiles, how the network runs on them, and the bands as in `labels`."""
    check_dense(parts.task)
    chosen = plan(parts, image.size, asked)
    way, bands = labels(parts, image, chosen, path)
    return chosen, way, bands


def check_dense(task: Any) -> None:
    """UserError where the run has no class for every pixel to give."""
    if not getattr(task, "dense", False) or not hasattr(task, "classes"):
        raise UserError(
            f"The task '{task.name}' gives no class for every pixel, so there are no masks to write. Leave --masks out."
        )

"""A class for every pixel of an image of any size: tile by tile, with a memory that does not grow with its height.

    source window -> the network's input -> probabilities (K, h, w) -> source pixels -> blended -> the largest

Tiles lie at multiples of the network's coarsest stride. A network of valid convolutions sees `margin` pixels more on
each side of what a tile answers for (the image mirrored at its edge), so its tiles agree, and with the whole image too,
to rounding. The tiles of other networks differ where they pad: they overlap, and are blended there.
Views of a tile, and several networks, are averaged in source pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import count, islice
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hubel.data.preprocess import Preprocess
from hubel.data.regions import Regions, mirrored
from hubel.errors import UserError
from hubel.ops.tiles import Grid, Window, added, fitting, joined
from hubel.prediction.inference import Way, prepared
from hubel.rebuild import Parts
from hubel.training.evaluate import evaluating, predict
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


@dataclass(frozen=True)
class Voter:
    """A network that is asked about every tile: through which views, and what holds meanwhile (dropout that draws).

    `during` is given the network and the number of the tiles.
    """

    parts: Parts
    views: str = "single"
    during: Callable[[nn.Module, int], AbstractContextManager] | None = None


def labels(
    voters: Sequence[Voter], image: Regions, plans: Sequence[Plan], path: str = "auto"
) -> tuple[Way, Iterator[tuple[int, np.ndarray]]]:
    """How the network runs, and bands (y, (h, W) uint8 numbers of classes) from top to bottom.

    Of several voters the class with the largest sum of probabilities. `path` is of one network; several run as they
    were trained. Those whose tiles lie alike are added tile by tile, others once whole rows of tiles are there.
    """
    batch = max(1, min(SIDE**2 // (one.geometry.size[0] * one.geometry.size[1]) for one in plans))
    ready, way = _ready(voters, plans, batch, path)
    alike: dict[Grid, list[_Looking]] = {}
    for voter, chosen in zip(ready, plans, strict=True):
        alike.setdefault(chosen.grid, []).append(_Looking(voter, chosen, getattr(voter.parts.network, "margin", 0)))
    blocks = [joined(grid, _answers(some, image, batch)) for grid, some in alike.items()]
    return way, _bands(image.size[1], blocks[0] if len(blocks) == 1 else added(blocks, image.size[1]))


def _ready(voters: Sequence[Voter], plans: Sequence[Plan], batch: int, path: str) -> tuple[list[Voter], Way]:
    """The networks as they will run, with the geometry of their tiles."""
    shown = [replace(v, parts=replace(v.parts, preprocess=c.geometry)) for v, c in zip(voters, plans, strict=True)]
    if len(shown) > 1 or shown[0].during is not None:
        return shown, Way("eager", shown[0].parts.precision, "several are averaged, each as it was trained")
    parts, way = prepared(shown[0].parts, plans[0].tiles, batch, path)
    return [replace(shown[0], parts=parts)], way


def _bands(width: int, blocks: Iterator[tuple[int, int, Tensor]]) -> Iterator[tuple[int, np.ndarray]]:
    band, top = np.zeros((0, width), np.uint8), 0
    for y, x, scores in blocks:
        if x == 0:
            if len(band):
                yield top, band
            band, top = np.empty((scores.shape[1], width), np.uint8), y
        band[:, x : x + scores.shape[2]] = scores.argmax(0).to(torch.uint8).numpy()
    yield top, band


def _answers(lookers: Sequence[_Looking], image: Regions, batch: int) -> Iterator[Tensor]:
    """(K, h, w) float32 for each tile, on the CPU, in source pixels: the sum of what all say of it."""
    windows = lookers[0].chosen.grid.windows()
    for number in count():
        some = list(islice(windows, batch))
        if not some:
            return
        total = lookers[0].says(image, some, number)
        for looker in lookers[1:]:
            total = total + looker.says(image, some, number)
        yield from total


@dataclass(frozen=True)
class _Looking:
    """One voter on the tiles of one image."""

    voter: Voter
    chosen: Plan
    margin: int

    def says(self, image: Regions, windows: Sequence[Window], number: int) -> Tensor:
        """(B, K, h, w) float32, on the CPU, in source pixels."""
        found = self._probabilities([self._shown(image, window) for window in windows], number)
        if tuple(found.shape[2:]) != self.chosen.grid.side:
            found = F.interpolate(found, self.chosen.grid.side, mode="bilinear", align_corners=False)
        return found

    def _shown(self, image: Regions, window: Window) -> np.ndarray:
        """(h, w, C): the network's input for one tile."""
        rows, columns = self.chosen.margin
        pixels = mirrored(image, window.y0 - rows, window.y1 + rows, window.x0 - columns, window.x1 + columns)
        return self.chosen.geometry.geometry(pixels)[0]

    def _probabilities(self, pixels: list[np.ndarray], number: int) -> Tensor:
        """(B, K, h, w) of the inputs (h + 2 margin, w + 2 margin, C), averaged over the views."""
        parts, (height, width), margin = self.voter.parts, self.chosen.geometry.size, self.margin
        images = parts.preprocess.normalise(torch.from_numpy(np.stack(pixels)).to(parts.device))
        n = len(images)
        sizes = torch.tensor([[height, width]]).expand(n, 2)
        batch = Batch(images, None, torch.arange(n), torch.ones(n), sizes, torch.eye(3).expand(n, 3, 3))
        task: Any = _Framed(parts.task, margin)
        drawing = self.voter.during(parts.network, number) if self.voter.during else nullcontext()
        with evaluating(parts.network), torch.inference_mode(), drawing:
            found: Any = predict(parts.network, task, batch, self.voter.views, parts.autocast)
        return found.probabilities.float().cpu()[:, :, margin : height - margin, margin : width - margin]


class _Framed:
    """A task that answers for the whole input of its network, so that views are moved back: 0 in the margin."""

    def __init__(self, task: Any, margin: int):
        self.task, self.margin = task, margin

    def predict(self, network: nn.Module, batch: Batch) -> Any:
        """Whether the task leaves the margin out or not; the network is shown real pixels there."""
        found = self.task.predict(network, batch, network(batch.images))
        size, answered = tuple(batch.images.shape[2:]), tuple(found.probabilities.shape[2:])
        if answered == size:
            return found
        inside = (size[0] - 2 * self.margin, size[1] - 2 * self.margin)
        if answered != inside:
            raise UserError(
                f"The task '{self.task.name}' answers with {answered} pixels for an input of {size} with a margin of "
                f"{self.margin}; tiles need {inside}."
            )
        lies = {"matrices": batch.matrices} if hasattr(found, "matrices") else {}
        return replace(found, probabilities=F.pad(found.probabilities, (self.margin,) * 4), **lies)


def masks_of(
    voters: Sequence[Voter], image: Regions, asked: Tiling, path: str = "auto"
) -> tuple[Plan, Way, Iterator[tuple[int, np.ndarray]]]:
    """One image's tiles (the first voter's), how the network runs on them, and the bands as in `labels`."""
    plans = [plan(voter.parts, image.size, asked) for voter in voters]
    way, bands = labels(voters, image, plans, path)
    return plans[0], way, bands


def check_dense(task: Any) -> None:
    """UserError where the run has no class for every pixel to give."""
    if not getattr(task, "dense", False) or not hasattr(task, "classes"):
        raise UserError(
            f"The task '{task.name}' gives no class for every pixel, so there are no masks to write. Leave --masks out."
        )

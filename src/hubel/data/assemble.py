"""Batches with everything that lies in their images: examples read, scenes of several images put together, annotations
placed. In a worker process, or in the main one where the images are resident.

Each image of a scene is resampled once, by its own draws and then to its place, target' = place · M · source; the
scene as a whole gets the colours, the texture and the erasing that its slot drew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hubel.data.arrange import PASTED, WHOLE, Parts
from hubel.data.augment import Augment, Draws
from hubel.data.collage import quadrant
from hubel.data.draws import uniform
from hubel.data.photometric import apply_look
from hubel.data.pixels import convert
from hubel.data.placed import Layer, Scene, cover, place
from hubel.data.preprocess import Preprocess
from hubel.data.read import PLAIN, Example, Examples, Reader, collate, resampled, shrinkage_of
from hubel.data.source import Source, open_image
from hubel.ops.follow import Move
from hubel.ops.geometry import compose, move_points, translation


@dataclass(frozen=True, eq=False)
class Request:
    """One batch: what is to be read."""

    epoch: int
    slots: np.ndarray  # (B,) int64
    index: np.ndarray  # (B,) int64: positions in the dataset
    parts: Parts | None = None  # S images of B scenes, where some are made of several
    columns: tuple[Any, ...] = ()  # annotations of these S or B images: see targets.py
    whole: bool = False  # an evaluation: masks in source pixels too


@dataclass(frozen=True)
class Assembler:
    """Reads whole batches; picklable, for worker processes.

    `fits` (N, 3, 3) and `sizes` (N, 2) are given where the reader's images are no sources but fitted ones: the matrices
    that fitted them, and the sizes of their sources.
    """

    reader: Reader
    fits: np.ndarray | None = None
    sizes: np.ndarray | None = None
    memory: dict[Any, np.ndarray] | None = None  # masks that were read before, where they are to be kept

    def batch(self, request: Request) -> Examples:
        reader, count = self.reader, len(request.index)
        pixels = reader.blank(count, np.empty)  # each row is written below
        plain = np.ones(count, bool) if request.parts is None else request.parts.plain
        own = np.arange(count) if request.parts is None else request.parts.own
        alone = np.flatnonzero(plain)
        found = reader.several(request.epoch, request.slots[alone], request.index[alone], [pixels[r] for r in alone])
        examples = {
            row: self._true(example, i)
            for row, example, i in zip(alone.tolist(), found, request.index[alone].tolist(), strict=True)
        }
        nothing = Scene()
        scenes = {
            row: self._alone(example, int(own[row])) if request.columns else nothing
            for row, example in examples.items()
        }
        lost: list[tuple[int, str]] = []
        for row in np.flatnonzero(~plain).tolist():
            examples[row], scenes[row], faults = self._several(request, row)
            pixels[row] = examples[row].pixels
            lost += faults
        batch = collate([examples[row] for row in range(count)], request.index, pixels)
        return self._with_annotations(batch, request, [scenes[row] for row in range(count)], lost)

    def _true(self, example: Example, i: int) -> Example:
        """With the matrix from the true source, and its size."""
        if self.fits is None or self.sizes is None:
            return example
        height, width = self.sizes[i].tolist()
        return replace(example, matrix=example.matrix @ self.fits[i], size=(height, width))

    def _alone(self, example: Example, row: int) -> Scene:
        if example.fault is not None:
            return Scene()
        preprocess, augment = self.reader.preprocess, self.reader.augment
        free = augment is not None and bool(augment.crop or augment.turns) and self.fits is None
        kept = None if free else kept_of(preprocess, example.size)
        return Scene((Layer(row, Move(example.matrix, example.size, preprocess.size, example.control, kept=kept)),))

    def _with_annotations(
        self, batch: Examples, request: Request, scenes: list[Scene], lost: list[tuple[int, str]]
    ) -> Examples:
        index = request.index if request.parts is None else request.parts.index
        placed: list[Any] = []
        if request.columns:
            size = self.reader.preprocess.size
            placed, faults = place(request.columns, scenes, size, request.whole, self.memory, index)
            lost += [(int(index[row]), reason) for row, reason in faults.items()]
        return replace(batch, placed=tuple(placed), faults=(*batch.faults, *lost))

    # Scenes of several images ---------------------------------------------------------------------------------------

    def _several(self, request: Request, row: int) -> tuple[Example, Scene, list[tuple[int, str]]]:
        """One scene; and the images that could not be read, which leave their place black and empty."""
        assert request.parts is not None
        reader, parts = self.reader, request.parts
        rows = np.flatnonzero(parts.scene == row)
        sources = [reader.attempt(open_image, reader.images, int(i)) for i in parts.index[rows]]
        if isinstance(sources[0], str):
            return reader.missing(sources[0]), Scene(), []
        draws = self._draw(request.epoch, parts, rows, sources)
        mosaic = uniform(reader.seed, request.epoch, parts.slots[rows[:1]], "mosaic place", 6)[0]
        canvas, layers, lost, scene = reader.blank(1)[0], [], [], Scene()
        for k, (source, part) in enumerate(zip(sources, rows.tolist(), strict=True)):
            found = source if isinstance(source, str) else self._part(source, parts, part, draws, k, mosaic)
            if isinstance(found, str):
                if k == 0:
                    return reader.missing(found), Scene(), []
                lost.append((int(parts.index[part]), found))
                continue
            pixels, move = found
            layer = Layer(part, move, bool(parts.role[part] == PASTED))
            layers.append(layer)
            if layer.pasted:
                scene = self._cover(request, layer)
                canvas[scene.covered] = pixels[scene.covered]
            else:
                x0, y0, x1, y1 = (round(v) for v in move.window)
                canvas[y0:y1, x0:x1] = pixels
        own = layers[0].move
        canvas = canvas if draws.look.plain else apply_look(canvas, draws.look, 0)
        example = Example(canvas, own.matrix, own.size_in, draws.erase[0], own.control)
        return example, replace(scene, layers=tuple(layers)), lost

    def _draw(self, epoch: int, parts: Parts, rows: np.ndarray, sources: list[Any]) -> Draws:
        """Source -> target of each part as if it were alone."""
        reader, preprocess = self.reader, self.reader.preprocess
        augment, target = reader.augment or Augment(), preprocess.size
        whole = np.array([target if isinstance(source, str) else source.size for source in sources])  # (P, 2)
        sizes: Any = (whole[:, 0], whole[:, 1]) if augment.crop else target
        place = (reader.seed, epoch, parts.slots[rows])
        draws = augment.draw(*place, sizes, target, examples=parts.index[rows])
        border = draws.border
        if preprocess.policy == "letterbox":
            border = "zero"
        elif border == "zero" and not (augment.shift or augment.turns):
            border = "edge"  # nothing comes from outside, but half a pixel where images are enlarged
        if augment.crop:
            return replace(draws, border=border)
        fits = np.stack([preprocess.matrix(int(height), int(width)) for height, width in whole])
        return replace(draws, matrices=compose(fits, draws.matrices), border=border)

    def _part(
        self, source: Source, parts: Parts, part: int, draws: Draws, k: int, mosaic: np.ndarray
    ) -> tuple[np.ndarray, Move] | str:
        """One image in its place: the pixels of its frame, and its move; or why it can't be read."""
        reader, target, example = self.reader, self.reader.preprocess.size, int(parts.index[part])
        role, frame, matrix = int(parts.role[part]), (0, 0, target[1], target[0]), draws.matrices[k]
        if role not in (WHOLE, PASTED):
            size = source.size if self.sizes is None else (int(self.sizes[example][0]), int(self.sizes[example][1]))
            to_place, frame = quadrant(role, self._content(size), target, mosaic)
            matrix = to_place @ matrix
        x0, y0, x1, y1 = frame
        control = None if draws.control is None else draws.control[k : k + 1]
        corner, extent = ((0, 0), target) if control is not None else ((x0, y0), (y1 - y0, x1 - x0))
        local = replace(
            draws, matrices=(translation(-corner[0], -corner[1]) @ matrix)[None], size=extent, control=control,
            look=PLAIN,
        )  # fmt: skip
        found = reader.attempt(lambda _: source.pixels(shrinkage_of(local, 0, source.size)), example)
        if isinstance(found, str):
            return found
        image = convert(found[0], reader.preprocess.channels, reader.preprocess.depth)
        pixels, matrix = resampled(image, found[1], local, 0)
        pixels = pixels if control is None else pixels[y0:y1, x0:x1]
        alone = self._true(Example(pixels, translation(*corner) @ matrix, source.size), example)
        move = Move(
            alone.matrix, alone.size, target, None if control is None else control[0],
            None if role in (WHOLE, PASTED) else (float(x0), float(y0), float(x1), float(y1)),
            None if self.fits is None else kept_of(reader.preprocess, alone.size),
        )  # fmt: skip
        return pixels, move

    def _content(self, size: tuple[int, int]) -> np.ndarray:
        """(4,) x0, y0, x1, y1 of the target that an image of this size fills when it is alone."""
        return content_of(self.reader.preprocess, self.reader.augment, size)

    def _cover(self, request: Request, layer: Layer) -> Scene:
        """What is copied from a layer, each thing by the toss of a coin."""
        assert request.parts is not None
        slot = request.parts.slots[layer.row : layer.row + 1]

        def coins(count: int) -> np.ndarray:
            return uniform(self.reader.seed, request.epoch, slot, "copied", count)[0] < 0.5

        return Scene((), coins, cover(request.columns, layer, coins))


def kept_of(preprocess: Preprocess, size: tuple[int, int]) -> tuple[float, float, float, float] | None:
    """What a fitted image of `size` (h, w) still shows of its source, x0, y0, x1, y1; None for all of it."""
    if preprocess.policy != "crop" or (size == preprocess.size and preprocess.share == 1):
        return None
    back = np.linalg.inv(preprocess.matrix(*size))
    height, width = preprocess.size
    x0, y0, x1, y1 = move_points(np.array([[0.0, 0.0], [width, height]]), back).ravel().tolist()
    return x0, y0, x1, y1


def content_of(preprocess: Preprocess, augment: Augment | None, size: tuple[int, int]) -> np.ndarray:
    """(4,) x0, y0, x1, y1 of the target that an image of `size` fills: all of it, but for a letterbox's bars."""
    if preprocess.policy != "letterbox" or (augment is not None and augment.crop):
        return np.array([0.0, 0.0, preprocess.size[1], preprocess.size[0]])
    matrix = preprocess.matrix(*size)
    low = matrix[:2, 2]
    return np.concatenate([low, low + matrix[[0, 1], [0, 1]] * [size[1], size[0]]])

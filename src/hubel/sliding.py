"""A classifier of tight crops, slid over an image at several scales: the step from classification to detection.

For each scale the image is resized, and the classifier looks at every window of its own size, one stride of its
coarsest map apart; boxes that overlap are thinned out (ops/suppression.py). Two ways, equal up to rounding for a
network without padding:

    loop           every window is cut out and classified
    convolutional  the network is run once on the whole image (models/surgery/convolve.py): what windows share is
                   computed once. arXiv:1312.6229
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hubel.data.tight import BACKGROUND
from hubel.errors import UserError
from hubel.models.surgery.convolve import convolutionalise
from hubel.ops.resize import resize
from hubel.ops.suppression import suppress
from hubel.rebuild import Parts
from hubel.trained import Run, read
from hubel.training.evaluate import evaluating

SCALES = (1.0, 0.71, 0.5, 0.35)
BATCH = 256


@dataclass(frozen=True, eq=False)
class Windows:
    """All windows of one image: where they are, in pixels of the image, and what the classifier says of each."""

    boxes: Tensor  # (N, 4) float32 x0, y0, x1, y1
    outputs: Tensor  # (N, K) logits


@dataclass(frozen=True)
class Detection:
    """One object: its class, how probable it is, x0, y0, x1, y1 in pixels of the image."""

    label: str
    probability: float
    box: tuple[float, float, float, float]


def windows(parts: Parts, image: np.ndarray, scales: Sequence[float] = SCALES, convolutional: bool = True) -> Windows:
    """Of an image (H, W, C) uint8 or uint16, enlarged or shrunk by each of `scales`; on the CPU.

    Scales at which the image is smaller than a window are left out. Raises UserError where that is all of them, for a
    network that can't slide, and where pixels are whitened.
    """
    _check(parts, image, scales)
    network: Any = parts.network
    size = (parts.preprocess.channels, *parts.preprocess.size)
    look = Whole(convolutionalise(network, size), network.strides[-1]) if convolutional else Crop(network, size)
    boxes, outputs = [], []
    with evaluating(network):
        for pixels in _scaled(parts, image, scales):
            found = look(parts.preprocess.normalise(torch.from_numpy(pixels)[None].to(parts.device)))  # (K, h, w)
            boxes.append(_places(found.shape[1:], network.strides[-1], size[1:], pixels.shape[:2], image.shape[:2]))
            outputs.append(found.flatten(1).T.float().cpu())
    return Windows(torch.cat(boxes), torch.cat(outputs))


class Whole:
    """Convolutionally: images (1, C, H, W) -> (K, h, w), one place for each window that fits."""

    def __init__(self, network: nn.Module, step: int):
        self.network, self.step = network, step

    def __call__(self, images: Tensor) -> Tensor:
        return self.network(images)[0]


class Crop:
    """Window by window: the same, in batches of crops."""

    def __init__(self, network: Any, size: tuple[int, int, int]):
        self.network, self.size, self.step = network, size, network.strides[-1]

    def __call__(self, images: Tensor) -> Tensor:
        _, height, width = self.size
        crops = images[0].unfold(1, height, self.step).unfold(2, width, self.step)  # (C, h, w, height, width)
        flat = crops.permute(1, 2, 0, 3, 4).flatten(0, 1)
        found = torch.cat([self.network(flat[i : i + BATCH].contiguous()) for i in range(0, len(flat), BATCH)])
        return found.T.unflatten(1, crops.shape[1:3])


def detect(
    run: Run | Parts,
    image: Any,
    *,
    scales: Sequence[float] = SCALES,
    threshold: float = 0.5,
    most: float = 0.3,
    background: str | None = BACKGROUND,
    convolutional: bool = True,
) -> list[Detection]:
    """Objects in an image (a path, PIL image or array), by falling probability.

    A window counts where a class other than `background` is the most probable one, above `threshold`; of windows with
    an IoU above `most` the best one stays. Raises UserError as `windows` does.
    """
    parts = run.parts() if isinstance(run, Run) else run
    found = windows(parts, read(image, parts), scales, convolutional)
    probabilities = found.outputs.softmax(1)
    best, labels = probabilities.max(1)
    empty = parts.classes.index(background) if background in parts.classes else -1
    rows = ((labels != empty) & (best > threshold)).nonzero()[:, 0]
    kept = rows[suppress(found.boxes[rows], best[rows], most)]
    return [_detection(parts, found.boxes[i], float(best[i]), int(labels[i])) for i in kept]


def _detection(parts: Parts, box: Tensor, probability: float, label: int) -> Detection:
    x0, y0, x1, y1 = box.tolist()
    return Detection(parts.classes[label], probability, (x0, y0, x1, y1))


def _check(parts: Parts, image: np.ndarray, scales: Sequence[float]) -> None:
    if parts.preprocess.whitening is not None:
        raise UserError("PCA and ZCA whitening know one size of image only, so a network behind them can't slide.")
    if not scales or min(scales) <= 0:
        raise UserError(f"scales are numbers above 0, at least one; got {', '.join(map(str, scales)) or 'none'}.")
    if not any(_fits(parts, image, scale) for scale in scales):
        height, width = parts.preprocess.size
        raise UserError(
            f"An image of {image.shape[1]} x {image.shape[0]} pixels is smaller than the window of {width} x {height} "
            f"at each of the scales {', '.join(f'{scale:g}' for scale in scales)}. Give larger scales."
        )


def _size(image: np.ndarray, scale: float) -> tuple[int, int]:
    return max(1, round(image.shape[0] * scale)), max(1, round(image.shape[1] * scale))


def _fits(parts: Parts, image: np.ndarray, scale: float) -> bool:
    return all(a >= b for a, b in zip(_size(image, scale), parts.preprocess.size, strict=True))


def _scaled(parts: Parts, image: np.ndarray, scales: Sequence[float]) -> Iterator[np.ndarray]:
    for scale in scales:
        if _fits(parts, image, scale):
            yield resize(image, _size(image, scale))


def _places(
    cells: Sequence[int], step: int, window: Sequence[int], seen: Sequence[int], source: Sequence[int]
) -> Tensor:
    """(h · w, 4): the windows of a map, row by row, in pixels of the source image."""
    y, x = torch.meshgrid(torch.arange(cells[0]) * step, torch.arange(cells[1]) * step, indexing="ij")
    corners = torch.stack([x, y, x + window[1], y + window[0]], -1).flatten(0, 1).float()
    across, down = source[1] / seen[1], source[0] / seen[0]
    return corners * torch.tensor([across, down, across, down])

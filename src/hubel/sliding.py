"""A classifier of tight crops, slid over an image at several scales: the step from classification to detection.

For each scale the image is resized, and the classifier looks at every window of its own size, one stride of its
coarsest map apart; boxes that overlap are thinned out (ops/suppression.py). So that the whole image is looked at, it is
mirrored at its right and lower edge until whole steps fit: the last windows hang over, and their boxes are cut there.
Two ways, equal up to rounding for a network without padding:

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
from hubel.models.surgery.convolve import convolutionalise, slide
from hubel.ops.resize import resize
from hubel.ops.suppression import suppress
from hubel.rebuild import Parts
from hubel.tasks.classification import Classification
from hubel.trained import Run, read
from hubel.training.evaluate import evaluating

SCALES = (1.0, 0.71, 0.5, 0.35)
THRESHOLD, OVERLAP = 0.5, 0.3  # how probable an object is at least; the IoU of windows that are the same object
BATCH = 256
SAME = 1e-3  # of the largest output: more than rounding is a difference


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


def windows(
    parts: Parts,
    image: np.ndarray,
    scales: Sequence[float] = SCALES,
    convolutional: bool | None = None,
    step: int | None = None,
) -> Windows:
    """Of an image (H, W, C) uint8 or uint16, enlarged or shrunk by each of `scales`; on the CPU.

    Without `convolutional` that way is taken where it gives what the loop gives (`slides`). `step`: pixels from window
    to window, for the loop, where it isn't `step_of` the network. Scales at which the image is smaller than a window
    are left out. Raises UserError where that is all of them, for a task that isn't
    classification, and where pixels are whitened; for a network that can't slide where `convolutional` is asked for.
    """
    _check(parts, image, scales)
    network: Any = parts.network
    size = (parts.preprocess.channels, *parts.preprocess.size)
    own = step_of(network, size)
    step = step or own
    at_once = step == own and (slides(network, size) if convolutional is None else convolutional)
    look = Whole(convolutionalise(network, size)) if at_once else Crop(network, size, step)
    boxes, outputs = [], []
    with evaluating(network):
        for pixels in _scaled(parts, image, scales):
            filled = _filled(pixels, size[1:], step)
            found = look(parts.preprocess.normalise(torch.from_numpy(filled)[None].to(parts.device)))  # (K, h, w)
            boxes.append(_places(found.shape[1:], step, size[1:], pixels.shape[:2], image.shape[:2]))
            outputs.append(found.flatten(1).T.float().cpu())
    return Windows(torch.cat(boxes), torch.cat(outputs))


def step_of(network: Any, input: tuple[int, int, int]) -> int:
    """Pixels from window to window: the stride of the coarsest map, or a quarter of the window where there is none."""
    strides = getattr(network, "strides", ())
    return int(strides[-1]) if strides else max(1, min(input[1:]) // 4)


def slides(network: Any, input: tuple[int, int, int]) -> bool:
    """Whether both ways give the same answers: tried on an image of noise that has room for 2 × 2 windows.

    A network that pads sees other pixels beyond the edge of a window; a head that is no chain can't be made to slide.
    """
    step, like = step_of(network, input), next(network.parameters())
    noise = torch.randn(1, input[0], input[1] + step, input[2] + step, generator=torch.Generator().manual_seed(0))
    try:
        found = slide(network, input, noise.to(like.device, like.dtype))
    except UserError:
        return False
    return found.difference <= SAME * float(found.crops.abs().max())


class Whole:
    """Convolutionally: images (1, C, H, W) -> (K, h, w), one place for each window that fits."""

    def __init__(self, network: nn.Module):
        self.network = network

    def __call__(self, images: Tensor) -> Tensor:
        return self.network(images)[0]


class Crop:
    """Window by window: the same, in batches of crops."""

    def __init__(self, network: nn.Module, size: tuple[int, int, int], step: int):
        self.network, self.size, self.step = network, size, step

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
    threshold: float = THRESHOLD,
    most: float = OVERLAP,
    background: str | None = BACKGROUND,
    convolutional: bool | None = None,
) -> list[Detection]:
    """Objects in an image (a path, PIL image or array), by falling probability.

    A window counts where a class other than `background` is the most probable one, above `threshold`; of windows with
    an IoU above `most` the best one stays. Raises UserError as `windows` does.
    """
    parts = run.parts() if isinstance(run, Run) else run
    return objects_in(windows(parts, read(image, parts), scales, convolutional), parts, threshold, most, background)


def objects_in(
    found: Windows,
    parts: Parts,
    threshold: float = THRESHOLD,
    most: float = OVERLAP,
    background: str | None = BACKGROUND,
) -> list[Detection]:
    """What the windows of one image show, thinned out; see `detect`."""
    limits = {"threshold is a probability": threshold, "overlap of two boxes of one object is an IoU": most}
    for words, value in limits.items():
        if not 0 <= value <= 1:
            raise UserError(f"The {words} from 0 to 1; got {value:g}.")
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
    if not isinstance(parts.task, Classification):
        raise UserError(
            f"A window is slid over images with one class for each window; this run's task is '{parts.task.name}'. "
            "Train a classifier of tight crops: see docs/sliding_window.md."
        )
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


def _filled(image: np.ndarray, window: Sequence[int], step: int) -> np.ndarray:
    """(H, W, C) -> (H', W', C): mirrored beyond its right and lower edge until a whole number of steps fits."""
    down, across = (-(a - b) % step for a, b in zip(image.shape[:2], window, strict=True))
    return np.pad(image, ((0, down), (0, across), (0, 0)), "symmetric") if down or across else image


def _places(
    cells: Sequence[int], step: int, window: Sequence[int], seen: Sequence[int], source: Sequence[int]
) -> Tensor:
    """(h · w, 4): the windows of a map, row by row, in pixels of the source image and cut at its edges."""
    y, x = torch.meshgrid(torch.arange(cells[0]) * step, torch.arange(cells[1]) * step, indexing="ij")
    corners = torch.stack([x, y, x + window[1], y + window[0]], -1).flatten(0, 1).float()
    across, down = source[1] / seen[1], source[0] / seen[0]
    edge = torch.tensor([source[1], source[0]] * 2, dtype=torch.float32)
    return torch.minimum(corners * torch.tensor([across, down, across, down]), edge)

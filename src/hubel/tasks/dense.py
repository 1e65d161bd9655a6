"""What tasks share that ask for a class at every pixel: predictions that know where they lie, edges, words.

Probabilities are in pixels of the batch; `matrices` lead there from the pixels of the source images, so that views can
be moved back, networks of different sizes averaged, and answers read in the source.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hubel.ops.border_weights import border_weights, cells_of
from hubel.ops.pixel_losses import IGNORE
from hubel.ops.pixel_maps import labels_in_source, most_probable, moved
from hubel.predictions import Predictions


@dataclass(frozen=True)
class SegmentationPredictions(Predictions):
    """How probable each class is at each pixel of the batch's images."""

    probabilities: Tensor  # (B, K, h, w) fp32, in [0, 1], adding up to 1 over the classes
    matrices: Tensor  # (B, 3, 3): source pixels -> pixels of the probabilities
    sizes: Tensor  # (B, 2) int64: height and width of the source images

    places: ClassVar[tuple[str, ...]] = ("matrices", "sizes")

    @property
    def labels(self) -> Tensor:
        """(B, h, w) uint8: the most probable class."""
        return most_probable(self.probabilities)

    def in_source(self, row: int) -> Tensor:
        """(H, W) uint8: the most probable class of each pixel of the source image."""
        height, width = self.sizes[row].tolist()
        return labels_in_source(self.probabilities[row], self.matrices[row], (height, width))

    def back(self, move: Tensor) -> Self:
        """From the pixels of a view to those of the image: 0 for each class where the view showed nothing of it."""
        size = (self.probabilities.shape[2], self.probabilities.shape[3])
        inverse = torch.linalg.inv(move.double().cpu())
        found = moved(self.probabilities, inverse.float(), size, outside="zeros")
        return replace(self, probabilities=found, matrices=(inverse.to(self.matrices) @ self.matrices))

    @classmethod
    def mean(cls, views: Any) -> Self:
        """At each pixel over the views that showed it; networks of another size are brought to the first one's."""
        first, *others = views
        size = (first.probabilities.shape[2], first.probabilities.shape[3])
        total = first.probabilities.clone()
        for other in others:
            move = first.matrices.double() @ torch.linalg.inv(other.matrices.double())
            total += moved(other.probabilities, move.to(total), size)
        shown = total.sum(1, keepdim=True)
        return replace(first, probabilities=total / torch.where(shown > 0, shown, 1))


def answered(size: tuple[int, int], margin: int) -> tuple[int, int]:
    """(h, w): of images of `size`, without the margin on each side."""
    return size[0] - 2 * margin, size[1] - 2 * margin


def mirrored_edge(images: Tensor, margin: int) -> Tensor:
    """(B, C, H, W) -> (B, C, H + 2 margin, W + 2 margin): the image mirrored at its edge, as often as it takes."""
    while margin:
        step = min(margin, images.shape[2] - 1, images.shape[3] - 1)
        if not step:
            return F.pad(images, (margin,) * 4, mode="replicate")  # one pixel has no mirror image
        images, margin = F.pad(images, (step,) * 4, mode="reflect"), margin - step
    return images


def shift(by: int) -> Tensor:
    """(3, 3): `by` pixels right and down."""
    return torch.tensor([[1.0, 0.0, by], [0.0, 1.0, by], [0.0, 0.0, 1.0]])


def border_maps(
    values: Tensor, outside: int, border: tuple[float, float], class_weights: Sequence[float] | None
) -> Tensor:
    """Classes (B, H, W) uint8 -> (B, H, W) 1 + w0 · exp(−(d1 + d2)² / 2σ²) / w_c, with (w0, σ) = `border`.

    d1 and d2: to the two nearest cells, the connected regions of all classes but `outside`. Times w_c, the weight of
    the pixel's class, it is the sum of U-Net's paper.
    """
    found = values.cpu()
    extra = torch.from_numpy(
        np.stack([border_weights(cells_of(one, outside, IGNORE), *border) for one in found.numpy()])
    )
    if class_weights is not None:
        weights = torch.tensor([*class_weights, *[1.0] * (256 - len(class_weights))])[found.long()]
        extra = extra / weights.clamp(min=1e-6)
    return (1 + extra).to(values.device)


def shares_of(pixels: Tensor, classes: tuple[str, ...]) -> dict[str, float]:
    """{class: share of the pixels}, the largest first, those without a pixel left out."""
    total, order = max(int(pixels.sum()), 1), pixels.long().sort(descending=True, stable=True).indices.tolist()
    return {classes[k]: int(pixels[k]) / total for k in order if pixels[k]}


def in_words(shares: dict[str, float]) -> str:
    """For example "Road 41 %, Building 30 %, Sky 12 %, 5 more"."""
    named = [f"{name} {share:.0%}".replace("%", " %") for name, share in list(shares.items())[:3]]
    return ", ".join([*named, *([f"{len(shares) - 3} more"] if len(shares) > 3 else [])]) or "nothing"

"""A score for every pixel from a classifier that has never learnt one: heat maps, shift and stitch, à trous.

    heat map          the scores of a classifier that slides (convolve.py), one for s × s pixels, enlarged bilinearly
    shift and stitch  z(s·r + a, s·c + b) = f(x shifted by (a, b))(r, c) for 0 <= a, b < s: s² passes, interleaved
    à trous           the same in one pass: strides become 1, and whatever comes after is dilated by them

(B, C, H, W) -> (B, K, H, W), or (B, K, H − h + 1, W − w + 1) without padding, h × w the window of the classifier.
Shift and stitch equals à trous where the network pads nothing: a padded map begins a shifted pass with zeros, where à
trous sees the pixels before it. arXiv:1411.4038, section 3.2; arXiv:1312.6229.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hubel.errors import UserError
from hubel.models.cost import profile
from hubel.models.dense_heads import read_at
from hubel.models.options import Size
from hubel.models.receptive_field import Field
from hubel.models.shapes import pair
from hubel.models.surgery.convolve import convolutionalise


@torch.no_grad()
def heat_maps(network: nn.Module, input: Size, images: Tensor) -> Tensor:
    """Scores (B, K, H, W) of a classifier made for `input` (C, h, w), on `images` (B, C, H, W) of that size or larger.

    A score lies in the middle of its window, and is enlarged bilinearly; beyond the first and the last window theirs is
    taken. Raises UserError as `convolutionalise` does, and for smaller images.
    """
    if min(images.shape[2] - input[1], images.shape[3] - input[2]) < 0:
        raise UserError(f"The classifier looks at {input[1]}×{input[2]} pixels, and the images have only "
                        f"{images.shape[2]}×{images.shape[3]}. Give larger images.")  # fmt: skip
    sliding: Any = convolutionalise(network, input)
    scores, stride = sliding(images), sliding.strides[-1]
    rows, columns = (torch.arange(n, dtype=scores.dtype, device=scores.device) + 0.5 for n in images.shape[2:])
    return read_at(scores, rows, columns, (input[1] / 2, input[2] / 2), stride)


@torch.no_grad()
def shift_and_stitch(network: nn.Module, images: Tensor, stride: int) -> Tensor:
    """Maps of `stride`² shifted passes, interleaved: (B, C, H, W) -> (B, K, h, w) with a score for each pixel.

    `network` gives (B, K, h', w') with a score for every `stride` pixels, such as `convolutionalise` makes it. Raises
    UserError where the images are too small for the last shift.
    """
    passes = [[_shifted(network, images, a, b) for b in range(stride)] for a in range(stride)]
    rows, columns = sum(row[0].shape[2] for row in passes), sum(one.shape[3] for one in passes[0])
    stitched = passes[0][0].new_empty(*passes[0][0].shape[:2], rows, columns)
    for a, row in enumerate(passes):
        for b, found in enumerate(row):
            stitched[:, :, a::stride, b::stride] = found
    return stitched


def _shifted(network: nn.Module, images: Tensor, down: int, across: int) -> Tensor:
    """The pass on the images without their first rows and columns."""
    try:
        return network(images[:, :, down:, across:])
    except RuntimeError as fault:
        raise UserError(
            f"Images of {images.shape[2]}×{images.shape[3]} are too small to be shifted by {down}×{across}: {fault}. "
            "Give larger images."
        ) from fault


class DilatedAverage(nn.Module):
    """Means over windows of `size` cells that lie `dilation` apart: average pooling without stride, à trous."""

    def __init__(self, size: tuple[int, int], dilation: int):
        super().__init__()
        self.size, self.dilation = size, dilation

    def forward(self, x: Tensor) -> Tensor:
        taps = x.new_full((x.shape[1], 1, *self.size), 1 / (self.size[0] * self.size[1]))
        return F.conv2d(x, taps, dilation=self.dilation, groups=x.shape[1])


@torch.no_grad()
def stride_free(network: nn.Module, input: Size) -> nn.Module:
    """A copy of `network` in evaluation mode with the same weights and no stride, for images of `input` or larger.

    Convolutions and poolings of torch are dilated by the strides before them. Raises UserError where another kind of
    layer has a stride.
    """
    found: Any = copy.deepcopy(network).eval()
    jumps = {name: field.rows.jump for name, _, field in _fields(found, input)}
    for name, layer in [*found.named_modules()]:
        if name in jumps and isinstance(layer, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
            before = round(jumps[name] / pair(layer.stride)[0])
            owner, _, word = name.rpartition(".")
            setattr(found.get_submodule(owner), word, _spread(layer, before))
    further = round(max(jumps.values(), default=1))
    for name, kind, field in _fields(found, (input[0], input[1] + further, input[2] + further)):
        if field.rows.jump != 1 and field.rows.cells > 1:
            raise UserError(
                f"{type(network).__name__} has a stride in '{name}' ({kind}), which can't be taken out: only "
                "convolutions and poolings of torch can."
            )
    return found


def _fields(network: nn.Module, input: Size) -> list[tuple[str, str, Field]]:
    """Name, kind and receptive field of each layer that sees the image."""
    layers = profile(copy.deepcopy(network).float(), input).layers
    return [(one.name, one.type, one.field) for one in layers if one.field is not None]


def _spread(layer: Any, before: int) -> nn.Module:
    """The layer without stride, its taps `before` times as far apart, its padding as wide in pixels as it was."""
    if isinstance(layer, nn.AvgPool2d):
        if any(pair(layer.padding)):
            raise UserError("An average pooling with padding can't be spread out.")
        return DilatedAverage(pair(layer.kernel_size), before)
    if not isinstance(layer.padding, str):
        layer.padding = tuple(before * p for p in pair(layer.padding))
    layer.dilation, layer.stride = tuple(before * d for d in pair(layer.dilation)), (1, 1)
    return layer

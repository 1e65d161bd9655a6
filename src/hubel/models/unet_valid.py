"""U-Net as published: no padding anywhere, so that no score rests on anything but pixels. arXiv:1505.04597.

image (B, C, H, W) -> maps (B, 64 · 2**i, …) at strides 1, 2, 4, 8, 16 -> scores (B, K, H − 184, W − 184); 572 -> 388

A 2×2 transposed convolution halves the channels and doubles the map, what lies inside the contracting path's map is
cut out and put beside it, and two 3×3 convolutions follow. With depth d the scores lack `margin` pixels on each side:

    o(d − 1) = 4,   o(i) = 2 · o(i + 1) + 8 cells cut from map i,   margin = o(0) + 4;   d = 4: 4, 16, 40, 88, margin 92

The poolings need a side of a multiple of 2**d, less 4: 188, 204 … 572 for d = 4. Other sizes are filled up, by
less than 2**d copies of the last row and column, and the scores are cut back.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hubel.models.base import DenseNetwork
from hubel.models.contracting import Contracting, double
from hubel.models.options import Size, check_size, rates, wants, widths_of
from hubel.nn.activations import Activation, Unit, choice
from hubel.nn.upsampling import Transposed

NORMS = ("none", "batch")


class ValidStep(nn.Module):
    """y and the finer map, of which `cut` cells fall away at the top and at the left."""

    def __init__(self, unit: Unit, c_in: int, c_out: int, cut: int):
        super().__init__()
        self.up, self.cut = Transposed(c_in), cut
        self.mix = double(unit, self.up.channels + c_out, c_out, padding=0)

    def forward(self, y: Tensor, finer: Tensor) -> Tensor:
        large = self.up.twice(y)
        (h, w), cut = large.shape[2:], self.cut
        return self.mix(torch.cat([large, finer[:, :, cut : cut + h, cut : cut + w]], 1))


class ValidDecoder(nn.Module):
    """Maps of the contracting path, finest first -> (B, outputs, H − 2 · margin, W − 2 · margin)."""

    def __init__(self, channels: Sequence[int], outputs: int, unit: Unit):
        super().__init__()
        self.cuts = cuts(len(channels) - 1)
        pairs = zip(channels[1:], channels, self.cuts, strict=False)
        self.steps = nn.ModuleList(ValidStep(unit, *pair) for pair in pairs)
        self.scores = nn.Conv2d(channels[0], outputs, 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        *finer, y = maps
        for step, own in zip(reversed(self.steps), reversed(finer), strict=True):
            y = step(y, own)
        height, width = (n - 2 * self.cuts[0] - 4 for n in maps[0].shape[2:])
        return self.scores(y[:, :, :height, :width])


def cuts(depth: int) -> tuple[int, ...]:
    """Cells that fall away on each side of the contracting path's maps, finest first."""
    found = [4]
    for _ in range(depth - 1):
        found.append(2 * found[-1] + 8)
    return tuple(reversed(found))


def _margin(depth: int) -> int:
    """Pixels on each side that have no score."""
    return cuts(depth)[0] + 4


class UNetValid(DenseNetwork):
    """`depth` poolings, `width` channels at first; `unit` follows each convolution, `dropout` the coarsest ones."""

    def __init__(self, outputs: int, channels: int, width: int, depth: int, unit: Unit, dropout: float):
        super().__init__()
        self.contracting = Contracting(channels, width, depth, unit, padding=0, dropout=dropout)
        self.channels, self.strides, self.unit = self.contracting.channels, self.contracting.strides, unit
        self.starts = tuple(4.5 * 2**i - 2 for i in range(depth + 1))
        self.margin = _margin(depth)
        self.head = self.default_head(outputs)

    def maps(self, images: Tensor) -> list[Tensor]:
        below, right = (-(n + 4) % self.strides[-1] for n in images.shape[2:])
        if not below and not right:
            return self.contracting.maps(images)
        fine, *coarser = self.contracting.maps(F.pad(images, (0, right, 0, below), mode="replicate"))
        return [fine[:, :, : fine.shape[2] - below, : fine.shape[3] - right], *coarser]

    def dense_head(self, outputs: int) -> nn.Module:
        return ValidDecoder(self.channels, outputs, self.unit)


@wants(572)
def unet_valid(
    *, classes: int, input: Size, width: int = 64, depth: int = 4, norm: str = "none", dropout: float = 0.5
) -> UNetValid:
    """U-Net without padding, 572×572 pixels in, 388×388 out; 31,030,658 parameters for grey images and two classes.

    For an input (C, H, W) of more than 184 pixels a side. `width` of the first convolutions, `depth` poolings; `norm`
    "none" or "batch"; `dropout` behind the coarsest convolutions. Raises UserError for anything else.
    """
    (width,), (depth,) = widths_of("width", width), widths_of("depth", depth)
    choice("norm", norm, NORMS)
    rates("dropout", dropout, 1)
    check_size(f"unet_valid of depth {depth}", input, 2 * _margin(depth) + 1)
    return UNetValid(classes, input[0], width, depth, Unit(Activation("relu"), norm), dropout)

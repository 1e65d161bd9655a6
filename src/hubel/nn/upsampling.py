"""Enlarging a map twofold, in one of six ways: z (B, C', 2h, 2w) from y (B, C, h, w), cut to the finer map's size.

    nearest     z(2r + a, 2c + b) = y(r, c) for a, b in {0, 1}: each value four times
    bilinear    weights 3/4 and 1/4 along each axis, from the two cells whose centres are nearest
    nails       z(2r, 2c) = y(r, c), 0 elsewhere: a bed of nails
    unpool      y(r, c) goes where the finer map has the largest value of its 2×2 window, 0 elsewhere: max unpooling
    transposed  z(2r + a, 2c + b) = Σ_k w_ab(k) · y(k, r, c) + bias: a transposed convolution, 2×2, stride 2
    subpixel    a 3×3 convolution gives four values for a cell, which become 2×2 pixels. arXiv:1609.05158

The first three have no weights and keep the channels; unpool has as many as the finer map (a 1×1 convolution where y
has others); the last two halve them. Sub-pixel convolutions begin as `nearest` of half the channels (arXiv:1707.02937),
so that they draw no checkerboard from the start.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hubel.nn.activations import choice
from hubel.nn.unpooling import bed_of_nails, max_unpool


class Upsampling(nn.Module):
    """Called with y (B, C, h, w), the side (H, W) wanted, 2h or 2h − 1 each, and the finer map (B, C'', H, W), if any.

    `channels` is how many come out.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels

    def forward(self, y: Tensor, side: tuple[int, int], finer: Tensor | None = None) -> Tensor:
        return self.twice(y)[:, :, : side[0], : side[1]]

    def twice(self, y: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, channels, 2h, 2w)."""
        raise NotImplementedError


class Nearest(Upsampling):
    def twice(self, y: Tensor) -> Tensor:
        return F.interpolate(y, scale_factor=2.0, mode="nearest")


class Bilinear(Upsampling):
    def twice(self, y: Tensor) -> Tensor:
        return F.interpolate(y, scale_factor=2.0, mode="bilinear", align_corners=False)


class Nails(Upsampling):
    def twice(self, y: Tensor) -> Tensor:
        return bed_of_nails(y)


class Transposed(Upsampling):
    def __init__(self, c_in: int):
        super().__init__(max(1, c_in // 2))
        self.spread = nn.ConvTranspose2d(c_in, self.channels, 2, stride=2)

    def twice(self, y: Tensor) -> Tensor:
        return self.spread(y)


class SubPixel(Upsampling):
    def __init__(self, c_in: int):
        super().__init__(max(1, c_in // 2))
        self.four = nn.Conv2d(c_in, 4 * self.channels, 3, padding=1)
        with torch.no_grad():  # the four filters of a channel begin alike
            for values in (self.four.weight, self.four.bias):
                assert values is not None
                values.copy_(values[::4].repeat_interleave(4, 0))

    def twice(self, y: Tensor) -> Tensor:
        return F.pixel_shuffle(self.four(y), 2)


class Unpool(Upsampling):
    """`channels` are those of the finer map."""

    def __init__(self, c_in: int, channels: int):
        super().__init__(channels)
        self.fit = nn.Identity() if c_in == channels else nn.Conv2d(c_in, channels, 1)

    def forward(self, y: Tensor, side: tuple[int, int], finer: Tensor | None = None) -> Tensor:
        assert finer is not None
        places = F.max_pool2d(finer, 2, ceil_mode=True, return_indices=True)[1]
        return unpool_apart(self.fit(y), places, side)


def unpool_apart(y: Tensor, places: Tensor, side: tuple[int, int]) -> Tensor:
    """`max_unpool` of 2×2 windows that don't overlap: no two values meet, so the CPU's faster way gives the same."""
    if y.is_cuda or torch.compiler.is_exporting():  # on a GPU in an order that isn't fixed; in ONNX not at all
        return max_unpool(y, places, side)
    return F.max_unpool2d(y, places, [2, 2], [2, 2], output_size=side)


PLAIN: dict[str, Callable[[int], Upsampling]] = {
    "nearest": Nearest,
    "bilinear": Bilinear,
    "nails": Nails,
    "transposed": Transposed,
    "subpixel": SubPixel,
}
UPSAMPLINGS = (*PLAIN, "unpool")


def upsampling(name: str, c_in: int, finer: int = 0) -> Upsampling:
    """The layer called `name` for maps of `c_in` channels; `finer` are those of the finer map, 0 where there is none.

    Without a finer map there are no places to remember, and "unpool" is a bed of nails. Raises UserError for an
    unknown name.
    """
    choice("upsampling", name, UPSAMPLINGS)
    if name == "unpool":
        return Unpool(c_in, finer) if finer else Nails(c_in)
    return PLAIN[name](c_in)

"""A small network that learns fast: a whitening stem, blocks that pool early, global max pooling. arXiv:2404.00498.

(B, C, H, W) -> stem (B, 24, H − 1, W − 1) -> maps (B, widths[i], (H − 1) / 2**(i+1), …) -> pooled (B, F) -> (B, K)

A block is y = g(x) with g = conv, pool, norm, ReLU, then f(y) with f = `depth` times conv, norm, ReLU; or y + f(y)
where it is residual. Pooling right after the first convolution quarters the work of everything behind it. The stem's
filters are measured on the training images (nn/whitening.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from hubel.errors import UserError
from hubel.models.base import Network
from hubel.models.heads import PooledHead
from hubel.models.options import Size, check_size, wants, widths_of
from hubel.nn.whitening import WhiteningConv


def conv_bn(c_in: int, c_out: int, pool: bool = False) -> list[nn.Module]:
    conv = nn.Conv2d(c_in, c_out, 3, padding=1, bias=False)
    return [conv, *([nn.MaxPool2d(2)] if pool else []), nn.BatchNorm2d(c_out), nn.ReLU()]


class Block(nn.Module):
    """Halves the size: f(g(x)), or g(x) + f(g(x))."""

    def __init__(self, c_in: int, c_out: int, depth: int, residual: bool):
        super().__init__()
        self.g = nn.Sequential(*conv_bn(c_in, c_out, pool=True))
        self.f = nn.Sequential(*(layer for _ in range(depth) for layer in conv_bn(c_out, c_out)))
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        y = self.g(x)
        return y + self.f(y) if self.residual else self.f(y)


class Airbench(Network):
    """See the module. `fit` measures the stem; without it the stem stays as it was drawn."""

    def __init__(
        self, classes: int, stem: WhiteningConv, blocks: Sequence[Block], widths: Sequence[int], head: PooledHead
    ):
        super().__init__()
        self.pooled = head
        self.whitening = stem
        self.blocks = nn.ModuleList(blocks)
        self.channels = tuple(widths)
        self.strides = tuple(2 ** (i + 1) for i in range(len(widths)))
        if stem.kernel_size[0] % 2 == 0:  # half a pixel is lost on each side
            self.starts = tuple((stride + 1) / 2 + 0.5 * (stem.kernel_size[0] - 2) for stride in self.strides)
        else:
            self.starts = tuple(stride / 2 for stride in self.strides)
        self.head = self.default_head(classes)

    def fit(self, images: Tensor) -> None:
        """Measure the stem's filters on normalised training images (N, C, H, W)."""
        self.whitening.fit(images)

    def maps(self, images: Tensor) -> list[Tensor]:
        x, found = F.relu(self.whitening(images)), []
        for block in self.blocks:
            x = block(x)
            found.append(x)
        return found

    def default_head(self, classes: int) -> nn.Module:
        return self.pooled.build(self.channels[-1], classes)


@wants(None)
def airbench(
    *,
    classes: int,
    input: Size,
    widths: Sequence[int] = (64, 256, 256),
    depth: int = 1,
    residual: bool = False,
    stem: int | None = None,
    kernel: int = 2,
    logit_scale: float = 0.125,
    dropout: float = 0.0,
) -> Airbench:
    """Blocks of `widths` channels with `depth` convolutions behind the pool.

    `stem` filters of `kernel` × `kernel` pixels: all there are (2 · kernel² · C) by default; an odd kernel keeps the
    size. Raises UserError for other stems, and for an input of below 2**blocks + 1.
    """
    widths = widths_of("widths", widths)
    check_size(f"airbench with {len(widths)} blocks", input, 2 ** len(widths) + 1)
    most = 2 * kernel * kernel * input[0]
    stem = most if stem is None else stem
    if not 2 <= stem <= most or stem % 2:
        raise UserError(f"Option 'stem' needs an even number from 2 to {most} (2 · kernel² · channels), got {stem}.")
    if depth < 0 or not 1 <= kernel <= 7:
        raise UserError(f"Options 'depth' and 'kernel' need 0 or more, and 1 to 7; got {depth} and {kernel}.")
    first = WhiteningConv(input[0], stem, kernel, padding=kernel // 2 if kernel % 2 else 0)
    blocks = [Block(a, b, depth, residual) for a, b in pairwise((stem, *widths))]
    return Airbench(classes, first, blocks, widths, PooledHead("max", logit_scale, dropout))

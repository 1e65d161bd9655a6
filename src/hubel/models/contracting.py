"""The contracting path of U-Net: two 3×3 convolutions, 2×2 max pooling, twice the channels, again. arXiv:1505.04597.

(B, C, H, W) -> maps (B, width · 2**i, H / 2**i, W / 2**i) for i = 0 … depth, the first at the image's own resolution

Without padding every convolution takes a pixel off each side: map i is H / 2**i smaller by what came before it.
"""

from __future__ import annotations

from torch import Tensor, nn

from hubel.models.base import Network
from hubel.models.heads import PooledHead
from hubel.nn.activations import Unit
from hubel.nn.init import he


def double(unit: Unit, c_in: int, c_out: int, padding: int = 1) -> nn.Sequential:
    """Two 3×3 convolutions with what follows each, their weights drawn by He's rule, as the paper has it."""
    layers = nn.Sequential(*unit.conv(c_in, c_out, padding=padding), *unit.conv(c_out, c_out, padding=padding))
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            he(layer)
    return layers


class Contracting(Network):
    """`depth` poolings; `padding` 1 keeps the size of a map, 0 ("valid") doesn't. `dropout` behind the last block."""

    def __init__(
        self, channels: int, width: int, depth: int, unit: Unit, padding: int = 1, dropout: float = 0.0
    ):  # fmt: skip
        super().__init__()
        self.channels = tuple(width * 2**i for i in range(depth + 1))
        self.strides = tuple(2**i for i in range(depth + 1))
        before = (channels, *self.channels)
        blocks = [double(unit, *pair, padding) for pair in zip(before, self.channels, strict=False)]
        if dropout:
            blocks[-1].append(nn.Dropout(dropout))
        self.blocks = nn.ModuleList(blocks)
        self.pool = nn.MaxPool2d(2)

    def maps(self, images: Tensor) -> list[Tensor]:
        found = [self.blocks[0](images)]
        for block in self.blocks[1:]:
            found.append(block(self.pool(found[-1])))
        return found

    def default_head(self, classes: int) -> nn.Module:
        return PooledHead().build(self.channels[-1], classes)

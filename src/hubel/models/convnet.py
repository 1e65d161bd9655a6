"""Plain convolutional networks: blocks of 3×3 convolutions, halved in size between blocks, then global pooling.

(B, C, H, W) -> maps (B, widths[i], H / 2**i, W / 2**i) for i = 1, 2, ... -> pooled (B, F) -> (B, K)

Each convolution is followed by batch norm and ReLU unless asked otherwise. Global pooling has no weights and takes
any size, so the network does, too. arXiv:1409.1556 for stacks of 3×3, arXiv:1312.4400 for global pooling. Without
padding ("valid") each convolution takes a pixel off every side, and `starts` says where the maps begin.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from hubel.errors import UserError
from hubel.models.base import Network
from hubel.models.heads import PooledHead
from hubel.models.options import Size, check_size, units, wants, widths_of
from hubel.nn.activations import Unit
from hubel.ops.padding import check_padding

Blocks = Sequence[Sequence[int]]  # the channels of each convolution, block by block


class ConvNet(Network):
    """`blocks[i][j]` channels in convolution j of block i; `after[i]` follows each convolution of block i.

    A network of one block has one map, at stride 1; otherwise maps begin at stride 2. `starts[i]`, without padding
    only, is where the centre of the first cell of map i lies, in pixels (0.5 is the first pixel's centre).
    """

    def __init__(
        self, classes: int, channels: int, blocks: Blocks, after: Sequence[Unit], head: PooledHead,
        padding: str = "zero",
    ):  # fmt: skip
        super().__init__()
        self.pooled = head
        self.blocks = nn.ModuleList()
        for i, (widths, unit) in enumerate(zip(blocks, after, strict=True)):
            block = nn.Sequential(*([nn.MaxPool2d(2)] if i else []))
            for width in widths:
                block.extend(unit.conv(channels, width, padding=padding))
                channels = width
            self.blocks.append(block)
        first = min(1, len(blocks) - 1)
        self.channels = tuple(widths[-1] for widths in blocks)[first:]
        self.strides = tuple(2**i for i in range(len(blocks)))[first:]
        if padding == "valid":
            self.starts = _starts([len(widths) for widths in blocks])[first:]
        self.head = self.default_head(classes)

    def maps(self, images: Tensor) -> list[Tensor]:
        found = []
        for block in self.blocks:
            images = block(images)
            found.append(images)
        return found[-len(self.channels) :]

    def default_head(self, classes: int) -> nn.Module:
        return self.pooled.build(self.channels[-1], classes)


def _starts(convs: Sequence[int]) -> tuple[float, ...]:
    """The centre of the first cell behind each block of so many convolutions without padding."""
    found, start = [], 0.5
    for i, count in enumerate(convs):
        pooling = 2**i / 4 if i else 0.0  # halfway to the next cell of the map before
        start += pooling + count * 2**i
        found.append(start)
    return tuple(found)


def _smallest(convs: Sequence[int], padding: str) -> int:
    """The side that leaves something for the last convolution; a mirror needs a pixel besides the edge."""
    if padding != "valid":
        return 2 ** (len(convs) - 1) * (2 if padding == "mirror" else 1)
    side = 1
    for count in reversed(convs):
        side = 2 * (side + 2 * count)
    return side // 2  # no pooling before the first block


@wants(None)
def convnet(
    *,
    classes: int,
    input: Size,
    widths: Sequence[int] = (24, 48, 96),
    convs: int = 2,
    activation: str = "relu",
    slope: float | None = None,
    pieces: int | None = None,
    norm: str | Sequence[str] = "batch",
    norm_place: str = "before",
    padding: str = "zero",
    pool: str = "max",
    dropout: float = 0.0,
    logit_scale: float = 1.0,
) -> ConvNet:
    """Blocks of `convs` 3×3 convolutions with `widths` channels, 2×2 max pooling between blocks.

    `padding`: "valid", "zero", "mean" or "mirror"; `pool`: the global pooling, "average" or "max"; `dropout` before
    the linear layer; `logit_scale` multiplies its output. `norm` takes one value, or one per block. Activations as in
    `mlp`. Raises UserError for anything else, and for an input (C, H, W) below 2**(blocks - 1) pixels (more for
    "valid" and "mirror").
    """
    widths = widths_of("widths", widths)
    if convs < 1:
        raise UserError(f"Option 'convs' needs a whole number of at least 1, got {convs}.")
    check_padding(padding)
    extra = "" if padding == "zero" else f" with padding '{padding}'"
    check_size(f"a convnet of {len(widths)} blocks{extra}", input, _smallest([convs] * len(widths), padding))
    after = units(activation, slope, pieces, norm, norm_place, len(widths))
    head = PooledHead(pool, logit_scale, dropout)
    return ConvNet(classes, input[0], [(width,) * convs for width in widths], after, head, padding)


@wants(None)
def small_cnn(*, classes: int, input: Size) -> ConvNet:
    """3×3 convolutions of 16, 32, pool, 64, pool, 64 channels with batch norm; global max pooling; a linear layer."""
    check_size("small_cnn", input, 4)
    after = units("relu", None, None, "batch", "before", 3)
    return ConvNet(classes, input[0], ((16, 32), (64,), (64,)), after, PooledHead("max"))

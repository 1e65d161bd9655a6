"""Dilated convolutions: the filters spread out, in place of the maps shrinking. F. Yu & V. Koltun, arXiv:1511.07122.

    y(n, r, c) = b(n) + Σ_k Σ_u Σ_v w(n; k, u, v) · x(k, r + d·u, c + d·v),   u, v ∈ {−1, 0, 1}

(B, C, H, W) -> stem, pooled (B, w, H / 2, W / 2) -> seven layers of that size: one map -> pooled (B, w) -> (B, K)

The dilations d = 1, 1, 2, 4, 8, 16, 1 of the paper's context network see 3, 5, 9, 17, 33, 65, 67 cells of the stem's
map a side: the field grows as fast as with pooling, at 9·w² weights a layer, and every cell keeps its place. The
paper's last layer, 1×1, is our head. Its start from the identity is `--init dirac`, without batch norm.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from hubel.models.base import Network
from hubel.models.heads import PooledHead
from hubel.models.options import Size, check_size, units, wants, widths_of
from hubel.nn.activations import Unit

CONTEXT = (1, 1, 2, 4, 8, 16, 1)


class DilatedNet(Network):
    """A 3×3 convolution and a pooling, then one 3×3 convolution per dilation; `after` follows each of them."""

    strides = (2,)

    def __init__(
        self, classes: int, channels: int, width: int, dilations: Sequence[int], after: Unit, head: PooledHead
    ):  # fmt: skip
        super().__init__()
        self.pooled = head
        self.channels = (width,)
        self.stem = nn.Sequential(*after.conv(channels, width), nn.MaxPool2d(2))
        self.context = nn.Sequential(*(layer for d in dilations for layer in after.conv(width, width, dilation=d)))
        self.head = self.default_head(classes)

    def maps(self, images: Tensor) -> list[Tensor]:
        return [self.context(self.stem(images))]

    def default_head(self, classes: int) -> nn.Module:
        return self.pooled.build(self.channels[0], classes)


@wants(None)
def dilated_net(
    *,
    classes: int,
    input: Size,
    width: int = 32,
    dilations: Sequence[int] = CONTEXT,
    activation: str = "relu",
    norm: str = "batch",
    pool: str = "average",
    dropout: float = 0.0,
) -> DilatedNet:
    """`width` channels throughout, a layer for each of `dilations`; `norm` "batch" or "none", `pool` as in `convnet`.

    Raises UserError for anything else, and for an input (C, H, W) below 2×2 pixels.
    """
    (width,), dilations = widths_of("width", width), widths_of("dilations", dilations)
    check_size("dilated_net", input, 2)
    after = units(activation, None, None, norm, "before", 1)[0]
    return DilatedNet(classes, input[0], width, dilations, after, PooledHead(pool, dropout=dropout))

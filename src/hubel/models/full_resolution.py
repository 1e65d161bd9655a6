"""Convolutions only: no stride and no pooling, so that every pixel keeps its place from beginning to end.

(B, C, H, W) -> L layers of 3×3 with d_l between the taps: one map (B, width, H, W) -> 1×1 -> scores (B, K, H, W)

What a score can see is 1 + 2 Σ d_l pixels a side: 13 after six plain layers, which is the trouble with it; each layer
costs 9 · width² multiplications for every pixel of the image, which is the other. Dilations (d = 1, 2, 4, 8 …) mend the
first: arXiv:1511.07122.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from hubel.models.base import DenseNetwork
from hubel.models.options import Size, units, wants, widths_of
from hubel.nn.activations import Unit


class FullResolution(DenseNetwork):
    """A layer of `width` channels for each of `dilations`, followed by `after`."""

    strides = (1,)

    def __init__(self, outputs: int, channels: int, width: int, dilations: Sequence[int], after: Unit):
        super().__init__()
        self.channels = (width,)
        self.layers = nn.Sequential()
        for dilation in dilations:
            self.layers.extend(after.conv(channels, width, dilation=dilation))
            channels = width
        self.head = self.default_head(outputs)

    def maps(self, images: Tensor) -> list[Tensor]:
        return [self.layers(images)]


@wants(None)
def full_resolution(
    *,
    classes: int,
    input: Size,
    width: int = 32,
    dilations: Sequence[int] = (1, 1, 1, 1, 1, 1),
    activation: str = "relu",
    norm: str = "batch",
) -> FullResolution:
    """Convolutions only, at the image's own resolution, for an input (C, H, W) of any size.

    `width` channels throughout, a 3×3 layer for each of `dilations`; `norm` "batch" or "none". Raises UserError for
    anything else.
    """
    (width,), dilations = widths_of("width", width), widths_of("dilations", dilations)
    after = units(activation, None, None, norm, "before", 1)[0]
    return FullResolution(classes, input[0], width, dilations, after)

"""MobileNet: convolutions in two steps, one filter per channel, then 1×1 across channels. arXiv:1704.04861.

(B, C, H, W) -> maps (B, 64 w, H / 2, W / 2), 128 w at 4, 256 w at 8, 512 w at 16, 1024 w at 32 -> pooled -> (B, K)

A f×f convolution to N channels costs h w C f² N multiplications; in two steps h w C f² + h w C N, which is the share
1 / N + 1 / f² of it. Each step is followed by batch norm and ReLU (by ReLU6 here and in timm, which is simpler to
quantise). Two numbers make it cheaper: `width`, and the side of the images, for which it takes any (--size 160).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from hubel.models.base import Head, Network
from hubel.models.inverted_residual import ConvUnit, multiple_of_8, width_factor
from hubel.models.options import Size, rates, wants
from hubel.models.renaming import Renaming, known_to
from hubel.nn.pooling import GlobalAveragePool

STAGES = ((64, 1), (128, 2), (256, 2), (512, 6), (1024, 2))  # channels, blocks; all but the first halve the map
TIMM = Renaming(
    ("stem.0", "conv_stem"),
    ("stem.1", "bn1"),
    ("stages.{i}.{j}.depthwise.0", "blocks.{i}.{j}.conv_dw"),
    ("stages.{i}.{j}.depthwise.1", "blocks.{i}.{j}.bn1"),
    ("stages.{i}.{j}.pointwise.0", "blocks.{i}.{j}.conv_pw"),
    ("stages.{i}.{j}.pointwise.1", "blocks.{i}.{j}.bn2"),
    ("head.2", "classifier"),
)
unit = ConvUnit()


class SeparableConv(nn.Module):
    """y = pointwise(depthwise(x)): a 3×3 filter per channel with the stride, then 1×1 to `c_out` channels."""

    def __init__(self, c_in: int, c_out: int, stride: int = 1):
        super().__init__()
        self.depthwise = unit(c_in, c_in, 3, stride, groups=c_in)
        self.pointwise = unit(c_in, c_out)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(self.depthwise(x))


class MobileNet(Network):
    """A 3×3 stem with stride 2, then stages of `widths[i]` channels with `blocks[i]` separable convolutions."""

    def __init__(
        self, classes: int, channels: int, stem: int, widths: Sequence[int], blocks: Sequence[int], dropout: float
    ):
        super().__init__()
        (self.dropout,) = rates("dropout", dropout, 1)
        self.stem = unit(channels, stem, 3, 2)
        self.stages = nn.ModuleList()
        before = stem
        for i, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            rest = [SeparableConv(width, width) for _ in range(count - 1)]
            self.stages.append(nn.Sequential(SeparableConv(before, width, 2 if i else 1), *rest))
            before = width
        self.channels = tuple(widths)
        self.strides = tuple(2 ** (i + 1) for i in range(len(widths)))
        self.head = self.default_head(classes)

    def maps(self, images: Tensor) -> list[Tensor]:
        x, found = self.stem(images), []
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        return found

    def default_head(self, classes: int) -> nn.Module:
        return Head(GlobalAveragePool(), nn.Dropout(self.dropout), nn.Linear(self.channels[-1], classes))


@known_to("timm", TIMM, "mobilenetv1_100")
@wants(224)
def mobilenetv1(*, classes: int, input: Size, width: float = 1.0, dropout: float = 0.0) -> MobileNet:
    """4,231,976 parameters for colour images and 1,000 classes.

    `width` multiplies the numbers of channels, which are rounded to multiples of 8; `dropout` before the linear layer.
    Raises UserError for a width outside (0, 8].
    """
    width = width_factor(width)
    stem, *widths = (multiple_of_8(w * width) for w in (32, *(w for w, _ in STAGES)))
    return MobileNet(classes, input[0], stem, widths, [blocks for _, blocks in STAGES], dropout)

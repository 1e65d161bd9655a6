"""VGG: stacks of 3×3 convolutions, halved by 2×2 max pooling with stride 2, then three dense layers. arXiv:1409.1556.

(B, C, 224, 224) -> maps (B, 128, 112, 112), (B, 256, 56, 56), (B, 512, 28, 28), (B, 512, 14, 14), (B, 512, 7, 7)
                 -> pooled (B, 512, 7, 7) -> 4096 -> 4096 -> (B, K)

Three 3×3 layers see as far as one of 7×7, with 27 C² weights in place of 49 C² and two more non-linearities. VGG-16
has 138,357,544 parameters for 1,000 classes, 89 % of them dense. An image gives 15.24 million activations: 61 MB in
fp32, 115 MB where convolutions and ReLU outputs are counted both, about twice that in training. (A figure of 96 MB
that goes round is a known slip.)

Without batch norm so many layers learn only where the signal keeps its size from the start: `he` (nn/init.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from hubel.models.alexnet import between_poolings
from hubel.models.base import Head, Network
from hubel.models.options import Size, check_size, rates, wants, widths_of
from hubel.models.renaming import Renaming, known_to
from hubel.nn.init import he, he_linear
from hubel.nn.pooling import AdaptiveAveragePool

WIDTHS = (64, 128, 256, 512, 512)
DEPTHS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
TORCHVISION = Renaming(("head.{i+2}", "classifier.{i}"))


def conv(c_in: int, c_out: int, norm: bool) -> list[nn.Module]:
    return [he(nn.Conv2d(c_in, c_out, 3, padding=1)), *([nn.BatchNorm2d(c_out)] if norm else []), nn.ReLU()]


class VGG(Network):
    """`depths[i]` convolutions before pooling i. Maps: what goes into each pooling but the first, and the last one's
    output.
    """

    channels = (*WIDTHS[1:], WIDTHS[-1])
    strides = (2, 4, 8, 16, 32)

    def __init__(self, classes: int, channels: int, depths: Sequence[int], norm: bool, dropout: float, hidden: int):
        super().__init__()
        self.features = nn.Sequential()
        for width, depth in zip(WIDTHS, depths, strict=True):
            for _ in range(depth):
                self.features.extend(conv(channels, width, norm))
                channels = width
            self.features.append(nn.MaxPool2d(2))
        self.dropout, self.hidden = dropout, hidden
        self.head = self.default_head(classes)

    def maps(self, images: Tensor) -> list[Tensor]:
        return between_poolings(self.features, images)[1:]

    def default_head(self, classes: int) -> nn.Module:
        return Head(
            AdaptiveAveragePool(7), nn.Flatten(),  # (B, 512, h, w) -> (B, 49 * 512)
            he_linear(49 * self.channels[-1], self.hidden), nn.ReLU(), nn.Dropout(self.dropout),
            he_linear(self.hidden, self.hidden), nn.ReLU(), nn.Dropout(self.dropout),
            he_linear(self.hidden, classes, sigma=0.01),
        )  # fmt: skip


def _build(classes: int, input: Size, layers: int, norm: bool, dropout: float, hidden: int) -> VGG:
    check_size(f"vgg{layers}", input, 32)
    rates("dropout", dropout, 1)
    widths_of("hidden", hidden)
    return VGG(classes, input[0], DEPTHS[layers], norm, dropout, hidden)


@known_to("torchvision", TORCHVISION)
@wants(224)
def vgg11(*, classes: int, input: Size, dropout: float = 0.5, hidden: int = 4096) -> VGG:
    """11 layers, 132,863,336 parameters for colour images and 1,000 classes.

    For an input (C, H, W) of at least 32×32 pixels. `dropout` behind the two dense layers of `hidden` units. Raises
    UserError for a smaller input.
    """
    return _build(classes, input, 11, False, dropout, hidden)


@known_to("torchvision", TORCHVISION)
@wants(224)
def vgg11_bn(*, classes: int, input: Size, dropout: float = 0.5, hidden: int = 4096) -> VGG:
    """`vgg11` with batch norm behind each convolution."""
    return _build(classes, input, 11, True, dropout, hidden)


@known_to("torchvision", TORCHVISION)
@wants(224)
def vgg13(*, classes: int, input: Size, dropout: float = 0.5, hidden: int = 4096) -> VGG:
    """13 layers, 133,047,848 parameters for colour images and 1,000 classes."""
    return _build(classes, input, 13, False, dropout, hidden)


@known_to("torchvision", TORCHVISION)
@wants(224)
def vgg13_bn(*, classes: int, input: Size, dropout: float = 0.5, hidden: int = 4096) -> VGG:
    """`vgg13` with batch norm behind each convolution."""
    return _build(classes, input, 13, True, dropout, hidden)


@known_to("torchvision", TORCHVISION)
@wants(224)
def vgg16(*, classes: int, input: Size, dropout: float = 0.5, hidden: int = 4096) -> VGG:
    """16 layers, 138,357,544 parameters for colour images and 1,000 classes."""
    return _build(classes, input, 16, False, dropout, hidden)


@known_to("torchvision", TORCHVISION)
@wants(224)
def vgg16_bn(*, classes: int, input: Size, dropout: float = 0.5, hidden: int = 4096) -> VGG:
    """`vgg16` with batch norm behind each convolution."""
    return _build(classes, input, 16, True, dropout, hidden)


@known_to("torchvision", TORCHVISION)
@wants(224)
def vgg19(*, classes: int, input: Size, dropout: float = 0.5, hidden: int = 4096) -> VGG:
    """19 layers, 143,667,240 parameters for colour images and 1,000 classes."""
    return _build(classes, input, 19, False, dropout, hidden)


@known_to("torchvision", TORCHVISION)
@wants(224)
def vgg19_bn(*, classes: int, input: Size, dropout: float = 0.5, hidden: int = 4096) -> VGG:
    """`vgg19` with batch norm behind each convolution."""
    return _build(classes, input, 19, True, dropout, hidden)

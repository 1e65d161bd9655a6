"""Network in Network: an MLP on every pixel follows each convolution, and no layer is dense. arXiv:1312.4400.

CIFAR:     (B, C, 32, 32)   -> maps (B, 192, 16, 16), (B, 192, 8, 8) at strides 2, 4
ImageNet:  (B, C, 224, 224) -> maps (B, 96, 55, 55), (B, 256, 27, 27), (B, 384, 13, 13), (B, 1024, 6, 6), strides 4 … 32
           -> a map for each class (B, K, h, w) -> global average -> (B, K)

The MLP is a stack of 1×1 convolutions: mlpconv(x) = relu(W3 relu(W2 relu(W1 * x))), W1 the only one that sees
neighbours. The last W3 gives one map per class; the mean of it is the logit, so the maps show where a class was seen.
The paper rectifies these maps too, which allows no logit below 0: `rectified` does so, and fits softmax only.
966,986 parameters (CIFAR, ten classes), 7,595,176 (ImageNet).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from hubel.models.base import Head, Network
from hubel.models.options import Size, check_size, rates, wants
from hubel.nn.init import he
from hubel.nn.pooling import GlobalAveragePool


def conv(c_in: int, c_out: int, kernel: int = 1, stride: int = 1) -> list[nn.Module]:
    """Padded by half a filter; the large one of stride 4 by 2, as AlexNet's."""
    padding = 2 if stride > 1 else kernel // 2
    return [he(nn.Conv2d(c_in, c_out, kernel, stride, padding)), nn.ReLU()]


def mlpconv(c_in: int, widths: Sequence[int], kernel: int, stride: int = 1) -> nn.Sequential:
    """A convolution of widths[0] filters, then 1×1 convolutions."""
    layers = conv(c_in, widths[0], kernel, stride)
    for before, own in pairwise(widths):
        layers += conv(before, own)
    return nn.Sequential(*layers)


class NiN(Network):
    """`blocks` end in mlpconv and begin, but for the first, with pooling. `channels` and `strides` are those of the
    last blocks, which are the maps.
    """

    def __init__(
        self,
        classes: int,
        blocks: Sequence[nn.Module],
        channels: Sequence[int],
        strides: Sequence[int],
        rectified: bool,
    ):
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.channels, self.strides, self.rectified = tuple(channels), tuple(strides), rectified
        if strides[0] == 4:  # the centre of the first filter; pooling begins one cell further inside
            self.starts = tuple(stride - 0.5 for stride in strides)
        self.head = self.default_head(classes)

    def maps(self, images: Tensor) -> list[Tensor]:
        x, found = images, []
        for block in self.blocks:
            x = block(x)
            found.append(x)
        return found[-len(self.channels) :]

    def default_head(self, classes: int) -> nn.Module:
        to_classes, relu = conv(self.channels[-1], classes)
        return Head(to_classes, *([relu] if self.rectified else []), GlobalAveragePool())


@wants(32)
def nin_cifar(*, classes: int, input: Size, dropout: float = 0.5, rectified: bool = False) -> NiN:
    """Three mlpconv layers for small images: an input (C, H, W) of at least 4×4 pixels.

    `dropout` behind each pooling; `rectified`: class maps without negative values. Raises UserError for a smaller
    input.
    """
    check_size("nin_cifar", input, 4)
    rates("dropout", dropout, 1)
    blocks = [
        mlpconv(input[0], (192, 160, 96), 5),
        nn.Sequential(nn.MaxPool2d(3, 2, ceil_mode=True), nn.Dropout(dropout), mlpconv(96, (192, 192, 192), 5)),
        nn.Sequential(nn.AvgPool2d(3, 2, ceil_mode=True), nn.Dropout(dropout), mlpconv(192, (192, 192), 3)),
    ]
    return NiN(classes, blocks, (192, 192), (2, 4), rectified)


@wants(224)
def nin(*, classes: int, input: Size, dropout: float = 0.5, rectified: bool = False) -> NiN:
    """Four mlpconv layers for ImageNet: an input (C, H, W) of at least 63×63 pixels.

    `dropout` in front of the last one; `rectified` as in `nin_cifar`. Raises UserError for a smaller input.
    """
    check_size("nin", input, 63)
    rates("dropout", dropout, 1)
    blocks = [
        mlpconv(input[0], (96, 96, 96), 11, stride=4),
        nn.Sequential(nn.MaxPool2d(3, 2), mlpconv(96, (256, 256, 256), 5)),
        nn.Sequential(nn.MaxPool2d(3, 2), mlpconv(256, (384, 384, 384), 3)),
        nn.Sequential(nn.MaxPool2d(3, 2), nn.Dropout(dropout), mlpconv(384, (1024, 1024), 3)),
    ]
    return NiN(classes, blocks, (96, 256, 384, 1024), (4, 8, 16, 32), rectified)

"""AlexNet: five convolutions, three of them followed by overlapping pooling, and three dense layers.

(B, C, 224, 224) -> maps (B, 64, 55, 55), (B, 192, 27, 27), (B, 256, 13, 13), (B, 256, 6, 6) at strides 4, 8, 16, 32
                 -> pooled (B, 256, 6, 6) -> 4096 -> 4096 -> (B, K)

`alexnet` is the later one-tower form that torchvision has (arXiv:1404.5997): 61,100,840 parameters for 1,000 classes.
`alexnet_paper` is the network of 2012 (Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep
convolutional neural networks"): 96 filters first, three layers in two groups that don't see each other (one for each
of two GPUs), local response normalisation: 60,965,224 parameters, 96.2 % of them dense; 62,378,344 without groups
(94.0 %). The paper says 224 pixels, its arithmetic needs 227.
"""

from __future__ import annotations

from torch import Tensor, nn

from hubel.errors import UserError
from hubel.models.base import Head, Network
from hubel.models.options import Size, check_size, rates, wants, widths_of
from hubel.models.renaming import Renaming, known_to
from hubel.nn.init import he, he_linear
from hubel.nn.pooling import AdaptiveAveragePool
from hubel.nn.response_norm import response_norm

TORCHVISION = Renaming(("head.{i+2}", "classifier.{i}"))


def conv(c_in: int, c_out: int, kernel: int, stride: int = 1, padding: int = 0, groups: int = 1) -> list[nn.Module]:
    return [he(nn.Conv2d(c_in, c_out, kernel, stride, padding, groups=groups)), nn.ReLU()]


def pool() -> nn.Module:
    return nn.MaxPool2d(3, stride=2)


def between_poolings(features: nn.Sequential, images: Tensor) -> list[Tensor]:
    """What goes into each max pooling of `features`, finest first, and what comes out of all of it."""
    x, found = images, []
    for layer in features:
        if isinstance(layer, nn.MaxPool2d):
            found.append(x)
        x = layer(x)
    return [*found, x]


class AlexNet(Network):
    """`features` pools three times. A map is what goes into each pooling, and what comes out of the last one.

    `start` is where the centre of the first filter lies, in pixels; pooling begins one cell further inside.
    """

    strides = (4, 8, 16, 32)

    def __init__(self, classes: int, features: nn.Sequential, start: float, dropout: float, hidden: int):
        super().__init__()
        self.features = features
        widths = [layer.out_channels for layer in features if isinstance(layer, nn.Conv2d)]
        self.channels = (widths[0], widths[1], widths[-1], widths[-1])
        self.starts = tuple(start + stride - 4 for stride in self.strides)
        self.dropout, self.hidden = dropout, hidden
        self.head = self.default_head(classes)

    def maps(self, images: Tensor) -> list[Tensor]:
        return between_poolings(self.features, images)

    def default_head(self, classes: int) -> nn.Module:
        return Head(
            AdaptiveAveragePool(6), nn.Flatten(),  # (B, C, h, w) -> (B, 36 * C)
            nn.Dropout(self.dropout), he_linear(36 * self.channels[-1], self.hidden), nn.ReLU(),
            nn.Dropout(self.dropout), he_linear(self.hidden, self.hidden), nn.ReLU(),
            he_linear(self.hidden, classes, sigma=0.01),
        )  # fmt: skip


@known_to("torchvision", TORCHVISION)
@wants(224)
def alexnet(*, classes: int, input: Size, dropout: float = 0.5, hidden: int = 4096) -> AlexNet:
    """AlexNet as torchvision has it, for an input (C, H, W) of at least 63×63 pixels.

    `dropout` before the two dense layers of `hidden` units. Raises UserError for a smaller input.
    """
    check_size("alexnet", input, 63)
    rates("dropout", dropout, 1)
    widths_of("hidden", hidden)
    features = nn.Sequential(
        *conv(input[0], 64, 11, stride=4, padding=2), pool(),
        *conv(64, 192, 5, padding=2), pool(),
        *conv(192, 384, 3, padding=1), *conv(384, 256, 3, padding=1), *conv(256, 256, 3, padding=1), pool(),
    )  # fmt: skip
    return AlexNet(classes, features, 3.5, dropout, hidden)


@wants(227)
def alexnet_paper(*, classes: int, input: Size, groups: int = 2, dropout: float = 0.5, hidden: int = 4096) -> AlexNet:
    """AlexNet as published, for an input (C, H, W) of at least 67×67 pixels.

    `groups` of the second, fourth and fifth convolution: 2, or 1 for a network in one piece. `dropout` before the two
    dense layers of `hidden` units. Raises UserError for anything else, and for a smaller input.
    """
    if groups not in (1, 2):
        raise UserError(f"Option 'groups' needs 1 or 2, got {groups}.")
    check_size("alexnet_paper", input, 67)
    rates("dropout", dropout, 1)
    widths_of("hidden", hidden)
    features = nn.Sequential(
        *conv(input[0], 96, 11, stride=4), response_norm(), pool(),
        *conv(96, 256, 5, padding=2, groups=groups), response_norm(), pool(),
        *conv(256, 384, 3, padding=1),
        *conv(384, 384, 3, padding=1, groups=groups), *conv(384, 256, 3, padding=1, groups=groups), pool(),
    )  # fmt: skip
    return AlexNet(classes, features, 5.5, dropout, hidden)

"""Densely connected networks: every layer sees what all layers before it in its block have found. arXiv:1608.06993.

    x_{l+1} = [x_l, f(x_l)]: each layer adds k channels, the growth rate

(B, C, H, W) -> stem (B, 64, H / 2, W / 2), also the first map -> pool -> dense blocks and transitions
             -> maps (B, 256, H / 4, W / 4), 512 at 8, 1024 at 16, 1024 at 32 (DenseNet-121) -> pooled -> (B, K)

f is norm, ReLU, 1×1 to 4 k channels ("bottleneck"), norm, ReLU, 3×3 to k. A transition is norm, ReLU, 1×1 to half the
channels ("compression"), average pooling. A map is what a block has gathered, after the norm and ReLU that follow it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from hubel.errors import UserError
from hubel.models.base import Network
from hubel.models.heads import PooledHead
from hubel.models.options import Size, check_size, rates, wants
from hubel.models.renaming import Renaming, known_to

Layer = Callable[[int, int], nn.Sequential]  # (channels, growth) -> f
TORCHVISION = Renaming(
    ("stem.0", "features.conv0"),
    ("stem.1", "features.norm0"),
    ("blocks.{i}.0.{j}.f.0", "features.denseblock{i+1}.denselayer{j+1}.norm1"),
    ("blocks.{i}.0.{j}.f.2", "features.denseblock{i+1}.denselayer{j+1}.conv1"),
    ("blocks.{i}.0.{j}.f.3", "features.denseblock{i+1}.denselayer{j+1}.norm2"),
    ("blocks.{i}.0.{j}.f.5", "features.denseblock{i+1}.denselayer{j+1}.conv2"),
    ("blocks.3.1", "features.norm5"),
    ("blocks.{i}.1", "features.transition{i+1}.norm"),
    ("transitions.{i}.0", "features.transition{i+1}.conv"),
    ("head.1", "classifier"),
)


def norm_relu_conv(c_in: int, c_out: int, kernel: int) -> list[nn.Module]:
    return [nn.BatchNorm2d(c_in), nn.ReLU(), nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2, bias=False)]


def plain(channels: int, growth: int, dropout: float = 0.0) -> nn.Sequential:
    """f of the paper's networks without bottleneck."""
    return nn.Sequential(*norm_relu_conv(channels, growth, 3), *([nn.Dropout(dropout)] if dropout else []))


def bottleneck(channels: int, growth: int, dropout: float = 0.0) -> nn.Sequential:
    """f of DenseNet-B."""
    return nn.Sequential(*norm_relu_conv(channels, 4 * growth, 1), *plain(4 * growth, growth, dropout))


class DenseLayer(nn.Module):
    """[x, f(x)]"""

    def __init__(self, f: nn.Module):
        super().__init__()
        self.f = f

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.f(x)], 1)


@dataclass(frozen=True)
class Growth:
    """Each layer adds `rate` channels through `layer`; between blocks the share `compression` of them is kept."""

    rate: int
    layer: Layer = bottleneck
    compression: float = 0.5

    def block(self, width: int, count: int) -> nn.Sequential:
        """`count` dense layers on `width` channels."""
        return nn.Sequential(*(DenseLayer(self.layer(width + j * self.rate, self.rate)) for j in range(count)))


class DenseNet(Network):
    """`stem` (`width` channels) and `pool`, then blocks of `blocks[i]` layers with transitions between them.

    Without `pool` the stem has stride 1, and the maps begin with the second block's.
    """

    def __init__(
        self,
        classes: int,
        stem: nn.Sequential,
        pool: nn.Module | None,
        width: int,
        blocks: Sequence[int],
        growth: Growth,
    ):
        super().__init__()
        self.stem, self.pool = stem, pool
        self.blocks, self.transitions = nn.ModuleList(), nn.ModuleList()
        channels = [width] if pool else []
        for i, count in enumerate(blocks):
            if i:
                kept = int(width * growth.compression)
                self.transitions.append(nn.Sequential(nn.Conv2d(width, kept, 1, bias=False), nn.AvgPool2d(2)))
                width = kept
            block = growth.block(width, count)
            width += count * growth.rate
            self.blocks.append(nn.Sequential(block, nn.BatchNorm2d(width), nn.ReLU()))
            channels.append(width)
        self.channels = tuple(channels if pool else channels[1:])
        self.strides = tuple(2 ** (i + 1) for i in range(len(self.channels)))
        self.head = self.default_head(classes)

    def maps(self, images: Tensor) -> list[Tensor]:
        x = self.stem(images)
        found = [x]
        x = self.pool(x) if self.pool else x
        for i, block in enumerate(self.blocks):
            x = block(self.transitions[i - 1](x) if i else x)
            found.append(x)
        return found[-len(self.channels) :]

    def default_head(self, classes: int) -> nn.Module:
        return PooledHead().build(self.channels[-1], classes)


def _build(classes: int, input: Size, blocks: Sequence[int], growth: int, dropout: float) -> DenseNet:
    """For photographs: a 7×7 stem of 2 k channels and max pooling."""
    check_size("a DenseNet of four blocks", input, 29)
    stem = nn.Sequential(
        nn.Conv2d(input[0], 2 * growth, 7, 2, padding=3, bias=False), nn.BatchNorm2d(2 * growth), nn.ReLU()
    )
    (dropout,) = rates("dropout", dropout, 1)
    rule = Growth(growth, partial(bottleneck, dropout=dropout))
    return DenseNet(classes, stem, nn.MaxPool2d(3, 2, padding=1), 2 * growth, blocks, rule)


@known_to("timm", TORCHVISION)
@known_to("torchvision", TORCHVISION)
@wants(224)
def densenet121(*, classes: int, input: Size, dropout: float = 0.0) -> DenseNet:
    """121 layers, k = 32, 7,978,856 parameters for colour images and 1,000 classes.

    Input (C, H, W) of at least 29×29 pixels; `dropout` in [0, 1) after each 3×3 convolution. Raises UserError else.
    """
    return _build(classes, input, (6, 12, 24, 16), 32, dropout)


@known_to("timm", TORCHVISION)
@known_to("torchvision", TORCHVISION)
@wants(224)
def densenet161(*, classes: int, input: Size, dropout: float = 0.0) -> DenseNet:
    """161 layers, k = 48, 28,681,000 parameters for colour images and 1,000 classes. Options as in `densenet121`."""
    return _build(classes, input, (6, 12, 36, 24), 48, dropout)


@known_to("timm", TORCHVISION)
@known_to("torchvision", TORCHVISION)
@wants(224)
def densenet169(*, classes: int, input: Size, dropout: float = 0.0) -> DenseNet:
    """169 layers, k = 32, 14,149,480 parameters for colour images and 1,000 classes. Options as in `densenet121`."""
    return _build(classes, input, (6, 12, 32, 32), 32, dropout)


@known_to("timm", TORCHVISION)
@known_to("torchvision", TORCHVISION)
@wants(224)
def densenet201(*, classes: int, input: Size, dropout: float = 0.0) -> DenseNet:
    """201 layers, k = 32, 20,013,928 parameters for colour images and 1,000 classes. Options as in `densenet121`."""
    return _build(classes, input, (6, 12, 48, 32), 32, dropout)


def _cifar(classes: int, input: Size, layers: int, width: int, growth: Growth) -> DenseNet:
    """For small images: a 3×3 stem, three blocks of `layers` layers."""
    check_size("a DenseNet of three blocks", input, 4)
    stem = nn.Sequential(nn.Conv2d(input[0], width, 3, padding=1, bias=False))
    return DenseNet(classes, stem, None, width, (layers,) * 3, growth)


def _growth(growth: int) -> int:
    if growth < 1:
        raise UserError(f"Option 'growth' needs a whole number of at least 1, got {growth}.")
    return growth


@wants(32)
def densenet40(*, classes: int, input: Size, growth: int = 12, dropout: float = 0.0) -> DenseNet:
    """40 layers without bottleneck and compression, 1,019,722 parameters for colour images and ten classes.

    Each layer adds `growth` channels; `dropout` after each convolution (0.2 in the paper where images aren't moved).
    """
    (dropout,) = rates("dropout", dropout, 1)
    return _cifar(classes, input, 12, 16, Growth(_growth(growth), partial(plain, dropout=dropout), 1.0))


@wants(32)
def densenet_bc40(*, classes: int, input: Size, growth: int = 12, dropout: float = 0.0) -> DenseNet:
    """40 layers with both, 176,122 parameters for colour images and ten classes. Options as in `densenet40`."""
    (dropout,) = rates("dropout", dropout, 1)
    return _cifar(classes, input, 6, 2 * _growth(growth), Growth(growth, partial(bottleneck, dropout=dropout)))


@wants(32)
def densenet_bc100(*, classes: int, input: Size, growth: int = 12, dropout: float = 0.0) -> DenseNet:
    """100 layers with both, 769,162 parameters for colour images and ten classes. Options as in `densenet40`."""
    (dropout,) = rates("dropout", dropout, 1)
    return _cifar(classes, input, 16, 2 * _growth(growth), Growth(growth, partial(bottleneck, dropout=dropout)))

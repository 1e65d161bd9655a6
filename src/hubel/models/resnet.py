"""Residual networks for photographs: each block learns a correction, y = relu(skip(x) + f(x)). arXiv:1512.03385.

(B, C, H, W) -> stem (B, 64, H / 2, W / 2), also the first map -> pool
             -> maps (B, widths[i], H / 2**(i + 2), W / 2**(i + 2)) -> pooled (B, widths[3]) -> (B, K)

A 7×7 stem, max pooling, four stages, global average pooling, one dense layer. f is two 3×3 convolutions ("basic") or
1×1, 3×3, 1×1 ("bottleneck", a quarter as wide inside; its 3×3 has the stride, as in torchvision, where the paper gives
it to the first 1×1). Where a block changes the shape, its skip is a 1×1 convolution ("projection", the paper's option
B), or every second pixel and channels of zeros ("identity", option A: no weights).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from hubel.models.base import Network
from hubel.models.heads import PooledHead
from hubel.models.options import Size, rates, wants
from hubel.models.renaming import Renaming, known_to
from hubel.nn.activations import choice
from hubel.nn.shortcut import Shortcut
from hubel.nn.stochastic_depth import StochasticDepth, linear_decay

Branch = Callable[[int, int, int], nn.Sequential]  # (c_in, c_out, stride) -> f
Skip = Callable[[int, int, int], nn.Module]  # the same -> skip
Block = Callable[[int, int, int, float], nn.Module]  # (c_in, c_out, stride, rate of stochastic depth)

WIDTHS = (64, 128, 256, 512)  # channels of the stages with basic blocks
WIDTHS_4 = (256, 512, 1024, 2048)  # and with bottlenecks
STEM = 64

TORCHVISION = Renaming(
    ("stem.0.0", "conv1"),
    ("stem.0.1", "bn1"),
    ("stages.{i}.{j}.f.0.0", "layer{i+1}.{j}.conv1"),
    ("stages.{i}.{j}.f.0.1", "layer{i+1}.{j}.bn1"),
    ("stages.{i}.{j}.f.2.0", "layer{i+1}.{j}.conv2"),
    ("stages.{i}.{j}.f.2.1", "layer{i+1}.{j}.bn2"),
    ("stages.{i}.{j}.f.4.0", "layer{i+1}.{j}.conv3"),
    ("stages.{i}.{j}.f.4.1", "layer{i+1}.{j}.bn3"),
    ("stages.{i}.{j}.skip", "layer{i+1}.{j}.downsample"),
    ("head.1", "fc"),
)


def conv_bn(c_in: int, c_out: int, size: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(c_in, c_out, size, stride, padding=size // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(c_out))


def basic(c_in: int, c_out: int, stride: int) -> nn.Sequential:
    """f of the shallower networks."""
    return nn.Sequential(conv_bn(c_in, c_out, 3, stride), nn.ReLU(), conv_bn(c_out, c_out))


def bottleneck(c_in: int, c_out: int, stride: int, widen: int = 1, groups: int = 1) -> nn.Sequential:
    """f of the deeper ones: c_out / 4 · `widen` channels inside, the 3×3 in `groups` that don't see each other."""
    inner = c_out // 4 * widen
    before, after = conv_bn(c_in, inner, 1), conv_bn(inner, c_out, 1)
    return nn.Sequential(before, nn.ReLU(), conv_bn(inner, inner, 3, stride, groups), nn.ReLU(), after)


def projection(c_in: int, c_out: int, stride: int) -> nn.Module:
    """The identity where it fits, else a 1×1 convolution with batch norm."""
    return nn.Identity() if (c_in, stride) == (c_out, 1) else conv_bn(c_in, c_out, 1, stride)


def padded(c_in: int, c_out: int, stride: int) -> nn.Module:
    """The identity where it fits, else every `stride`-th pixel and zeros."""
    return nn.Identity() if (c_in, stride) == (c_out, 1) else Shortcut(c_out - c_in, stride)


SHORTCUTS: dict[str, Skip] = {"projection": projection, "identity": padded}


class Residual(nn.Module):
    """y = relu(skip(x) + f(x)); in training an image goes without f with probability `drop`."""

    def __init__(self, branch: Branch, skip: Skip, c_in: int, c_out: int, stride: int, drop: float = 0.0):
        super().__init__()
        self.f = branch(c_in, c_out, stride).extend([StochasticDepth(drop)] if drop else [])
        self.skip = skip(c_in, c_out, stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.skip(x) + self.f(x))


def make_stages(
    block: Block, c_in: int, widths: Sequence[int], blocks: Sequence[int], drop_path: float = 0.0
) -> nn.ModuleList:
    """Stage i: `blocks[i]` blocks to `widths[i]` channels; the first block of every stage but the first halves the
    map. `drop_path` is the rate of stochastic depth at the last block; it grows linearly from the first.
    """
    drops = iter(linear_decay(drop_path, sum(blocks)))
    stages = nn.ModuleList()
    for i, (width, count) in enumerate(zip(widths, blocks, strict=True)):
        first, *others = [next(drops) for _ in range(count)]
        rest = [block(width, width, 1, drop) for drop in others]
        stages.append(nn.Sequential(block(c_in, width, 2 if i else 1, first), *rest))
        c_in = width
    return stages


def run(stages: nn.ModuleList, x: Tensor) -> list[Tensor]:
    """What each stage makes of the one before."""
    found = []
    for stage in stages:
        x = stage(x)
        found.append(x)
    return found


class ResNet(Network):
    """A `stem` with stride 2, max pooling, `stages` of `widths` channels; global average pooling, a linear layer."""

    strides = (2, 4, 8, 16, 32)

    def __init__(self, classes: int, stem: nn.Module, stages: nn.ModuleList, widths: Sequence[int]):
        super().__init__()
        self.stem = stem
        self.pool = nn.MaxPool2d(3, 2, padding=1)
        self.stages = stages
        self.channels = (STEM, *widths)
        self.head = self.default_head(classes)

    def maps(self, images: Tensor) -> list[Tensor]:
        fine = self.stem(images)
        return [fine, *run(self.stages, self.pool(fine))]

    def default_head(self, classes: int) -> nn.Module:
        return PooledHead().build(self.channels[-1], classes)


@dataclass(frozen=True)
class Options:
    """`shortcut` "projection" or "identity"; `drop_path` in [0, 1), the rate of stochastic depth at the last block;
    with `zero_init` every block starts as relu(skip(x)).
    """

    shortcut: str = "projection"
    drop_path: float = 0.0
    zero_init: bool = False

    def __post_init__(self) -> None:
        choice("shortcut", self.shortcut, tuple(SHORTCUTS))
        rates("drop_path", self.drop_path, 1)


def build(
    classes: int, input: Size, branch: Branch, widths: Sequence[int], blocks: Sequence[int], options: Options
) -> ResNet:
    """A network of residual blocks of one kind; what the functions of this family call."""
    block = partial(Residual, branch, SHORTCUTS[options.shortcut])
    stem = nn.Sequential(conv_bn(input[0], STEM, 7, 2), nn.ReLU())
    network = ResNet(classes, stem, make_stages(block, STEM, widths, blocks, options.drop_path), widths)
    if options.zero_init:
        zero_branches(network)
    return network


def zero_branches(network: nn.Module) -> None:
    """Set the gain of the last batch norm of every f to zero: f(x) = 0 until the first steps of descent."""
    for block in network.modules():
        if isinstance(block, Residual):
            *_, last = (layer for layer in block.f.modules() if isinstance(layer, nn.BatchNorm2d))
            nn.init.zeros_(last.weight)


@known_to("timm", TORCHVISION)
@known_to("torchvision", TORCHVISION)
@wants(224)
def resnet18(
    *, classes: int, input: Size, shortcut: str = "projection", drop_path: float = 0.0, zero_init: bool = False
) -> ResNet:
    """18 layers, 11,689,512 parameters for colour images and a thousand classes.

    Input (C, H, W) of any size. `shortcut`: "projection" or "identity" (without weights); `drop_path` in [0, 1): the
    rate of stochastic depth at the last block, growing linearly; `zero_init`: blocks start as relu(skip(x)). Raises
    UserError for anything else.
    """
    return build(classes, input, basic, WIDTHS, (2, 2, 2, 2), Options(shortcut, drop_path, zero_init))


@known_to("timm", TORCHVISION)
@known_to("torchvision", TORCHVISION)
@wants(224)
def resnet34(
    *, classes: int, input: Size, shortcut: str = "projection", drop_path: float = 0.0, zero_init: bool = False
) -> ResNet:
    """34 layers, 21,797,672 parameters. Options as in `resnet18`."""
    return build(classes, input, basic, WIDTHS, (3, 4, 6, 3), Options(shortcut, drop_path, zero_init))


@known_to("timm", TORCHVISION)
@known_to("torchvision", TORCHVISION)
@wants(224)
def resnet50(
    *, classes: int, input: Size, shortcut: str = "projection", drop_path: float = 0.0, zero_init: bool = False
) -> ResNet:
    """50 layers, 25,557,032 parameters. Options as in `resnet18`."""
    return build(classes, input, bottleneck, WIDTHS_4, (3, 4, 6, 3), Options(shortcut, drop_path, zero_init))


@known_to("timm", TORCHVISION)
@known_to("torchvision", TORCHVISION)
@wants(224)
def resnet101(
    *, classes: int, input: Size, shortcut: str = "projection", drop_path: float = 0.0, zero_init: bool = False
) -> ResNet:
    """101 layers, 44,549,160 parameters. Options as in `resnet18`."""
    return build(classes, input, bottleneck, WIDTHS_4, (3, 4, 23, 3), Options(shortcut, drop_path, zero_init))


@known_to("timm", TORCHVISION)
@known_to("torchvision", TORCHVISION)
@wants(224)
def resnet152(
    *, classes: int, input: Size, shortcut: str = "projection", drop_path: float = 0.0, zero_init: bool = False
) -> ResNet:
    """152 layers, 60,192,808 parameters. Options as in `resnet18`."""
    return build(classes, input, bottleneck, WIDTHS_4, (3, 8, 36, 3), Options(shortcut, drop_path, zero_init))

"""Residual networks for small images: y = relu(skip(x) + f(x)), f two convolutions. arXiv:1512.03385, section 4.2.

(B, C, H, W) -> maps (B, 32, H / 2, W / 2), (B, 64, H / 4, W / 4) -> pooled (B, 64) -> (B, K)

6 n + 2 layers with weights: a 3×3 stem, three stages of n blocks with 16, 32, 64 channels, a dense layer. Where a
block halves the map, the skip takes every second pixel and adds channels of zeros: no skip has weights ("option A").
The plain networks are the same without skips.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from hubel.errors import UserError
from hubel.models.base import Network
from hubel.models.heads import PooledHead
from hubel.models.options import Size, check_size, per_layer, wants, widths_of

WIDTHS = (16, 32, 64)


def conv_bn(c_in: int, c_out: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(c_in, c_out, 3, stride, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(c_out))


class Shortcut(nn.Module):
    """Every `stride`-th pixel, and `extra` channels of zeros, half of them in front."""

    def __init__(self, extra: int, stride: int):
        super().__init__()
        self.stride, self.front, self.back = stride, extra // 2, extra - extra // 2

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.front, self.back))


class PlainBlock(nn.Module):
    """Two 3×3 convolutions: y = relu(f(x))."""

    def __init__(self, c_in: int, c_out: int, stride: int):
        super().__init__()
        self.f = nn.Sequential(conv_bn(c_in, c_out, stride), nn.ReLU(), conv_bn(c_out, c_out))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.f(x))


class ResidualBlock(PlainBlock):
    """y = relu(skip(x) + f(x)), with a skip that has no weights."""

    def __init__(self, c_in: int, c_out: int, stride: int):
        super().__init__(c_in, c_out, stride)
        self.skip = nn.Identity() if (c_in, stride) == (c_out, 1) else Shortcut(c_out - c_in, stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.skip(x) + self.f(x))


class ResNetCIFAR(Network):
    """A 3×3 stem, then stages of `blocks[i]` blocks with `widths[i]` channels; stages after the first halve it.

    Maps are those of the stages at stride 2 and coarser; a network of one stage has one map, at stride 1.
    """

    def __init__(
        self,
        classes: int,
        channels: int,
        block: type[PlainBlock],
        widths: Sequence[int],
        blocks: Sequence[int],
        head: PooledHead,
    ):
        super().__init__()
        self.pooled = head
        self.stem = nn.Sequential(conv_bn(channels, widths[0]), nn.ReLU())
        self.stages = nn.ModuleList()
        before = widths[0]
        for i, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            stride = 2 if i else 1
            rest = [block(width, width, 1) for _ in range(count - 1)]
            self.stages.append(nn.Sequential(block(before, width, stride), *rest))
            before = width
        first = min(1, len(widths) - 1)
        self.channels = tuple(widths)[first:]
        self.strides = tuple(2**i for i in range(len(widths)))[first:]
        self.head = self.default_head(classes)

    def maps(self, images: Tensor) -> list[Tensor]:
        x, found = self.stem(images), []
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        return found[-len(self.channels) :]

    def default_head(self, classes: int) -> nn.Module:
        return self.pooled.build(self.channels[-1], classes)


def _build(
    classes: int,
    input: Size,
    widths: int | Sequence[int],
    blocks: int | Sequence[int],
    head: PooledHead,
    block: type[PlainBlock] = ResidualBlock,
) -> ResNetCIFAR:
    widths = widths_of("widths", widths)
    counts = widths_of("blocks", per_layer("blocks", blocks, len(widths)))
    if list(widths) != sorted(widths):
        raise UserError(f"Option 'widths' must not shrink from stage to stage, since skips without weights can only "
                        f"add channels; got {', '.join(map(str, widths))}.")  # fmt: skip
    check_size(f"a residual network of {len(widths)} stages", input, 2 ** (len(widths) - 1))
    return ResNetCIFAR(classes, input[0], block, widths, counts, head)


@wants(None)
def resnet8(
    *,
    classes: int,
    input: Size,
    widths: Sequence[int] = (64, 128, 256),
    blocks: int | Sequence[int] = 1,
    pool: str = "max",
    dropout: float = 0.0,
    logit_scale: float = 0.125,
) -> ResNetCIFAR:
    """A wide and shallow residual network: stages of `widths` channels.

    `blocks` per stage: one number, or one for each. `pool`: the global pooling, "average" or "max"; `dropout` before
    the linear layer; `logit_scale` multiplies its output. Raises UserError for anything else, and for an input
    (C, H, W) below 2**(stages - 1) pixels.
    """
    return _build(classes, input, widths, blocks, PooledHead(pool, logit_scale, dropout))


@wants(None)
def resnet20(*, classes: int, input: Size) -> ResNetCIFAR:
    """20 layers, 269,722 parameters for colour images and ten classes."""
    return _build(classes, input, WIDTHS, 3, PooledHead())


@wants(None)
def resnet32(*, classes: int, input: Size) -> ResNetCIFAR:
    """32 layers, 464,154 parameters for colour images and ten classes."""
    return _build(classes, input, WIDTHS, 5, PooledHead())


@wants(None)
def resnet44(*, classes: int, input: Size) -> ResNetCIFAR:
    """44 layers, 658,586 parameters for colour images and ten classes."""
    return _build(classes, input, WIDTHS, 7, PooledHead())


@wants(None)
def resnet56(*, classes: int, input: Size) -> ResNetCIFAR:
    """56 layers, 853,018 parameters for colour images and ten classes."""
    return _build(classes, input, WIDTHS, 9, PooledHead())


@wants(None)
def plain20(*, classes: int, input: Size) -> ResNetCIFAR:
    """`resnet20` without skips."""
    return _build(classes, input, WIDTHS, 3, PooledHead(), PlainBlock)


@wants(None)
def plain56(*, classes: int, input: Size) -> ResNetCIFAR:
    """`resnet56` without skips: deeper than `plain20`, and worse even on the training images."""
    return _build(classes, input, WIDTHS, 9, PooledHead(), PlainBlock)

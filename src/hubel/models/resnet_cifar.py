"""Residual networks for small images: y = relu(skip(x) + f(x)), f two convolutions. arXiv:1512.03385, section 4.2.

(B, C, H, W) -> maps (B, 32, H / 2, W / 2), (B, 64, H / 4, W / 4) -> pooled (B, 64) -> (B, K)

6 n + 2 layers with weights: a 3×3 stem, three stages of n blocks with 16, 32, 64 channels, a dense layer. Where a
block halves the map, the skip takes every second pixel and adds channels of zeros: no skip has weights ("option A").
The plain networks are the same without skips.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from hubel.errors import UserError
from hubel.models.base import Network
from hubel.models.heads import PooledHead
from hubel.models.options import Size, check_size, per_layer, rates, wants, widths_of
from hubel.models.resnet import Block, Residual, basic, conv_bn, make_stages, padded, run

WIDTHS = (16, 32, 64)


class Plain(nn.Module):
    """Two 3×3 convolutions: y = relu(f(x)). There is no skip that could do without f: `drop` is not used."""

    def __init__(self, c_in: int, c_out: int, stride: int, drop: float = 0.0):
        super().__init__()
        self.f = basic(c_in, c_out, stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.f(x))


RESIDUAL: Block = partial(Residual, basic, padded)


class ResNetCIFAR(Network):
    """A `stem` that keeps the size, then `stages` of `widths` channels; stages after the first halve the map.

    Maps are those of the stages at stride 2 and coarser; a network of one stage has one map, at stride 1.
    """

    def __init__(self, classes: int, stem: nn.Module, stages: nn.ModuleList, widths: Sequence[int], head: PooledHead):
        super().__init__()
        self.pooled = head
        self.stem = stem
        self.stages = stages
        first = min(1, len(widths) - 1)
        self.channels = tuple(widths)[first:]
        self.strides = tuple(2**i for i in range(len(widths)))[first:]
        self.head = self.default_head(classes)

    def maps(self, images: Tensor) -> list[Tensor]:
        return run(self.stages, self.stem(images))[-len(self.channels) :]

    def default_head(self, classes: int) -> nn.Module:
        return self.pooled.build(self.channels[-1], classes)


def check_widths(widths: Sequence[int], input: Size) -> None:
    """Raise UserError where a skip without weights can't lead from stage to stage, or the input is too small."""
    if list(widths) != sorted(widths):
        raise UserError(f"Option 'widths' must not shrink from stage to stage, since skips without weights can only "
                        f"add channels; got {', '.join(map(str, widths))}.")  # fmt: skip
    check_size(f"a residual network of {len(widths)} stages", input, 2 ** (len(widths) - 1))


def scaled(factor: float, widths: Sequence[int] = WIDTHS) -> tuple[int, ...]:
    """`widths` times `factor`, rounded, at least 1. Raises UserError for a factor that is not above 0."""
    if not 0 < factor < float("inf"):
        raise UserError(f"Option 'width' needs a number above 0, such as 0.5 for half the channels; got {factor}.")
    return tuple(max(1, round(factor * width)) for width in widths)


def _build(
    classes: int,
    input: Size,
    block: Block,
    widths: Sequence[int],
    blocks: Sequence[int],
    drop_path: float = 0.0,
    head: PooledHead | None = None,
) -> ResNetCIFAR:
    check_widths(widths, input)
    rates("drop_path", drop_path, 1)
    stem = nn.Sequential(conv_bn(input[0], widths[0]), nn.ReLU())
    stages = make_stages(block, widths[0], widths, blocks, drop_path)
    return ResNetCIFAR(classes, stem, stages, widths, head or PooledHead())


def residual(depth: int, classes: int, input: Size, width: float, drop_path: float) -> ResNetCIFAR:
    """6 n + 2 = `depth` layers."""
    return _build(classes, input, RESIDUAL, scaled(width), [(depth - 2) // 6] * 3, drop_path)


def plain(depth: int, classes: int, input: Size, width: float) -> ResNetCIFAR:
    """The same without skips."""
    return _build(classes, input, Plain, scaled(width), [(depth - 2) // 6] * 3)


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
    widths = widths_of("widths", widths)
    counts = widths_of("blocks", per_layer("blocks", blocks, len(widths)))
    return _build(classes, input, RESIDUAL, widths, counts, head=PooledHead(pool, logit_scale, dropout))


@wants(None)
def resnet20(*, classes: int, input: Size, width: float = 1.0, drop_path: float = 0.0) -> ResNetCIFAR:
    """20 layers, 269,722 parameters for colour images and ten classes.

    `width` multiplies the channels of all layers; `drop_path` in [0, 1): the rate of stochastic depth at the last
    block, growing linearly from the first. Raises UserError for anything else, and for an input below 4×4 pixels.
    """
    return residual(20, classes, input, width, drop_path)


@wants(None)
def resnet32(*, classes: int, input: Size, width: float = 1.0, drop_path: float = 0.0) -> ResNetCIFAR:
    """32 layers, 464,154 parameters for colour images and ten classes. Options as in `resnet20`."""
    return residual(32, classes, input, width, drop_path)


@wants(None)
def resnet44(*, classes: int, input: Size, width: float = 1.0, drop_path: float = 0.0) -> ResNetCIFAR:
    """44 layers, 658,586 parameters for colour images and ten classes. Options as in `resnet20`."""
    return residual(44, classes, input, width, drop_path)


@wants(None)
def resnet56(*, classes: int, input: Size, width: float = 1.0, drop_path: float = 0.0) -> ResNetCIFAR:
    """56 layers, 853,018 parameters for colour images and ten classes. Options as in `resnet20`."""
    return residual(56, classes, input, width, drop_path)


@wants(None)
def resnet110(*, classes: int, input: Size, width: float = 1.0, drop_path: float = 0.0) -> ResNetCIFAR:
    """110 layers, 1,727,962 parameters for colour images and ten classes. Options as in `resnet20`.

    The paper starts it with a tenth of the usual rate; stochastic depth reached its best with `drop_path` 0.5.
    """
    return residual(110, classes, input, width, drop_path)


@wants(None)
def plain20(*, classes: int, input: Size, width: float = 1.0) -> ResNetCIFAR:
    """`resnet20` without skips. `width` multiplies the channels of all layers."""
    return plain(20, classes, input, width)


@wants(None)
def plain32(*, classes: int, input: Size, width: float = 1.0) -> ResNetCIFAR:
    """`resnet32` without skips."""
    return plain(32, classes, input, width)


@wants(None)
def plain44(*, classes: int, input: Size, width: float = 1.0) -> ResNetCIFAR:
    """`resnet44` without skips."""
    return plain(44, classes, input, width)


@wants(None)
def plain56(*, classes: int, input: Size, width: float = 1.0) -> ResNetCIFAR:
    """`resnet56` without skips: deeper than `plain20`, and worse even on the training images."""
    return plain(56, classes, input, width)


@wants(None)
def plain110(*, classes: int, input: Size, width: float = 1.0) -> ResNetCIFAR:
    """`resnet110` without skips."""
    return plain(110, classes, input, width)

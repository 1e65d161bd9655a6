"""Wide residual networks: more channels in fewer blocks. arXiv:1605.07146.

(B, C, H, W) -> maps (B, 32 k, H / 2, W / 2), (B, 64 k, H / 4, W / 4) -> pooled (B, 64 k) -> (B, K)

WRN-d-k for small images: a 3×3 stem of 16 channels, three stages of n = (d − 4) / 6 pre-activation blocks with 16 k,
32 k, 64 k channels. Dropout, where it is wanted, stands between the two convolutions of a block. The 1×1 convolutions
of the skips, one per stage, are counted in the depth. `wide_resnet50_2` and `wide_resnet101_2` are for photographs:
resnet.py's with twice the channels in the 3×3 of each bottleneck.
"""

from __future__ import annotations

from functools import partial

from torch import nn

from hubel.errors import UserError
from hubel.models.options import Size, rates, wants
from hubel.models.preact import PreActivation, conv, norm_relu, projection
from hubel.models.preact_cifar import PreActCIFAR
from hubel.models.preact_cifar import build as build_small
from hubel.models.renaming import known_to
from hubel.models.resnet import TORCHVISION, WIDTHS_4, Options, ResNet, bottleneck, build
from hubel.models.resnet_cifar import WIDTHS, scaled

WIDE = partial(bottleneck, widen=2)


def wide(dropout: float, c_in: int, c_out: int, stride: int) -> nn.Sequential:
    """f: two 3×3 convolutions, dropout before the second."""
    between = [*norm_relu(c_out), *([nn.Dropout(dropout)] if dropout else [])]
    return nn.Sequential(conv(c_in, c_out, 3, stride), *between, conv(c_out, c_out))


@wants(None)
def wide_resnet(
    *, classes: int, input: Size, depth: int = 16, factor: float = 4, dropout: float = 0.0, drop_path: float = 0.0
) -> PreActCIFAR:
    """WRN-`depth`-`factor`; 16 and 4: 2,748,890 parameters for colour images and ten classes.

    `depth` is 10, 16, 22, 28, 34, 40 …; `dropout` in each block; `drop_path`: the rate of stochastic depth at the last
    block, growing linearly from the first. Raises UserError for anything else, and for an input below 4×4 pixels.
    """
    if not isinstance(depth, int) or depth < 10 or depth % 6 != 4:
        nearest = 6 * max(1, round((depth - 4) / 6)) + 4
        raise UserError(f"Option 'depth' of a wide residual network needs 6 n + 4 layers, such as 10, 16, 22, 28, 40; "
                        f"got {depth}, the nearest is {nearest}.")  # fmt: skip
    rates("dropout", dropout, 1)
    widths = scaled(factor, WIDTHS)
    block = partial(PreActivation, partial(wide, dropout), projection)
    return build_small(classes, input, block, widths, (depth - 4) // 6, WIDTHS[0], drop_path)


@wants(None)
def wide_resnet16_8(*, classes: int, input: Size, dropout: float = 0.0, drop_path: float = 0.0) -> PreActCIFAR:
    """WRN-16-8, 10,961,370 parameters for colour images and ten classes. Options as in `wide_resnet`."""
    return wide_resnet(classes=classes, input=input, depth=16, factor=8, dropout=dropout, drop_path=drop_path)


@wants(None)
def wide_resnet28_10(*, classes: int, input: Size, dropout: float = 0.0, drop_path: float = 0.0) -> PreActCIFAR:
    """WRN-28-10, 36,479,194 parameters for colour images and ten classes. Options as in `wide_resnet`."""
    return wide_resnet(classes=classes, input=input, depth=28, factor=10, dropout=dropout, drop_path=drop_path)


@wants(None)
def wide_resnet40_4(*, classes: int, input: Size, dropout: float = 0.0, drop_path: float = 0.0) -> PreActCIFAR:
    """WRN-40-4, 8,949,210 parameters for colour images and ten classes. Options as in `wide_resnet`."""
    return wide_resnet(classes=classes, input=input, depth=40, factor=4, dropout=dropout, drop_path=drop_path)


@known_to("timm", TORCHVISION)
@known_to("torchvision", TORCHVISION)
@wants(224)
def wide_resnet50_2(
    *, classes: int, input: Size, shortcut: str = "projection", drop_path: float = 0.0, zero_init: bool = False
) -> ResNet:
    """50 layers, 68,883,240 parameters for colour images and a thousand classes. Options as in `resnet18`."""
    return build(classes, input, WIDE, WIDTHS_4, (3, 4, 6, 3), Options(shortcut, drop_path, zero_init))


@known_to("timm", TORCHVISION)
@known_to("torchvision", TORCHVISION)
@wants(224)
def wide_resnet101_2(
    *, classes: int, input: Size, shortcut: str = "projection", drop_path: float = 0.0, zero_init: bool = False
) -> ResNet:
    """101 layers, 126,886,696 parameters. Options as in `resnet18`."""
    return build(classes, input, WIDE, WIDTHS_4, (3, 4, 23, 3), Options(shortcut, drop_path, zero_init))

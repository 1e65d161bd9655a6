"""ResNeXt: residual networks whose 3×3 convolutions run in groups, many narrow paths side by side. arXiv:1611.05431.

(B, C, H, W) -> maps as in resnet.py -> pooled (B, 2048) -> (B, K)

f(x) = sum over g paths of t_i(x), each 1×1, 3×3, 1×1 with d channels inside: as arithmetic, one bottleneck with g·d
channels inside, whose 3×3 has g groups. "32x4d" is g = 32 and d = 4 in the first stage; d doubles where the map halves.
"""

from __future__ import annotations

from functools import partial

from hubel.models.options import Size, wants
from hubel.models.renaming import known_to
from hubel.models.resnet import TORCHVISION, WIDTHS_4, Options, ResNet, bottleneck, build

PATHS_32X4D = partial(bottleneck, widen=2, groups=32)  # 64 · 2 = 32 · 4 channels inside
PATHS_32X8D = partial(bottleneck, widen=4, groups=32)
PATHS_64X4D = partial(bottleneck, widen=4, groups=64)


@known_to("timm", TORCHVISION)
@known_to("torchvision", TORCHVISION)
@wants(224)
def resnext50_32x4d(
    *, classes: int, input: Size, shortcut: str = "projection", drop_path: float = 0.0, zero_init: bool = False
) -> ResNet:
    """50 layers, 25,028,904 parameters for colour images and a thousand classes. Options as in `resnet18`."""
    return build(classes, input, PATHS_32X4D, WIDTHS_4, (3, 4, 6, 3), Options(shortcut, drop_path, zero_init))


@known_to("timm", TORCHVISION)
@known_to("torchvision", TORCHVISION)
@wants(224)
def resnext101_32x8d(
    *, classes: int, input: Size, shortcut: str = "projection", drop_path: float = 0.0, zero_init: bool = False
) -> ResNet:
    """101 layers, 88,791,336 parameters. Options as in `resnet18`."""
    return build(classes, input, PATHS_32X8D, WIDTHS_4, (3, 4, 23, 3), Options(shortcut, drop_path, zero_init))


@known_to("timm", TORCHVISION)
@known_to("torchvision", TORCHVISION)
@wants(224)
def resnext101_64x4d(
    *, classes: int, input: Size, shortcut: str = "projection", drop_path: float = 0.0, zero_init: bool = False
) -> ResNet:
    """101 layers, 83,455,272 parameters. Options as in `resnet18`."""
    return build(classes, input, PATHS_64X4D, WIDTHS_4, (3, 4, 23, 3), Options(shortcut, drop_path, zero_init))

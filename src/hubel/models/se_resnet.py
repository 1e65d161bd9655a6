"""SE-ResNet: residual networks that weigh the channels of each correction, y = relu(skip(x) + s · f(x)).
arXiv:1709.01507.

(B, C, H, W) -> maps as in resnet.py -> pooled (B, widths[3]) -> (B, K)

s comes from the mean of each channel of f(x), through a sixteenth as many numbers (nn/squeeze_excite.py), at least 8.
"""

from __future__ import annotations

from functools import partial

from torch import nn

from hubel.models.options import Size, wants
from hubel.models.renaming import Renaming, known_to
from hubel.models.resnet import TORCHVISION, WIDTHS, WIDTHS_4, Branch, Options, ResNet, basic, bottleneck, build
from hubel.nn.squeeze_excite import SqueezeExcite

TIMM_BASIC = Renaming(("stages.{i}.{j}.f.3", "layer{i+1}.{j}.se"), *TORCHVISION.pairs)
TIMM_BOTTLENECK = Renaming(("stages.{i}.{j}.f.5", "layer{i+1}.{j}.se"), *TORCHVISION.pairs)


def excited(branch: Branch, c_in: int, c_out: int, stride: int) -> nn.Sequential:
    """f, and its channels weighed."""
    return branch(c_in, c_out, stride).append(SqueezeExcite(c_out, max(8, c_out // 16)))


BASIC: Branch = partial(excited, basic)
BOTTLENECK: Branch = partial(excited, bottleneck)


@known_to("timm", TIMM_BASIC, "seresnet18")
@wants(224)
def se_resnet18(
    *, classes: int, input: Size, shortcut: str = "projection", drop_path: float = 0.0, zero_init: bool = False
) -> ResNet:
    """11,779,624 parameters for colour images and a thousand classes. Options as in `resnet18`."""
    return build(classes, input, BASIC, WIDTHS, (2, 2, 2, 2), Options(shortcut, drop_path, zero_init))


@known_to("timm", TIMM_BASIC, "seresnet34")
@wants(224)
def se_resnet34(
    *, classes: int, input: Size, shortcut: str = "projection", drop_path: float = 0.0, zero_init: bool = False
) -> ResNet:
    """21,960,416 parameters. Options as in `resnet18`."""
    return build(classes, input, BASIC, WIDTHS, (3, 4, 6, 3), Options(shortcut, drop_path, zero_init))


@known_to("timm", TIMM_BOTTLENECK, "seresnet50")
@wants(224)
def se_resnet50(
    *, classes: int, input: Size, shortcut: str = "projection", drop_path: float = 0.0, zero_init: bool = False
) -> ResNet:
    """28,088,024 parameters. Options as in `resnet18`."""
    return build(classes, input, BOTTLENECK, WIDTHS_4, (3, 4, 6, 3), Options(shortcut, drop_path, zero_init))


@known_to("timm", TIMM_BOTTLENECK, "seresnet101")
@wants(224)
def se_resnet101(
    *, classes: int, input: Size, shortcut: str = "projection", drop_path: float = 0.0, zero_init: bool = False
) -> ResNet:
    """49,326,872 parameters. Options as in `resnet18`."""
    return build(classes, input, BOTTLENECK, WIDTHS_4, (3, 4, 23, 3), Options(shortcut, drop_path, zero_init))


@known_to("timm", TIMM_BOTTLENECK, "seresnet152")
@wants(224)
def se_resnet152(
    *, classes: int, input: Size, shortcut: str = "projection", drop_path: float = 0.0, zero_init: bool = False
) -> ResNet:
    """66,821,848 parameters. Options as in `resnet18`."""
    return build(classes, input, BOTTLENECK, WIDTHS_4, (3, 8, 36, 3), Options(shortcut, drop_path, zero_init))

"""Pre-activation networks: normalise and activate before each convolution, y = x + f(a), a = relu(norm(x)).
arXiv:1603.05027.

(B, C, H, W) -> stem (B, 64, H / 2, W / 2), also the first map -> pool
             -> maps (B, widths[i], H / 2**(i + 2), W / 2**(i + 2)) -> pooled (B, widths[3]) -> (B, K)

Nothing is done to a sum: from any block to any later one x travels as it is, and so does its gradient. Maps other than
the coarsest are such sums, neither normalised nor cut at zero; behind the last block come a norm and a ReLU. f is
conv, norm, ReLU, conv ("basic"), or one pair more ("bottleneck", with the stride in its 3×3). Where a block changes the
shape, the skip is a 1×1 convolution of a. The 7×7 stem has no norm of its own, as in timm's `resnetv2_50`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn

from hubel.models.options import Size, rates, wants
from hubel.models.renaming import Renaming, known_to
from hubel.models.resnet import STEM, WIDTHS, WIDTHS_4, Branch, ResNet, Skip, make_stages
from hubel.nn.stochastic_depth import StochasticDepth

TIMM = Renaming(
    ("stem", "stem.conv"),
    ("stages.{i}.{j}.activate.0", "stages.{i}.blocks.{j}.norm1"),
    ("stages.{i}.{j}.f.0", "stages.{i}.blocks.{j}.conv1"),
    ("stages.{i}.{j}.f.1", "stages.{i}.blocks.{j}.norm2"),
    ("stages.{i}.{j}.f.3", "stages.{i}.blocks.{j}.conv2"),
    ("stages.{i}.{j}.f.4", "stages.{i}.blocks.{j}.norm3"),
    ("stages.{i}.{j}.f.6", "stages.{i}.blocks.{j}.conv3"),
    ("stages.{i}.{j}.skip", "stages.{i}.blocks.{j}.downsample.conv"),
    ("last.0", "norm"),
    ("head.1", "head.fc"),
)


def conv(c_in: int, c_out: int, size: int = 3, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, size, stride, padding=size // 2, bias=False)


def norm_relu(channels: int) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels), nn.ReLU()]


def basic(c_in: int, c_out: int, stride: int) -> nn.Sequential:
    """f of the shallower networks, on what has been activated."""
    return nn.Sequential(conv(c_in, c_out, 3, stride), *norm_relu(c_out), conv(c_out, c_out))


def bottleneck(c_in: int, c_out: int, stride: int) -> nn.Sequential:
    """f of the deeper ones: a quarter of c_out inside."""
    inner = c_out // 4
    middle = [*norm_relu(inner), conv(inner, inner, 3, stride), *norm_relu(inner)]
    return nn.Sequential(conv(c_in, inner, 1), *middle, conv(inner, c_out, 1))


def projection(c_in: int, c_out: int, stride: int) -> nn.Module:
    return conv(c_in, c_out, 1, stride)


class PreActivation(nn.Module):
    """y = x + f(a), or skip(a) + f(a) where the shape changes; f is left out with probability `drop` in training."""

    def __init__(self, branch: Branch, skip: Skip, c_in: int, c_out: int, stride: int, drop: float = 0.0):
        super().__init__()
        self.activate = nn.Sequential(*norm_relu(c_in))
        self.f = branch(c_in, c_out, stride).extend([StochasticDepth(drop)] if drop else [])
        self.skip = None if (c_in, stride) == (c_out, 1) else skip(c_in, c_out, stride)

    def forward(self, x: Tensor) -> Tensor:
        a = self.activate(x)
        return (x if self.skip is None else self.skip(a)) + self.f(a)


class PreActResNet(ResNet):
    """Like ResNet, with a norm and a ReLU `last`."""

    def __init__(self, classes: int, stem: nn.Module, stages: nn.ModuleList, widths: Sequence[int]):
        super().__init__(classes, stem, stages, widths)
        self.last = nn.Sequential(*norm_relu(widths[-1]))

    def maps(self, images: Tensor) -> list[Tensor]:
        *finer, coarsest = super().maps(images)
        return [*finer, self.last(coarsest)]


def _build(
    classes: int, input: Size, branch: Branch, widths: Sequence[int], blocks: Sequence[int], drop_path: float
) -> PreActResNet:
    rates("drop_path", drop_path, 1)
    stem = conv(input[0], STEM, 7, 2)
    block = partial(PreActivation, branch, projection)
    return PreActResNet(classes, stem, make_stages(block, STEM, widths, blocks, drop_path), widths)


@known_to("timm", TIMM, "resnetv2_18")
@wants(224)
def preact_resnet18(*, classes: int, input: Size, drop_path: float = 0.0) -> PreActResNet:
    """18 layers, 11,687,720 parameters for colour images and a thousand classes.

    Input (C, H, W) of any size. `drop_path` in [0, 1): the rate of stochastic depth at the last block, growing
    linearly from the first. Raises UserError for anything else.
    """
    return _build(classes, input, basic, WIDTHS, (2, 2, 2, 2), drop_path)


@known_to("timm", TIMM, "resnetv2_34")
@wants(224)
def preact_resnet34(*, classes: int, input: Size, drop_path: float = 0.0) -> PreActResNet:
    """34 layers, 21,795,880 parameters. `drop_path` as in `preact_resnet18`."""
    return _build(classes, input, basic, WIDTHS, (3, 4, 6, 3), drop_path)


@known_to("timm", TIMM, "resnetv2_50")
@wants(224)
def preact_resnet50(*, classes: int, input: Size, drop_path: float = 0.0) -> PreActResNet:
    """50 layers, 25,549,352 parameters. `drop_path` as in `preact_resnet18`."""
    return _build(classes, input, bottleneck, WIDTHS_4, (3, 4, 6, 3), drop_path)


@known_to("timm", TIMM, "resnetv2_101")
@wants(224)
def preact_resnet101(*, classes: int, input: Size, drop_path: float = 0.0) -> PreActResNet:
    """101 layers, 44,541,480 parameters. `drop_path` as in `preact_resnet18`."""
    return _build(classes, input, bottleneck, WIDTHS_4, (3, 4, 23, 3), drop_path)


@known_to("timm", TIMM, "resnetv2_152")
@wants(224)
def preact_resnet152(*, classes: int, input: Size, drop_path: float = 0.0) -> PreActResNet:
    """152 layers, 60,185,128 parameters. `drop_path` as in `preact_resnet18`."""
    return _build(classes, input, bottleneck, WIDTHS_4, (3, 8, 36, 3), drop_path)

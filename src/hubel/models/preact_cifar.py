"""Pre-activation networks for small images: y = x + f(a), a = relu(norm(x)). arXiv:1603.05027, section 4.

(B, C, H, W) -> maps (B, widths[1], H / 2, W / 2), (B, widths[2], H / 4, W / 4) -> pooled (B, widths[2]) -> (B, K)

A 3×3 stem, three stages, a norm and a ReLU before the pooling. The basic ones have 6 n + 2 layers, as in
resnet_cifar.py, and skips without weights; those with bottlenecks 9 n + 2, four times the channels, and 1×1
convolutions where the shape changes. In the first block both paths read what the stem's activation gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn

from hubel.models.heads import PooledHead
from hubel.models.options import Size, check_size, rates, wants
from hubel.models.preact import PreActivation, basic, bottleneck, conv, norm_relu, projection
from hubel.models.resnet import Block, make_stages, padded
from hubel.models.resnet_cifar import ResNetCIFAR, scaled

BASIC: Block = partial(PreActivation, basic, padded)
BOTTLENECK: Block = partial(PreActivation, bottleneck, projection)


class PreActCIFAR(ResNetCIFAR):
    """Like ResNetCIFAR, with a norm and a ReLU `last`."""

    def __init__(self, classes: int, stem: nn.Module, stages: nn.ModuleList, widths: Sequence[int]):
        super().__init__(classes, stem, stages, widths, PooledHead())
        self.last = nn.Sequential(*norm_relu(widths[-1]))

    def maps(self, images: Tensor) -> list[Tensor]:
        *finer, coarsest = super().maps(images)
        return [*finer, self.last(coarsest)]


def build(
    classes: int, input: Size, block: Block, widths: Sequence[int], blocks: int, stem: int, drop_path: float
) -> PreActCIFAR:
    """Three stages of as many `blocks` behind a `stem` of so many channels."""
    rates("drop_path", drop_path, 1)
    check_size("a pre-activation network of 3 stages", input, 4)
    first = conv(input[0], stem)
    return PreActCIFAR(classes, first, make_stages(block, stem, widths, [blocks] * 3, drop_path), widths)


def _basic(depth: int, classes: int, input: Size, width: float, drop_path: float) -> PreActCIFAR:
    widths = scaled(width)
    network = build(classes, input, BASIC, widths, (depth - 2) // 6, widths[0], drop_path)
    network.stages[0][0].skip = nn.Identity()  # type: ignore[index]  # both paths read the activated stem
    return network


@wants(None)
def preact_resnet20(*, classes: int, input: Size, width: float = 1.0, drop_path: float = 0.0) -> PreActCIFAR:
    """20 layers, 269,722 parameters for colour images and ten classes. Options as in `resnet20`."""
    return _basic(20, classes, input, width, drop_path)


@wants(None)
def preact_resnet56(*, classes: int, input: Size, width: float = 1.0, drop_path: float = 0.0) -> PreActCIFAR:
    """56 layers, 853,018 parameters for colour images and ten classes. Options as in `resnet20`."""
    return _basic(56, classes, input, width, drop_path)


@wants(None)
def preact_resnet110(*, classes: int, input: Size, width: float = 1.0, drop_path: float = 0.0) -> PreActCIFAR:
    """110 layers, 1,727,962 parameters for colour images and ten classes. Options as in `resnet20`."""
    return _basic(110, classes, input, width, drop_path)


@wants(None)
def preact_resnet164(*, classes: int, input: Size, width: float = 1.0, drop_path: float = 0.0) -> PreActCIFAR:
    """164 layers in bottlenecks, 1,703,258 parameters for colour images and ten classes. Options as in `resnet20`."""
    widths = [4 * channels for channels in scaled(width)]
    return build(classes, input, BOTTLENECK, widths, 18, widths[0] // 4, drop_path)

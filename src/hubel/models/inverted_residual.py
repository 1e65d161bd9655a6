"""Inverted residuals: narrow, wide, narrow; the wide part is cheap, as each filter sees one channel. arXiv:1801.04381.

    y = project(excite(depthwise(expand(x)))), and y + x where the shapes agree

(B, C, H, W) -> (B, N, ceil(H / stride), ceil(W / stride)). expand and project are 1×1 convolutions; project has no
activation: a ReLU on few channels loses what it cuts off. MobileNet v2 and EfficientNet are stages of such blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from hubel.errors import UserError
from hubel.models.base import Head, Network
from hubel.models.options import rates
from hubel.nn.activations import choice
from hubel.nn.pooling import GlobalAveragePool
from hubel.nn.same_padding import SameConv2d
from hubel.nn.squeeze_excite import SqueezeExcite
from hubel.nn.stochastic_depth import StochasticDepth

PADDINGS = ("symmetric", "same")


@dataclass(frozen=True)
class ConvUnit:
    """Convolution, batch norm, activation, as a family makes them. `padding`: "symmetric", or TensorFlow's "same"."""

    activation: type[nn.Module] = nn.ReLU6
    padding: str = "symmetric"
    epsilon: float = 1e-5
    momentum: float = 0.1

    def __post_init__(self) -> None:
        choice("padding", self.padding, PADDINGS)

    def __call__(self, c_in: int, c_out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
        return self.linear(c_in, c_out, kernel, stride, groups).append(self.activation())

    def linear(self, c_in: int, c_out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
        """The same without activation."""
        if self.padding == "same":
            conv: nn.Conv2d = SameConv2d(c_in, c_out, kernel, stride, groups=groups, bias=False)
        else:
            conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(c_out, self.epsilon, self.momentum))


@dataclass(frozen=True)
class Stage:
    """`blocks` blocks of `width` channels, the first of which has the stride; inside they are `expand` times wider."""

    expand: int
    kernel: int
    stride: int
    width: int
    blocks: int


class InvertedResidual(nn.Module):
    """`squeeze`: the share of the input's channels that squeeze-and-excitation has in between; 0 leaves it out."""

    def __init__(self, unit: ConvUnit, c_in: int, stage: Stage, stride: int, squeeze: float, drop: float):
        super().__init__()
        wide = c_in * stage.expand
        self.expand = unit(c_in, wide) if stage.expand > 1 else nn.Identity()
        self.depthwise = unit(wide, wide, stage.kernel, stride, groups=wide)
        inner = max(1, int(c_in * squeeze))
        self.excite = SqueezeExcite(wide, inner, unit.activation) if squeeze else nn.Identity()
        self.project = unit.linear(wide, stage.width)
        self.residual = (c_in, stride) == (stage.width, 1)
        self.drop = StochasticDepth(drop)

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.excite(self.depthwise(self.expand(x))))
        return x + self.drop(y) if self.residual else y


@dataclass(frozen=True)
class Plan:
    """The widths of a network: `stem` channels at stride 2, `stages`, and `features` channels before the pooling."""

    stem: int
    stages: Sequence[Stage]
    features: int
    squeeze: float = 0.0


class InvertedResidualNetwork(Network):
    """A 3×3 stem, stages of inverted residuals; its head is a 1×1 convolution, pooling and a linear layer.

    `drop` is the rate of stochastic depth of the last block; it grows linearly from 0 at the first.
    """

    def __init__(self, classes: int, channels: int, plan: Plan, unit: ConvUnit, dropout: float, drop: float):
        super().__init__()
        self.unit, self.features = unit, plan.features
        (self.dropout,), (drop,) = rates("dropout", dropout, 1), rates("drop_path", drop, 1)
        self.stem = unit(channels, plan.stem, 3, 2)
        self.stages = nn.ModuleList()
        width, count, total = plan.stem, 0, sum(stage.blocks for stage in plan.stages)
        for stage in plan.stages:
            blocks = nn.Sequential()
            for i in range(stage.blocks):
                stride = 1 if i else stage.stride
                blocks.append(InvertedResidual(unit, width, stage, stride, plan.squeeze, drop * count / total))
                width, count = stage.width, count + 1
            self.stages.append(blocks)
        last = [*(stage.stride == 2 for stage in plan.stages[1:]), True]  # before the next stage halves the map
        self.last = tuple(i for i, ends in enumerate(last) if ends)
        self.channels = tuple(plan.stages[i].width for i in self.last)
        self.strides = tuple(2 ** (i + 1) for i in range(len(self.last)))
        self.head = self.default_head(classes)

    def maps(self, images: Tensor) -> list[Tensor]:
        x, found = self.stem(images), []
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        return [found[i] for i in self.last]

    def default_head(self, classes: int) -> nn.Module:
        convolution = self.unit(self.channels[-1], self.features)
        return Head(convolution, GlobalAveragePool(), nn.Dropout(self.dropout), nn.Linear(self.features, classes))


def multiple_of_8(width: float) -> int:
    """The nearest multiple of 8 (at least 8), or the next one where that would take more than a tenth away."""
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * width else rounded


def width_factor(value: float) -> float:
    """A multiplier of widths, above 0 and up to 8, or UserError."""
    if not 0 < value <= 8:
        raise UserError(f"Option 'width' needs a number above 0 and up to 8, got {value}.")
    return float(value)

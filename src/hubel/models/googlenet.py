"""GoogLeNet: nine modules that look at every place in four ways at once. arXiv:1409.4842.

(B, C, 224, 224) -> maps (B, 64, 112, 112), (B, 192, 56, 56), (B, 480, 28, 28), (B, 512, 14, 14), (B, 528, 14, 14),
                    (B, 832, 14, 14), (B, 1024, 7, 7) at strides 2, 4, 8, 16, 16, 16, 32 -> global average -> (B, K)

    inception(x) = [conv1(x), conv3(conv1(x)), conv5(conv1(x)), conv1(pool(x))]       side by side, of the same size

The 1×1 convolutions in front are bottlenecks: 32 filters of 5×5 on 28×28×192 take 120 M multiplications, with 16
filters of 1×1 before them 12.4 M. 22 layers with parameters, 27 with pooling. Two auxiliary heads read the maps in the
middle and add 0.3 of their loss in training, so that gradients reach the early layers; nothing else ever runs them.
Without them (`heads` false) the maps are five, one per stride.

`googlenet` is torchvision's: batch norm, and 3×3 in the 5×5 branch: 6,624,904 parameters, 13,004,888 with heads.
`googlenet_paper`: 5×5, local response normalisation, biases: 6,998,552 of these widths. (The column in the paper's
table adds up to 6.8 M; some of its rows are off: the first layer has 7·7·3·64 = 9,408 weights, not 2.7 K.)
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from hubel.models.base import Head, Network
from hubel.models.options import Size, check_size, rates, wants
from hubel.models.renaming import Renaming, known_to
from hubel.nn.init import he
from hubel.nn.pooling import AdaptiveAveragePool, GlobalAveragePool

Conv = Callable[..., nn.Module]  # (c_in, c_out, kernel, stride=1) -> a padded convolution and its activation
MODULES = {  # 1×1, (1×1 before, 3×3), (1×1 before, 5×5), 1×1 behind the pooling
    "3a": (64, (96, 128), (16, 32), 32),
    "3b": (128, (128, 192), (32, 96), 64),
    "4a": (192, (96, 208), (16, 48), 64),
    "4b": (160, (112, 224), (24, 64), 64),
    "4c": (128, (128, 256), (24, 64), 64),
    "4d": (112, (144, 288), (32, 64), 64),
    "4e": (256, (160, 320), (32, 128), 128),
    "5a": (256, (160, 320), (32, 128), 128),
    "5b": (384, (192, 384), (48, 128), 128),
}
STAGES = (("3a", "3b"), ("4a",), ("4b", "4c", "4d"), ("4e",), ("5a", "5b"))
POOLED = ("3a", "4a", "5a")  # what pooling stands before
CHANNELS, STRIDES = (64, 192, 480, 512, 528, 832, 1024), (2, 4, 8, 16, 16, 16, 32)
EARLY = (3, 4)  # the maps that auxiliary heads read: those of 4a and 4d
TORCHVISION = Renaming(
    ("stages.0.0", "conv1"),
    ("stages.1.1", "conv2"),
    ("stages.1.2", "conv3"),
    *(
        (f"stages.{s}.{i + (names[0] in POOLED)}.branches.{{b}}", f"inception{name}.branch{{b+1}}")
        for s, names in enumerate(STAGES, 2)
        for i, name in enumerate(names)
    ),
    ("auxiliary_heads.{i}.1", "aux{i+1}.conv"),
    ("auxiliary_heads.{i}.3", "aux{i+1}.fc1"),
    ("auxiliary_heads.{i}.6", "aux{i+1}.fc2"),
    ("head.2", "fc"),
)


def conv_bn(c_in: int, c_out: int, kernel: int, stride: int = 1) -> nn.Module:
    conv = he(nn.Conv2d(c_in, c_out, kernel, stride, padding=kernel // 2, bias=False))
    return nn.Sequential(OrderedDict(conv=conv, bn=nn.BatchNorm2d(c_out, eps=1e-3), relu=nn.ReLU()))


def conv_bias(c_in: int, c_out: int, kernel: int, stride: int = 1) -> nn.Module:
    conv = he(nn.Conv2d(c_in, c_out, kernel, stride, padding=kernel // 2))
    return nn.Sequential(OrderedDict(conv=conv, relu=nn.ReLU()))


class SideBySide(nn.Module):
    """y = [f1(x), f2(x), …], the branches' channels one behind the other. (B, C, H, W) -> (B, Σ C_i, H, W)."""

    def __init__(self, *branches: nn.Module):
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


def inception(
    c_in: int, one: int, three: tuple[int, int], five: tuple[int, int], pooled: int, conv: Conv, large: int = 5
) -> SideBySide:
    """The module with its bottlenecks; `large` is the side of the largest filters, 5 in the paper."""
    return SideBySide(
        conv(c_in, one, 1),
        nn.Sequential(conv(c_in, three[0], 1), conv(*three, 3)),
        nn.Sequential(conv(c_in, five[0], 1), conv(*five, large)),
        nn.Sequential(nn.MaxPool2d(3, 1, padding=1), conv(c_in, pooled, 1)),
    )


def naive_inception(c_in: int, one: int, three: int, five: int, conv: Conv = conv_bias) -> SideBySide:
    """The module without bottlenecks: dear, and wider each time, since pooling passes every channel on."""
    pool = nn.MaxPool2d(3, 1, padding=1)
    return SideBySide(conv(c_in, one, 1), conv(c_in, three, 3), conv(c_in, five, 5), pool)


def make_stages(
    channels: int, conv: Conv, large: int, last_pool: int, norm: Callable[[], nn.Module] | None
) -> list[nn.Sequential]:
    """Each ends at a map. `large`: the side of the "5×5" filters; `norm` stands around the stem's two convolutions."""
    first, second = ([norm()] if norm else [] for _ in range(2))
    stages = [nn.Sequential(conv(channels, 64, 7, 2)),
              nn.Sequential(pool(3), *first, conv(64, 64, 1), conv(64, 192, 3), *second)]  # fmt: skip
    width = CHANNELS[1]
    for names, out in zip(STAGES, CHANNELS[2:], strict=True):
        stage = nn.Sequential(*([pool(last_pool if names[0] == "5a" else 3)] if names[0] in POOLED else []))
        for name in names:
            one, three, five, pooled = MODULES[name]
            stage.append(inception(width, one, three, five, pooled, conv, large))
            width = one + three[1] + five[1] + pooled
        assert width == out
        stages.append(stage)
    return stages


def pool(side: int) -> nn.Module:
    return nn.MaxPool2d(side, 2, ceil_mode=True)


def auxiliary_head(c_in: int, classes: int, conv: Conv, shrink: nn.Module) -> nn.Sequential:
    """`shrink` makes the map 4×4: (B, c_in, h, w) -> (B, c_in, 4, 4) -> (B, 128, 4, 4) -> (B, 1024) -> (B, classes)."""
    return nn.Sequential(
        shrink, conv(c_in, 128, 1), nn.Flatten(), nn.Linear(2048, 1024), nn.ReLU(), nn.Dropout(0.7),
        nn.Linear(1024, classes),
    )  # fmt: skip


class GoogLeNet(Network):
    """`stages` end at maps; `auxiliary_heads` read the two in the middle, or are an empty list."""

    def __init__(self, classes: int, stages: Sequence[nn.Module], heads: Sequence[nn.Module], dropout: float):
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.auxiliary_heads = nn.ModuleList(heads)
        self.kept = [i for i in range(len(stages)) if heads or i not in EARLY]
        self.channels, self.strides = (tuple(of[i] for i in self.kept) for of in (CHANNELS, STRIDES))
        rates("dropout", dropout, 1)
        self.dropout = dropout
        self.head = self.default_head(classes)

    def maps(self, images: Tensor) -> list[Tensor]:
        x, found = images, []
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        return [found[i] for i in self.kept]

    def auxiliary(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """What the auxiliary heads say of `maps`: (B, K) each; [] without such heads."""
        return [head(maps[i]) for head, i in zip(self.auxiliary_heads, EARLY, strict=False)]

    def default_head(self, classes: int) -> nn.Module:
        return Head(GlobalAveragePool(), nn.Dropout(self.dropout), nn.Linear(CHANNELS[-1], classes))


@known_to("torchvision", TORCHVISION)
@wants(224)
def googlenet(*, classes: int, input: Size, heads: bool = True, dropout: float = 0.2) -> GoogLeNet:
    """GoogLeNet as torchvision has it, for an input (C, H, W) of at least 15×15 pixels.

    `heads`: whether it has the two auxiliary ones, for training; `dropout` before the linear layer. Raises UserError
    for a smaller input.
    """
    check_size("googlenet", input, 15)
    stages = make_stages(input[0], conv_bn, 3, 2, None)
    early = [auxiliary_head(CHANNELS[i], classes, conv_bn, AdaptiveAveragePool(4)) for i in EARLY if heads]
    return GoogLeNet(classes, stages, early, dropout)


@wants(224)
def googlenet_paper(*, classes: int, input: Size, heads: bool = True, dropout: float = 0.4) -> GoogLeNet:
    """GoogLeNet as published, for an input (C, H, W) of at least 79×79 pixels; 31×31 without `heads`.

    `heads` and `dropout` as in `googlenet`. Raises UserError for a smaller input.
    """
    check_size("googlenet_paper", input, 79 if heads else 31)
    stages = make_stages(input[0], conv_bias, 5, 3, lambda: nn.LocalResponseNorm(5))  # the paper gives no numbers
    shrink = [nn.Sequential(nn.AvgPool2d(5, 3), AdaptiveAveragePool(4)) for _ in EARLY]  # the second for other sizes
    early = [auxiliary_head(CHANNELS[i], classes, conv_bias, first) for i, first in zip(EARLY, shrink, strict=True)]
    return GoogLeNet(classes, stages, early if heads else [], dropout)

"""LeNet-5: two valid 5×5 convolutions with pooling, then three dense layers. LeCun et al. 1998.

(B, C, 32, 32) -> maps (B, 6, 14, 14), (B, 16, 5, 5) -> 120 -> 84 -> (B, K). 61,706 parameters for one channel and ten
classes: 156 + 2,416 + 48,120 + 10,164 + 850. The original connects only some of the 6 maps to each of the 16, weighs
its pooling and ends in radial basis units; that makes 60,000. 28×28 images get a margin of 2 pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from hubel.models.base import Head, Network
from hubel.models.options import Size, check_size, rates, units, wants
from hubel.nn.activations import Unit, choice

POOLS: dict[str, type[nn.Module]] = {"average": nn.AvgPool2d, "max": nn.MaxPool2d}


class LeNet5(Network):
    """`after` are the units of the four hidden layers, `dropout` the rates of the two dense ones.

    `starts[i]` is where the centre of the first cell of map i lies, in pixels (0.5 is the first pixel's centre).
    """

    strides = (2, 4)
    channels = (6, 16)

    def __init__(
        self, classes: int, input: Size, after: Sequence[Unit], pool: type[nn.Module], dropout: Sequence[float]
    ):
        super().__init__()
        margin = 2 if input[1:] == (28, 28) else 0
        self.fine = nn.Sequential(*after[0].conv(input[0], 6, 5, margin), pool(2))
        self.coarse = nn.Sequential(*after[1].conv(6, 16, 5, 0), pool(2))
        self.starts = (3.0 - margin, 8.0 - margin)
        rows, columns = (((n + 2 * margin - 4) // 2 - 4) // 2 for n in input[1:])
        self.flat, self.after, self.dropout = 16 * rows * columns, tuple(after[2:]), tuple(dropout)
        self.head = self.default_head(classes)

    def maps(self, images: Tensor) -> list[Tensor]:
        fine = self.fine(images)
        return [fine, self.coarse(fine)]

    def default_head(self, classes: int) -> nn.Module:
        layers: list[nn.Module] = [nn.Flatten()]  # (B, 16, 5, 5) -> (B, 400)
        for c_in, c_out, unit, rate in zip((self.flat, 120), (120, 84), self.after, self.dropout, strict=True):
            layers += [*unit.dense(c_in, c_out), *([nn.Dropout(rate)] if rate else [])]
        return Head(*layers, nn.Linear(84, classes))


@wants(32)
def lenet5(
    *,
    classes: int,
    input: Size,
    activation: str = "tanh",
    slope: float | None = None,
    pieces: int | None = None,
    pool: str = "average",
    norm: str | Sequence[str] = "none",
    norm_place: str = "before",
    dropout: float | Sequence[float] = 0.0,
) -> LeNet5:
    """LeNet-5 for an input (C, H, W) of at least 16×16 pixels; it wants 32×32.

    `pool`: "average" or "max". `dropout`: one rate, or one for each of the two dense hidden layers; `norm`: one of
    "none", "batch", or one for each of the four hidden layers. Activations as in `mlp`.
    """
    choice("pool", pool, tuple(POOLS))
    check_size("lenet5", input, 16)
    after = units(activation, slope, pieces, norm, norm_place, 4)
    return LeNet5(classes, input, after, POOLS[pool], rates("dropout", dropout, 2))

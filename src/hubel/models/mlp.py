"""The multilayer perceptron: h_l = g(W_l h_(l-1) + b_l), logits = W h + b. (B, C, H, W) -> one map (B, F) -> (B, K).

Each hidden layer may normalise over the batch, before or after the activation, and drop units out.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from hubel.models.base import Head, Network
from hubel.models.options import Size, rates, units, wants, widths_of
from hubel.nn.activations import Unit


class MLP(Network):
    """Dense layers of `hidden` units, each with its `Unit` (norm and activation) and its dropout rate."""

    def __init__(
        self, classes: int, input: Size, hidden: Sequence[int], after: Sequence[Unit], dropout: Sequence[float]
    ):
        super().__init__()
        self.features = nn.Sequential(nn.Flatten())
        width = input[0] * input[1] * input[2]
        for wide, unit, rate in zip(hidden, after, dropout, strict=True):
            self.features.extend([*unit.dense(width, wide), *([nn.Dropout(rate)] if rate else [])])
            width = wide
        self.channels, self.strides = (width,), ()
        self.head = self.default_head(classes)

    def maps(self, images: Tensor) -> list[Tensor]:
        return [self.features(images)]  # (B, C, H, W) -> (B, F)

    def default_head(self, classes: int) -> nn.Module:
        return Head(nn.Linear(self.channels[0], classes))


@wants(None)
def mlp(
    *,
    classes: int,
    input: Size,
    hidden: Sequence[int] = (128,),
    activation: str = "relu",
    slope: float | None = None,
    pieces: int | None = None,
    norm: str | Sequence[str] = "none",
    norm_place: str = "before",
    dropout: float | Sequence[float] = 0.0,
) -> MLP:
    """Dense layers of `hidden` units on the pixels of an input (C, H, W).

    `activation`: sigmoid, tanh, relu, leaky_relu (`slope` 0.01), elu, gelu, maxout (`pieces` 2). `norm`: "none" or
    "batch", `norm_place` "before" or "after" the activation. `dropout`: rates in [0, 1). `norm` and `dropout` take
    one value, or one per hidden layer. Raises UserError for anything else.
    """
    hidden = widths_of("hidden", hidden)
    after = units(activation, slope, pieces, norm, norm_place, len(hidden))
    return MLP(classes, input, hidden, after, rates("dropout", dropout, len(hidden)))

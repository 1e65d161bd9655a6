"""Softmax regression: one linear layer on the pixels, logits = W x + b.

(B, C, H, W) -> one map (B, C * H * W) -> (B, K). Each row of W is an image, the template of its class.
"""

from __future__ import annotations

from torch import Tensor, nn

from hubel.models.base import Head, Network
from hubel.models.options import Size, wants


class Linear(Network):
    """The pixels as features, and a linear head. `zero` starts the weights at 0: with one layer nothing is lost."""

    def __init__(self, classes: int, input: Size, zero: bool = False):
        super().__init__()
        self.input, self.zero = input, zero
        self.channels, self.strides = (input[0] * input[1] * input[2],), ()
        self.head = self.default_head(classes)

    def maps(self, images: Tensor) -> list[Tensor]:
        return [images.flatten(1)]  # (B, C, H, W) -> (B, C * H * W)

    def default_head(self, classes: int) -> nn.Module:
        layer = nn.Linear(self.channels[0], classes)
        if self.zero:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        return Head(layer)

    def templates(self) -> Tensor:
        """(K, C, H, W): the weights of each class as an image, in units of logit per normalised pixel."""
        layer = next(module for module in self.head.modules() if isinstance(module, nn.Linear))
        return layer.weight.detach().unflatten(1, self.input)


@wants(None)
def linear(*, classes: int, input: Size, zero: bool = False) -> Linear:
    """Softmax regression on the pixels of an input (C, H, W); `zero` starts the weights at 0."""
    return Linear(classes, input, zero)

"""The head of fully convolutional networks: (B, F, h, w) -> pooled (B, F) -> logits (B, K), at any h and w."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from hubel.errors import UserError
from hubel.models.base import Head
from hubel.models.options import rates
from hubel.nn.activations import choice
from hubel.nn.pooling import GLOBAL_POOLS


class Scale(nn.Module):
    """Multiply by a fixed number: small logits at the start, and a softer target for the weights before them."""

    def __init__(self, factor: float):
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x

    def extra_repr(self) -> str:
        return f"{self.factor:g}"


@dataclass(frozen=True)
class PooledHead:
    """Global `pool` ("average" or "max"), dropout, a linear layer, and a fixed `logit_scale` above 0."""

    pool: str = "average"
    logit_scale: float = 1.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        choice("pool", self.pool, tuple(GLOBAL_POOLS))
        rates("dropout", self.dropout, 1)
        if not 0 < self.logit_scale < float("inf"):
            raise UserError(f"Option 'logit_scale' needs a number above 0, got {self.logit_scale}.")

    def build(self, features: int, classes: int) -> nn.Module:
        layers: list[nn.Module] = [GLOBAL_POOLS[self.pool]()]
        layers += [nn.Dropout(self.dropout)] if self.dropout else []
        layers += [nn.Linear(features, classes)]
        layers += [Scale(self.logit_scale)] if self.logit_scale != 1 else []
        return Head(*layers)

"""Stochastic depth: an image skips a residual branch at random. arXiv:1603.09382.

    y = skip(x) + b · f(x) / (1 − rate),   b = 0 with probability rate, else 1, drawn anew for each image of a batch

f(x) (B, …) -> the same shape. What stays is divided by the probability that it stays ("inverted"), so the expected
value is f(x), and evaluation does nothing. The paper drops for a whole batch, and scales at evaluation instead.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hubel.errors import UserError


def stochastic_depth(x: Tensor, rate: float) -> Tensor:
    """Each row of x (B, …) is zero with probability `rate`, in [0, 1), else divided by 1 − rate."""
    if rate == 0:
        return x
    keep = torch.empty((len(x), *[1] * (x.dim() - 1)), dtype=x.dtype, device=x.device).bernoulli_(1 - rate)
    return x * keep.div_(1 - rate)


def linear_decay(last: float, blocks: int) -> list[float]:
    """The rate of each of `blocks` blocks: in equal steps from last / blocks at the first to `last` at the last."""
    return [last * i / blocks for i in range(1, blocks + 1)]


class StochasticDepth(nn.Module):
    """`stochastic_depth` as a layer, in training only. Raises UserError for a rate outside [0, 1)."""

    def __init__(self, rate: float):
        super().__init__()
        if not 0 <= rate < 1:
            raise UserError(f"Stochastic depth needs a rate from 0 up to, not including, 1, got {rate}.")
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        return stochastic_depth(x, self.rate) if self.training else x

    def extra_repr(self) -> str:
        return f"rate={self.rate:g}"

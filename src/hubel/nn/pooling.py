"""Global pooling: each channel's map becomes one number, its mean or its maximum. (B, C, H, W) -> (B, C). Adaptive
pooling: it becomes a grid of means.

Maximum: the gradient goes to the winner alone (the first one among equals). The forms below are the fast ones for
channels-last maps on a CPU, forward and backward; `amax` is slower there by a factor of six, and shares the gradient
among equals.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


def global_average_pool(x: Tensor) -> Tensor:
    """The mean over the map, (B, C, H, W) -> (B, C)."""
    return x.permute(0, 2, 3, 1).flatten(1, 2).mean(1)


def global_max_pool(x: Tensor) -> Tensor:
    """The maximum over the map, (B, C, H, W) -> (B, C)."""
    if x.device.type == "cpu":
        return F.adaptive_max_pool2d(x, 1).flatten(1)
    return x.flatten(2).max(2).values  # adaptive pooling has no deterministic backward on a GPU


class GlobalAveragePool(nn.Module):
    """`global_average_pool` as a layer."""

    def forward(self, x: Tensor) -> Tensor:
        return global_average_pool(x)


class GlobalMaxPool(nn.Module):
    """`global_max_pool` as a layer."""

    def forward(self, x: Tensor) -> Tensor:
        return global_max_pool(x)


class AdaptiveAveragePool(nn.Module):
    """Means over a grid of `side` × `side` cells, whatever the map's size: (B, C, H, W) -> (B, C, side, side).

    A map of that size stays as it is: torch's own would copy it, and has no deterministic gradient on a GPU.
    """

    def __init__(self, side: int):
        super().__init__()
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        return x if x.shape[-2:] == (self.side, self.side) else F.adaptive_avg_pool2d(x, self.side)

    def extra_repr(self) -> str:
        return str(self.side)


GLOBAL_POOLS: dict[str, type[nn.Module]] = {"average": GlobalAveragePool, "max": GlobalMaxPool}

"""Squeeze and excitation: each channel is weighed by what all channels hold on average. arXiv:1709.01507.

    z = mean of x over its map,   s = gate(W2 · g(W1 · z + b1) + b2),   y = s · x

(B, C, H, W) -> the same shape, through (B, R, 1, 1). W1 and W2 are 1×1 convolutions, R·C weights each.
"""

from __future__ import annotations

from torch import Tensor, nn

from hubel.nn.pooling import global_average_pool


class SqueezeExcite(nn.Module):
    """`channels` C, `squeezed` R; g is `activation`, ReLU in the paper, and `gate` its sigmoid."""

    def __init__(
        self,
        channels: int,
        squeezed: int,
        activation: type[nn.Module] = nn.ReLU,
        gate: type[nn.Module] = nn.Sigmoid,
    ):
        super().__init__()
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.activation = activation()
        self.fc2 = nn.Conv2d(squeezed, channels, 1)
        self.gate = gate()

    def forward(self, x: Tensor) -> Tensor:
        z = global_average_pool(x)[..., None, None]  # (B, C, H, W) -> (B, C, 1, 1)
        return x * self.gate(self.fc2(self.activation(self.fc1(z))))

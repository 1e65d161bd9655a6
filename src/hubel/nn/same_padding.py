"""Convolution with TensorFlow's "same" padding: the output has ceil(n / stride) pixels, at any size of the input.

The margin is max((ceil(n / s) − 1) s + f − n, 0) pixels for n pixels, a filter of f and a stride s. Where it is odd the
pixel too many lies at the bottom and at the right; symmetric padding of (f − 1) / 2 has it at the top and at the left.
At stride 1 both are the same, and the convolution pads by itself, which saves a copy of the map. Weights that were
trained with the one are worse with the other.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn


def same_margin(size: int, kernel: int, stride: int) -> int:
    """How many zeros are added to `size` pixels, on both sides together."""
    return max((-(-size // stride) - 1) * stride + kernel - size, 0)


class SameConv2d(nn.Conv2d):
    """(B, C, H, W) -> (B, N, ceil(H / s), ceil(W / s)); the arguments are nn.Conv2d's, without padding and dilation."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, **options: Any):
        symmetric = stride == 1 and kernel_size % 2 == 1
        super().__init__(
            in_channels, out_channels, kernel_size, stride, kernel_size // 2 if symmetric else 0, **options
        )

    def forward(self, x: Tensor) -> Tensor:
        if any(self.padding):
            return super().forward(x)
        rows, columns = (
            same_margin(size, kernel, stride)
            for size, kernel, stride in zip(x.shape[2:], self.kernel_size, self.stride, strict=True)
        )
        x = F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)) if rows or columns else x
        return super().forward(x)

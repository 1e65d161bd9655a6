"""Convolution with TensorFlow's "same" padding: the output has ceil(n / stride) pixels, at any size of the input.

The margin is max((ceil(n / s) − 1) s + f − n, 0) pixels for n pixels, a filter of f and a stride s. Where it is odd the
pixel too many lies at the bottom and at the right; symmetric padding of (f − 1) / 2 has it at the top and at the left.
At stride 1 both are the same. Weights that were trained with the one are worse with the other.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


def same_margin(size: int, kernel: int, stride: int) -> int:
    """How many zeros are added to `size` pixels, on both sides together."""
    return max((-(-size // stride) - 1) * stride + kernel - size, 0)


class SameConv2d(nn.Conv2d):
    """(B, C, H, W) -> (B, N, ceil(H / s), ceil(W / s))."""

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = (
            same_margin(size, kernel, stride)
            for size, kernel, stride in zip(x.shape[2:], self.kernel_size, self.stride, strict=True)
        )
        x = F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
        return super().forward(x)

"""A skip without weights around a block that changes the shape: arXiv:1512.03385, option A.

(B, C, H, W) -> (B, C + extra, ceil(H / stride), ceil(W / stride)): every `stride`-th pixel, and channels of zeros.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class Shortcut(nn.Module):
    """Every `stride`-th pixel, and `extra` channels of zeros, half of them in front."""

    def __init__(self, extra: int, stride: int):
        super().__init__()
        self.stride, self.front, self.back = stride, extra // 2, extra - extra // 2

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.front, self.back))

    def extra_repr(self) -> str:
        return f"stride={self.stride}, extra={self.front + self.back}"

"""A 1×1 convolution of thousands of channels that learns in bfloat16 on a CPU: y(p) = W · x(p) + b at each place p.

There oneDNN's gradient of such a convolution (4,096 channels to 9, in torch 2.13) writes beyond its memory, and the
process dies later, anywhere. The same product as a linear layer over the channels does not. Everywhere else it is the
convolution.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Pointwise(nn.Conv2d):
    """(B, C, h, w) -> (B, K, h, w); the weights are those of `nn.Conv2d(C, K, 1)`."""

    def __init__(self, c_in: int, c_out: int):
        super().__init__(c_in, c_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and x.device.type == "cpu" and torch.is_autocast_enabled("cpu")):
            return super().forward(x)
        return F.linear(x.movedim(1, -1), self.weight.flatten(1), self.bias).movedim(-1, 1)

"""Maxout: a unit is the largest of k linear pieces, h_j(x) = max_i (w_ij . x + b_ij). arXiv:1302.4389.

The layer before it makes the pieces of a unit neighbours: (B, k * C, ...) -> (B, C, ...).
"""

from __future__ import annotations

from torch import Tensor, nn


class Maxout(nn.Module):
    """The largest of every `pieces` neighbouring channels; `pieces` divides the number of channels."""

    def __init__(self, pieces: int = 2):
        super().__init__()
        self.pieces = pieces

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (-1, self.pieces)).max(2).values

    def extra_repr(self) -> str:
        return f"pieces={self.pieces}"

"""Undoing a pooling: max unpooling puts values back where they came from, bed of nails into a fixed corner.

    max pooling      y_i = x at the winner j(i) of window i
    max unpooling    z_j = Σ over the windows i whose winner is j of y_i, 0 elsewhere     arXiv:1311.2901, 1511.00561
    bed of nails     z(s·r + a, s·c + b) = y(r, c), 0 elsewhere; (a, b) is the corner

Max unpooling is the transpose of pooling: what carries the gradient back through it. Windows that overlap may share a
winner, whose values add up (torch's MaxUnpool2d keeps one of them). The nails and a convolution behind them are a
transposed convolution. (B, C, H, W) <-> (B, C, H', W').
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from hubel.errors import UserError


def max_pool_places(x: Tensor, size: int = 2, stride: int | None = None, padding: int = 0) -> tuple[Tensor, Tensor]:
    """(B, C, H, W) -> the maxima and where they stood, r·W + c, int64, both (B, C, H', W')."""
    return F.max_pool2d(x, size, stride, padding, return_indices=True)


def max_unpool(y: Tensor, places: Tensor, side: tuple[int, int]) -> Tensor:
    """(B, C, H', W') with the places of its values -> (B, C, *side), zeros where nothing came from."""
    if y.shape != places.shape:
        raise UserError(f"Max unpooling needs one place for each value, got {tuple(places.shape)} places for "
                        f"{tuple(y.shape)} values.")  # fmt: skip
    flat = y.new_zeros(*y.shape[:2], side[0] * side[1])
    return flat.scatter_add(2, places.flatten(2), y.flatten(2)).unflatten(2, side)


def bed_of_nails(y: Tensor, stride: int = 2, corner: tuple[int, int] = (0, 0)) -> Tensor:
    """(B, C, H, W) -> (B, C, stride · H, stride · W); `corner` (row, column) from 0 to stride − 1."""
    if not all(0 <= place < stride for place in corner):
        raise UserError(f"The corner of a bed of nails lies within {stride}×{stride}, from 0 on; got {corner}.")
    nails = F.pad(y[..., None, :, None], (corner[1], stride - 1 - corner[1], 0, 0, corner[0], stride - 1 - corner[0]))
    return nails.flatten(4, 5).flatten(2, 3)


class MaxPoolPlaces(nn.Module):
    """`max_pool_places` as a layer: returns (maxima, places)."""

    def __init__(self, size: int = 2, stride: int | None = None, padding: int = 0):
        super().__init__()
        self.size, self.stride, self.padding = size, stride, padding

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return max_pool_places(x, self.size, self.stride, self.padding)


class MaxUnpool(nn.Module):
    """`max_unpool` as a layer: (values, places, side)."""

    def forward(self, y: Tensor, places: Tensor, side: tuple[int, int]) -> Tensor:
        return max_unpool(y, places, side)


class BedOfNails(nn.Module):
    """`bed_of_nails` as a layer."""

    def __init__(self, stride: int = 2, corner: tuple[int, int] = (0, 0)):
        super().__init__()
        self.stride, self.corner = stride, corner

    def forward(self, y: Tensor) -> Tensor:
        return bed_of_nails(y, self.stride, self.corner)

    def extra_repr(self) -> str:
        return f"stride={self.stride}, corner={self.corner}"

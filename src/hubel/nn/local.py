"""A convolution that shares no weights: each place of the output has filters of its own. Y. Taigman et al., CVPR 2014.

    y(n, r, c) = b(n, r, c) + Σ_k Σ_u Σ_v w(r, c, n; k, u, v) · x(k, s·r + u − p, s·c + v − p)

(B, C, H, W) -> (B, N, H', W'), with H' = floor((H + 2p − f) / s) + 1 as for a convolution. For aligned images, such as
faces that are centred, where an eye never stands at the chin. It has H'·W' times the weights of the convolution, costs
as many multiplications, and equals it where the filters of all places are the same.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hubel.errors import UserError
from hubel.ops.padding import pad

Pair = int | tuple[int, int]


def _pair(value: Pair) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


class LocallyConnected2d(nn.Module):
    """Filters of `size` pixels for maps of `side` = (H, W), which are fixed; sizes, strides, paddings (rows, columns).

    `weight` is (H'·W'·N, C·f·f) and `bias` (H'·W'·N,): a row per unit, place by place, and channel by channel in it.
    Raises UserError where the filter doesn't fit.
    """

    def __init__(
        self, c_in: int, c_out: int, side: tuple[int, int], size: Pair, *, stride: Pair = 1, padding: Pair = 0,
        bias: bool = True,
    ):  # fmt: skip
        super().__init__()
        self.in_channels, self.out_channels, self.side = c_in, c_out, side
        self.kernel_size, self.stride, self.padding = _pair(size), _pair(stride), _pair(padding)
        sides = zip(side, self.kernel_size, self.stride, self.padding, strict=True)
        self.places = tuple((n + 2 * p - f) // s + 1 for n, f, s, p in sides)
        if min(self.places) < 1:
            raise UserError(f"A filter of {self.kernel_size[0]}×{self.kernel_size[1]} pixels doesn't fit into "
                            f"{side[0]}×{side[1]} with a margin of {self.padding[0]}×{self.padding[1]}.")  # fmt: skip
        units = self.places[0] * self.places[1] * c_out
        self.weight = nn.Parameter(torch.empty(units, c_in * self.kernel_size[0] * self.kernel_size[1]))
        self.bias = nn.Parameter(torch.empty(units)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """As torch starts a convolution: uniform within ±1/√n_in, weights and biases."""
        bound = self.weight.shape[1] ** -0.5
        for parameter in self.parameters(recurse=False):
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        if tuple(x.shape[1:]) != (self.in_channels, *self.side):
            made = (self.in_channels, *self.side)
            raise UserError(f"This locally connected layer was made for maps of {made}, got {tuple(x.shape[1:])}: "
                            "its filters belong to their places.")  # fmt: skip
        (rows, columns), (down, across) = self.kernel_size, self.stride
        patches = pad(x, self.padding, "zero").unfold(2, rows, down).unfold(3, columns, across)  # (B, C, H', W', f, f)
        patches = patches.permute(2, 3, 0, 1, 4, 5).flatten(3).flatten(0, 1)  # (H'·W', B, C·f·f)
        weight = self.weight.unflatten(0, (len(patches), -1))  # (H'·W', N, C·f·f)
        y = torch.bmm(patches, weight.mT)  # (H'·W', B, N)
        if self.bias is not None:
            y = y + self.bias.view(len(patches), 1, -1)
        return y.permute(1, 2, 0).reshape(x.shape[0], -1, *self.places)  # len() is a number to an export

    @torch.no_grad()
    def tie(self, convolution: nn.Conv2d) -> None:
        """Take over the filters of a convolution of the same shape, for every place: the two are then equal."""
        count = self.places[0] * self.places[1]
        self.weight.copy_(convolution.weight.flatten(1).repeat(count, 1))
        if self.bias is not None:
            self.bias.copy_(convolution.bias.repeat(count) if convolution.bias is not None else self.bias.new_zeros(()))

    def extra_repr(self) -> str:
        return (f"{self.in_channels}, {self.out_channels}, side={self.side}, kernel_size={self.kernel_size}, "
                f"stride={self.stride}, padding={self.padding}, bias={self.bias is not None}")  # fmt: skip

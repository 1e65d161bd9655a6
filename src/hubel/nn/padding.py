"""Convolutions by what stands beyond the edge of a map: nothing, zeros, the channel's mean, or the map mirrored.

(B, C, H, W) -> (B, N, H', W') with H' = floor((H + 2p − d·(f − 1) − 1) / s) + 1, p = 0 for "valid" and d·(f − 1)/2
otherwise, which keeps the size at stride 1. ops/padding.py has the equations. "valid" and "zero" are torch's own layer;
the state dict is the same for all four.
"""

from __future__ import annotations

from torch import Tensor, nn

from hubel.errors import UserError
from hubel.ops.padding import check_padding, pad


class PaddedConv2d(nn.Conv2d):
    """A convolution whose border is "mean" or "mirror"; everything else as in nn.Conv2d, `padding` in pixels."""

    def __init__(self, *args: object, border: str, **options: object):
        super().__init__(*args, **options)  # type: ignore[arg-type]
        self.padding_mode = border  # type: ignore[assignment]  # torch knows "zeros", "reflect" … only; it prints ours

    def _conv_forward(self, maps: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        rows, columns = (int(margin) for margin in self.padding)
        padded = pad(maps, (rows, columns), self.padding_mode)
        return nn.functional.conv2d(padded, weight, bias, self.stride, 0, self.dilation, self.groups)


def conv2d(
    c_in: int,
    c_out: int,
    size: int = 3,
    *,
    padding: str | int = "zero",
    stride: int = 1,
    dilation: int = 1,
    bias: bool = True,
) -> nn.Conv2d:
    """A convolution of `size` × `size` pixels; `padding` is one of PADDINGS, or a number of pixels of zeros.

    Raises UserError for another word, and for an even size unless "valid" or a number is asked for.
    """
    if isinstance(padding, int):
        return nn.Conv2d(c_in, c_out, size, stride, padding, dilation, bias=bias)
    check_padding(padding)
    if padding != "valid" and size % 2 == 0:
        raise UserError(f"A filter of {size}×{size} pixels has no centre: give it an odd side, or padding 'valid'.")
    margin = 0 if padding == "valid" else dilation * (size - 1) // 2
    if padding in ("valid", "zero"):
        return nn.Conv2d(c_in, c_out, size, stride, margin, dilation, bias=bias)
    return PaddedConv2d(c_in, c_out, size, stride, margin, dilation, bias=bias, border=padding)

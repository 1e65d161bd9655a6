"""The gradient of a depthwise convolution, as fast as its forward pass: for bfloat16 on CPUs.

    y[i] = Σ_t w[t] x[s i + t − p]                       one filter of k × k for each channel, stride s, padding p
    dw[t] = Σ_i g[i] x[s i + t − p]
    dx[s q + a − p] = Σ_m w[a + s m] g[q − m]            for each phase a = 0 … s − 1: taps a, a + s, … of the filter

The library multiplies 3 × 3 filters at stride 1 fast, forwards and backwards, and falls back to a slow loop for the
gradient of other ones in bfloat16 (dx at stride 2, dw of 5 × 5: 10 to 40 times the forward pass). Both are sums of what
it does fast: dx at stride 2 is four convolutions of 3 × 3, one for each parity of row and column; dw of 5 × 5 is four
gradients of 3 × 3 windows. In a training of EfficientNet-Lite0 they were half of the time.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TAPS = 3  # of the filters that the library is fast with


def speed_up_depthwise(network: nn.Module) -> int:
    """Let every depthwise convolution of `network` that it pays for use `depthwise` in bfloat16; returns how many.

    Weights, names and outputs stay as they are.
    """
    found = [m for m in network.modules() if isinstance(m, nn.Conv2d) and _is_slow(m)]
    for module in found:
        module._conv_forward = MethodType(_conv_forward, module)  # type: ignore[method-assign]
    return len(found)


def _is_slow(conv: nn.Conv2d) -> bool:
    """A depthwise 3 × 3 at stride 2, or 5 × 5, with zero padding and no bias."""
    depthwise = conv.groups == conv.in_channels == conv.out_channels > 1 and conv.bias is None
    plain = conv.padding_mode == "zeros" and isinstance(conv.padding, tuple) and set(conv.dilation) == {1}
    shape = (conv.kernel_size, conv.stride)
    square = len({*conv.kernel_size}) == len({*conv.stride}) == len({*conv.padding}) == 1
    return depthwise and plain and square and shape in (((3, 3), (2, 2)), ((5, 5), (1, 1)), ((5, 5), (2, 2)))


def _conv_forward(conv: nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """In place of nn.Conv2d's own; the plain convolution where nothing learns or other numbers are used."""
    kind = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    learns = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
    if kind != torch.bfloat16 or not learns or x.device.type != "cpu":
        return F.conv2d(x, weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups)
    return depthwise(x.to(kind), weight.to(kind), conv.stride[0], int(conv.padding[0]))


def depthwise(x: Tensor, weight: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
    """x (B, C, H, W), weight (C, 1, k, k), k 3 or 5, stride 1 or 2 -> (B, C, h, w), as F.conv2d with C groups."""
    return _Depthwise.apply(x, weight, stride, padding)


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight, None, stride, padding, 1, len(weight))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        asked = ctx.needs_input_grad
        dx = _of_input(gradient, weight, x.shape, ctx.stride, ctx.padding) if asked[0] else None
        dw = _of_weight(gradient, x, weight.shape[-1], ctx.stride, ctx.padding) if asked[1] else None
        return dx, dw, None, None


def _of_input(g: Tensor, weight: Tensor, shape: torch.Size, stride: int, padding: int) -> Tensor:
    """dx (B, C, H, W): a convolution of the gradient for each phase of rows and columns; see the module."""
    size = weight.shape[-1]
    if stride == 1:
        return F.conv2d(g, weight.flip(2, 3), None, 1, size - 1 - padding, 1, len(weight))
    dx = torch.zeros(shape, dtype=g.dtype).contiguous(memory_format=torch.channels_last)
    for a in range(stride):
        for b in range(stride):
            taps = weight[:, :, a::stride, b::stride]
            taps = F.pad(taps, (0, TAPS - taps.shape[3], 0, TAPS - taps.shape[2])).flip(2, 3)
            found = F.conv2d(g, taps, None, 1, TAPS - 1, 1, len(weight))  # at q = 0, 1, …
            top, left = (-(-max(padding - start, 0) // stride) for start in (a, b))  # the first q inside the image
            place = dx[:, :, stride * top + a - padding :: stride, stride * left + b - padding :: stride]
            rows = min(found.shape[2] - top, place.shape[2])
            columns = min(found.shape[3] - left, place.shape[3])
            place[:, :, :rows, :columns] = found[:, :, top : top + rows, left : left + columns]
    return dx


def _of_weight(g: Tensor, x: Tensor, size: int, stride: int, padding: int) -> Tensor:
    """dw (C, 1, k, k): the gradients of the windows of 3 × 3 that cover the filter."""
    channels, starts = x.shape[1], sorted({0, size - TAPS})
    if len(starts) == 1:
        return _of_window(g, x, channels, stride, padding)
    x = F.pad(x, (padding,) * 4)
    rows, columns = ((n - 1) * stride + TAPS for n in g.shape[2:])
    dw = torch.zeros(channels, 1, size, size, dtype=g.dtype)
    for i in starts:
        for j in starts:
            part = x[:, :, i : i + rows, j : j + columns].contiguous(memory_format=torch.channels_last)
            dw[:, :, i : i + TAPS, j : j + TAPS] = _of_window(g, part, channels, stride, 0)
    return dw


def _of_window(g: Tensor, x: Tensor, channels: int, stride: int, padding: int) -> Tensor:
    like = torch.empty(channels, 1, TAPS, TAPS, dtype=x.dtype)
    found = torch.ops.aten.convolution_backward(
        g, x, like, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], channels, [False, True, False]
    )
    return found[1]

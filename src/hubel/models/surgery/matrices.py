"""A convolution as a matrix, a dense layer as a convolution: they are the same linear map, written differently.

conv(x) = M vec(x) + b     M (N h' w', C H W) sparse, its entries shared: row (n, r, c) holds filter n at (r, c)
dense(vec(x)) = conv(x)    with one filter of the whole h × w map for each unit
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hubel.errors import UserError
from hubel.models.options import Size


@torch.no_grad()
def conv_to_dense(conv: nn.Conv2d, input: Size) -> tuple[Tensor, Tensor]:
    """(M, b) with conv(x).flatten() = M x.flatten() + b for an x of shape `input` (C, H, W).

    M is sparse (N · h' · w', C · H · W), b (N · h' · w',), with zeros where the layer has no bias. Stride, groups,
    dilation and every kind of padding are part of M. Raises UserError for another number of channels.
    """
    channels, height, width = input
    if channels != conv.in_channels:
        raise UserError(f"The convolution reads {conv.in_channels} channels, the input has {channels}.")
    pixels = _windows(conv, input)  # (C, k, L): which pixel each weight meets; 0 is padding
    weight = conv.weight.flatten(2)  # (N, C / groups, k)
    places, count = pixels.shape[2], conv.out_channels
    rows, columns, values = [], [], []
    each = count // conv.groups
    for n in range(count):
        first = n // each * weight.shape[1]
        met = pixels[first : first + weight.shape[1]].flatten(0, 1)  # (C / groups · k, L)
        rows.append((n * places + torch.arange(places)).expand_as(met))
        columns.append(met)
        values.append(weight[n].flatten()[:, None].cpu().expand(met.shape))
    row, column, value = (torch.cat(parts).flatten() for parts in (rows, columns, values))
    real = column > 0
    shape = (count * places, channels * height * width)
    where = torch.stack([row[real], column[real] - 1])
    matrix = torch.sparse_coo_tensor(where, value[real], shape, check_invariants=True)
    bias = torch.zeros(count, dtype=weight.dtype) if conv.bias is None else conv.bias.detach().cpu()
    return matrix.coalesce(), bias.repeat_interleave(places)


def _windows(conv: nn.Conv2d, input: Size) -> Tensor:
    """(C, k, L) int64: 1 + the position in the flat input that weight k meets at place L; 0 where it is padding."""
    channels, height, width = input
    numbers = torch.arange(1, channels * height * width + 1, dtype=torch.float64).view(1, channels, height, width)
    mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
    numbers = F.pad(numbers, conv._reversed_padding_repeated_twice, mode=mode)
    found = F.unfold(numbers, conv.kernel_size, conv.dilation, 0, conv.stride)
    return found[0].long().unflatten(0, (channels, -1))


@torch.no_grad()
def dense_to_conv(dense: nn.Linear, input: Size) -> nn.Conv2d:
    """The convolution with `input[1]` × `input[2]` filters that computes what `dense` does of a flattened map.

    (B, C, h, w) -> (B, N, 1, 1) for a map of shape `input` (C, h, w); on a larger map it slides, without padding.
    Raises UserError where the layer reads another number of values.
    """
    channels, height, width = input
    if dense.in_features != channels * height * width:
        raise UserError(
            f"The dense layer reads {dense.in_features} values; a map of shape ({channels}, {height}, {width}) has "
            f"{channels * height * width}. Give the shape of the map that is flattened before it."
        )
    conv = nn.Conv2d(channels, dense.out_features, (height, width), bias=dense.bias is not None)
    conv = conv.to(dense.weight.device, dense.weight.dtype)
    conv.weight.copy_(dense.weight.view_as(conv.weight))
    if conv.bias is not None:
        conv.bias.copy_(dense.bias)
    return conv.train(dense.training)

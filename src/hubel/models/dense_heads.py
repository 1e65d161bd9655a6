"""A score for every pixel from the maps of any network: 1×1 convolutions, fused from coarse to fine. arXiv:1411.4038.

    s_i = w_i · map_i + b_i          t_n = s_n,   t_i = s_i + enlarged(t_(i+1))

maps (B, channels[i], H / strides[i], W / strides[i]), finest first -> t_0 (B, K, H / strides[0], W / strides[0])

Coarse maps say what it is, fine ones where its border runs. Enlarging is bilinear, the cells of both maps taken as
tiles of the same image. Maps of valid convolutions (`starts`) cover less of it: they are read where they lie, and
beyond their last cell that cell is taken.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class FusedScores(nn.Module):
    """One 1×1 convolution for each of the maps, of `channels`, to `outputs` scores, added up on the finest grid."""

    def __init__(self, channels: Sequence[int], outputs: int):
        super().__init__()
        self.scores = nn.ModuleList(nn.Conv2d(width, outputs, 1) for width in channels)

    def forward(self, maps: list[Tensor]) -> Tensor:
        fine, *coarser = (score(x) for score, x in zip(self.scores, maps, strict=True))
        return fine + enlarged(_fused(coarser), fine) if coarser else fine


def _fused(scores: Sequence[Tensor]) -> Tensor:
    """Maps of scores, finest first, as one."""
    *finer, total = scores
    for own in reversed(finer):
        total = own + enlarged(total, own)
    return total


def enlarged(x: Tensor, like: Tensor) -> Tensor:
    """Bilinearly (B, C, h, w) to the rows and columns of `like`."""
    return F.interpolate(x, like.shape[2:], mode="bilinear", align_corners=False)


class PlacedScores(FusedScores):
    """The same where map i begins with a cell whose centre lies at `starts[i]` pixels, one each `strides[i]` after it.

    The output covers the image from border to border, with a cell for each `strides[0]` pixels, rounded up.
    """

    def __init__(self, channels: Sequence[int], outputs: int, starts: Sequence[float], strides: Sequence[int]):
        super().__init__(channels, outputs)
        self.starts, self.strides = tuple(starts), tuple(strides)

    def forward(self, maps: list[Tensor]) -> Tensor:
        rows, columns = (self._centres(n, maps[0]) for n in maps[0].shape[2:])
        placed = zip(self.scores, maps, self.starts, self.strides, strict=True)
        return torch.stack([read_at(score(x), rows, columns, a, s) for score, x, a, s in placed]).sum(0)

    def _centres(self, cells: int, like: Tensor) -> Tensor:
        """(m,) in pixels: centres of the output's cells along an axis on which the finest map has so many cells."""
        start, stride = self.starts[0], self.strides[0]
        pixels = 2 * start + (cells - 1) * stride
        count = -int(-pixels // stride)
        return (torch.arange(count, device=like.device, dtype=like.dtype) + 0.5) * (pixels / count)


def read_at(x: Tensor, rows: Tensor, columns: Tensor, start: float | tuple[float, float], stride: float) -> Tensor:
    """A map (B, C, h, w) at `rows` (m,) × `columns` (n,) pixels, bilinearly -> (B, C, m, n).

    The centre of its first cell lies at `start` pixels (of the row, of the column), of the next at `start + stride`.
    """
    h, w = x.shape[2:]
    first = start if isinstance(start, tuple) else (start, start)
    places = [(pixels - begin) / stride for pixels, begin in zip((rows, columns), first, strict=True)]
    down, across = ((2 * place + 1) / n - 1 for place, n in zip(places, (h, w), strict=True))
    grid = torch.stack(torch.meshgrid(across, down, indexing="xy"), -1).to(x.dtype)  # (m, n, 2)
    return F.grid_sample(x, grid.expand(x.shape[0], -1, -1, -1), padding_mode="border", align_corners=False)

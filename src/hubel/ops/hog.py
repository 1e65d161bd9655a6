"""Histograms of oriented gradients, and of colours: what pictures were described by before networks learnt to.

HOG (Dalal & Triggs 2005, doi:10.1109/CVPR.2005.177): the gradient (v[i + 1] − v[i − 1], without smoothing, 0 at the
borders) of the channel where it is steepest; its angle modulo 180° falls into one of `bins`; magnitudes are averaged in
cells of `cell` × `cell` pixels; each block of `block` × `block` cells is normalised, v / √(‖v‖² + ε²), cut at 0.2 and
normalised again. Pixels beyond the last whole cell are left out. Images (B, C, H, W).
"""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-5
CUT = 0.2


def hog(images: Tensor, *, cell: int = 8, block: int = 2, bins: int = 9) -> Tensor:
    """(B, C, H, W) in any range -> (B, F), F = rows · columns · block² · bins of the blocks. ValueError if smaller."""
    rows, columns = images.shape[2] // cell, images.shape[3] // cell
    if min(rows, columns) < block:
        raise ValueError(f"images of {tuple(images.shape[2:])} pixels have no block of {block} cells of {cell} pixels")
    magnitude, angle = gradients(images.double())
    place = (angle / (180 / bins)).long().clamp(max=bins - 1)
    votes = torch.zeros(len(images), bins, *images.shape[2:], dtype=torch.float64)
    votes.scatter_(1, place[:, None], magnitude[:, None])
    votes = votes[:, :, : rows * cell, : columns * cell]
    cells = votes.reshape(len(images), bins, rows, cell, columns, cell).mean((3, 5))
    blocks = cells.unfold(2, block, 1).unfold(3, block, 1)  # (B, bins, r, c, block, block)
    flat = blocks.permute(0, 2, 3, 4, 5, 1).flatten(3)  # (B, r, c, block² · bins)
    return _normalised(_normalised(flat).clamp(max=CUT)).flatten(1).float()


def gradients(images: Tensor) -> tuple[Tensor, Tensor]:
    """(B, C, H, W) -> magnitude and angle in degrees, [0, 180), each (B, H, W), of the steepest channel."""
    down, right = torch.zeros_like(images), torch.zeros_like(images)
    down[:, :, 1:-1] = images[:, :, 2:] - images[:, :, :-2]
    right[:, :, :, 1:-1] = images[:, :, :, 2:] - images[:, :, :, :-2]
    steepest = torch.hypot(down, right).argmax(1, keepdim=True)
    down, right = (g.gather(1, steepest)[:, 0] for g in (down, right))
    return torch.hypot(down, right), torch.rad2deg(torch.atan2(down, right)) % 180


def _normalised(v: Tensor) -> Tensor:
    return v / (v.square().sum(-1, keepdim=True) + EPSILON**2).sqrt()


def colour_histogram(images: Tensor, *, bins: int = 4) -> Tensor:
    """(B, C, H, W) in [0, 1] -> (B, bins**C): the share of the pixels in each cell of the colour cube."""
    place = (images * bins).long().clamp(0, bins - 1)  # (B, C, H, W)
    powers = bins ** torch.arange(images.shape[1]).reshape(1, -1, 1, 1)
    cell = (place * powers).sum(1).flatten(1)  # (B, H · W)
    found = torch.zeros(len(images), bins ** images.shape[1])
    return found.scatter_add_(1, cell, torch.ones(cell.shape)) / cell.shape[1]

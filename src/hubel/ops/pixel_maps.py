"""Maps with a value for every pixel, moved: enlarged, mirrored back, read in the pixels of the source image.

    out(x') = map(M⁻¹ x'), bilinear between the centres of pixels, (0.5, 0.5) the first

Maps (B, K, h, w) of probabilities or scores; M (3, 3) or (B, 3, 3): pixels of the map -> pixels of the result.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

STRIP = 16_000_000  # values of a map that are moved at once: a photo of 50 million pixels fits into memory too


def enlarged(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, K, h, w) -> (B, K, *size) in fp32 at least, as if both were tiles of the same image."""
    maps = maps if maps.dtype == torch.float64 else maps.float()
    if tuple(maps.shape[2:]) == tuple(size):
        return maps
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)


def moved(maps: Tensor, matrix: Tensor, size: tuple[int, int], *, outside: str = "border", first: int = 0) -> Tensor:
    """(B, K, h, w) -> (B, K, *size), of which row 0 is row `first` of the result of the move.

    What the map does not cover is its nearest value ("border") or 0 ("zeros").
    """
    if first == 0 and tuple(maps.shape[2:]) == tuple(size):
        if _is(matrix, torch.eye(3)):
            return maps
        if _is(matrix, mirror(size[1])):
            return maps.flip(-1)
    inverse = torch.linalg.inv(matrix.double()).to(maps).expand(len(maps), 3, 3)
    x = torch.arange(size[1], device=maps.device, dtype=maps.dtype) + 0.5
    y = torch.arange(first, first + size[0], device=maps.device, dtype=maps.dtype) + 0.5
    ys, xs = torch.meshgrid(y, x, indexing="ij")
    places = torch.stack([xs, ys, torch.ones_like(xs)], -1).reshape(-1, 3) @ inverse.transpose(1, 2)  # (B, H · W, 3)
    sides = torch.tensor([maps.shape[3], maps.shape[2]], device=maps.device, dtype=maps.dtype)
    grid = (2 * places[..., :2] / places[..., 2:] / sides - 1).view(len(maps), *size, 2)
    if outside == "border":
        return F.grid_sample(maps, grid, padding_mode="border", align_corners=False)
    inside = (grid.abs() <= 1).all(-1)[:, None]  # up to the border of the last pixel, which then holds alone
    return torch.where(inside, F.grid_sample(maps, grid, padding_mode="border", align_corners=False), 0)


def mirror(width: int) -> Tensor:
    """(3, 3): left and right exchanged in an image so wide."""
    return torch.tensor([[-1.0, 0.0, width], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])


def _is(matrix: Tensor, wanted: Tensor) -> bool:
    return bool((matrix - wanted.to(matrix)).abs().max() < 1e-4)


def most_probable(maps: Tensor) -> Tensor:
    """(…, K, h, w) -> (…, h, w) uint8: the first of the largest along K, as argmax has it; K at most 256.

    Map after map: argmax across maps takes 14 times as long on a CPU, a fifth of a training.
    """
    first, *others = maps.detach().unbind(-3)
    top, index = first.clone(), torch.zeros(first.shape, dtype=torch.uint8, device=maps.device)
    for k, one in enumerate(others, start=1):
        index.masked_fill_(one > top, k)
        torch.maximum(top, one, out=top)
    return index


def labels_in_source(maps: Tensor, matrix: Tensor, size: tuple[int, int]) -> Tensor:
    """The most probable class of each pixel of the source image: (K, h, w) -> (H, W) uint8.

    `matrix` (3, 3): source pixels -> pixels of the map. A pixel that the network never saw gets the nearest one's.
    """
    if tuple(maps.shape[1:]) == tuple(size) and _is(matrix, torch.eye(3)):
        return most_probable(maps)
    back, rows = torch.linalg.inv(matrix.double()), max(1, STRIP // (len(maps) * max(size[1], 1)))
    strips = [(first, min(rows, size[0] - first)) for first in range(0, size[0], rows)]
    found = [most_probable(moved(maps[None], back, (count, size[1]), first=first)[0]) for first, count in strips]
    return torch.cat(found) if found else torch.zeros(size, dtype=torch.uint8)


def centre(values: Tensor, size: tuple[int, int]) -> Tensor:
    """The middle of (…, H, W), as large as `size`: what a network of valid convolutions answers of its input."""
    top, left = (values.shape[-2] - size[0]) // 2, (values.shape[-1] - size[1]) // 2
    return values[..., top : top + size[0], left : left + size[1]]

"""Many small images moved by whole pixels, each by its own: out[b, i, j] = in[b, i − y_b, ± j − x_b], exact and fast.

Every image is a window into its padded self, so a batch is one gather of rows. Images (B, H, W, C) of any dtype.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.lib.stride_tricks import as_strided
from torch import Tensor

from hubel.ops.geometry import border_index


def move_batch(
    images: Tensor, mirrored: np.ndarray, offsets: np.ndarray, size: tuple[int, int], border: str = "zero"
) -> Tensor:
    """(B, H, W, C) -> (B, h, w, C): x' = ± x + offsets[:, 0] (minus where `mirrored`), y' = y + offsets[:, 1].

    `mirrored` (B,) bool and `offsets` (B, 2) int64 as `geometry.whole_pixels` gives them, for the pixels' edges.
    """
    offsets = offsets.copy()
    offsets[mirrored, 0] -= images.shape[2]  # x' = (W − x) + rest: first the mirror, then a move by the rest
    if mirrored.any():
        rows = torch.from_numpy(np.flatnonzero(mirrored)).to(images.device)
        images = images.index_copy(0, rows, images.index_select(0, rows).flip(2))
    if not offsets.any() and size == (images.shape[1], images.shape[2]):
        return images
    return _windows(images, offsets, size, border)


def _windows(images: Tensor, offsets: np.ndarray, size: tuple[int, int], border: str) -> Tensor:
    """Target pixel (i, j) of image b is source pixel (i − offsets[b, 1], j − offsets[b, 0])."""
    (height, width), (x, y) = images.shape[1:3], offsets.T
    left, top = max(0, int(x.max())), max(0, int(y.max()))
    right, bottom = max(0, size[1] - int(x.min()) - width), max(0, size[0] - int(y.min()) - height)
    padded = pad(images, (left, right, top, bottom), border)
    dx, dy = left - x, top - y  # the window's corner in the padded image
    return windows_of(padded, np.arange(len(padded)), dx, dy, size)


def windows_of(padded: Tensor, rows: np.ndarray, dx: np.ndarray, dy: np.ndarray, size: tuple[int, int]) -> Tensor:
    """(N, H, W, C) and (B,) each -> (B, h, w, C): of image rows[b] the window whose first pixel is (dx[b], dy[b])."""
    if padded.device.type == "cpu":
        return torch.from_numpy(_rows_as_items(padded.numpy(), rows, dx, dy, size))
    return _by_index(padded, rows, dx, dy, size)


def _by_index(padded: Tensor, rows: np.ndarray, dx: np.ndarray, dy: np.ndarray, size: tuple[int, int]) -> Tensor:
    """All windows as a view (N, tall − h + 1, wide − w + 1, h, w, C), and those that are wanted."""
    (sb, sy, sx, sc), (count, tall, wide, channels) = padded.stride(), padded.shape
    shape = (count, tall - size[0] + 1, wide - size[1] + 1, *size, channels)
    index = (torch.from_numpy(i).to(padded.device) for i in (rows, dy, dx))
    return padded.as_strided(shape, (sb, sy, sx, sy, sx, sc))[tuple(index)]


def _rows_as_items(
    padded: np.ndarray, rows: np.ndarray, dx: np.ndarray, dy: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """On the CPU a window's row is one numpy item: a tenth of the time of indexing single pixels."""
    count, tall, wide, channels = padded.shape
    sb, sy, sx, _ = padded.strides
    row = np.dtype((np.void, size[1] * sx))
    first = padded.reshape(-1)[: size[1] * channels].view(row)
    starts = as_strided(first, (count, tall - size[0] + 1, wide - size[1] + 1, size[0]), (sb, sy, sx, sy))
    return starts[rows, dy, dx].view(padded.dtype).reshape(len(rows), *size, channels)


def pad(images: Tensor, widths: tuple[int, int, int, int], border: str) -> Tensor:
    """(B, H, W, C) with `widths` = left, right, top, bottom more pixels, contiguous."""
    left, right, top, bottom = widths
    if border == "zero":
        return F.pad(images, (0, 0, left, right, top, bottom)).contiguous()
    count, height, width, channels = images.shape
    out = images.new_empty(count, top + height + bottom, left + width + right, channels)
    out[:, top : top + height, left : left + width] = images
    inner = out[:, top : top + height]  # first the strips beside the images, then those above and below
    for axis, array, before, length in ((2, inner, left, width), (1, out, top, height)):
        index = torch.from_numpy(before + border_index(np.arange(-before, array.shape[axis] - before), length, border))
        for strip in (slice(0, before), slice(before + length, None)):
            array.movedim(axis, 0)[strip] = array.index_select(axis, index[strip].to(out.device)).movedim(axis, 0)
    return out

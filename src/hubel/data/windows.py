"""Shifts and mirrors of resident images, prepared once: out[b, i, j] = padded[row_b, i + s − y_b, j + s − x_b].

Every image stands there with a margin of s pixels, and again mirrored where mirrors are drawn, so that a batch is one
gather of rows and no pixel is padded or turned twice. Bit for bit what `apply_batch` gives. Costs (1 + 2s/h)·(1 + 2s/w)
times the images' memory, twice that with mirrors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hubel.data.augment import Augment, Draws
from hubel.data.memory import free_memory
from hubel.ops.geometry import whole_pixels
from hubel.ops.move import pad, windows_of

SHARE = 1 / 8  # of the free memory that the prepared images may take


@dataclass(frozen=True, eq=False)
class Windows:
    """All images of a dataset with a margin, ready to be cut out anywhere."""

    padded: Tensor  # (N or 2N, h + 2s, w + 2s, C): from N on mirrored
    count: int  # N
    margin: int  # s

    @classmethod
    def of(cls, pixels: Tensor, augment: Augment) -> Windows | None:
        """For images (N, h, w, C); None where the changes are no moves by whole pixels, or memory is short."""
        s, both = augment.shift, augment.flip != "none"
        if not augment.shifts_only or not (s or both):
            return None
        height, width = pixels.shape[1:3]
        growth = (1 + 2 * s / height) * (1 + 2 * s / width) * (2 if both else 1)
        if pixels.nbytes * growth > SHARE * free_memory(pixels.device):
            return None
        padded = pad(torch.cat([pixels, pixels.flip(2)]) if both else pixels, (s, s, s, s), augment.border)
        return cls(padded, len(pixels), s)

    def batch(self, rows: np.ndarray, draws: Draws) -> Tensor:
        """The images `rows` (B,) int64, moved as drawn by the augmentation that these windows are of: (B, h, w, C)."""
        exact = whole_pixels(draws.matrices)
        if exact is None:
            raise ValueError("these draws are no moves by whole pixels")
        mirrored, corners = exact[0][:, 0] < 0, self.margin - exact[1]
        corners[mirrored, 0] += draws.size[1]  # x' = (w − x) + rest: first the mirror, then a move by the rest
        if corners.min() < 0 or corners.max() > 2 * self.margin or (mirrored.any() and len(self.padded) == self.count):
            raise ValueError("these draws lead beyond the images' margins")
        return windows_of(self.padded, rows + self.count * mirrored, corners[:, 0], corners[:, 1], draws.size)

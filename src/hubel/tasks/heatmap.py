"""J joints as J heat maps: a bump where the joint is, found again as the highest point. arXiv:1406.2984.

    H_j(q) = exp(−|q − t_j|² / 2σ²)                               q the centre of a cell, in pixels
    squared:        Σ_q (s_j − H_j)² / Σ_q H_j²  over the bump alone a share: 1 for a map of zeros
    cross_entropy:  −Σ_q h_j ln softmax_q(s_j),  h = H / Σ H      nats
    δ = (ln s₊ − ln s₋) / (2 · (2 ln s₀ − ln s₊ − ln s₋))         beyond the highest cell, for x and for y

The logarithm of a Gaussian is a parabola, so δ, from the highest cell and its neighbours, is exact for a true bump
(arXiv:1910.06278); the scores of cross_entropy are that logarithm. Outputs (B, J, h, w), coarser than the images as a
rule. Confidence is the height of the peak, with cross_entropy the probability of the 3×3 cells around it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hubel.errors import UserError, close_to
from hubel.metrics.pose import Posed
from hubel.tasks.checks import check_range
from hubel.tasks.joints import Joints
from hubel.types import Batch

ERRORS = ("squared", "cross_entropy")
TINY = 1e-6  # heights below are no part of a bump


@dataclass(frozen=True)
class HeatMap(Joints):
    """Joints as the highest points of maps."""

    error: str = "cross_entropy"  # or "squared", which learns slowly: most of each map is 0
    sigma: float = 0.03  # of the bump, as a share of the longer side of what the network sees; at least one cell

    name = "heatmap"
    dense = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("sigma", self.sigma, 0, 0.5)
        if self.error not in ERRORS:
            raise UserError(
                f"Option 'error' is one of {', '.join(ERRORS)}; got '{self.error}'{close_to(self.error, ERRORS)}"
            )

    @property
    def width(self) -> int:
        return len(self.names)

    def head(self, network: Any) -> nn.Module:
        return network.dense_head(self.width)

    def decoded(self, outputs: Tensor, batch: Batch, margin: int) -> tuple[Tensor, Tensor | None]:
        size = batch.input_size
        logs = outputs if self.error == "cross_entropy" else outputs.clamp(min=TINY).log()
        peaks, heights = peaks_of(outputs, logs)
        if self.error == "cross_entropy":
            near = F.avg_pool2d(outputs.flatten(2).softmax(-1).view_as(outputs), 3, 1, 1) * 9
            heights = near.flatten(2).gather(2, outputs.flatten(2).argmax(2, keepdim=True))[..., 0]
        return margin + peaks * peaks.new_tensor(cells(outputs, size, margin)), heights.clamp(0, 1)

    def errors(self, outputs: Tensor, truth: Posed, size: tuple[int, int], margin: int) -> Tensor:
        bumps = self.bumps(outputs, truth, size, margin)
        total = bumps.sum((2, 3)).clamp(min=TINY)
        if self.error == "cross_entropy":
            logs = outputs.flatten(2).log_softmax(-1).view_as(outputs)
            return -(bumps * logs).sum((2, 3)) / total
        return (outputs - bumps).square().sum((2, 3)) / self._energy(outputs, size, margin)

    def bumps(self, outputs: Tensor, truth: Posed, size: tuple[int, int], margin: int) -> Tensor:
        """(B, J, h, w) the maps that are wanted."""
        across, down = cells(outputs, size, margin)
        h, w = outputs.shape[2:]
        x = margin + (torch.arange(w, device=outputs.device) + 0.5) * across
        y = margin + (torch.arange(h, device=outputs.device) + 0.5) * down
        points = truth.joints.to(outputs)
        far_x = (x - points[..., 0, None]).square()  # (B, J, w)
        far_y = (y - points[..., 1, None]).square()
        two = 2 * self._spread(outputs, size, margin) ** 2
        return (-far_y / two).exp()[..., None] * (-far_x / two).exp()[..., None, :]

    def _spread(self, outputs: Tensor, size: tuple[int, int], margin: int) -> float:
        """σ in pixels of the images."""
        return max(self.sigma * max(size), *cells(outputs, size, margin))

    def _energy(self, outputs: Tensor, size: tuple[int, int], margin: int) -> float:
        """Σ_q H² of a whole bump: π σ² over the area of a cell."""
        across, down = cells(outputs, size, margin)
        return math.pi * self._spread(outputs, size, margin) ** 2 / (across * down)


def cells(outputs: Tensor, size: tuple[int, int], margin: int) -> tuple[float, float]:
    """Pixels of the images for one cell of the maps: in x, in y."""
    h, w = outputs.shape[2:]
    return (size[1] - 2 * margin) / w, (size[0] - 2 * margin) / h


def peaks_of(maps: Tensor, logs: Tensor) -> tuple[Tensor, Tensor]:
    """(B, J, h, w) -> (B, J, 2) x, y of the highest point, in cells with (0.5, 0.5) the centre of the first, and its
    height (B, J) in `maps`. `logs` are parabolas near it; on the border of a map it is a cell's centre."""
    h, w = maps.shape[2:]
    flat = logs.flatten(2)
    best = maps.flatten(2).argmax(2, keepdim=True)  # (B, J, 1)
    x, y = best % w, best // w
    middle = flat.gather(2, best)
    steps = []
    for at, step, most in ((x, 1, w), (y, w, h)):
        inside = (at > 0) & (at < most - 1)
        low, high = (flat.gather(2, torch.where(inside, best + sign * step, best)) for sign in (-1, 1))
        bend = 2 * middle - low - high
        steps.append(torch.where(bend > TINY, (high - low) / (2 * bend).clamp(min=TINY), 0).clamp(-0.5, 0.5))
    places = torch.cat([x + 0.5 + steps[0], y + 0.5 + steps[1]], 2)
    return places, maps.flatten(2).gather(2, best)[..., 0]

"""A convolution whose outputs are uncorrelated with variance 1 on the training images: its filters are measured.

Patches x of k × k × C numbers with covariance S = V diag(λ) Vᵀ (about zero) are projected on the eigenvectors,

    z_i = v_iᵀ x / √(λ_i + ε),

strongest first; the second half of the filters is the negative of the first, so that ReLU keeps both signs.
K. Jordan, arXiv:2404.00498, section 3.2. The filters are fixed once measured; a bias is learnt.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

EPSILON = 5e-4
MOST = 500_000  # patches that are looked at


class WhiteningConv(nn.Conv2d):
    """(B, c_in, H, W) -> (B, c_out, H', W') with `c_out` even and at most 2 · kernel² · c_in; starts as a usual one."""

    def __init__(self, c_in: int, c_out: int, kernel: int, padding: int = 0):
        super().__init__(c_in, c_out, kernel, padding=padding)
        self.weight.requires_grad_(False)
        nn.init.zeros_(self.bias)  # type: ignore[arg-type]

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        """Measure the filters on normalised training images (N, c_in, H, W)."""
        values, vectors = torch.linalg.eigh(covariance(patches(images, self.kernel_size[0])))
        filters = (vectors / (values + EPSILON).sqrt()).T.flip(0)  # strongest first, (k²·C, k²·C)
        half = filters[: self.out_channels // 2].view(-1, *self.weight.shape[1:])
        self.weight.copy_(torch.cat([half, -half]))


def patches(images: Tensor, kernel: int) -> Tensor:
    """(N, C, H, W) -> (n, C · kernel²): every patch without padding, of at most MOST evenly spaced ones."""
    found = images.unfold(2, kernel, 1).unfold(3, kernel, 1).permute(0, 2, 3, 1, 4, 5)  # (N, h, w, C, k, k), a view
    count = found.shape[0] * found.shape[1] * found.shape[2]
    chosen = torch.arange(0, count, max(1, -(-count // MOST)), device=images.device)
    return found[torch.unravel_index(chosen, found.shape[:3])].flatten(1)


def covariance(rows: Tensor) -> Tensor:
    """(n, d) -> (d, d) about zero, in float64."""
    rows = rows.double()
    return rows.T @ rows / len(rows)

"""Local response normalisation: each channel is divided by the strength of its neighbours at the same place.

    y_i = x_i / (k + a · Σ_j x_j²)^β,   j from i − n/2 to i + n/2 within the channels, rounded down

Krizhevsky et al. 2012, section 3.3: n = 5, a = 1e-4, β = 0.75, k = 2. torch's layer takes α = n · a, the factor of the
*mean* of the squares, and its defaults (α = 1e-4, k = 1) are those of later reimplementations: five times weaker.
(B, C, H, W) -> the same shape, without parameters. Batch normalisation has taken its place.
"""

from __future__ import annotations

from torch import nn


def response_norm(
    size: int = 5, factor: float = 1e-4, exponent: float = 0.75, shift: float = 2.0
) -> nn.LocalResponseNorm:
    """torch's layer by the paper's numbers: n, a (of the sum of squares), β and k."""
    return nn.LocalResponseNorm(size, alpha=factor * size, beta=exponent, k=shift)

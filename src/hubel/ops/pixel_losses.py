"""Losses of a class for every pixel, as sums and counts of each image; ignored pixels (255) add to neither.

    cross-entropy   Σ c_y·w·(−ln p_y)              / Σ c_y·w
    focal           Σ c_y·w·(1 − p_y)^γ·(−ln p_y)   / Σ c_y·w           arXiv:1708.02002
    Dice            Σ_k 1 − 2·Σ p_k·g_k / Σ (p_k + g_k), k the classes in the image, / their number   arXiv:1606.04797

p = softmax of the scores (B, K, h, w), y the targets (B, h, w), g_k = [y = k]; c weighs classes, w pixels. Sums and
counts of images add up, so that a batch may be cut into any parts: Dice is therefore taken image by image, over the
classes that the image shows.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from hubel.ops.losses import precise
from hubel.types import Term

IGNORE = 255


class PerImage(NamedTuple):
    """Of each image."""

    sums: Tensor  # (B,) carry the gradient
    counts: Tensor  # (B,) without one


def cross_entropy(
    scores: Tensor,
    targets: Tensor,
    *,
    gamma: float = 0.0,
    class_weights: Tensor | None = None,
    pixel_weights: Tensor | None = None,
) -> PerImage:
    """(B, K, h, w), (B, h, w) uint8 -> nats. `gamma` above 0: the focal loss, easy pixels count less.

    class_weights (K,), pixel_weights (B, h, w): both at least 0.
    """
    scores, y = precise(scores), targets.long()
    nats = F.cross_entropy(scores, y, ignore_index=IGNORE, reduction="none")  # (B, h, w)
    if gamma:
        nats = nats * (-torch.expm1(-nats)).clamp(min=1e-12) ** gamma  # 1 − p; at p = 1 the power may be steep
    counted = y != IGNORE
    each = counted.to(nats.dtype)
    if class_weights is not None:
        each = each * class_weights.to(nats)[torch.where(counted, y, 0)]
    if pixel_weights is not None:
        each = each * pixel_weights.to(nats)
    return PerImage((nats * each).sum((1, 2)), each.sum((1, 2)).detach())


def dice(scores: Tensor, targets: Tensor, *, class_weights: Tensor | None = None, epsilon: float = 1.0) -> PerImage:
    """(B, K, h, w), (B, h, w) uint8 -> one minus the soft Dice coefficient, over the classes that an image shows.

    `epsilon` pixels are added above and below the line: a class of a few pixels does not jump between 0 and 1.
    """
    p, y = precise(scores).softmax(1), targets.long()
    p = p * (y != IGNORE)[:, None]
    g = (y[:, None] == torch.arange(scores.shape[1], device=y.device)[:, None, None]).to(p.dtype)  # (B, K, h, w)
    both, total = (p * g).sum((2, 3)), (p + g).sum((2, 3))  # (B, K)
    each = (g.sum((2, 3)) > 0).to(p.dtype)
    if class_weights is not None:
        each = each * class_weights.to(p)
    values = 1 - (2 * both + epsilon) / (total + epsilon)
    return PerImage((values * each).sum(1), each.sum(1).detach())


def term(found: PerImage, weights: Tensor, weight: float = 1.0) -> Term:
    """Of a batch whose images count `weights` (B,); one of weight 0 adds nothing, not even NaN."""
    w = weights.to(found.sums.dtype)
    return Term(torch.where(w > 0, found.sums * w, 0).sum(), (found.counts * w).sum().detach(), weight)

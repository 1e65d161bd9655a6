"""Losses as pure functions of raw outputs and targets, one value per example; the tasks sum and count them.

Everything is computed in fp32 at least, also inside bf16 autocast: a softmax in 8 bits of mantissa loses the small
probabilities. B examples, K classes, L labels, D numbers, F features.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hubel.types import Term


def precise(outputs: Tensor) -> Tensor:
    """fp64 stays, everything else becomes fp32."""
    return outputs if outputs.dtype == torch.float64 else outputs.float()


def term(values: Tensor, weights: Tensor, *, scale: Tensor | None = None, weight: float = 1.0) -> Term:
    """Σ wᵢ·vᵢ and Σ wᵢ·sᵢ over values (B, …), weights (B,) and scale like values (1 where it is None).

    `scale` is 0 where there is nothing to count (an unknown label) and the class weight where classes are weighted;
    it must be in `values` already. What an example of weight 0 holds never reaches the sum, not even as NaN.
    """
    w = weights.to(values.dtype).reshape(-1, *[1] * (values.dim() - 1))
    counted = w > 0 if scale is None else (w > 0) & (scale > 0)
    total = torch.where(counted, values * w, 0).sum()
    each = w if scale is None else w * scale.to(values.dtype)
    return Term(total, each.expand_as(values).sum().detach(), weight)


def cross_entropy(
    logits: Tensor, targets: Tensor, *, smoothing: float = 0.0, class_weights: Tensor | None = None
) -> Tensor:
    """−Σ_k c_k·q_k·ln softmax(z)_k with q = (1 − ε)·onehot(y) + ε/K. (B, K), (B,) -> (B,) nats.

    Label smoothing: arXiv:1512.00567, section 7. Class weights c must be divided out by Σ c_y (`term(scale=…)`).
    """
    logits = precise(logits)
    weights = None if class_weights is None else class_weights.to(logits)
    return F.cross_entropy(logits, targets, weight=weights, label_smoothing=smoothing, reduction="none")


def binary_cross_entropy(logits: Tensor, targets: Tensor, positive: Tensor | float = 1.0) -> Tensor:
    """−p·y·ln σ(z) − (1 − y)·ln(1 − σ(z)), p the weight of positives. Any shape -> the same shape, nats."""
    logits = precise(logits)
    y = targets.to(logits.dtype)
    # ln(1 − σ(z)) = −softplus(z): no overflow at either end
    return positive * y * F.softplus(-logits) + (1 - y) * F.softplus(logits)


def squared(outputs: Tensor, targets: Tensor) -> Tensor:
    """(z − t)², any shape: the negative log-likelihood under Gaussian noise, up to scale and a constant."""
    return (precise(outputs) - targets) ** 2


def huber(outputs: Tensor, targets: Tensor, delta: float = 1.0) -> Tensor:
    """e²/2 for |e| <= δ, δ·(|e| − δ/2) beyond: outliers pull with bounded force. Huber 1964."""
    outputs = precise(outputs)
    return F.huber_loss(outputs, targets.to(outputs.dtype), delta=delta, reduction="none")


def smooth_l1(outputs: Tensor, targets: Tensor, beta: float = 1.0) -> Tensor:
    """e²/2β for |e| <= β, |e| − β/2 beyond: the slope of |e|, without its corner. arXiv:1504.08083, section 2.3.

    Huber's loss divided by its δ; β is in the units of the targets.
    """
    outputs = precise(outputs)
    return F.smooth_l1_loss(outputs, targets.to(outputs.dtype), beta=beta, reduction="none")


def perceptron(activations: Tensor, targets: Tensor) -> Tensor:
    """D = −t·z for misclassified examples, 0 for the others; t in {−1, +1}, answer +1 where z > 0. (B,), (B,) -> (B,)

    z = 0 answers −1, so t = +1 is a mistake there with D = 0 and gradient −1: from zero weights a hinge that is flat
    at 0 would never start. Rosenblatt 1958.
    """
    activations = precise(activations)
    t = targets.to(activations.dtype)
    wrong = (activations > 0) != (t > 0)
    return torch.where(wrong, -t * activations, 0)


def perceptron_of_many(activations: Tensor, targets: Tensor) -> Tensor:
    """D = max_k z_k − z_y >= 0: the answer's weights move away from the image, those of its class towards it.

    (B, K), (B,) -> (B,). Kesler's construction, Duda & Hart 1973, section 5.12.
    """
    activations = precise(activations)
    answers = activations.argmax(1, keepdim=True)
    return (activations.gather(1, answers) - activations.gather(1, targets[:, None]))[:, 0]


def soft_bins(values: Tensor, low: Tensor, high: Tensor, bins: int) -> Tensor:
    """Shares of the two nearest of `bins` equally spaced centres from low to high, so that Σ share·centre = value.

    (B, D), (D,), (D,) -> (B, D, bins). Values outside [low, high] count as the nearest end.
    """
    place = ((values - low) / (high - low) * (bins - 1)).clamp(0, bins - 1)  # (B, D)
    centres = torch.arange(bins, dtype=place.dtype, device=place.device)
    return (1 - (place[..., None] - centres).abs()).clamp(min=0)


def bins_cross_entropy(logits: Tensor, values: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Cross-entropy between softmax(logits) and the soft bins of the values. (B, D, bins), (B, D) -> (B, D) nats."""
    logits = precise(logits)
    shares = soft_bins(values.to(logits.dtype), low.to(logits), high.to(logits), logits.shape[-1])
    return -(shares * logits.log_softmax(-1)).sum(-1)


def two_level_log_probabilities(
    features: Tensor, cluster_logits: Tensor, weight: Tensor, bias: Tensor, classes: int
) -> Tensor:
    """ln p(k) = ln p(cluster of k) + ln p(k | its cluster), for every class: (B, F), (B, C) -> (B, classes).

    weight (C, S, F) and bias (C, S): S classes in each of C clusters, class k = cluster k // S, place k % S; places
    beyond the last class don't exist.
    """
    within = torch.einsum("bf,csf->bcs", features, weight) + bias
    within = precise(within).masked_fill(~places(weight, classes), -torch.inf)
    joint = precise(cluster_logits).log_softmax(1)[..., None] + within.log_softmax(2)
    return joint.flatten(1)[:, :classes]


def two_level_nats(
    features: Tensor, cluster_logits: Tensor, weight: Tensor, bias: Tensor, classes: int, targets: Tensor
) -> Tensor:
    """−ln p(y) from the cluster logits and the logits within y's cluster alone: C + S of C·S. (B,), nats.

    Morin & Bengio 2005; two levels of √K as in Goodman 2001, arXiv:cs/0108006. Shapes as above, targets (B,).
    """
    size = weight.shape[1]
    cluster, place = targets // size, targets % size
    within = torch.einsum("bf,bsf->bs", features, weight[cluster]) + bias[cluster]
    within = precise(within).masked_fill(~places(weight, classes)[cluster], -torch.inf)
    return F.cross_entropy(precise(cluster_logits), cluster, reduction="none") + F.cross_entropy(
        within, place, reduction="none"
    )


def places(weight: Tensor, classes: int) -> Tensor:
    """(C, S) bool: which places hold a class."""
    clusters, size, _ = weight.shape
    return (torch.arange(clusters * size, device=weight.device) < classes).reshape(clusters, size)

"""Limits on gradients and weights, applied around the update of an optimiser, in place.

    clip_norm       g <- g * min(1, c / |g|), |g| over all parameters: the direction stays (arXiv:1211.5063)
    clip_value      g <- min(max(g, -c), c), number by number: the direction may turn
    max_norm        w <- w * min(1, c / |w|) for the incoming weights w of each unit (arXiv:1207.0580)
    soft_threshold  w <- sign(w) * max(|w| - lr * gain * l1, 0): the proximal step of the penalty l1 * |w|

A subgradient step on l1 * |w| jumps over zero and back; the proximal step stops there, exactly. With momentum a
constant gradient moves the weights by gain = (1 - dampening) / (1 - momentum) times the rate, so the threshold does,
too, and l1 means the same with and without. Adaptive rules rescale gradients but not thresholds (gain 1): there l1,
like decoupled weight decay, is no longer a term of the loss.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def weights(network: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """The parameters that penalties and constraints are about: (name, parameter), without biases and norms.

    A weight has two dimensions or more, isn't called "bias" and doesn't belong to a normalisation layer.
    """
    seen: set[int] = set()
    for prefix, module in network.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            is_weight = parameter.ndim >= 2 and name != "bias" and not isinstance(module, NORMS)
            if is_weight and id(parameter) not in seen:
                seen.add(id(parameter))
                yield (f"{prefix}.{name}" if prefix else name), parameter


def clip_norm(parameters: Iterable[nn.Parameter], largest: float) -> Tensor:
    """Scale all gradients together so that their norm is at most `largest`; returns the norm before, ()."""
    return nn.utils.clip_grad_norm_(parameters, largest)


def clip_value(parameters: Iterable[nn.Parameter], largest: float) -> None:
    """Cut every number of the gradients to [-largest, largest]."""
    nn.utils.clip_grad_value_(parameters, largest)


@torch.no_grad()
def max_norm(network: nn.Module, largest: float) -> None:
    """Scale the incoming weights of each unit (a row of a matrix, a filter) whose norm is above `largest`."""
    for _, weight in weights(network):
        weight.renorm_(2, 0, largest)


@torch.no_grad()
def soft_threshold(param_groups: Iterable[Mapping[str, Any]], l1: float) -> None:
    """One proximal L1 step, after the update: every weight moves by lr * gain * l1 towards zero and stops there.

    `param_groups` are an optimiser's; groups marked `"penalised": False` (biases, norms) stay as they are, and a
    group without a `"gain"` has 1.
    """
    for group in param_groups:
        if group.get("penalised", True):
            amount = float(group["lr"]) * group.get("gain", 1.0) * l1
            for parameter in group["params"]:
                parameter.copy_(F.softshrink(parameter, amount))

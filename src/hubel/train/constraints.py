"""Limits on gradients and weights, applied around the update of an optimiser, in place.

    clip_norm       g <- g * min(1, c / |g|), |g| over all parameters: the direction stays (arXiv:1211.5063)
    clip_value      g <- min(max(g, -c), c), number by number: the direction may turn
    max_norm        w <- w * min(1, c / |w|) for the incoming weights w of each unit (arXiv:1207.0580)
    soft_threshold  w <- sign(w) * max(|w| - lr * l1, 0): the proximal step of the penalty l1 * |w|

A subgradient step on l1 * |w| jumps over zero and back; the proximal step stops there, exactly.
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
    """The parameters that penalties and constraints are about: (name, parameter) without biases and norms.

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
    """One proximal L1 step, after the update: every weight moves by lr * l1 towards zero and stops there.

    `param_groups` are an optimiser's; groups marked `"penalised": False` (biases, norms) stay as they are.
    """
    for group in param_groups:
        if group.get("penalised", True):
            for parameter in group["params"]:
                parameter.copy_(F.softshrink(parameter, float(group["lr"]) * l1))

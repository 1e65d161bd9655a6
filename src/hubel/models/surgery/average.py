"""Several checkpoints as one network: the mean of their weights, with the statistics of batch norm measured anew.

    w = (w_1 + … + w_n) / n            arXiv:1803.05407

It needs checkpoints that lie in one valley: of one training, or of several from the same start. The mean of running
statistics belongs to none of these networks: activations of the averaged weights have statistics of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from hubel.errors import UserError


def average_weights(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of n state dicts, computed in float64, in the number format of the first; whole numbers are its own.

    Raises UserError where they don't belong to the same network, naming the tensor.
    """
    if not states:
        raise UserError("An average needs the weights of at least one network.")
    first = states[0]
    for i, other in enumerate(states[1:], 2):
        odd = first.keys() ^ other.keys() or {k for k in first if first[k].shape != other[k].shape}
        if odd:
            raise UserError(
                f"The weights of network {i} don't fit those of the first: '{min(odd)}' is missing in one of them "
                "or has another shape. Average checkpoints of one architecture with the same classes."
            )
    return {name: _mean([state[name] for state in states]) for name in first}


def _mean(values: list[Tensor]) -> Tensor:
    if not values[0].is_floating_point():
        return values[0].clone()
    total = values[0].double()
    for value in values[1:]:
        total = total + value.double().to(total.device)
    return (total / len(values)).to(values[0].dtype)


@torch.no_grad()
def measure_batchnorm(network: nn.Module, batches: Iterable[Tensor]) -> int:
    """Set every batch norm's statistics to those of `batches`, images (B, C, H, W) each, in place; returns the batches.

    Each batch counts equally, so give batches of one size, drawn from the training part and prepared as in evaluation.
    Only the norms are in training mode meanwhile: dropout drops nothing. Nothing changes where there is none.
    Raises UserError where there are norms and no batches.
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    if not norms:
        return 0
    modes = [(module, module.training, getattr(module, "momentum", None)) for module in network.modules()]
    network.eval()
    count = 0
    try:
        for count, images in enumerate(batches, 1):
            for norm in norms:
                if count == 1:
                    norm.reset_running_stats()
                norm.training, norm.momentum = True, None  # None: every batch weighs the same
            network(images)
    finally:
        for module, training, momentum in modes:
            module.training = training
            if isinstance(module, _BatchNorm):
                module.momentum = momentum
    if not count:
        raise UserError("Measuring the statistics of batch norm needs at least one batch of images.")
    return count


def averaged(network: Any, states: Sequence[Mapping[str, Tensor]], batches: Iterable[Tensor]) -> nn.Module:
    """`network`, in place, with the mean of `states` and statistics measured on `batches`."""
    network.load_state_dict(average_weights(states))
    measure_batchnorm(network, batches)
    return network

"""What one image costs: multiply-adds of convolutions and dense layers, counted by running a blank image.

conv: out_h · out_w · out_channels · (in_channels / groups) · k_h · k_w;  dense: in_features · out_features
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def multiply_adds(network: nn.Module, shape: tuple[int, int, int]) -> int:
    """Of one image (C, H, W), in evaluation mode. The network and the generators are left as they were."""
    total = 0

    def count(module: nn.Module, inputs: Any, output: Any) -> None:
        nonlocal total
        total += output[0].numel() * module.weight[0].numel()  # type: ignore[index]

    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    handles = [layer.register_forward_hook(count) for layer in layers]
    before, state = network.training, torch.get_rng_state()
    network.eval()
    try:
        with torch.no_grad():
            network(torch.zeros(1, *shape))
    finally:
        for handle in handles:
            handle.remove()
        network.train(before)
        torch.set_rng_state(state)
    return total

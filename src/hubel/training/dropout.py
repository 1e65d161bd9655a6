"""Monte Carlo dropout: predictions averaged over random masks at test time (arXiv:1506.02142).

The rule at test time is weight scaling: no unit is dropped, and each is scaled by the probability that it was kept
(inverted dropout scales in training instead). That is one pass and only approximates the average over masks; this is
the average itself, over as many masks as are asked for. Only dropout layers draw: batch norm keeps its statistics.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from hubel.errors import UserError


def dropout_layers(network: nn.Module) -> list[nn.Module]:
    """Those that drop something."""
    return [module for module in network.modules() if isinstance(module, _DropoutNd) and module.p > 0]


def check_dropout(network: nn.Module, name: str) -> None:
    """Raises UserError where there is nothing to sample."""
    if not dropout_layers(network):
        raise UserError(
            f"The network '{name}' has no dropout, so every pass gives the same. Train one that has it: --model mlp "
            "--model.dropout 0.5, for example."
        )


@contextmanager
def dropping(network: nn.Module, seed: int, part: int = 0) -> Iterator[None]:
    """Inside, dropout draws masks from `seed` in evaluation mode too; the program's own draws go on untouched.

    Images that are predicted one part after another draw from (seed, part): no two parts share their masks.
    """
    layers = dropout_layers(network)
    before = [layer.training for layer in layers]
    devices = [p.device for p in list(network.parameters())[:1] if p.device.type == "cuda"]
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed if not part else int(np.random.SeedSequence((seed, part)).generate_state(1)[0]))
        try:
            for layer in layers:
                layer.train()
            yield
        finally:
            for layer, mode in zip(layers, before, strict=True):
                layer.train(mode)

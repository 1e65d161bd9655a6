"""How the weights start. Each rule is w ~ N(0, v) with the variance v that keeps something constant over layers:

    lecun   v = 1 / n_in               the variance of the signal, through linear (and, with a gain, tanh) layers
    xavier  v = 2 / (n_in + n_out)     a compromise between the signal and the gradient (Glorot & Bengio 2010)
    he      v = 2 / n_in               the second moment, through ReLU layers (arXiv:1502.01852)
    normal  v = sigma^2                nothing; the old custom
    zero    v = 0                      nothing: units that start equal stay equal, only a single layer learns so
    dirac   a convolution starts as the identity on its first channels (arXiv:1706.00388); what is left is `he`

A gain g multiplies w: 5/3 for tanh, 1 where nothing is said. n_in = channels * height * width of one filter.
Biases start at 0, normalisation layers at scale 1 and shift 0.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from hubel.nn.activations import choice
from hubel.nn.local import LocallyConnected2d

INITIALISERS = ("zero", "normal", "xavier", "he", "lecun", "dirac")


@torch.no_grad()
def initialise(
    network: nn.Module, name: str, seed: int | None = None, *, sigma: float = 0.01, gain: float = 1.0
) -> None:
    """Set the weights of every convolution, locally connected and linear layer in place, by the rule `name`.

    The numbers are drawn on the CPU, in the order of the layers, so that a seed means the same on every device;
    without a seed they come from torch's global generator. Raises UserError for an unknown name.
    """
    choice("init", name, INITIALISERS)
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, (_ConvNd, nn.Linear, LocallyConnected2d)):
            noise = torch.randn(module.weight.shape, generator=generator)
            module.weight.copy_(_weights(module, noise, name, sigma, gain))
            if module.bias is not None:
                module.bias.zero_()
        elif isinstance(module, (_NormBase, nn.LayerNorm, nn.GroupNorm)):
            module.reset_parameters()


def fans(module: nn.Module) -> tuple[int, int]:
    """(n_in, n_out): how many inputs one output sees, and the other way round (without stride)."""
    weight: Tensor = module.weight  # type: ignore[assignment]
    groups = getattr(module, "groups", 1)
    if isinstance(module, LocallyConnected2d):  # at one place it is a convolution
        return weight.shape[1], module.out_channels * weight.shape[1] // module.in_channels
    first, second = weight.shape[0] // groups, weight.shape[1]
    field = weight[0, 0].numel()
    if getattr(module, "transposed", False):  # stored as (C_in, C_out / groups, h, w)
        return first * field, second * field
    return second * field, first * field


def _weights(module: nn.Module, noise: Tensor, name: str, sigma: float, gain: float) -> Tensor:
    n_in, n_out = fans(module)
    if name == "zero":
        return torch.zeros_like(noise)
    if name == "normal":
        return sigma * noise
    if name == "lecun":
        return gain * noise / math.sqrt(n_in)
    if name == "xavier":
        return gain * noise * math.sqrt(2 / (n_in + n_out))
    weights = gain * noise * math.sqrt(2 / n_in)
    return _identity(module, weights) if name == "dirac" and _plain_conv(module) else weights


def _plain_conv(module: nn.Module) -> bool:
    return isinstance(module, _ConvNd) and not module.transposed


def _identity(module: nn.Module, weights: Tensor) -> Tensor:
    """In each group, the first min(N, C) filters copy their input channel."""
    centre = tuple(size // 2 for size in weights.shape[2:])
    rows = weights.shape[0] // module.groups  # type: ignore[operator]
    for start in range(0, weights.shape[0], rows):
        for i in range(min(rows, weights.shape[1])):
            weights[start + i] = 0
            weights[(start + i, i, *centre)] = 1
    return weights


def he(layer: nn.Conv2d) -> nn.Conv2d:
    """The convolution, started by the rule `he`, its shift at 0."""
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def he_linear(n_in: int, n_out: int, sigma: float | None = None) -> nn.Linear:
    """A linear layer that starts by the rule `he`, or with the deviation `sigma`, its shift at 0.

    It is drawn once: torch's own start of 100 million weights, which would be thrown away, takes as long again.
    """
    layer = nn.utils.skip_init(nn.Linear, n_in, n_out, device=torch.get_default_device())
    nn.init.normal_(layer.weight, std=math.sqrt(2 / n_in) if sigma is None else sigma)
    nn.init.zeros_(layer.bias)
    return layer

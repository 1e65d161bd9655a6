"""Batch normalisation folded into the layer before it: at test time it is linear, so two linear maps become one.

    y = γ (W x + b − μ) / √(v + ε) + β  =  W' x + b',    W' = s W,  b' = s (b − μ) + β,  s = γ / √(v + ε)

arXiv:1502.03167. It needs a convolution or dense layer right before the norm that nobody else reads: a pre-activation
network, DenseNet, or a pooling between the two leaves norms that can't be folded.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from hubel.models.surgery.graph import followers
from hubel.nn.shared_norm import SharedBatchNorm

PLAIN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, SharedBatchNorm)


@dataclass(frozen=True)
class Folded:
    """A network in evaluation mode without the norms `folded`; the norms `left` could not be."""

    network: nn.Module
    folded: tuple[str, ...]
    left: tuple[str, ...]

    def words(self) -> str:
        """One sentence: how many were folded, how many stay."""
        if not self.folded and not self.left:
            return "no batch norm"
        stay = f", {len(self.left)} stay: no layer with weights right before them" if self.left else ""
        return f"{len(self.folded)} of {len(self.folded) + len(self.left)} batch norms folded{stay}"


def fold_batchnorm(network: nn.Module) -> Folded:
    """A copy of `network` in evaluation mode whose batch norms are folded where they can be.

    It computes the same in evaluation mode, up to rounding (1e-6 of the outputs in float64), and is not meant to be
    trained. The new weights are computed in float64. Which layer stands before a norm is read from the network's
    forward, and from chains of layers (`nn.Sequential`) where that can't be read.
    """
    found = copy.deepcopy(network).eval()
    norms = [name for name, module in found.named_modules() if isinstance(module, _BatchNorm)]
    folded = []
    for before, name in followers(found):
        layer, norm = found.get_submodule(before), found.get_submodule(name)
        if _foldable(layer) and _is_fixed(norm):
            fold(layer, norm)
            _replace(found, name, _rest(norm))
            folded.append(name)
    return Folded(found, tuple(folded), tuple(name for name in norms if name not in folded))


def _foldable(layer: nn.Module) -> bool:
    """Its weights are plain parameters: not computed from others, as weight normalisation does."""
    return isinstance(layer, (_ConvNd, nn.Linear)) and isinstance(layer._parameters.get("weight"), Tensor)


def _is_fixed(norm: nn.Module) -> bool:
    known = type(norm) in PLAIN or type(norm).__name__ == "BatchNormAct2d"  # timm's: norm, dropout, activation
    return known and isinstance(norm, _BatchNorm) and norm.running_var is not None


def _rest(norm: nn.Module) -> nn.Module:
    """What is left of a norm without its normalisation."""
    if hasattr(norm, "act") and hasattr(norm, "drop"):
        return nn.Sequential(norm.drop, norm.act)  # type: ignore[arg-type]
    return nn.Identity()


@torch.no_grad()
def fold(layer: nn.Module, norm: nn.Module) -> None:
    """Let `layer` (a convolution or dense layer) do what `norm` does behind it; `norm` stays as it is."""
    scale, shift = scale_and_shift(norm)
    old: Tensor = layer.weight  # type: ignore[assignment]
    bias: Tensor | None = layer.bias  # type: ignore[assignment]
    weight = _scaled(layer, old.double(), scale)
    moved = shift if bias is None else shift + scale * bias.double()
    layer.weight = nn.Parameter(weight.to(old.dtype), requires_grad=False)
    layer.bias = nn.Parameter(moved.to(old.dtype), requires_grad=False)


def scale_and_shift(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """(s, t), each (C,) float64: the norm computes s x + t in evaluation mode."""
    assert isinstance(norm, _BatchNorm)
    assert norm.running_var is not None
    assert norm.running_mean is not None
    scale = torch.rsqrt(norm.running_var.double() + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight.double()
    shift = -norm.running_mean.double() * scale
    return scale, shift if norm.bias is None else shift + norm.bias.double()


def _scaled(layer: nn.Module, weight: Tensor, scale: Tensor) -> Tensor:
    """Each output channel times its number. A transposed convolution keeps its outputs in the second axis."""
    if not isinstance(layer, _ConvTransposeNd):
        return weight * scale.view(-1, *[1] * (weight.dim() - 1))
    groups = layer.groups
    inside = weight.unflatten(0, (groups, -1))  # (C_in, C_out / g, …) -> (g, C_in / g, C_out / g, …)
    return (inside * scale.view(groups, 1, -1, *[1] * (weight.dim() - 2))).flatten(0, 1)


def _replace(network: nn.Module, name: str, module: nn.Module) -> None:
    owner, _, word = name.rpartition(".")
    setattr(network.get_submodule(owner), word, module.eval())

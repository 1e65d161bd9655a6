"""How a classifier ends: what it does on the last map, how it pools, what is linear in the pooled vector.

map (B, F, h, w) -> before (B, C, h, w) -> pool (B, C) -> after (B, K)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

from hubel.errors import UserError
from hubel.models.heads import Scale
from hubel.nn.pooling import AdaptiveAveragePool, GlobalAveragePool, GlobalMaxPool

AFFINE = (nn.Linear, nn.BatchNorm1d, Scale)  # in evaluation mode
NOTHING = (nn.Dropout, nn.Flatten, nn.Identity)  # to a vector, in evaluation mode
POOLS = {
    "average": (GlobalAveragePool, AdaptiveAveragePool, nn.AdaptiveAvgPool2d),
    "max": (GlobalMaxPool, nn.AdaptiveMaxPool2d),
}
FIT = (
    "Networks that end in pooling and one linear layer have such maps: resnet, densenet, googlenet, nin, mobilenet, "
    "efficientnet, convnet."
)


@dataclass(frozen=True, eq=False)
class Ending:
    """A head in three parts; `pool` is "average" or "max"."""

    before: nn.Sequential
    pool: str
    after: nn.Sequential


def ending(head: nn.Sequential, name: str) -> Ending:
    """The parts of a head that is a chain of layers; UserError where it doesn't end so, with the network's `name`."""
    layers = _flat(head)
    at = max((i for i, layer in enumerate(layers) if pool_of(layer)), default=None)
    if at is None:
        first = next((layer for layer in layers if isinstance(layer, nn.Flatten | nn.Linear)), layers[-1])
        raise refusal(name, f"it has no global pooling: behind {_word(first)} each place has weights of its own")
    after = [layer for layer in layers[at + 1 :] if not isinstance(layer, NOTHING)]
    bent = next((layer for layer in after if not isinstance(layer, AFFINE)), None)
    if bent is not None:
        raise refusal(name, f"{_word(bent)}, behind its pooling, is not linear")
    return Ending(nn.Sequential(*layers[:at]), pool_of(layers[at]), nn.Sequential(*after))


def refusal(name: str, why: str) -> UserError:
    return UserError(f"{name} has no class activation map: {why}. {FIT}")


def pool_of(layer: nn.Module) -> str:
    """The kind of a pooling to one cell, "average" or "max"; "" for any other layer."""
    to_one = getattr(layer, "output_size", getattr(layer, "side", 1)) in (1, (1, 1))
    for name, kinds in POOLS.items():
        if to_one and isinstance(layer, kinds):
            return name
    return ""


def _word(layer: nn.Module) -> str:
    return f"its layer {type(layer).__name__}"


def _flat(chain: Iterable[nn.Module]) -> list[nn.Module]:
    """The layers of nested chains, in order."""
    return [inner for layer in chain for inner in (_flat(layer) if isinstance(layer, nn.Sequential) else [layer])]

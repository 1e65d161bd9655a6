"""Auxiliary heads in the loss: L = L(outputs) + 0.3 Σ_i L(outputs of head i), in training only. arXiv:1409.4842.

Such heads read maps in the middle of a network (`Network.auxiliary`), so that gradients reach its early layers. They
are asked in training alone: what is evaluated, predicted or exported never pays for them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import Tensor

from hubel.types import Term

SHARE = 0.3  # of an auxiliary head's loss, as in the paper


def terms(network: Any, images: Tensor, name: str, term: Callable[[Any], Term]) -> dict[str, Term]:
    """`term` of the network's outputs as `name`, and of its auxiliary heads as auxiliary_1 …, all from one pass."""
    if not asked(network):
        return {name: term(network(images))}
    maps = network.maps(images)
    return {name: term(network.head(maps)), **early_terms(network, maps, term)}


def early_terms(network: Any, maps: Any, term: Callable[[Any], Term]) -> dict[str, Term]:
    """{auxiliary_1: `term` of the first auxiliary head's outputs, with its share of the loss, …}; {} where none is."""
    found = [term(outputs) for outputs in network.auxiliary(maps)] if asked(network) else []
    return {f"auxiliary_{i}": replace(one, weight=SHARE * one.weight) for i, one in enumerate(found, 1)}


def asked(network: Any) -> bool:
    """Whether the network is in training and may have auxiliary heads."""
    return bool(getattr(network, "training", False)) and hasattr(network, "auxiliary")

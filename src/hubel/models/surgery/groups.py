"""Layer groups: a network's parameters in groups from input to output, one for each map, then the head.

Group i holds the parameters that map i needs and map i − 1 does not; the last one what the head adds. Which these are
is read from the graph of one forward pass, so it holds whatever the layers are called:

    resnet:  stem … stages.0 | stages.1 | stages.2 | head
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hubel.errors import UserError
from hubel.models.options import Size


@dataclass(frozen=True)
class LayerGroup:
    """`name` for people: the part of the network, or "first … last" part; `parameters`: names, as in the state dict."""

    name: str
    parameters: tuple[str, ...]

    def of(self, network: nn.Module) -> list[nn.Parameter]:
        """The group's parameters in `network`, in its own order."""
        own = dict(network.named_parameters())
        return [own[name] for name in self.parameters]


def layer_groups(network: nn.Module, input: Size) -> tuple[LayerGroup, ...]:
    """Groups from input to output; together they hold every parameter once, in the order of `named_parameters`.

    `input` is (C, H, W), as the network was made for. A network without `maps` is cut into its children that have
    parameters. Raises UserError where there are none.
    """
    found = _by_maps(network, input) if hasattr(network, "maps") else _by_children(network)
    found = [names for names in found if names]
    if not found:
        raise UserError(f"{type(network).__name__} has no parameters, so there are no groups of layers.")
    return tuple(LayerGroup(_name(names, found), tuple(names)) for names in found)


def _by_maps(network: nn.Module, input: Size) -> list[list[str]]:
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    seen: set[str] = set()
    found = []
    for needed in _needed_by(network, input):
        new = {names[id(p)] for p in needed if id(p) in names} - seen
        found.append([name for name in names.values() if name in new])
        seen |= new
    return [*found, [name for name in names.values() if name not in seen]]


def _needed_by(network: Any, input: Size) -> list[list[Tensor]]:
    """For each map the parameters that it is computed from; frozen ones take part in the graph for the moment."""
    parameters = list(network.parameters())
    trained = [p.requires_grad for p in parameters]
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        for p in parameters:
            p.requires_grad_(True)
        like = parameters[0]
        images = torch.zeros(1, *input, device=like.device, dtype=like.dtype)
        with torch.enable_grad():
            return [list(_leaves(found)) for found in network.maps(images)]
    finally:
        for p, before in zip(parameters, trained, strict=True):
            p.requires_grad_(before)
        for module, training in modes:
            module.training = training


def _leaves(output: Tensor) -> Iterable[Tensor]:
    """Every tensor that `output` was computed from and whose gradient is kept."""
    todo, seen = [output.grad_fn], set()
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            yield node.variable
        todo += [before for before, _ in node.next_functions]


def _by_children(network: nn.Module) -> list[list[str]]:
    own = [name for name, _ in network.named_parameters(recurse=False)]
    return [own, *([f"{label}.{name}" for name, _ in child.named_parameters()]
                   for label, child in network.named_children())]  # fmt: skip


def _name(names: list[str], groups: list[list[str]]) -> str:
    """The largest part that holds none of another group's parameters; "first … last" where there are several."""
    others = [name for group in groups if group is not names for name in group]
    first, last = (_part(name, others) for name in (names[0], names[-1]))
    return first if first == last else f"{first} … {last}"


def _part(name: str, others: list[str]) -> str:
    words = name.split(".")
    for depth in range(1, len(words)):
        part = ".".join(words[:depth])
        if not any(other.startswith(f"{part}.") for other in others):
            return part
    return name

"""A network as a graph of calls (torch.fx), where its forward can be read so; what a layer's only follower is.

A layer that holds neither weights nor norms is one node, whatever it does inside. A forward that asks for values or
sizes can't be read without running it; then only what stands side by side in a plain `nn.Sequential` is known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

Pair = tuple[str, str]  # names of a layer and of the one that alone reads what it puts out


class Reader(fx.Tracer):
    """Goes into modules that hold layers with weights; all others are single nodes."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        inner = any(isinstance(part, (_ConvNd, nn.Linear, _BatchNorm)) for part in list(m.modules())[1:])
        return not (inner or is_chain(m))


def is_chain(module: nn.Module) -> bool:
    """Does it call its children in turn, one image through all?"""
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward


def graph_of(network: nn.Module) -> fx.Graph | None:
    """Of `network.forward` in the mode in which it is; None where it can't be read."""
    try:
        return Reader().trace(network)
    except Exception:  # a forward may do anything to what isn't a tensor yet
        return None


def followers(network: nn.Module) -> list[Pair]:
    """(a, b): module b, and nothing else, reads what module a puts out, and each is called once."""
    graph = graph_of(network)
    return list(_side_by_side(network) if graph is None else _in_graph(graph))


def _in_graph(graph: fx.Graph) -> Iterator[Pair]:
    calls = Counter(node.target for node in graph.nodes if node.op == "call_module")
    for node in graph.nodes:
        if node.op != "call_module" or len(node.users) != 1:
            continue
        user = next(iter(node.users))
        if user.op == "call_module" and user.args == (node,) and calls[node.target] == calls[user.target] == 1:
            yield str(node.target), str(user.target)


def _side_by_side(network: nn.Module) -> Iterator[Pair]:
    once = Counter(id(module) for _, module in network.named_modules(remove_duplicate=False))
    for name, module in network.named_modules():
        if not is_chain(module):
            continue
        children = list(module.named_children())
        for (a, first), (b, second) in pairwise(children):
            if once[id(first)] == once[id(second)] == 1:
                yield f"{name}.{a}".lstrip("."), f"{name}.{b}".lstrip(".")

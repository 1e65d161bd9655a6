"""Prediction in little memory: a map is thrown away once nothing reads it any more, or written over.

Nothing goes backwards after a prediction, so no map is needed twice. What is alive at once is then about the two
largest neighbours (three where a skip waits), no longer the sum over all layers that models/cost.py calls activations.

    maps that no layer reads      neither computed nor kept: the finer ones, where the head reads the coarsest alone
    activations, sums, products   written over what they read, where nothing else reads it
    a batch that is too large     in parts of as many images as fit

The numbers stay the same to the last bit; of parts, up to the order in which a library adds.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.pooling import _AvgPoolNd, _MaxPoolNd

from hubel.models.alive import peak_bytes
from hubel.models.cost import skeleton
from hubel.models.surgery.graph import graph_of
from hubel.nn.stochastic_depth import StochasticDepth

ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish, nn.Hardsigmoid, nn.LeakyReLU, nn.ELU, nn.CELU, nn.Mish)
OWN_MEMORY = (_ConvNd, nn.Linear, _BatchNorm, _AvgPoolNd, _MaxPoolNd)  # what they return is new, in evaluation mode
PASSED_ON = (nn.Identity, nn.Dropout, nn.Dropout2d, nn.Flatten, StochasticDepth)  # it may be what they were given
SUMS = (operator.add, operator.mul)
NEW = (*SUMS, torch.cat, torch.sigmoid, torch.relu)
Layers = Mapping[str, Any]


def lean(network: nn.Module, at_once: int | None = None) -> nn.Module:
    """`network`, in evaluation mode, with a forward that keeps no map longer than somebody reads it.

    It shares its weights with `network`, which stays as it is, and has its other methods; hooks on parts of it may see
    maps that are written over later. Larger batches run in parts of `at_once` images. Where gradients are wanted it
    computes as ever. A forward that can't be read, or that hooks listen to, runs as it is.
    """
    listened = any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    graph = None if network.training or listened or "forward" in vars(network) else _graph(network)
    run = network.forward if graph is None else _runner(graph, network)
    found = copy.copy(network)
    found._modules, plain = dict(network._modules), network.forward

    def forward(images: Tensor) -> Any:
        if torch.is_grad_enabled() or found.training:
            return plain(images)
        return run(images) if at_once is None or len(images) <= at_once else _in_parts(run, images, at_once)

    found.forward = forward
    found.__deepcopy__ = lambda memo: copy.deepcopy(network, memo)  # type: ignore[assignment]  # which owes nothing to this
    return found


def images_at_once(network: nn.Module, input: tuple[int, int, int], limit: int) -> int:
    """How many images (C, H, W) may run together so that their maps take at most `limit` bytes; at least one."""
    return max(1, limit // max(1, working_bytes(network, input)))


def working_bytes(network: nn.Module, input: tuple[int, int, int]) -> int:
    """What the maps of one image (C, H, W) take at most at one time, in bytes, where `network` runs lean.

    Raises what the network raises where it can't run on such images, or can't run without values.
    """
    return peak_bytes(lean(skeleton(network).eval()), torch.empty(1, *input, device="meta"))


def _in_parts(run: Callable[[Tensor], Any], images: Tensor, count: int) -> Any:
    found = [run(part) for part in images.split(count)]
    return torch.cat(found) if all(isinstance(one, Tensor) for one in found) else run(images)


# The graph ------------------------------------------------------------------------------------------------------------


def _graph(network: nn.Module) -> fx.Graph | None:
    """None also where a value was computed from weights while it was read: it would not follow them."""
    before = set(vars(network))
    graph = graph_of(network)
    computed = set(vars(network)) - before
    for name in computed:  # the reader left it there
        delattr(network, name)
    return None if computed else graph


def _runner(graph: fx.Graph, network: nn.Module) -> Callable[[Tensor], Any]:
    """The code of `graph` without what nobody reads; it lets go of each value behind its last reader."""
    graph.eliminate_dead_code(_has_effects)
    layers = dict[str, Any](network.named_modules())
    layers |= {**dict(network.named_parameters()), **dict(network.named_buffers())}
    order = {node: i for i, node in enumerate(graph.nodes)}
    memory = _memory(graph, layers)
    for node in graph.nodes:
        given = next((one for one in _candidates(node, layers) if _is_free(one, node, memory, order)), None)
        if given is not None:
            _write_over(node, given, layers)
    return fx.GraphModule(layers, graph).forward


def _has_effects(node: fx.Node) -> bool:
    """Is it there for more than what it returns? x += y and x.add_(y) are."""
    name = getattr(node.target, "__name__", str(node.target))
    inplace = node.op in ("call_function", "call_method") and (name.endswith("_") or hasattr(operator, f"__{name}__"))
    return node.op in ("placeholder", "output") or (inplace and (name.endswith("_") or name.startswith("i")))


def _memory(graph: fx.Graph, layers: Layers) -> dict[fx.Node, set[fx.Node | None]]:
    """For each value the nodes in whose memory it may lie; None among them: in memory that isn't this pass's own."""
    found: dict[fx.Node, set[fx.Node | None]] = {}
    for node in graph.nodes:
        kind = _kind(node, layers)
        found[node] = {node} if kind == "new" else set().union(*(found[one] for one in node.all_input_nodes))
        if kind == "unknown":
            found[node] |= {None}
    return found


def _kind(node: fx.Node, layers: Layers) -> str:
    """ "new": it returns memory of its own; "passed on": maybe what it was given; else "unknown"."""
    if node.op == "call_module":
        layer = layers[str(node.target)]
        if isinstance(layer, OWN_MEMORY) or (type(layer) in ACTIVATIONS and not layer.inplace):
            return "new"
        return "passed on" if type(layer) in PASSED_ON or type(layer) in ACTIVATIONS else "unknown"
    if node.op == "call_function":
        if node.target in NEW or (node.target is F.relu and not node.kwargs.get("inplace") and len(node.args) == 1):
            return "new"
        return "passed on" if node.target in (torch.flatten, operator.getitem) else "unknown"
    return "passed on" if node.op == "call_method" and node.target in ("flatten", "view", "reshape") else "unknown"


def _candidates(node: fx.Node, layers: Layers) -> Iterator[fx.Node]:
    """The arguments over which this step could write its result."""
    if node.op == "call_module" and type(layers[str(node.target)]) in ACTIVATIONS:
        yield from node.all_input_nodes
    elif node.op == "call_function" and _kind(node, layers) == "new" and node.target is not torch.cat:
        yield from (one for one in node.args if isinstance(one, fx.Node) and not node.kwargs)


def _is_free(value: fx.Node, reader: fx.Node, memory: Mapping[fx.Node, set[fx.Node | None]],
             order: Mapping[fx.Node, int]) -> bool:  # fmt: skip
    """Is `reader` the last that reads the memory in which `value` lies, and does it read nothing else of it?"""
    if None in memory[value]:
        return False
    sharing = [node for node, places in memory.items() if places & memory[value]]
    others = [one for one in reader.all_input_nodes if one is not value and one in sharing]
    return not others and all(order[user] <= order[reader] for node in sharing for user in node.users)


def _write_over(node: fx.Node, given: fx.Node, layers: dict[str, Any]) -> None:
    if node.op == "call_module":
        layer = copy.copy(layers[str(node.target)])
        layer.inplace = True
        node.target = f"written_over_{len(layers)}"
        layers[node.target] = layer
    elif node.target in SUMS:
        other = next((one for one in node.args if one is not given), given)
        node.target = sum_into if node.target is operator.add else product_into
        node.args = (given, other)
    else:
        node.target = torch.sigmoid_ if node.target is torch.sigmoid else torch.relu_


def sum_into(a: Tensor, b: Any) -> Tensor:
    """a + b, written over a where it has the shape and type of the sum."""
    return a.add_(b) if _fits(a, b) else a + b


def product_into(a: Tensor, b: Any) -> Tensor:
    """a · b, written over a where it has the shape and type of the product."""
    return a.mul_(b) if _fits(a, b) else a * b


def _fits(a: Any, b: Any) -> bool:
    if not isinstance(a, Tensor) or torch.result_type(a, b) != a.dtype:
        return False
    shape = b.shape if isinstance(b, Tensor) else ()
    return len(shape) <= a.ndim and all(n in (1, m) for n, m in zip(shape[::-1], a.shape[::-1], strict=False))

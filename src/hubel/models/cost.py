"""What a network costs, layer by layer: shapes, parameters, multiplications, memory, receptive fields.

multiplications: one for each multiply-add of convolutions and matrix products, per image; h_out · w_out · N · (C / g) ·
f · f for a convolution, n_in · n_out for a dense layer. Pooling, sums, activations and normalisation count 0.

Memory per image, in bytes as the network runs (float32: 4 a value):
    output       what the layer's output newly takes; 0 for views, and for what is written over its input
    activation   the same, but 0 for each function of single values (ReLU, dropout), since it can overwrite its input
    training     what autograd keeps of it for the way back, once: inputs of convolutions, positions of max pooling …

Nothing is computed: a pass on the device "meta" knows shapes only, so that the largest network answers at once.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from hubel.models import receptive_field
from hubel.models.base import Network
from hubel.models.receptive_field import Field
from hubel.models.trace import Entry, Key, Trace

N = TypeVar("N", bound=nn.Module)
T = TypeVar("T")
KINDS = ("convolution", "dense", "norm", "other")
Size = tuple[int, int, int]


@dataclass(frozen=True)
class Layer:
    """A layer in the order of the pass: a module, or a function that a larger module calls ("block.add()").

    `output` is its shape without the batch, None where the pass doesn't reach it (auxiliary heads); `field` None where
    it depends on no pixel, or nothing is known.
    """

    name: str
    type: str
    kind: str  # one of KINDS
    output: tuple[int, ...] | None
    parameters: int
    multiplications: int
    output_bytes: int
    activation_bytes: int
    training_bytes: int | None
    field: Field | None


@dataclass(frozen=True)
class Profile:
    """All layers of a network for one image of shape `input` (C, H, W)."""

    input: Size
    layers: tuple[Layer, ...]
    parameters: int
    idle_parameters: int  # that a prediction doesn't use: auxiliary heads
    input_bytes: int

    @property
    def multiplications(self) -> int:
        return sum(layer.multiplications for layer in self.layers)

    @property
    def output_bytes(self) -> int:
        """The image and every layer's output."""
        return self.input_bytes + sum(layer.output_bytes for layer in self.layers)

    @property
    def activation_bytes(self) -> int:
        """The same where activation functions write over their input."""
        return self.input_bytes + sum(layer.activation_bytes for layer in self.layers)

    @property
    def training_bytes(self) -> int | None:
        """What is kept for the way back; None where the network can't be run in training mode."""
        found = [layer.training_bytes for layer in self.layers]
        return None if any(one is None for one in found) else sum(one for one in found if one is not None)

    def by_kind(self, figure: str) -> dict[str, int]:
        """`figure` ("parameters", "multiplications") summed over each of KINDS."""
        return {kind: sum(getattr(one, figure) for one in self.layers if one.kind == kind) for kind in KINDS}


def profile(network: nn.Module, input: Size) -> Profile:
    """Of a network for one image (C, H, W). The network and the generators are left as they were.

    Where it can't run on shapes alone (it looks at values), a copy of it runs on a blank image. Raises what the network
    raises where it can't run at all.
    """
    evaluated, trained = _on_a_copy(network, lambda one: _passes(one, input))
    halves = None if trained is None else {key: entry.kept_bytes // 2 for key, entry in trained.entries.items()}
    layers = tuple(_layers(network, evaluated, halves))
    parameters = {name: p.numel() for name, p in network.named_parameters()}
    used = evaluated.used_parameters()
    idle = sum(count for name, count in parameters.items() if name not in used)
    return Profile(input, layers, sum(parameters.values()), idle, 4 * math.prod(input))


def multiply_adds(network: nn.Module, input: Size) -> int:
    """The multiplications alone, in evaluation mode."""
    # In inference mode layers would run whole, and the operations that are counted be missed.
    with torch.inference_mode(False), torch.no_grad():
        entries = _on_a_copy(network, lambda one: _evaluated(one, input)).entries.values()
    return sum(entry.multiplications for entry in entries)


def _on_a_copy(network: nn.Module, run: Callable[[nn.Module], T]) -> T:
    """What `run` makes of a copy without content; where it can't run so, of one with it."""
    try:
        return run(skeleton(network))
    except Exception:
        state = torch.get_rng_state()
        try:
            return run(copy.deepcopy(network).cpu())
        finally:
            torch.set_rng_state(state)


def map_fields(network: Network, input: Size) -> list[Field | None]:
    """The receptive fields of `network.maps`, finest first, for an image (C, H, W)."""
    network, image = skeleton(network).float().eval(), torch.empty(1, *input, device="meta")
    with torch.no_grad(), Trace(network, image, receptive_field.of_image(*input[1:])) as trace:
        return [trace.field_of(found) for found in network.maps(image)]


def skeleton(network: N) -> N:
    """A copy whose weights have shapes and no content."""
    memo: dict[int, Any] = {id(p): nn.Parameter(_hollow(p), p.requires_grad) for p in network.parameters()}
    memo |= {id(b): _hollow(b) for b in network.buffers()}
    return copy.deepcopy(network, memo)


def _hollow(tensor: Tensor) -> Tensor:
    return torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")


def _passes(network: nn.Module, input: Size) -> tuple[Trace, Trace | None]:
    """In evaluation mode for one image, then in training mode for two; None where that fails."""
    evaluated = _evaluated(network, input)
    try:
        return evaluated, _pass(network.train(), input, 2)
    except Exception:  # a network of the user's may want more of its batch
        return evaluated, None


def _evaluated(network: nn.Module, input: Size) -> Trace:
    with torch.no_grad():
        return _pass(network.eval(), input, 1)


def _pass(network: nn.Module, input: Size, count: int) -> Trace:
    device = next((p.device for p in network.parameters()), torch.device("meta"))
    image = torch.empty(count, *input, device="meta") if device.type == "meta" else torch.zeros(count, *input)
    with Trace(network, image, receptive_field.of_image(*input[1:])) as trace:
        if network.training and isinstance(network, Network) and hasattr(network, "auxiliary"):
            maps = network.maps(image)
            network.head(maps)
            network.auxiliary(maps)  # type: ignore[operator]
        else:
            network(image)
    return trace


def _layers(network: nn.Module, evaluated: Trace, kept: Mapping[Key, int] | None) -> Iterator[Layer]:
    """Those that the pass reached, in its order, then those with weights that it didn't."""
    weights = {name: sum(p.numel() for p in module.parameters(recurse=False))
               for name, module in network.named_modules()}  # fmt: skip
    for key, entry in evaluated.entries.items():
        yield _layer(key, entry, weights.pop(key[0], 0), kept)
    for name, module in network.named_modules():
        if weights.get(name):
            entry = Entry((name, "", 0), module, kind=kind_of(module))
            yield _layer(entry.key, entry, weights[name], kept)


def _layer(key: Key, entry: Entry, parameters: int, kept: Mapping[Key, int] | None) -> Layer:
    name, function, before = key
    label = ".".join(part for part in (name, f"{function}()" if function else "") if part)
    return Layer(
        name=f"{label}#{before + 1}" if before else label,
        type=function or type(entry.module).__name__,
        kind=entry.kind,
        output=entry.shape,
        parameters=parameters,
        multiplications=entry.multiplications,
        output_bytes=entry.output_bytes,
        activation_bytes=0 if entry.overwrites else entry.output_bytes,
        training_bytes=None if kept is None else kept.get(key, 0),
        field=entry.field,
    )


def kind_of(module: nn.Module) -> str:
    """One of KINDS, for a layer that the pass didn't reach."""
    names = [base.__name__ for base in type(module).__mro__]
    if "_ConvNd" in names:
        return "convolution"
    if "Linear" in names:
        return "dense"
    return "norm" if any("Norm" in name for name in names) else "other"

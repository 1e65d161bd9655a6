"""Class activation maps: which places of an image gave a class its logit. arXiv:1512.04150.

    M_c(y, x) = Σ_k w_ck f_k(y, x)        logit_c = mean of M_c + b_c

f_k are the maps that a network pools, w and b its linear layer. Exact, since the mean and a linear layer may change
places; so only for networks that end in average pooling and linear layers. With max pooling each f_k counts at its
highest place alone: the map is the same sum, but its mean isn't the logit.

images (B, C, H, W) -> maps (B, K, h, w), bias (K,), in units of logits
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hubel.errors import UserError
from hubel.explain.ending import FIT, ending, refusal
from hubel.explain.maps import Axis, Heat
from hubel.models.base import Head
from hubel.models.cost import map_fields
from hubel.tasks.hierarchical import HierarchicalHead
from hubel.training.evaluate import evaluating


@dataclass(frozen=True, eq=False)
class ClassMaps:
    """What each place gives to each output, and what the network answers."""

    maps: Tensor  # (B, K, h, w): mean over places + bias = outputs, where the network pools by the mean
    bias: Tensor  # (K,)
    outputs: Tensor  # (B, K)
    pool: str  # "average" or "max"


def class_maps(network: Any, images: Tensor, head: nn.Module | None = None) -> ClassMaps:
    """Of normalised `images` (B, C, H, W), in evaluation mode and without gradients; `head` where there are several.

    Raises UserError for a network that doesn't end in pooling and linear layers, saying what is in the way.
    """
    name = type(network).__name__
    head = _head_of(network, name) if head is None else head
    with evaluating(network):
        features = network.maps(images)[-1]
        outputs = head([features])
        if not isinstance(head, Head):
            return _measured(head, features, outputs, name)
        parts = ending(head, name)
        pooled = parts.before(features)  # (B, C, h, w)
        return _divided(parts.after, pooled, outputs, parts.pool)


def _head_of(network: Any, name: str) -> Any:
    if not all(hasattr(network, part) for part in ("maps", "head", "strides")):
        raise UserError(
            f"{name} has no `maps`, `strides` and `head`, so its last map can't be told from its classifier. Derive it "
            f"from hubel.models.base.Network. {FIT}"
        )
    if not network.strides:
        raise refusal(name, "it reads the pixels as a flat vector, without places")
    return network.head


def _divided(linear: Callable[[Tensor], Tensor], x: Tensor, outputs: Tensor, pool: str) -> ClassMaps:
    """`linear` (B, C) -> (B, K) of each cell of x (B, C, h, w), less its constant part."""
    bias = linear(torch.zeros_like(x[:1, :, 0, 0]))[0]
    cells = x.permute(0, 2, 3, 1)  # (B, h, w, C)
    maps = (linear(cells.flatten(0, 2)) - bias).unflatten(0, cells.shape[:3])
    return ClassMaps(maps.permute(0, 3, 1, 2), bias, outputs, pool)


def _measured(head: nn.Module, features: Tensor, outputs: Tensor, name: str) -> ClassMaps:
    """Of a head that isn't a chain of ours: each cell as a map of 1×1. UserError where these don't add up.

    Tried on noise, of more than one cell: on given images a head that bends may add up by chance, and on one cell any.
    """
    if isinstance(head, HierarchicalHead):
        raise refusal(name, "the softmax in two levels of its head is not linear")

    def one_by_one(vectors: Tensor) -> Tensor:
        return head([vectors[:, :, None, None]])

    noise = _noise(features)
    try:
        answer = head([noise])
    except RuntimeError as fault:
        raise refusal(name, "its head takes maps of one size only") from fault
    tried = _divided(one_by_one, noise, answer, "average")
    off = (tried.maps.mean((2, 3)) + tried.bias - answer).abs().max()
    if not off <= 1e-3 * answer.abs().max():
        raise refusal(name, "its head doesn't average the map and weigh the averages, so a map wouldn't add up to it")
    return _divided(one_by_one, features, outputs, "average")


def _noise(like: Tensor) -> Tensor:
    """(4, C, h, w) of both signs, of a small and a large size, h and w at least 2."""
    shape = (4, like.shape[1], *(max(2, side) for side in like.shape[2:]))
    sizes = torch.tensor([0.5, 1.0, 4.0, 16.0]).view(4, 1, 1, 1)
    return (torch.randn(shape, generator=torch.Generator().manual_seed(0)) * sizes).to(like)


def axes_of(network: Any, input: tuple[int, int, int], cells: tuple[int, int]) -> tuple[Axis, Axis]:
    """Where the cells (h, w) of the last map stand in an image (C, H, W): at the centres of their receptive fields.

    Where those can't be traced the cells share the image evenly.
    """
    try:
        field = map_fields(network, input)[-1]
    except Exception:  # a network of the user's may not run on shapes alone
        field = None
    if field is None or field.cells != cells:
        return Axis.stretched(cells[0], input[1]), Axis.stretched(cells[1], input[2])
    return Axis(field.rows.start, field.rows.jump), Axis(field.columns.start, field.columns.jump)


def cam(network: Any, images: Tensor, outputs: Tensor, head: nn.Module | None = None) -> Heat:
    """The map of output `outputs[i]` of each image i: images (B, C, H, W), outputs (B,) int64. See `class_maps`."""
    found = class_maps(network, images, head).maps
    values = found[torch.arange(len(images)), outputs]  # (B, h, w)
    _, *shape = images.shape
    return Heat(values, *axes_of(network, (shape[0], shape[1], shape[2]), (values.shape[1], values.shape[2])))

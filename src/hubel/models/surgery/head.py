"""A head for other classes on the maps of a network that exists."""

from __future__ import annotations

from typing import Any

from torch import nn

from hubel.errors import UserError


def replace_head(network: Any, classes: int | None = None, *, head: nn.Module | None = None) -> nn.Module:
    """Put a fresh head for `classes` outputs, or `head`, on `network`, in place; returns the new part.

    A network of hubel gets its family's own (`default_head`); another one a last linear layer of the new width. It
    takes over device, number format and memory format. Raises UserError for fewer than one class, and where no last
    layer is found.
    """
    if (classes is None) == (head is None):
        raise UserError("replace_head needs either `classes`, the number of outputs, or `head`, a module.")
    if classes is not None and classes < 1:
        raise UserError(f"A head needs at least 1 output, got {classes}.")
    name: str
    old: Any
    if hasattr(network, "default_head"):
        name, old = "head", network.head
        new = network.default_head(classes) if head is None else head
    else:
        name, old = _last_layer(network)
        new = _like(old, classes) if head is None else head
    like = next(iter(old.parameters()), next(iter(network.parameters()), None))
    if like is not None:
        new = new.to(like.device, like.dtype)
    new.train(network.training)
    owner, _, word = name.rpartition(".")
    setattr(network.get_submodule(owner), word, new)
    return new


def _last_layer(network: nn.Module) -> tuple[str, nn.Module]:
    layers = [(name, m) for name, m in network.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    if not layers or not layers[-1][0]:
        raise UserError(f"{type(network).__name__} has no last linear layer that could be replaced. Give the network a "
                        "method `default_head(classes)`, or replace its last layer yourself.")  # fmt: skip
    return layers[-1]


def _like(old: Any, classes: int | None) -> nn.Module:
    if isinstance(old, nn.Linear):
        return nn.Linear(old.in_features, classes or 1, bias=old.bias is not None)
    return nn.Conv2d(old.in_channels, classes or 1, old.kernel_size, old.stride, old.padding, bias=old.bias is not None)

"""Weights that were found, put into a network: renamed, what fits copied, what does not fit refused."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from hubel.errors import UserError
from hubel.models.conventions import check_convention
from hubel.models.weights import Weights

MAY_BE_FRESH = ("head.", "aux")  # what reads the maps: for other classes it is another


def renamed(weights: Weights, function: Callable[..., Any], network: nn.Module) -> Weights:
    """Under the names of `network`: the file's own, or those of the library whose table makes most of them fit."""
    own = network.state_dict()
    peers = getattr(function, "peers", {})
    candidates = [dict(weights.state)]
    for peer in peers.values():
        try:
            candidates.append(peer.renaming.state_to_ours(weights.state))
        except UserError:  # two names became one: a table of another file
            continue
    return replace(weights, state=max(candidates, key=lambda state: len(_fitting(state, own))))


def put_into(network: nn.Module, function: Callable[..., Any], weights: Weights) -> tuple[str, ...]:
    """`put` into the network of a model function, or into its encoder, whichever more of the tensors fit.

    `function` is the encoder's own where there is one (`encoder_of`). Raises UserError as `put` does.
    """
    whole, encoder = renamed(weights, function, network), getattr(network, "encoder", None)
    if not isinstance(encoder, nn.Module):
        return put(network, whole)
    part = renamed(weights, function, encoder)
    if len(_fitting(whole.state, network.state_dict())) >= len(_fitting(part.state, encoder.state_dict())):
        return put(network, whole)
    fresh = {f"encoder.{name}" for name in put(encoder, part)}
    return tuple(k for k, _ in network.named_parameters() if k in fresh or not k.startswith("encoder."))


def encoder_of(function: Callable[..., Any], chosen: Any = None) -> Callable[..., Any]:
    """The function of the network whose weights a model function takes: `chosen`, or its own encoder, or itself."""
    parameter = inspect.signature(function).parameters.get("encoder")
    if parameter is None or not callable(parameter.default):
        return function
    return parameter.default if chosen is None else chosen


def put(network: nn.Module, weights: Weights) -> tuple[str, ...]:
    """Copy the tensors into `network`; returns the names of the parameters that did not come with them (the head's).

    Raises UserError where a tensor before the head is missing or has another shape: the network is another one; or
    where it fits in all shapes, but was trained with other padding.
    """
    own = network.state_dict()
    fitting = _fitting(weights.state, own)
    left = [k for k in own if k not in fitting and not k.endswith("num_batches_tracked")]
    wrong = [name for name in left if not name.startswith(MAY_BE_FRESH)]
    if wrong or not fitting:
        raise UserError(_misfit(wrong or left, weights, own))
    check_convention(network, weights.architecture, weights.source)
    network.load_state_dict(fitting, strict=False)
    parameters = {name for name, _ in network.named_parameters()}
    return tuple(name for name in left if name in parameters)


def _fitting(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    shaped = {k: _as_dense(v, own[k]) for k, v in state.items() if k in own}
    return {k: v for k, v in shaped.items() if own[k].shape == v.shape}


def _as_dense(value: Tensor, like: Tensor) -> Tensor:
    """(K, F, 1, 1) -> (K, F): some write a dense layer as a 1×1 convolution, timm's resnetv2 among them.

    And (K, F · h · w) -> (K, F, h, w): a dense layer that slides, as in models/fcn.py.
    """
    if value.ndim == 2 and like.ndim == 4 and value.shape == like.flatten(1).shape:
        return value.view(like.shape)
    return value.flatten(1) if (*like.shape, 1, 1) == value.shape and like.ndim == 2 else value


def _misfit(wrong: list[str], weights: Weights, own: Mapping[str, Tensor]) -> str:
    name = wrong[0]
    here, there = tuple(own[name].shape), weights.state.get(name)
    what = f"no tensor '{name}'" if there is None else f"'{name}' with shape {tuple(there.shape)}; this one has {here}"
    return (
        f"{weights.source} belongs to another network: it has {what} ({len(wrong)} of {len(own)} tensors don't fit). "
        "Choose the --model and its options that the weights were trained with."
    )

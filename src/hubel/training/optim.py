"""Optimisers by name: torch's own, fused where it has them, with decoupled weight decay for every one of them.

With g the gradient plus l2 * w, and w <- w * (1 - lr * weight_decay) before each step (arXiv:1711.05101):

    sgd       w <- w - lr * g
    momentum  v <- momentum * v + (1 - dampening) * g;  w <- w - lr * v        (v starts at the first g)
    nesterov  the same v;  w <- w - lr * (g + momentum * v)
    rmsprop   s <- alpha * s + (1 - alpha) * g^2;  w <- w - lr * g / (sqrt(s) + eps)
    adam      m, s averages of g and g^2 (beta1, beta2);  w <- w - lr * m' / (sqrt(s') + eps), where m' and s' are
              copies corrected by 1 / (1 - beta^t)
    adamw     adam with a decay of 0.01
    muon      see muon.py for hidden layers; the first layer, the last one, biases and norms are moved by its
              companion, adamw, or nesterov with the same rate and momentum

Biases and normalisation layers are neither decayed nor penalised, unless `decay_all`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from torch import nn

from hubel.errors import UserError
from hubel.nn.activations import choice
from hubel.training.constraints import weights
from hubel.training.muon import FlatMuon
from hubel.training.optimizer import Group, Optimizer

if TYPE_CHECKING:
    from hubel.recipe import OptimizerOptions

FUSED_DEVICES = ("cpu", "cuda")
DEFAULTS: dict[str, dict[str, float]] = {  # where an option is left open
    "sgd": {"lr": 0.1},
    "momentum": {"lr": 0.05, "momentum": 0.9, "dampening": 0.0},
    "nesterov": {"lr": 0.05, "momentum": 0.9},
    "rmsprop": {"lr": 1e-3, "alpha": 0.99, "eps": 1e-8, "momentum": 0.0},
    "adam": {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
    "adamw": {"lr": 2e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.01},
    "muon": {"lr": 2e-3, "momentum": 0.95, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.01},
}
Named = list[tuple[str, nn.Parameter]]


def create_optimizer(
    network: nn.Module,
    options: OptimizerOptions,
    only: Collection[int] | None = None,
    rates: Mapping[int, float] | None = None,
) -> Optimizer:
    """The optimiser that `options` describe, over the parameters of `network` that need a gradient.

    `only` restricts it to parameters with these ids, for tasks with several optimisers in turn. `rates`: the rate of
    parameters by their ids, as a share of the option's; 1 for those that it leaves out. Raises UserError
    for an unknown name, where nothing is left to train, and for Muon without hidden layers.
    """
    name = options.name or "adamw"
    choice("optimizer.name", name, tuple(DEFAULTS))
    value = _values(name, options)
    if name == "nesterov" and not value["momentum"]:
        raise UserError("Nesterov looks ahead along the momentum, which is 0. Choose optimizer.momentum 0.9, or sgd.")
    named = [(n, p) for n, p in network.named_parameters() if p.requires_grad and (only is None or id(p) in only)]
    if not named:
        raise UserError("There is nothing to train: no parameter of the network needs a gradient. Unfreeze some.")
    penalised = {id(p) for _, p in weights(network)} if not options.decay_all else {id(p) for _, p in named}

    def groups(parameters: Named) -> list[Group]:
        return _groups(parameters, penalised, value, rates or {})

    if name == "muon":
        hidden = {id(p) for p in hidden_weights(network)}
        matrices = [(n, p) for n, p in named if id(p) in hidden]
        rest = [(n, p) for n, p in named if id(p) not in hidden]
        scale = "original" if options.companion == "nesterov" else "match_rms_adamw"
        if not matrices and only is None:
            raise UserError("Muon moves weights between the first layer and the last: there are none. Choose adamw.")
        parts = [FlatMuon(groups(matrices), value["lr"], value["momentum"], scale=scale)] if matrices else []
        return Optimizer([*parts, *_companion(rest, penalised, value, options, rates or {})], {p: n for n, p in named})
    return Optimizer([PARTS[name](groups(named), value)], {p: n for n, p in named})


def _companion(
    rest: Named,
    penalised: Collection[int],
    value: Mapping[str, float],
    options: OptimizerOptions,
    rates: Mapping[int, float],
) -> list[torch.optim.Optimizer]:
    """What moves the parameters that are no hidden matrices; Nesterov's leaves the decay to the matrices."""
    if not rest:
        return []
    if options.companion == "nesterov":
        return [_sgd(_groups(rest, penalised, {**value, "weight_decay": 0.0}, rates), value, nesterov=True)]
    return [_adam(_groups(rest, penalised, value, rates), value)]


def hidden_weights(network: nn.Module) -> list[nn.Parameter]:
    """The weights between the first layer and the last one of the head: Muon's share."""
    found = [p for _, p in weights(network)]
    head = getattr(network, "head", None)
    last = ([p for _, p in weights(head)] if isinstance(head, nn.Module) else found)[-1:]
    return [p for p in found[1:] if all(p is not q for q in last)]


def _values(name: str, options: OptimizerOptions) -> dict[str, float]:
    """Every number of the update rule: the option, or its default for this rule, or 0."""
    keys = ("lr", "momentum", "dampening", "beta1", "beta2", "alpha", "eps", "weight_decay", "l2")
    given = {key: getattr(options, key) for key in keys}
    return {key: DEFAULTS[name].get(key, 0.0) if v is None else float(v) for key, v in given.items()}


def _groups(
    parameters: Named, penalised: Collection[int], value: Mapping[str, float], rates: Mapping[int, float]
) -> list[Group]:
    """Two for each rate, from the lowest to the highest: what is decayed and penalised, and what is not."""
    found: list[Group] = []
    for rate in sorted({rates.get(id(p), 1.0) for _, p in parameters}):
        own = [p for _, p in parameters if rates.get(id(p), 1.0) == rate]
        kept, free = [p for p in own if id(p) in penalised], [p for p in own if id(p) not in penalised]
        lr = value["lr"] * rate
        decay = {"decay": value["weight_decay"], "weight_decay": value["l2"], "penalised": True}
        found.append({"params": kept, "lr": lr, **decay})
        found.append({"params": free, "lr": lr, "decay": 0.0, "weight_decay": 0.0, "penalised": False})
    return [group for group in found if group["params"]]


def _sgd(groups: list[Group], value: Mapping[str, float], nesterov: bool = False) -> torch.optim.Optimizer:
    for group in groups:  # how far a constant gradient moves the weights in the end, in rates
        group["gain"] = (1 - value["dampening"]) / (1 - value["momentum"])
    return torch.optim.SGD(
        groups,
        lr=value["lr"],
        momentum=value["momentum"],
        dampening=value["dampening"],
        nesterov=nesterov,
        fused=_fused(groups),
    )


def _rmsprop(groups: list[Group], value: Mapping[str, float]) -> torch.optim.Optimizer:
    return torch.optim.RMSprop(
        groups, lr=value["lr"], alpha=value["alpha"], eps=value["eps"], momentum=value["momentum"]
    )


def _adam(groups: list[Group], value: Mapping[str, float]) -> torch.optim.Optimizer:
    betas = (value["beta1"], value["beta2"])
    return torch.optim.Adam(groups, lr=value["lr"], betas=betas, eps=value["eps"], fused=_fused(groups))


PARTS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": _sgd,
    "momentum": _sgd,
    "nesterov": lambda groups, value: _sgd(groups, value, nesterov=True),
    "rmsprop": _rmsprop,
    "adam": _adam,
    "adamw": _adam,
}


def _fused(groups: list[Group]) -> bool:
    return all(p.device.type in FUSED_DEVICES and p.is_floating_point() for p in _all(groups))


def _all(groups: list[Group]) -> Iterator[nn.Parameter]:
    for group in groups:
        yield from group["params"]

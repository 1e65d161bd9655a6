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
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hubel.errors import UserError
from hubel.nn.activations import choice
from hubel.training.constraints import weights
from hubel.training.muon import FlatMuon

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
Group = dict[str, Any]  # {"params": [...], "decay": decoupled, "weight_decay": l2, "penalised": bool, "gain": float}
Named = list[tuple[str, nn.Parameter]]


class Optimizer:
    """One or several torch optimisers that step together.

    Set `group["lr"] = group["initial_lr"] * factor` on `param_groups` before a step. Each group also tells whether
    penalties reach it (`"penalised"`).
    """

    def __init__(self, parts: list[torch.optim.Optimizer], names: Mapping[Any, str]):
        self.parts = parts
        self.names: dict[Tensor, str] = dict(names)
        for group in self.param_groups:
            group["initial_lr"] = group["lr"]

    @property
    def param_groups(self) -> list[Group]:
        return [group for part in self.parts for group in part.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        if not set_to_none:
            for part in self.parts:
                part.zero_grad(set_to_none=False)
        for group in self.param_groups if set_to_none else ():  # without the profiler's marks around each part
            for p in group["params"]:
                p.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Decay the weights, then let each part take its step along the gradients in `p.grad`."""
        for group in self.param_groups:
            live = [p for p in group["params"] if p.grad is not None] if group["decay"] else []
            if live:
                torch._foreach_mul_(live, 1 - float(group["lr"]) * group["decay"])
        for part in self.parts:
            if part.defaults.get("fused"):
                make_fusable(part)
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """{"state": {parameter's name: {entry: tensor}}, "groups": [plain values]}; the tensors are live."""
        state: dict[str, dict[str, Any]] = {}
        for part in self.parts:
            for parameter, entries in part.state.items():
                state[self.names[parameter]] = {k: _contiguous(v) for k, v in entries.items() if v is not None}
        groups = [{k: v for k, v in group.items() if k in SAVED} for group in self.param_groups]
        return {"state": state, "groups": groups}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore exactly what `state_dict` gave, on this network's device and in its memory format."""
        saved = {name for name, entries in state["state"].items() if entries}
        if not saved <= set(self.names.values()) or len(state["groups"]) != len(self.param_groups):
            raise UserError("The saved optimiser belongs to another network or another update rule: it knows "
                            f"{len(saved)} parameters in {len(state['groups'])} groups, this one has "
                            f"{len(self.names)} in {len(self.param_groups)}. Resume with the settings of the run, or "
                            "start a new run from its weights.")  # fmt: skip
        for part in self.parts:
            part.state.clear()
            for parameter in [p for group in part.param_groups for p in group["params"]]:
                entries = state["state"].get(self.names[parameter], {})
                if entries:
                    part.state[parameter] = {k: _restored(part, parameter, k, v) for k, v in entries.items()}
        for group, values in zip(self.param_groups, state["groups"], strict=True):
            group.update(values)


SAVED = ("lr", "initial_lr")  # everything else in a group comes from the options


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


def make_fusable(optimizer: torch.optim.Optimizer) -> None:
    """Fused kernels pair numbers by their place in memory, unchecked: give gradients their weights' strides.

    A parameter whose first gradient comes late also needs the velocity that the others have by then.
    """
    state = optimizer.state
    for group in optimizer.param_groups:
        live = [p for p in group["params"] if p.grad is not None]
        for p in [p for p in live if p.grad.stride() != p.stride()]:
            p.grad = torch.empty_like(p).copy_(p.grad)
        if group.get("momentum") and len(state) > 0:
            first = group["dampening"] / group["momentum"]  # momentum * v + (1 - dampening) * g = g
            for p in [p for p in live if p not in state or "momentum_buffer" not in state[p]]:
                state[p]["momentum_buffer"] = p.grad * first


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


def _contiguous(value: Any) -> Any:
    return value.contiguous() if isinstance(value, Tensor) else value


def _restored(part: torch.optim.Optimizer, parameter: nn.Parameter, key: str, value: Any) -> Any:
    """A tensor of the state as the optimiser wants it: the parameter's strides; `step` on its device if fused."""
    if not isinstance(value, Tensor):
        return value
    if key == "step":
        return value.clone().to(parameter.device if part.defaults.get("fused") else "cpu")
    if value.shape == parameter.shape and not isinstance(part, FlatMuon):
        return torch.empty_like(parameter).copy_(value)
    return value.to(parameter.device, copy=True)

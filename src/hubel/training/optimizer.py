"""Several torch optimisers that step together: decoupled decay for each, and a state by the names of weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hubel.errors import UserError
from hubel.training.muon import FlatMuon

Group = dict[str, Any]  # {"params": [...], "decay": decoupled, "weight_decay": l2, "penalised": bool, "gain": float}
SAVED = ("lr", "initial_lr")  # everything else in a group comes from the options


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

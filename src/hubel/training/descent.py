"""One step down the loss: gradient, limits, update, running average; what is done where memory or numbers run out.

A task with several players (a GAN) has several movers, which step in turn on the same batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hubel.errors import UserError
from hubel.models.base import Network
from hubel.recipe import Recipe
from hubel.tasks.base import Player, Task
from hubel.training import constraints, distributed
from hubel.training.monitor import NotFiniteError, first_not_finite
from hubel.training.optim import create_optimizer
from hubel.training.optimizer import Optimizer
from hubel.training.polyak import Mean, create_average
from hubel.training.step import Trainee, gradients
from hubel.types import Batch

LOWER = 0.1  # the rate after fp32 did not help


@dataclass
class Mover:
    """One optimiser, and the loss that it descends."""

    trainee: nn.Module  # maybe wrapped for several processes
    plain: Trainee
    optimizer: Optimizer


def _last(network: nn.Module) -> nn.Module:
    """What gives the outputs: the head of a network of hubel, which tasks may call by itself, or the network."""
    whole = isinstance(network, Network) and type(network).forward is Network.forward
    return network.head if whole else network  # type: ignore[return-value]


class KeptOutputs:
    """A hook: the outputs of the pass that gave the loss also give the training metric, at no second pass."""

    def __init__(self) -> None:
        self.outputs: Any = None

    def __call__(self, module: nn.Module, inputs: Any, outputs: Any) -> None:
        if module.training:
            self.outputs = outputs

    def __deepcopy__(self, memo: Any) -> KeptOutputs:
        return KeptOutputs()  # a copied network keeps its own


class Descent:
    """Moves the network's weights. `say` receives what the user should know."""

    def __init__(
        self,
        network: nn.Module,
        task: Task,
        recipe: Recipe,
        device: torch.device,
        say: Callable[[str], None],
        rates: Mapping[int, float] | None = None,
    ):
        self.rates = rates or {}  # of parameters by their ids, as shares; see training/transfer.py
        self.network, self.recipe, self.device, self.say = network, recipe, device, say
        self.micro_batch, self.precision, self.lr_scale = recipe.micro_batch, recipe.precision, 1.0
        self.watchful = device.type == "cpu"  # look at each loss before the step; on a GPU a look is a wait
        self._kept, self._hooks = KeptOutputs(), list[Any]()
        self.movers = self._make_movers(task)
        self.ema = create_average(network, recipe.regularize)

    def _make_movers(self, task: Task) -> list[Mover]:
        players = task.players() or (Player("all", lambda network: network.parameters(), task.loss),)
        movers = []
        for player in players:
            plain = Trainee(self.network, task, player.loss)
            chosen = {id(p) for p in player.parameters(self.network)}
            optimizer = create_optimizer(self.network, self.recipe.optimizer, chosen, self.rates)
            # players share parameters, and the hooks of two wrappers on one parameter disturb each other
            trainee = plain if len(players) > 1 else distributed.wrap(plain, self.device)
            movers.append(Mover(trainee, plain, optimizer))
        if len(players) == 1:
            self._hooks.append(_last(self.network).register_forward_hook(self._kept))
        return movers

    def take_over(self, before: Descent) -> None:
        """Go on from another stage's: its running average, and what was changed where memory or numbers ran out."""
        for hook in before._hooks:
            hook.remove()
        self.set_rescue(before.rescue())
        self.watchful = before.watchful
        if self.ema is not None and before.ema is not None:
            self.ema.load_state_dict(before.ema.state_dict())

    def lasts(self, steps: int) -> None:
        """The training has so many steps: a mean over its last part begins accordingly."""
        if isinstance(self.ema, Mean):
            self.ema.skip = steps - max(round((self.recipe.regularize.mean or 0.0) * steps), 1)

    def outputs(self, size: int) -> Tensor | None:
        """The last step's outputs (size, …), where one pass of the network gave them."""
        found = self._kept.outputs
        return found.detach() if torch.is_tensor(found) and len(found) == size else None

    def rate(self) -> float:
        """The highest where layers have different ones."""
        return max(float(group["lr"]) for group in self.movers[0].optimizer.param_groups)

    def averaged(self) -> AbstractContextManager:
        """Inside, the network holds the weights that would be kept now: the running average where there is one."""
        return self.ema.swap(self.network) if self.ema is not None else nullcontext()

    def autocast(self) -> AbstractContextManager:
        if self.precision == "bf16":
            return torch.autocast(self.device.type, torch.bfloat16)
        return nullcontext()

    # The step ---------------------------------------------------------------------------------------------

    def step(self, batch: Batch, factor: float, number: int) -> dict[str, Tensor]:
        """Let each mover descend on `batch` with its rate times `factor`; the terms' values, on the device.

        Raises NotFiniteError before the weights are touched, where losses are looked at.
        """
        losses: dict[str, Tensor] = {}
        for mover in self.movers:
            for group in mover.optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor * self.lr_scale
            found = self._gradients(mover, batch)
            if self.watchful and not all(math.isfinite(loss.item()) for loss in found.values()):
                raise NotFiniteError(first_not_finite(mover.plain, batch, self.autocast), number)
            self._update(mover)
            losses |= found
        distributed.share_buffers(self.network)
        if self.ema is not None:
            self.ema.update(self.network)
        return losses

    def _update(self, mover: Mover) -> None:
        limits, l1 = self.recipe.regularize, self.recipe.optimizer.l1
        own = [p for group in mover.optimizer.param_groups for p in group["params"]]  # not another player's
        if limits.clip_value is not None:
            constraints.clip_value(own, limits.clip_value)
        if limits.clip_norm is not None:
            constraints.clip_norm(own, limits.clip_norm)
        mover.optimizer.step()
        if l1:
            constraints.soft_threshold(mover.optimizer.param_groups, l1)
        if limits.max_norm is not None:
            constraints.max_norm(mover.plain.network, limits.max_norm)

    def _gradients(self, mover: Mover, batch: Batch) -> dict[str, Tensor]:
        """The gradient; where memory runs out, the same step again in halves, and so from then on."""
        while True:
            for other in self.movers:
                other.optimizer.zero_grad(set_to_none=True)
            self._kept.outputs = None
            try:
                return gradients(mover.trainee, batch, micro_batch=self.micro_batch, autocast=self.autocast)
            except RuntimeError as fault:
                size = min(self.micro_batch or len(batch), len(batch))
                if not _out_of_memory(fault) or size == 1 or distributed.world() > 1:
                    raise
            self.micro_batch = (size + 1) // 2
            self.say(
                f"Out of memory with {size} images a pass: from here on {self.micro_batch}, added up. The step is the "
                "same; batch norm sees the smaller passes."
            )
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    # What it remembers, and being more careful ------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        return {
            "network": dict(self.network.state_dict()),
            "optimizers": [mover.optimizer.state_dict() for mover in self.movers],
            "rescue": self.rescue(),
            "ema": self.ema.state_dict() if self.ema is not None else None,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        for mover, saved in zip(self.movers, state["optimizers"], strict=True):
            mover.optimizer.load_state_dict(saved)
        self.set_rescue(state["rescue"])
        if self.ema is not None and state["ema"] is not None:
            self.ema.load_state_dict(state["ema"])

    def rescue(self) -> dict[str, Any]:
        return {"micro_batch": self.micro_batch, "precision": self.precision, "lr_scale": self.lr_scale}

    def set_rescue(self, saved: Mapping[str, Any]) -> None:
        self.micro_batch, self.precision, self.lr_scale = (saved[k] for k in ("micro_batch", "precision", "lr_scale"))

    def more_careful(self, fault: NotFiniteError) -> str:
        """What to change after the last good checkpoint: fp32, then once a lower rate, then give up (UserError).

        Empty where only the eyes are opened: the same way again, to learn which module went bad.
        """
        if not self.watchful:
            self.watchful = True
            return ""
        if self.precision != "fp32":
            self.precision = "fp32"
            return "in fp32"
        if self.lr_scale == 1.0:
            self.lr_scale = LOWER
            return "at a tenth of the learning rate"
        raise UserError(
            f"The training diverged: {fault}. Going back to the last good checkpoint, in fp32 and at a tenth of the "
            f"learning rate, did not help. Lower --optimizer.lr (it was {self.recipe.optimizer.lr:g}), set "
            "--regularize.clip_norm 1, or look at the images and targets of the batch."
        )


def _out_of_memory(fault: RuntimeError) -> bool:
    text = str(fault).lower()
    return isinstance(fault, torch.OutOfMemoryError) or "out of memory" in text or "can't allocate memory" in text

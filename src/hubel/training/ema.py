"""The running average of the weights: m_t = decay * m_(t-1) + (1 - decay) * w_t from m_0 = 0 (Polyak 1992).

After t updates the weights in m_t sum to 1 - decay^t, so the average is a_t = m_t / (1 - decay^t) (the bias
correction). It is kept in the form a_t = a_(t-1) + s_t (w_t - a_(t-1)) with s_t = (1 - decay) / (1 - decay^t): the same
numbers, and the average of weights that stand still (a frozen layer) is those weights bit for bit.
Running statistics of batch norm, and every other floating-point buffer, are averaged like the weights, since they
belong to them; integer buffers are copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

DECAY = 0.995


class EMA:
    """The average of `network`'s weights and buffers over the last 1 / (1 - decay) steps or so.

    `decay` is in [0, 1). Without `correct` the average starts from the network's present weights, m_0 = w_0, and
    isn't corrected: the start then counts decay^t after t steps. Call `update` after each step.
    """

    def __init__(self, network: nn.Module, decay: float = DECAY, correct: bool = True):
        self.decay, self.correct, self.steps = decay, correct, 0
        self.average = {name: value.clone() for name, value in _live(network).items()}

    def share(self) -> float:
        """s_t of the next update: how much of its way to the present weights the average goes."""
        return (1 - self.decay) / (1 - self.decay ** (self.steps + 1)) if self.correct else 1 - self.decay

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take the present weights of `network` into the average."""
        live = _live(network)
        floating = [name for name, value in live.items() if value.is_floating_point()]
        torch._foreach_lerp_([self.average[n] for n in floating], [live[n] for n in floating], self.share())
        for name in live.keys() - set(floating):
            self.average[name].copy_(live[name])
        self.steps += 1

    @torch.no_grad()
    def copy_to(self, network: nn.Module) -> None:
        """Overwrite `network`'s weights and buffers by the average; before the first update nothing changes."""
        if self.steps == 0:
            return
        for name, value in _live(network).items():
            value.copy_(self.average[name])

    @contextmanager
    def swap(self, network: nn.Module) -> Iterator[None]:
        """Within the block `network` holds the average; afterwards it has its own numbers again, bit for bit."""
        own = {name: value.clone() for name, value in _live(network).items()}
        self.copy_to(network)
        try:
            yield
        finally:
            with torch.no_grad():
                for name, value in _live(network).items():
                    value.copy_(own[name])

    def state_dict(self) -> dict[str, Any]:
        """The average (contiguous tensors) and plain values."""
        average = {name: value.contiguous() for name, value in self.average.items()}
        return {"average": average, "steps": self.steps, "decay": self.decay, "correct": self.correct}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.steps, self.decay, self.correct = int(state["steps"]), float(state["decay"]), bool(state["correct"])
        for name, value in self.average.items():
            value.copy_(state["average"][name])  # keeps device and memory format


def _live(network: nn.Module) -> dict[str, Tensor]:
    """Weights and saved buffers by name, sharing the network's memory."""
    return {name: value.detach() for name, value in network.state_dict().items()}

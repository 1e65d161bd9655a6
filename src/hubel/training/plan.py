"""Before it starts: how long a training will take, and what memory and disk it needs.

Time is measured on copies of the network (a few steps, about a second), stage by stage where layers learn one after the
other; memory is counted: weights, gradients, the optimiser's moments, and the tensors that autograd keeps for the
backward pass of one batch, in the stage that needs most.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from hubel.tasks.base import Task
from hubel.training import distributed
from hubel.training.step import Trainee, gradients
from hubel.types import Batch

PROBE_SECONDS = 1.0
STATES = {"sgd": 0, "momentum": 1, "nesterov": 1, "rmsprop": 1, "adam": 2, "adamw": 2, "muon": 1}  # per weight
EVALUATION = 1 / 3  # of the time of a training step on the same images: a forward pass without the backward one


@dataclass(frozen=True)
class Plan:
    """What a training will need. `seconds` is None where the probe could not run."""

    seconds: float | None
    memory: int  # bytes, on the device
    disk: int  # bytes, in the run folder
    parameters: int

    def __str__(self) -> str:
        took = "not measured" if self.seconds is None else f"about {duration(self.seconds)}"
        return (
            f"{self.parameters:,} parameters; time {took}; memory about {megabytes(self.memory)}; "
            f"disk about {megabytes(self.disk)}"
        )


def duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def megabytes(size: float) -> str:
    return f"{size / 1e6:,.0f} MB" if size < 1e9 else f"{size / 1e9:,.1f} GB"


@dataclass(frozen=True)
class Part:
    """A part of a training: `steps` steps of `size` images, and `evaluations` as large without a backward pass.

    It is measured on a copy of `network` and on `batch`, which may have fewer images.
    """

    network: nn.Module
    batch: Batch
    size: int
    steps: int
    evaluations: float


def estimate(
    parts: Sequence[Part],
    task: Task,
    whole: nn.Module,
    *,
    before: float | None = 0.0,
    optimizer: str,
    averaged: bool,
    resident: int,
    autocast: Callable[[], AbstractContextManager],
) -> Plan:
    """A training in `parts`, one after the other, of the network `whole`, after `before` seconds of other work.

    `resident` is the bytes of images that stay in memory. The networks are not touched, nor are the generators.
    """
    seconds, memory, moments = before, 0, STATES.get(optimizer, 2)
    for part in parts:
        per_step, kept = _probe(part.network, task, part.batch, autocast, PROBE_SECONDS / len(parts))
        larger = part.size / max(1, len(part.batch))
        times = part.steps + EVALUATION * part.evaluations
        seconds = None if per_step is None or seconds is None else seconds + larger * per_step * times
        memory = max(memory, _bytes(part.network, learning=True) * (1 + moments + averaged) + round(larger * kept))
    weights = _bytes(whole)
    disk = weights * (2 * (1 + averaged) + 1) + 2 * moments * weights + 2_000_000
    return Plan(seconds, weights + memory + resident, disk, sum(p.numel() for p in whole.parameters()))


def _bytes(network: nn.Module, learning: bool = False) -> int:
    """Of the parameters, or of those that learn."""
    return sum(p.numel() * p.element_size() for p in network.parameters() if p.requires_grad or not learning)


def _probe(
    network: nn.Module, task: Task, batch: Batch, autocast: Callable[[], AbstractContextManager], seconds: float
) -> tuple[float | None, int]:
    """Seconds per step and bytes kept for the backward pass, on a copy; measured for about so many `seconds`."""
    state = torch.get_rng_state()
    try:
        trainee = Trainee(copy.deepcopy(network).train(), task)
        with _count_saved() as kept:
            gradients(trainee, batch, autocast=autocast)
        times: list[float] = []
        several = distributed.world() > 1
        # processes exchange their counts in each step, so all of them must take the same number of steps
        while len(times) < (3 if several else 5) and (several or sum(times) < seconds):
            started = time.perf_counter()
            float(sum(gradients(trainee, batch, autocast=autocast).values()))
            times.append(time.perf_counter() - started)
    except Exception:  # an own network or task may not like blank images; the training itself will say why
        return None, 0
    finally:
        torch.set_rng_state(state)
    return min(times), sum(kept.values())


class _count_saved(torch.autograd.graph.saved_tensors_hooks):
    """Counts each storage that autograd keeps, once."""

    def __init__(self) -> None:
        self.kept: dict[int, int] = {}
        super().__init__(self._pack, lambda tensor: tensor)

    def _pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        self.kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    def __enter__(self) -> dict[int, int]:  # type: ignore[override]
        super().__enter__()
        return self.kept


def room(folder: Path, needed: int) -> str | None:
    """A warning where the disk has less room than the run needs."""
    import shutil

    parent = next(p for p in (folder, *folder.parents) if p.exists())
    free = shutil.disk_usage(parent).free
    if free < needed:
        return f"The run needs about {megabytes(needed)} on disk, {parent} has {megabytes(free)} free."
    return None

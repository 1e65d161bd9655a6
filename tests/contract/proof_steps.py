"""The gradient step of the trainer on one batch of a proof, and nothing else: alone, and in two processes."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from proofs import PROOFS
from torch import Tensor, nn

from hubel.tasks.base import Player, Task
from hubel.training.distributed import wrap
from hubel.training.step import Trainee, gradients
from hubel.types import Batch


def movers_of(network: nn.Module, task: Task) -> list[tuple[nn.Module, torch.optim.Optimizer]]:
    """Each player with its loss (wrapped for several processes) and an optimiser of its own parameters."""
    players = task.players() or (Player("all", lambda network: network.parameters(), task.loss),)
    movers = []
    for player in players:
        trainee: nn.Module = Trainee(network, task, player.loss)
        trainee = wrap(trainee, torch.device("cpu")) if len(players) == 1 else trainee
        movers.append((trainee, torch.optim.SGD(list(player.parameters(network)), lr=0.05)))
    return movers


def train(network: nn.Module, task: Task, batch: Batch, steps: int, **options: Any) -> list[dict[str, float]]:
    """`steps` steps on one batch, the players in turn; the values of the terms at each."""
    movers, history = movers_of(network, task), []
    for _ in range(steps):
        values: dict[str, Tensor] = {}
        for trainee, optimizer in movers:
            network.zero_grad()
            values |= gradients(trainee, batch, **options)
            optimizer.step()
        history.append({name: float(v) for name, v in values.items()})
    return history


def after(name: str, shard: tuple[int, int] | None = None, **options: Any) -> dict[str, Tensor]:
    """Weights after three steps, and the terms of each; on the examples `shard` of the batch where given."""
    make, task, batch = PROOFS[name][0], PROOFS[name][1], PROOFS[name][2]()
    network = make(task)
    history = train(network, task, batch if shard is None else batch.part(*shard), 3, **options)
    terms = {f"{i}.{key}": torch.tensor(v).double() for i, row in enumerate(history) for key, v in row.items()}
    return {**terms, **{key: p.detach() for key, p in network.named_parameters()}}


def one_of_two(rank: int, folder: str) -> None:
    """A process of two: the first sees examples 0 … 3, the second 4 and 5 (no box, no labelled pixel in number 4)."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    shard = (0, 4) if rank == 0 else (4, 6)
    for name in PROOFS:
        for micro in (None, 1, 2):
            found = after(name, shard, micro_batch=micro)
            if rank == 0:
                torch.save(found, f"{folder}/{name} {micro}.pt")
    dist.barrier()  # neither closes its connections while the other still uses them
    dist.destroy_process_group()

"""Several processes as one: started by torchrun, which sets RANK, WORLD_SIZE and MASTER_ADDR in the environment.

Every process computes the same order of the epoch and takes its own part of each batch. Only the first one (rank 0)
writes the run folder.
"""

from __future__ import annotations

import atexit
import os
import warnings
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from hubel.errors import UserError


def launched() -> bool:
    """Was this process started by torchrun?"""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ


def start(device: torch.device) -> None:
    """Join the group: NCCL on GPUs, gloo elsewhere. Does nothing for a single process, or where a group exists."""
    if launched() and not dist.is_initialized():
        try:
            store, number, count = next(dist.rendezvous("env://"))
            store = dist.PrefixStore(_attempt(), store)
            backend = "nccl" if device.type == "cuda" else "gloo"
            dist.init_process_group(backend, store=store, rank=number, world_size=count)
            atexit.register(finish)  # a script that trains from Python ends orderly, too
        except Exception as fault:
            raise UserError(
                f"This process is number {os.environ['RANK']} of {os.environ['WORLD_SIZE']} but could not reach the "
                f"others ({fault}). Start all of them with torchrun, and unset WORLD_SIZE to train alone."
            ) from fault


def _attempt() -> str:
    """Names this start of the processes in the store where they find each other.

    torchrun keeps one store over all restarts: without a name of its own, a restarted process may meet the address
    of a dead one there, and wait for it. Between machines restarts are counted apart, so no name is common to all.
    """
    alone = os.environ.get("GROUP_WORLD_SIZE", "1") == "1"
    return f"hubel-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}" if alone else "hubel"


def finish() -> None:
    """Leave the group; nothing where there is none. All processes should be done with each other."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def active() -> bool:
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    return dist.get_rank() if active() else 0


def world() -> int:
    return dist.get_world_size() if active() else 1


def expect(count: int) -> None:
    """Raises UserError where a training of `count` processes would go on in another number of them."""
    if count != world():
        raise UserError(
            f"This training ran in {count} processes and this is {world()}: its batches would be cut in other places. "
            "Start it with as many: torchrun --nproc-per-node N -m hubel resume …"
        )


def is_main() -> bool:
    return rank() == 0


def share(value: Any) -> Any:
    """Rank 0's value, on every process."""
    if world() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def gather(value: Any) -> list[Any]:
    """Every process's value, in the order of the ranks, on every process."""
    if world() == 1:
        return [value]
    box: list[Any] = [None] * world()
    dist.all_gather_object(box, value)
    return box


def anywhere(flag: bool, device: torch.device) -> bool:
    """Is it true on any process? The same answer on all of them."""
    if world() == 1:
        return flag
    found = torch.tensor([float(flag)], device=device)
    dist.all_reduce(found, op=dist.ReduceOp.MAX)
    return bool(found)


def barrier() -> None:
    if world() > 1:
        dist.barrier()


def local_device() -> str | None:
    """This process's GPU, where torchrun started one process per GPU."""
    if launched() and torch.cuda.is_available():
        return f"cuda:{int(os.environ.get('LOCAL_RANK', '0')) % torch.cuda.device_count()}"
    return None


def wrap(module: nn.Module, device: torch.device) -> nn.Module:
    """Gradients averaged over processes during the backward pass; the module itself for a single process."""
    if world() == 1:
        return module
    # 1x1 filters in channels_last have two descriptions of the same memory: a copy that costs nothing to speak of
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    devices = [device.index] if device.type == "cuda" else None
    return nn.parallel.DistributedDataParallel(module, device_ids=devices, broadcast_buffers=False)


@torch.no_grad()
def share_buffers(network: nn.Module) -> None:
    """Rank 0's running statistics, on every process: after each step, so that all evaluate and save one network."""
    if world() == 1:
        return
    kinds: dict[torch.dtype, list[torch.Tensor]] = {}
    for buffer in network.buffers():
        kinds.setdefault(buffer.dtype, []).append(buffer)
    for buffers in kinds.values():  # one message for each type
        flat = torch.cat([buffer.reshape(-1) for buffer in buffers])
        dist.broadcast(flat, src=0)
        for buffer, part in zip(buffers, flat.split([buffer.numel() for buffer in buffers]), strict=True):
            buffer.copy_(part.view_as(buffer))


def launcher() -> str | None:
    """Names the torchrun that started us, so that a restarted worker finds the run that it lost."""
    if not launched():
        return None
    return f"{os.environ.get('TORCHELASTIC_RUN_ID', 'none')}-{os.environ.get('MASTER_PORT', '')}-{os.getppid()}"


def restarted() -> bool:
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0

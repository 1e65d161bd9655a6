"""One step's gradient: forward, counts added over micro-batches and processes, one division, backward.

For terms t with weights w_t, micro-batches and processes m:  L = sum_t w_t * (sum_m S_tm) / (sum_m N_tm).
A batch that is cut therefore gives the gradient of the whole batch, for ragged targets and ignored pixels too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.distributed as dist
from torch import Tensor, nn

from hubel.tasks.base import Task
from hubel.training import distributed
from hubel.types import Batch, Term

TINY = 1e-12  # below any count
Loss = Callable[[nn.Module, Batch], dict[str, Term]]


class Trainee(nn.Module):
    """Network and task as one module whose forward gives the terms: what DistributedDataParallel wraps.

    Of several players none is wrapped: the hooks of two wrappers on the same parameters disturb each other.
    """

    def __init__(self, network: nn.Module, task: Task, loss: Loss | None = None):
        super().__init__()
        self.network = network
        self._loss = loss or task.loss

    def forward(self, batch: Batch) -> dict[str, Term]:
        return self._loss(self.network, batch)


def value(term: Term, count: Tensor | float | None = None) -> Tensor:
    """weight * sum / count, and zero where nothing was counted."""
    count = torch.as_tensor(term.count if count is None else count, dtype=torch.float32, device=term.sum.device)
    mean = term.sum / count.clamp(min=TINY)  # the sum is 0 where nothing was counted
    return mean if term.weight == 1.0 else term.weight * mean


def gradients(
    trainee: nn.Module,
    batch: Batch,
    *,
    micro_batch: int | None = None,
    autocast: Callable[[], AbstractContextManager] = nullcontext,
) -> dict[str, Tensor]:
    """Leave the gradient of the whole batch (over all processes) in `p.grad`; return each term's value.

    `micro_batch` is the number of images per pass, None for all at once. Gradients must be None or zero before.
    The values are detached tensors on the device: reading them is what makes a GPU wait.
    """
    if distributed.world() == 1:
        whole = micro_batch is None or micro_batch >= len(batch)
    else:  # every process must take the same way, also where the last batch gives them parts of unequal size
        whole = micro_batch is None and isinstance(trainee, nn.parallel.DistributedDataParallel)
    if whole:
        return _whole(trainee, batch, autocast)
    size = micro_batch or max(len(batch), 1)
    parts = [batch.part(i, i + size) for i in range(0, len(batch), size)] or [batch]
    return _accumulated(trainee, parts, autocast)


def _whole(trainee: nn.Module, batch: Batch, autocast: Callable[[], AbstractContextManager]) -> dict[str, Tensor]:
    with autocast():
        terms = trainee(batch)
    world = distributed.world()
    alone = world == 1
    counts = {} if alone else _total({name: _tensor(term.count, term.sum) for name, term in terms.items()})
    losses = {name: value(term, counts.get(name)) for name, term in terms.items()}
    first, *others = losses.values()
    total = sum(others, first)
    (total if alone else total * world).backward()  # DistributedDataParallel averages; the sum is meant
    return _total({name: loss.detach() for name, loss in losses.items()})


def _accumulated(
    trainee: nn.Module, parts: Iterable[Batch], autocast: Callable[[], AbstractContextManager]
) -> dict[str, Tensor]:
    """Each term gets its own sum of gradients, since its count is known only after the last part."""
    parameters = [p for p in trainee.parameters() if p.requires_grad]
    sums: dict[str, Tensor] = {}
    counts: dict[str, Tensor] = {}
    weights: dict[str, float] = {}
    collected: dict[str, list[Tensor | None]] = {}
    with getattr(trainee, "no_sync", nullcontext)():
        for part in parts:
            with autocast():
                terms = trainee(part)
            for i, (name, term) in enumerate(terms.items()):
                found = torch.autograd.grad(
                    term.sum, parameters, retain_graph=i + 1 < len(terms), allow_unused=True
                ) if term.sum.requires_grad else [None] * len(parameters)  # fmt: skip
                collected[name] = _add(collected.get(name), found)
                sums[name] = sums.get(name, 0) + term.sum.detach()
                counts[name] = counts.get(name, 0) + _tensor(term.count, term.sum)
                weights[name] = term.weight
    counts, sums = _total(counts), _total(sums)
    values = {name: value(Term(sums[name], counts[name], weights[name])) for name in sums}
    _combine(parameters, collected, counts, weights)
    return values


def _add(total: list[Tensor | None] | None, found: Iterable[Tensor | None]) -> list[Tensor | None]:
    if total is None:
        return list(found)
    return [b if a is None else a if b is None else a.add_(b) for a, b in zip(total, found, strict=True)]


def _combine(
    parameters: list[nn.Parameter],
    collected: dict[str, list[Tensor | None]],
    counts: dict[str, Tensor],
    weights: dict[str, float],
) -> None:
    """p.grad = sum_t w_t / N_t * (sum of the gradients of S_t), over all processes."""
    for i, parameter in enumerate(parameters):
        total = None
        for name, grads in collected.items():
            grad = grads[i]
            if grad is None:
                continue
            scaled = value(Term(grad, counts[name], weights[name]))
            total = scaled if total is None else total + scaled
        if distributed.world() > 1:
            total = torch.zeros_like(parameter) if total is None else total
            dist.all_reduce(total)
        parameter.grad = total if parameter.grad is None or total is None else parameter.grad + total


def _tensor(count: Tensor | float, like: Tensor) -> Tensor:
    return torch.as_tensor(count, dtype=torch.float64 if like.device.type == "cpu" else torch.float32).to(like.device)


def _total(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """Sums over processes, in one exchange."""
    if distributed.world() == 1:
        return values
    packed = torch.stack([v.double() if v.device.type == "cpu" else v.float() for v in values.values()])
    dist.all_reduce(packed)
    return dict(zip(values, packed.unbind(), strict=True))

"""Predictions and metrics of a network on one part of the data, averaged over views where asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hubel.predictions import Predictions
from hubel.tasks.base import Task
from hubel.training import distributed
from hubel.training.views import move_of, views_of
from hubel.types import Batch, map_tensors, select


@dataclass(frozen=True)
class Evaluation:
    """One part of the data, seen by the network in evaluation mode and unaugmented."""

    metrics: dict[str, float]
    index: np.ndarray  # (n,) positions in the dataset
    predictions: Predictions | None  # of n examples, on the CPU; None unless collected
    targets: Any
    scores: Tensor | None  # (n,) how wrong each example is
    weights: Tensor | None  # (n,)


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, whatever it was before outside; no gradients."""
    before = network.training
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        network.train(before)


During = Callable[[nn.Module], AbstractContextManager]  # what holds while a network predicts: dropout that draws


def undisturbed(network: nn.Module) -> AbstractContextManager:
    return nullcontext()


def predict(
    network: nn.Module, task: Task, batch: Batch, views: str, autocast: Callable[[], AbstractContextManager]
) -> Predictions:
    """Of the batch's images, averaged over the views; what lies somewhere is brought back from each view first."""
    found: list[Any] = []
    for view in views_of(batch, views):
        with autocast():
            one = task.predict(network, view)
        found.append(one if view is batch else one.back(move_of(batch, view)))
    return found[0] if len(found) == 1 else type(found[0]).mean(found)


def evaluate(
    network: nn.Module,
    task: Task,
    batches: Iterator[Batch],
    *,
    views: str = "single",
    autocast: Callable[[], AbstractContextManager] = nullcontext,
    collect: bool = False,
    whole: bool = False,
    during: During = undisturbed,
) -> Evaluation:
    """Run `network` over `batches`, inside `during(network)`.

    `collect` keeps predictions and targets, as `task.condensed` leaves them or, where `whole`, as they are. With
    several processes each brings its part; all get the whole result.
    """
    parts: list[tuple[Any, Any, Tensor, Tensor]] = []
    metric = task.metric()
    several = distributed.world() > 1
    with evaluating(network), during(network):
        for batch in batches:
            found, targets = predict(network, task, batch, views, autocast), batch.targets
            if not whole:
                found, targets = task.condensed(found, targets)
            if not several:
                metric.update(found, targets, batch.weights)
            if collect or several:
                kept = map_tensors(targets, lambda t: t.cpu())
                parts.append((found.cpu(), kept, batch.index.cpu(), batch.weights.cpu()))
    if several:
        # batch by batch, the ranks in turn: the order that one process has
        parts = [part for batch in zip(*distributed.gather(parts), strict=True) for part in batch]
        for predictions, targets, _, weights in parts:
            metric.update(predictions, targets, weights)
    metrics = metric.compute()
    if not collect or not parts:
        return Evaluation(metrics, np.empty(0, np.int64), None, None, None, None)
    predictions, targets, index, weights = joined(parts)
    return Evaluation(metrics, index, predictions, targets, task.scores(predictions, targets), weights)


def joined(parts: list[tuple[Any, Any, Tensor, Tensor]]) -> tuple[Any, Any, np.ndarray, Tensor]:
    """All batches as one, without the fillers (index -1) of processes that had no part of a batch."""
    index, weights = torch.cat([part[2] for part in parts]), torch.cat([part[3] for part in parts])
    rows = (index >= 0).nonzero()[:, 0]
    predictions = type(parts[0][0]).cat([part[0] for part in parts]).take(rows)
    targets = select(cat_nested([part[1] for part in parts]), rows)
    return predictions, targets, index[rows].numpy(), weights[rows]


def cat_nested(values: list[Any]) -> Any:
    """Targets of several batches as one: tensors, or dicts of them."""
    if isinstance(values[0], dict):
        return {key: cat_nested([value[key] for value in values]) for key in values[0]}
    if isinstance(values[0], tuple):
        return tuple(cat_nested(list(items)) for items in zip(*values, strict=True))
    if hasattr(values[0], "cat"):
        return type(values[0]).cat(values)
    return torch.cat(values)

"""Finds the first module whose output or gradient is not finite, by running the guilty batch once more with hooks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from hubel.training.step import Trainee, value
from hubel.types import Batch, map_tensors


class NotFiniteError(Exception):
    """The loss, or a weight, became NaN or infinite."""

    def __init__(self, where: str, step: int):
        super().__init__(f"{where} (step {step})")
        self.where = where
        self.step = step


def is_finite(values: Any) -> bool:
    """Are all floating point tensors in the nested value finite?"""
    found = True

    def look(tensor: Tensor) -> Tensor:
        nonlocal found
        if found and tensor.is_floating_point():
            found = bool(torch.isfinite(tensor).all())
        return tensor

    map_tensors(tuple(values) if isinstance(values, list) else values, look)
    return found


def first_not_finite(
    trainee: Trainee, batch: Batch, autocast: Callable[[], AbstractContextManager] = nullcontext
) -> str:
    """In words: which module of the network first gave something that is not finite on this batch.

    The pass is run whatever the batch holds: layers that share statistics wait for this process in it.
    """
    bad_images, bad_targets = not is_finite(batch.images), not is_finite(batch.targets)
    bad = [name for name, p in trainee.network.named_parameters() if not is_finite(p)]
    found: list[str] = []
    handles = [_watch(name, module, found) for name, module in trainee.network.named_modules()]
    try:
        with autocast():
            terms = trainee(batch)
        loss = sum(value(term) for term in terms.values())
        if not found and isinstance(loss, Tensor) and loss.requires_grad:
            loss.backward()
    finally:
        for handle in handles:
            handle.remove()
    if bad_images:
        return "the images of the batch hold NaN or infinite pixels"
    if bad_targets:
        return "the targets of the batch hold NaN or infinite values"
    if bad:
        return f"the weights '{bad[0]}' are not finite"
    if found:
        return found[0]
    for name, parameter in reversed(list(trainee.network.named_parameters())):
        if parameter.grad is not None and not is_finite(parameter.grad):
            return f"the gradient of '{name}' is not finite"
    return "the loss is not finite, while every module's output is"


def _watch(name: str, module: nn.Module, found: list[str]) -> Any:
    def look(module: nn.Module, inputs: Any, output: Any) -> None:
        if not found and not is_finite(output):
            where = f"'{name}'" if name else "the network"
            found.append(f"the output of {where} ({type(module).__name__}) is not finite")

    return module.register_forward_hook(look)

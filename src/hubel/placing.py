"""A network on its device: memory format, number format, and what it takes to be fast there, or the same twice."""

from __future__ import annotations

import contextlib
import ctypes
import os
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from hubel.errors import UserError
from hubel.models.cost import multiply_adds, profile
from hubel.nn.depthwise import speed_up_depthwise
from hubel.nn.shared_norm import share_statistics
from hubel.recipe import Recipe, Setting
from hubel.training import distributed
from hubel.training.auto_machine import BF16_FROM

LARGEST_HEAD = 0.25  # of the work: a step of the head, three times that, then takes at most as long as the rest's pass


def number_format(device: torch.device, precision: str) -> AbstractContextManager:
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


def settings_by_cost(
    settings: dict[str, Setting], network: nn.Module, shape: tuple[int, int, int]
) -> dict[str, Setting]:
    """What `auto` could not know without the network, where nobody asked for anything else.

    bf16 gives way to fp32 where it is too small to gain from it; features are kept for a deep head no more.
    """
    found: dict[str, Setting] = {}
    precision, views, device = (settings[name] for name in ("precision", "transfer.views", "device"))
    if (precision.value, precision.source, device.value) == ("bf16", "auto", "cpu"):
        cost = multiply_adds(network, shape)
        if cost < BF16_FROM:
            reason = f"{cost:,} multiply-adds an image: below {BF16_FROM:,} conversions cost more than bf16 saves"
            found["precision"] = Setting("fp32", "auto", reason)
    if views.value and views.source == "auto":
        share = head_share(network, shape)
        if share > LARGEST_HEAD:
            reason = f"the head does {share:.0%} of the work, so it learns from other crops in each epoch instead"
            found["transfer.views"] = Setting(0, "auto", reason)
    if settings["transfer.name"].value == "head" and found.get("transfer.views", views).value:
        size = settings["train_size"]
        if size.value and size.source == "auto":
            found["train_size"] = Setting(None, "auto", "features are of images as they are judged")
    return {**settings, **found}


def head_share(network: nn.Module, shape: tuple[int, int, int]) -> float:
    """Of the multiply-adds of an image (C, H, W); 0 where none are counted, and for heads of layers in a row, which
    read a vector as a rule and of which only the last ones learn."""
    if isinstance(getattr(network, "head", None), nn.Sequential):
        return 0.0
    try:
        layers = profile(network, shape).layers
    except Exception:  # the user's own, which asks for pixels and not for shapes alone
        return 0.0
    total = sum(layer.multiplications for layer in layers)
    return sum(layer.multiplications for layer in layers if layer.name.startswith("head")) / max(total, 1)


def named_device(word: str) -> torch.device:
    try:
        return torch.device(word)
    except RuntimeError as fault:
        raise UserError(f"There is no kind of device '{word}'. Use cpu, cuda, cuda:1 or mps.") from fault


def keep_memory() -> None:
    """Freed memory stays with the process: glibc else gives it back at each step and takes it again, page by page."""
    with contextlib.suppress(OSError, AttributeError):  # no glibc
        library = ctypes.CDLL(None)
        library.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: never shrink the heap
        library.mallopt(-4, 0)  # M_MMAP_MAX: large blocks come from the heap too; 38 MB of a batch: 4 in place of 15 ms


def place(network: nn.Module, chosen: Recipe) -> tuple[nn.Module, torch.device]:
    """On its device, in channels_last where it has filters."""
    device = named_device(distributed.local_device() or chosen.device or "cpu")
    keep_memory()
    try:
        network = network.to(device)
    except (RuntimeError, AssertionError) as fault:
        raise UserError(
            f"The device '{device}' can't be used: {str(fault).splitlines()[0]}. Try --device cpu."
        ) from fault
    if any(p.dim() == 4 for p in network.parameters()):
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if chosen.sync_batchnorm and distributed.launched():
        convert = nn.SyncBatchNorm.convert_sync_batchnorm if device.type == "cuda" else share_statistics
        network = convert(network)
    if chosen.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    if chosen.compile:
        network.compile()
    elif device.type == "cpu" and chosen.precision == "bf16":
        speed_up_depthwise(network)
    return network, device

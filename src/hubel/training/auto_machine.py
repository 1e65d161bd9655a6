"""What `auto` means on this machine: device, number format, compilation, processes that read; see auto.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from hubel.training import machine

if TYPE_CHECKING:
    from hubel.training.auto import Facts


BF16_FROM = 2_000_000  # multiply-adds an image, on a CPU: LeNet-5 has 0.4 million and gains nothing, 9 million do


COMPILE_STEPS = 2_000  # compiling takes a minute or so; shorter trainings don't earn it back


def device(facts: Facts, get: Callable[[str], Any]) -> tuple[str, str]:
    if torch.cuda.is_available():
        return "cuda", torch.cuda.get_device_name()
    return "cpu", "no GPU was found"


def precision(facts: Facts, get: Callable[[str], Any]) -> tuple[str, str]:
    native, reason = native_bf16(get("device"))
    return ("bf16" if native else "fp32"), reason


def native_bf16(device: str) -> tuple[bool, str]:
    """Does `device` multiply bf16 in hardware? Emulated bf16 is slower than fp32."""
    if device.startswith("cuda"):
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return native, "the GPU has native bf16" if native else "the GPU has no native bf16"
    if device == "cpu":
        flags = machine.bf16_flags()
        return bool(flags), f"native bf16 ({', '.join(flags)})" if flags else "the CPU has no native bf16"
    return False, f"not measured on {device}"


def compile(facts: Facts, get: Callable[[str], Any]) -> tuple[bool, str]:
    steps = -(-facts.n_train // max(get("batch_size") or facts.n_train, 1)) * get("epochs")
    if not str(get("device")).startswith("cuda"):
        return False, "on a CPU the library's own kernels were faster than compiled ones"
    if steps < COMPILE_STEPS:
        return False, f"{steps} steps are too few to earn the compilation back"
    return True, f"{steps} steps on a GPU"


def workers(facts: Facts, get: Callable[[str], Any]) -> tuple[int, str]:
    cores = machine.cores()
    if str(get("device")).startswith("cuda"):
        return min(cores, 12), f"{cores} cores, free while the GPU works"
    return (0, "one core only") if cores == 1 else (min(cores, 4), f"{cores} cores")

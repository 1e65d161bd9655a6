"""What this machine lends to a process: cores, number formats, memory. Read from the system's files, without torch."""

from __future__ import annotations

import ctypes
import math
import os
import platform
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def processor() -> str:
    """The CPU's name."""
    lines = _lines(Path("/proc/cpuinfo"))
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.processor() or platform.machine(),
    )


def cpu_flags() -> set[str]:
    """The instructions that the CPU knows, by Linux's names; empty where nobody can say."""
    return set(next((line for line in _lines(Path("/proc/cpuinfo")) if line.startswith("flags")), "").split())


def bf16_flags() -> list[str]:
    """Those that multiply bf16 in hardware."""
    return sorted(cpu_flags() & {"avx512_bf16", "amx_bf16"})


def affinity() -> int:
    """Cores that the scheduler may put this process on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_quota(root: Path = CGROUP, own: Path = Path("/proc/self/cgroup")) -> float | None:
    """Cores' worth of time that the container or its parents allow (cgroup v2 and v1), or None: no limit."""
    quotas = [_quota_v2(folder / "cpu.max") for folder in _cgroups(root, own)]
    quotas.append(_quota_v1(root / "cpu"))
    known = [quota for quota in quotas if quota is not None]
    return min(known) if known else None


def _cgroups(root: Path, own: Path) -> list[Path]:
    """This process's cgroup (v2) and its parents up to the root: each may set a limit."""
    inside = next((line[3:] for line in _lines(own) if line.startswith("0::")), "/")
    parts = [part for part in inside.split("/") if part not in ("", "..")]
    return [root.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1)]


def _quota_v2(path: Path) -> float | None:
    words = " ".join(_lines(path)).split()
    return int(words[0]) / int(words[1]) if len(words) == 2 and words[0].isdigit() and int(words[1]) else None


def _quota_v1(folder: Path) -> float | None:
    words = [" ".join(_lines(folder / name)) for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")]
    return int(words[0]) / int(words[1]) if all(word.isdigit() for word in words) and int(words[1]) else None


def cores() -> int:
    """How many threads can run at once: the affinity, cut by the quota; at least 1."""
    quota = cpu_quota()
    return affinity() if quota is None else max(1, min(affinity(), math.ceil(quota)))


def memory() -> tuple[int | None, int | None]:
    """(free, total) bytes of main memory, a container's limit included; None where nobody can say."""
    rows = {line.partition(":")[0]: line.partition(":")[2].split() for line in _lines(Path("/proc/meminfo"))}
    free, total = (int(rows[key][0]) * 1024 if key in rows else None for key in ("MemAvailable", "MemTotal"))
    for limit, used in (("memory.max", "memory.current"),
                        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")):  # fmt: skip
        words = [" ".join(_lines(CGROUP / name)) for name in (limit, used)]
        if all(word.isdigit() for word in words) and (total is None or int(words[0]) < total):
            total = int(words[0])
            free = min(free if free is not None else total, max(total - int(words[1]), 0))
    return free, total


def give_back_memory() -> None:
    """What was freed goes back to the system, where its C library keeps it (glibc): maps of a training are blocks of
    some MB between what lives on, and the next training would not fit into the gaps."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, TypeError, AttributeError):  # another C library: it does so by itself, or has no such call
        return


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return []

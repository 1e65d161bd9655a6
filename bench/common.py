"""What the benchmarks share: the machine in words, ratios of paired measurements with their spread, tables, results.

A ratio is taken round by round, r_i = a_i / b_i, of two measurements that followed each other on the same machine, and
is reported as the median of r_i with its smallest and largest value: what slows both alike then leaves it alone.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
BF16_FLAGS = ("avx512_bf16", "amx_bf16")


@dataclass(frozen=True)
class Spread:
    """Median, smallest and largest of n numbers."""

    median: float
    low: float
    high: float
    n: int

    def text(self, digits: int = 0) -> str:
        return f"{self.median:,.{digits}f} ({self.low:,.{digits}f}–{self.high:,.{digits}f})"


def spread(values: Sequence[float]) -> Spread:
    """Raises ValueError where there is no number."""
    if not values:
        raise ValueError("a spread needs at least one number")
    return Spread(statistics.median(values), min(values), max(values), len(values))


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """ours[i] / theirs[i], round by round. Raises ValueError where the rounds don't pair up or one is 0."""
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} rounds against {len(theirs)}: they must be measured in turn")
    if any(value <= 0 for value in theirs):
        raise ValueError("a ratio needs positive numbers below the line")
    return spread([a / b for a, b in zip(ours, theirs, strict=True)])


def table(rows: Sequence[Sequence[Any]]) -> str:
    """Columns under each other, the first row as the head; text to the left, all other columns to the right."""
    words = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[k]) for row in words) for k in range(len(words[0]))]
    lines = [
        "  ".join(
            cell.ljust(w) if k == 0 else cell.rjust(w) for k, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in words
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def machine(device: str = "cpu") -> dict[str, Any]:
    """What a figure must be read with: processor, cores, bf16, versions, threads, load at the start."""
    import torch

    model, flags = _processor()
    found = {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "bf16": [flag for flag in BF16_FLAGS if flag in flags],
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": platform.system(),
        "load": round(os.getloadavg()[0], 2),
        "when": time.strftime("%Y-%m-%d %H:%M"),
    }
    return found | ({"gpu": torch.cuda.get_device_name(device)} if device.startswith("cuda") else {})


def describe(found: Mapping[str, Any]) -> str:
    """One line on the machine."""
    bf16 = ", ".join(found["bf16"]) or "no native bf16"
    return (
        f"{found['cpu']}, {found['cores']} cores, {bf16}; {found['threads']} threads; torch {found['torch']}, Python "
        f"{found['python']}; load {found['load']} at the start" + (f"; {found['gpu']}" if "gpu" in found else "")
    )


def _processor() -> tuple[str, set[str]]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine(), set()
    values = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in reversed(lines))}
    return values.get("model name", platform.machine()), set(values.get("flags", "").split())


def save(name: str, content: Mapping[str, Any], text: str) -> Path:
    """`results/<name>.json` and `.txt`; returns the path of the JSON file."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(content, indent=1, default=_plain) + "\n")
    path.with_suffix(".txt").write_text(text + "\n")
    return path


def _plain(value: Any) -> Any:
    return asdict(value) if isinstance(value, Spread) else str(value)

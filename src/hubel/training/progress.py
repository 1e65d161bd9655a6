"""What a person sees while a network learns: a live bar on a terminal, one plain line per epoch elsewhere.

Everything goes to standard error, so that standard output stays free for results.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

EVERY = 0.1  # seconds between updates of the bar


class Progress:
    """`kind`: "bar", "lines", "quiet", or "auto": a bar where standard error is a terminal."""

    def __init__(self, kind: str = "auto"):
        if kind == "auto":
            kind = "bar" if sys.stderr.isatty() else "lines"
        self.kind = kind
        self._bar: Any = None
        self._next = 0.0

    def say(self, text: str) -> None:
        """One line for the user."""
        if self.kind == "quiet":
            return
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)

    def start(self, facts: Mapping[str, Any]) -> None:
        """`facts`: epochs, steps per epoch, and the step that is done already."""
        self._epochs = facts["epochs"]
        self._total = facts["epochs"] * facts["steps"]
        if self.kind != "bar":
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[facts]}"),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task("epoch 1", total=self._total, completed=facts["step"], facts="")
        self._bar.start()

    def due(self) -> bool:
        """Is it time for a step to be shown? Cheap, for every step."""
        return self._bar is not None and time.monotonic() >= self._next

    def step(self, values: Mapping[str, Any]) -> None:
        """epoch, epochs, step, steps, loss, images_per_second, wait_share, seconds_left"""
        self._next = time.monotonic() + EVERY
        left = values["seconds_left"]
        facts = (
            f"loss {values['loss']:.3f}  {values['images_per_second']:,.0f} images/s  "
            f"waiting {values['wait_share']:.0%}" + (f"  {clock(left)} left" if left is not None else "")
        )
        done = (values["epoch"] - 1) * values["steps"] + values["step"]
        self._bar.update(
            self._task, completed=done, description=f"epoch {values['epoch']}/{values['epochs']}", facts=facts
        )

    def epoch(self, row: Mapping[str, Any]) -> None:
        """A line per epoch: the loss, the dev part's metrics, speed."""
        self.say(line(row, self._epochs))

    def stop(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def line(row: Mapping[str, Any], epochs: int) -> str:
    parts = [f"epoch {row['epoch']:>{len(str(epochs))}}/{epochs}", f"loss {row['train.loss']:.4f}"]
    shown = [key for key in ("dev.loss", "dev.accuracy", "dev.f1", "dev.mae", "dev.r2") if key in row]
    parts += [f"{key.replace('.', ' ')} {row[key]:.4f}" for key in shown]
    parts += [f"{row['images_per_second']:,.0f} images/s", f"waiting {row['wait_share']:.0%}"]
    return "  ".join([*parts, clock(row["seconds"])])


def clock(seconds: float) -> str:
    """65 -> "1:05"; 0.5 -> "0.5 s"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"

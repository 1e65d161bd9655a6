"""What a person sees while a network learns: a live bar on a terminal, one plain line per epoch elsewhere.

Everything goes to standard error, so that standard output stays free for results; in a notebook to the cell's output.
A terminal that goes away never ends a training.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Mapping
from typing import Any

EVERY = 0.1  # seconds between updates of the bar
WAITING = 0.1  # a share of waiting for data that a line mentions
KINDS = ("auto", "bar", "lines", "quiet")


class Progress:
    """`kind`: "bar", "lines", "quiet", or "auto": a bar where standard error is a terminal."""

    def __init__(self, kind: str = "auto"):
        if kind not in KINDS:
            raise ValueError(f"progress is one of {', '.join(KINDS)}, got '{kind}'")
        self.kind = chosen_kind() if kind == "auto" else kind
        self._bar: Any = None
        self._next = 0.0
        self._epochs = 0

    def say(self, text: str) -> None:
        """One line for the user."""
        if self.kind == "quiet":
            return
        with contextlib.suppress(OSError, ValueError):  # nobody reads any more
            if self._bar is not None:
                self._bar.console.print(text, markup=False, highlight=False, emoji=False, soft_wrap=True)
            else:
                print(text, file=_stream(), flush=True)

    def start(self, facts: Mapping[str, Any]) -> None:
        """`facts`: epochs, steps per epoch, and the step that is done already."""
        self.stop()
        self._epochs = facts["epochs"]
        if self.kind == "bar":
            self._bar = _make_bar()
            total = facts["epochs"] * facts["steps"]
            self._task = self._bar.add_task("", total=total, completed=facts.get("step", 0), facts="starting")
            with contextlib.suppress(OSError, ValueError):
                self._bar.start()

    def due(self) -> bool:
        """Is it time for a step to be shown? Cheap, for every step."""
        return self._bar is not None and time.monotonic() >= self._next

    def step(self, values: Mapping[str, Any]) -> None:
        """epoch, epochs, step, steps, loss, images_per_second, wait_share, seconds_left; shown every 0.1 s at most."""
        if not self.due():
            return
        self._next = time.monotonic() + EVERY
        done = (values["epoch"] - 1) * values["steps"] + values["step"]
        with contextlib.suppress(OSError, ValueError):
            self._bar.update(
                self._task,
                completed=done,
                description=f"epoch {values['epoch']}/{values['epochs']}",
                facts=step_facts(values),
                refresh=True,
            )

    def epoch(self, row: Mapping[str, Any]) -> None:
        """A line per epoch: the loss, the dev part's metrics, speed."""
        self.say(line(row, self._epochs))

    def stop(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            bar, self._bar = self._bar, None
            with contextlib.suppress(OSError, ValueError):
                bar.stop()


def chosen_kind() -> str:
    """A bar needs a terminal that can move its cursor."""
    try:
        return "bar" if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" else "lines"
    except (AttributeError, ValueError):  # pythonw has no standard error
        return "lines"


def _stream() -> Any:
    return sys.stdout if "ipykernel" in sys.modules else sys.stderr


def _make_bar() -> Any:
    """No thread of its own: it is drawn when a step says so, at most ten times a second."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[facts]}", markup=False),
        console=Console(stderr=True),
        transient=True,
        expand=True,
        auto_refresh=False,
        redirect_stdout=sys.stdout.isatty(),  # what goes into a file or a pipe must get there
    )


def step_facts(values: Mapping[str, Any]) -> str:
    """loss 0.123  9,876 images/s  waiting 3%  1:05 left"""
    left = values["seconds_left"]
    return (
        f"loss {values['loss']:.3f}  {values['images_per_second']:,.0f} images/s  "
        f"waiting {values['wait_share']:.0%}" + (f"  {clock(left)} left" if left is not None else "")
    )


def line(row: Mapping[str, Any], epochs: int) -> str:
    """epoch 3/20  loss 0.401  dev loss 0.412, accuracy 0.9123  9,876 images/s  6.1 s

    The share of waiting is worth its place only where it is large.
    """
    parts = [f"epoch {row['epoch']:>{len(str(epochs))}}/{epochs}"]
    if "train.loss" in row:
        parts.append(f"loss {row['train.loss']:.3f}")
    dev = [f"loss {row['dev.loss']:.3f}"] if "dev.loss" in row else []
    dev += [f"{key.removeprefix('dev.').replace('.', ' ')} {row[key]:.4f}" for key in _deciding(row)]
    parts += [f"dev {', '.join(dev)}"] if dev else []
    if "images_per_second" in row:
        parts.append(f"{row['images_per_second']:,.0f} images/s")
    if row.get("wait_share", 0) >= WAITING:
        parts.append(f"waiting {row['wait_share']:.0%}")
    return "  ".join([*parts, clock(row["seconds"])])


def _deciding(row: Mapping[str, Any]) -> list[str]:
    """The dev part's first metrics that are worth a place on one line."""
    known = ("miou", "accuracy", "average_precision", "f1", "mae", "r2")
    found = [key for name in known for key in row if key.startswith("dev.") and key.rpartition(".")[2] == name]
    return found[:2]


def clock(seconds: float) -> str:
    """0.5 -> "0.5 s"; 12 -> "12 s"; 65 -> "1:05"."""
    if seconds != seconds or seconds == float("inf"):
        return "?"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"

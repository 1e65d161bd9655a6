"""The training that is killed: a fork of this process that tells on a shared board how far it got.

torch is imported once, and no thread may exist before a fork: import this module before torch. So is what torch and
Pillow load at the first step and the first picture, two thirds of the processor time of a short training.
"""

from __future__ import annotations

import os

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

import itertools
import json
import mmap
import random
import signal
import struct
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch._dynamo
from PIL import Image

import hubel
import hubel.recipes.digits
from hubel.training import checkpoint

OPTIONS = {
    "model": "mlp",
    "model.hidden": (16,),
    "model.dropout": 0.2,
    "epochs": 4,
    "batch_size": 32,
    "optimizer": {"name": "adam", "lr": 0.003},
    "augment": {"shift": 1, "flip": "none"},
    "regularize": {"ema": 0.9},
    "device": "cpu",
    "precision": "fp32",
    "workers": 0,
}
BEGINNING, TRAINING, ENDING = 0, 1, 2
Image.init()


class Board:
    """Three numbers that a child writes and its parent reads after its death: phase, step, leftovers at its start."""

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, 24)  # shared with forks

    def write(self, *values: int) -> None:
        self.memory[:24] = struct.pack("qqq", *values)

    def read(self) -> tuple[int, int, int]:
        return struct.unpack("qqq", self.memory[:24])


class Watch(hubel.Callback):
    """Keeps the board."""

    def __init__(self, board: Board):
        self.board, self.left = board, 0

    def on_start(self, loop: Any) -> None:
        self.left = len(leftovers(loop.folder, own=os.getpid()))
        self.board.write(TRAINING, loop.step, self.left)

    def on_step(self, loop: Any, losses: Any) -> None:
        self.board.write(TRAINING, loop.step, self.left)

    def on_end(self, loop: Any) -> None:
        self.board.write(ENDING, loop.step, self.left)


def leftovers(folder: Path, own: int | None = None) -> list[Path]:
    """Temporaries of other processes, and tensors without their JSON file, anywhere under `folder`."""
    hidden = [p for p in folder.rglob(".*") if p.is_file() and (own is None or f"-{own}-" not in p.name)]
    return hidden + [p for p in folder.rglob("*.safetensors") if not p.with_suffix(".json").exists()]


def start(board: Board, out: Path, run: Path | None, interval: int) -> int:
    """Fork a child that trains anew under `out`, or resumes `run`; returns its process id.

    The generators of Python and numpy get the same seed whenever: after a resume they must stand where they stood.
    """
    board.write(BEGINNING, -1, 0)
    child = os.fork()
    if child:
        return child
    status = 70
    try:
        log = os.open(out / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        random.seed(0)
        np.random.seed(0)
        if run is not None:
            hubel.resume(run, progress="quiet", callbacks=[Watch(board)])
        else:
            watch = Watch(board)
            hubel.train("digits", out=out, progress="quiet", callbacks=[watch], save_every=interval, **OPTIONS)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


@dataclass(frozen=True)
class Moment:
    """`seconds` after a phase, or a step in it, is reached."""

    phase: int
    step: int
    seconds: float

    def reached(self, phase: int, step: int) -> bool:
        return phase > self.phase or (phase == self.phase and step >= self.step)


def wait(child: int, board: Board, moment: Moment | None) -> int | None:
    """The exit status of a child that ended by itself, or None where it was killed; without a moment it lives."""
    end = None
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if end is None and moment is not None and moment.reached(*board.read()[:2]):
            end = time.monotonic() + moment.seconds
        if end is not None and time.monotonic() >= end:
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            code = os.waitstatus_to_exitcode(status)
            return None if code == -signal.SIGKILL else code
        time.sleep(0.0002)


@dataclass(frozen=True)
class Whole:
    """A run that nobody kills: what it comes to, its steps, and the seconds that each phase takes."""

    outcome: dict[str, Any]
    steps: int
    seconds: list[float]


def undisturbed(out: Path) -> Whole:
    board, times = Board(), [time.monotonic()]
    child = start(board, out, None, 2)
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        if board.read()[0] >= len(times):
            times.append(time.monotonic())
        time.sleep(0.0005)
    if os.waitstatus_to_exitcode(ended[1]) != 0:
        raise SystemExit("the training fails without any kill: " + (out / "log.txt").read_text()[-1500:])
    times.append(time.monotonic())
    run = run_of(out)
    assert run is not None
    return Whole(outcome(run), board.read()[1], [b - a for a, b in itertools.pairwise(times)])


def outcome(run: Path) -> dict[str, Any]:
    """What must not depend on kills: weights, optimiser, running average, the kept weights and the metrics."""
    last = checkpoint.load(run / "checkpoints" / "last")
    found = {key: last[key] for key in ("network", "optimizers", "ema", "position", "random")}
    best = run / "checkpoints" / "best"
    kept = checkpoint.load(best)["network"] if best.exists() else None
    return found | {"best": kept, "metrics": json.loads((run / "metrics.json").read_text())["metrics"]}


def same(a: Any, b: Any) -> bool:
    """Bit for bit."""
    if torch.is_tensor(a):
        return torch.is_tensor(b) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b


def run_of(out: Path) -> Path | None:
    """The newest run under `out` that has a checkpoint, or had one by its names."""
    found = [p.parent.parent.parent for p in out.glob("*/*/checkpoints/last/*.json")]
    return max(found, key=lambda path: int(path.name), default=None)

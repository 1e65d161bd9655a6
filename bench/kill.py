"""SIGKILLs at random moments of a training that saves often: is anything lost, and does the end result differ?

    python bench/kill.py [--kills 500] [--other FOLDER] [--json]

A tiny network learns the digits, saving every 1 to 5 steps; it is killed after a random time, resumed, killed again,
and so on to its end, one run after the other until there were enough kills; every second run lies on another file
system. After each kill a checkpoint must load and at most one interval may be lost; after the next start no temporary
file and no half of a pair may be left; a finished run must equal, bit for bit, one that was never killed. Exit status
1 where any of this fails.

SIGKILL ends a process, not the machine: what was written stays in the kernel's cache, so this proves nothing about
fsync and the loss of power. Faults injected at each write, sync and rename of a save are in
tests/training/test_checkpoint.py. To make hundreds of kills take minutes, torch is imported once and each trial is a
fork of that process, taken before any thread exists.
"""

from __future__ import annotations

import os

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # no threads: we fork

import argparse
import itertools
import json
import mmap
import random
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import torch
from common import describe, machine, save, table

import hubel
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
PHASES = ("before the first step", "training", "judging and reporting")


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


def wait(child: int, board: Board, moment: tuple[int, float] | None) -> int | None:
    """The exit status of a child that ended by itself, or None where it was killed.

    `moment` is a phase and the seconds after its beginning when the child is to die; None lets it live.
    """
    phase, seconds = moment or (ENDING + 1, 0.0)
    end = None
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if end is None and board.read()[0] >= phase:
            end = time.monotonic() + seconds
        if end is not None and time.monotonic() >= end:
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            code = os.waitstatus_to_exitcode(status)
            return None if code == -signal.SIGKILL else code
        time.sleep(0.0005)


def undisturbed(out: Path) -> tuple[dict[str, Any], list[float]]:
    """What a run that nobody kills comes to, and the seconds that each of its phases takes."""
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
    return outcome(run), [b - a for a, b in itertools.pairwise(times)]


SHARES = (0.2, 0.6, 0.2)  # of the kills that are aimed at each phase


def moment(seconds: Sequence[float], draw: random.Random) -> tuple[int, float]:
    """A phase, and a time within it."""
    phase = draw.choices((BEGINNING, TRAINING, ENDING), SHARES)[0]
    return phase, draw.uniform(0, seconds[phase])


@dataclass
class Tally:
    """What was found on one file system."""

    where: str
    kills: Counter[int] = field(default_factory=Counter)  # by phase
    runs: int = 0  # that came to their end
    anew: int = 0  # killed before there was a checkpoint: nothing to resume
    most_lost: float = 0.0  # in intervals
    faults: list[str] = field(default_factory=list)

    def row(self) -> list[Any]:
        kills = [self.kills[phase] for phase in (BEGINNING, TRAINING, ENDING)]
        return [self.where, sum(kills), *kills, self.runs, self.anew, f"{self.most_lost:.2f}", len(self.faults)]


HEAD = ["file system", "kills", *PHASES, "runs", "begun anew", "most lost, intervals", "faults"]


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


def inspect(run: Path | None, known: int, board: Board, interval: int, tally: Tally) -> int:
    """After a kill: the step of the checkpoint that loads, −1 where none was ever written."""
    _, reached, left = board.read()
    if left:
        tally.faults.append(f"{left} files of a killed process were still there after the next start")
    if run is None:
        if max(known, reached) > 0:
            tally.faults.append(f"lost: step {max(known, reached)} was reached, and there is no checkpoint")
        return -1
    try:
        step = int(checkpoint.load(run / "checkpoints" / "last")["position"]["step"])
    except Exception as fault:
        tally.faults.append(f"lost: {fault}")
        return known
    lost = max(known, reached) - step
    tally.most_lost = max(tally.most_lost, lost / interval)
    if lost > interval:
        tally.faults.append(f"{lost} steps lost, saved every {interval}: step {reached} reached, {step} saved")
    return step


def carry_through(out: Path, wanted: int, seconds: Sequence[float], draw: random.Random, tally: Tally) -> Path | None:
    """One run, killed and resumed until it ends; at most `wanted` kills. Returns the run, None where it was lost."""
    board, interval, known, kills = Board(), draw.randint(1, 5), -1, 0
    while True:
        run = run_of(out)
        child = start(board, out, run, interval)
        status = wait(child, board, moment(seconds, draw) if kills < wanted else None)
        if status is not None:
            if status != 0:
                tally.faults.append("lost: it can't be resumed: " + (out / "log.txt").read_text()[-1500:])
                return None
            tally.runs += 1
            return run_of(out)
        kills += 1
        tally.kills[board.read()[0]] += 1
        run = run_of(out)
        tally.anew += run is None
        known = inspect(run, known, board, interval, tally)


def campaign(kills: int, folders: Sequence[Path], seed: int, say: Any = print) -> list[Tally]:
    """`kills` kills, shared out between runs on each of `folders`."""
    draw = random.Random(seed)
    places = [Path(tempfile.mkdtemp(prefix="hubel-kill-", dir=folder)) for folder in folders]
    tallies = [Tally(str(folder)) for folder in folders]
    try:
        whole = places[0] / "whole"
        whole.mkdir()
        expected, seconds = undisturbed(whole)
        done = 0
        for number in range(10 * kills):
            if done >= kills:
                break
            which = min(range(len(places)), key=lambda k: sum(tallies[k].kills.values()))
            tally, before = tallies[which], sum(tallies[which].kills.values())
            out = places[which] / str(number)
            out.mkdir()
            check_end(carry_through(out, min(10, kills - done), seconds, draw, tally), expected, tally)
            done += sum(tally.kills.values()) - before
            shutil.rmtree(out)
            say(f"{done} of {kills} kills, {sum(len(t.faults) for t in tallies)} faults")
    finally:
        for place in places:
            shutil.rmtree(place, ignore_errors=True)
    return tallies


def check_end(run: Path | None, expected: dict[str, Any], tally: Tally) -> None:
    if run is None:
        return
    found = outcome(run)
    wrong = [key for key in expected if not same(found[key], expected[key])]
    if wrong:
        tally.faults.append(f"{run.name}: {', '.join(wrong)} differ from the run that was never killed")
    left = leftovers(run)
    if left:
        tally.faults.append(f"{len(left)} temporary files in a finished run, such as {left[0].name}")


def other_file_system(than: Path) -> Path | None:
    """A folder for temporary files on another mounted file system than `than`."""
    for place in ("/dev/shm", os.environ.get("XDG_RUNTIME_DIR"), "/var/tmp", str(Path.home()), str(Path.cwd())):
        if place and os.access(place, os.W_OK) and Path(place).stat().st_dev != than.stat().st_dev:
            return Path(place)
    return None


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=500, help="how many SIGKILLs")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where half of the runs lie")
    parser.add_argument("--other", type=Path, help="a folder on another file system, for the other half")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and intervals")
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    parser.add_argument("--save", metavar="NAME", help="write results/NAME.json and .txt")
    return parser.parse_args(words)


def main() -> int:
    options = arguments()
    torch.set_num_threads(1)
    hubel.load_dataset("digits")  # imported once, before the forks
    other = options.other or other_file_system(options.folder)
    began = time.monotonic()
    folders = [options.folder, *([other] if other else [])]
    tallies = campaign(options.kills, folders, options.seed, lambda text: print(text, file=sys.stderr, flush=True))
    about, seconds = machine(), round(time.monotonic() - began, 1)
    text = [describe(about), f"{seconds} s", table([HEAD, *(tally.row() for tally in tallies)])]
    text += ["another file system: not measured, none was found"] if other is None else []
    text += sorted({fault for tally in tallies for fault in tally.faults})
    rows = [{**vars(tally), "kills": sum(tally.kills.values()), "phases": tally.kills} for tally in tallies]
    content = {"machine": about, "command": sys.argv[1:], "seconds": seconds, "file_systems": rows}
    if options.save:
        save(options.save, content, "\n".join(text))
    print(json.dumps(content) if options.json else "\n".join(text))
    return 1 if any(tally.faults for tally in tallies) else 0


if __name__ == "__main__":
    sys.exit(main())

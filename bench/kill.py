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

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from victim import (  # first: it sees to it that no library starts threads
    BEGINNING,
    ENDING,
    TRAINING,
    Board,
    Moment,
    Whole,
    leftovers,
    outcome,
    run_of,
    same,
    start,
    undisturbed,
    wait,
)

import torch  # isort: skip
from common import describe, machine, save, table

import hubel
from hubel.training import checkpoint
from hubel.training.run import RunFolder

PHASES = ("before the first step", "training", "judging and reporting")
EARLY, LATE = 0.15, 0.15  # of the kills come before the first step; after the last one
STRIDE = 20  # steps that a training gets at most before its next death


def aim(whole: Whole, known: int, draw: random.Random) -> Moment | None:
    """A random moment: before the first step, in one of the steps after the saved one, `known`, or after the last.

    After the last step every second child dies while it judges and reports; None lets it come to its end.
    """
    if known >= whole.steps:
        moment = Moment(ENDING, -1, draw.uniform(0, 0.8 * whole.seconds[ENDING]))
        return moment if draw.random() < 0.5 else None
    share = draw.random()
    if share < EARLY:
        return Moment(BEGINNING, -1, draw.uniform(0, 0.8 * whole.seconds[BEGINNING]))
    if share > 1 - LATE:
        return Moment(ENDING, -1, draw.uniform(0, 0.8 * whole.seconds[ENDING]))
    step = min(max(known, 0) + draw.randint(0, STRIDE), whole.steps)
    return Moment(TRAINING, step, draw.uniform(0, whole.seconds[TRAINING] / whole.steps))


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


def carry_through(out: Path, wanted: int, whole: Whole, draw: random.Random, tally: Tally) -> Path | None:
    """One run, killed and resumed until it ends; at most `wanted` kills. Returns the run, None where it was lost."""
    board, interval, known, kills = Board(), draw.randint(1, 5), -1, 0
    while True:
        run = run_of(out)
        child = start(board, out, run, interval)
        status = wait(child, board, aim(whole, known, draw) if kills < wanted else None)
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
        if run is not None and RunFolder(run).state == "finished":  # killed on its way out: nothing is left to do
            tally.runs += 1
            return run


def campaign(kills: int, folders: Sequence[Path], seed: int, say: Any = print) -> list[Tally]:
    """`kills` kills, shared out between runs on each of `folders`."""
    draw = random.Random(seed)
    places = [Path(tempfile.mkdtemp(prefix="hubel-kill-", dir=folder)) for folder in folders]
    tallies = [Tally(str(folder)) for folder in folders]
    try:
        (places[0] / "whole").mkdir()
        whole = undisturbed(places[0] / "whole")
        done = 0
        for number in range(10 * kills):
            if done >= kills:
                break
            which = min(range(len(places)), key=lambda k: sum(tallies[k].kills.values()))
            tally, before = tallies[which], sum(tallies[which].kills.values())
            out = places[which] / str(number)
            out.mkdir()
            check_end(carry_through(out, min(10, kills - done), whole, draw, tally), whole.outcome, tally)
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

"""Images read and augmented per second, hubel's three paths against its peers, measured in turn in one run.

    python bench/data.py [--rounds 5] [--images 256] [--cores one,all] [--photos FOLDER] [--save data]

Photographs: JPEG of 500 x 375 pixels -> batches of 224 x 224 uint8, random crop and flip; full: turns, shears and
colours too. Without --photos they are drawn (data_material.py). Thumbnails: 32 x 32 in memory, shift and flip. "one":
one process without workers, on one core, by its processor time; "all": as many workers as cores. Printed: images/s,
median (lowest–highest), and ratios round by round; then the sharpness of each crop against a float64 Lanczos
resampling, and the share of the time that trainings wait for data (data_waiting.py).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from common import describe, machine, ratio, save, spread, table
from data_material import prepare, sharpness
from data_waiting import told, waiting
from turns import Competitor, Turns, in_turns

GOALS = {  # (what, who, whom), on one core: at least
    ("photographs", "hubel decoded", "torchvision"): 1.8,
    ("full", "hubel decoded", "albumentations"): 2.5,
    ("full", "hubel decoded", "torchvision"): 11.0,
    ("thumbnails", "hubel resident", "albumentations"): 2.0,
}
RATES = {("photographs", "hubel packed"): 8000, ("full", "hubel packed"): 3000}
TURN = 0.3  # seconds at least, as many epochs as that takes
PEERS = ("decoding alone", "torchvision", "albumentations", "timm", "fastai", "kornia", "ffcv")
NAMES = {
    "photographs": ("hubel decoded", "hubel packed", "hubel packed as JPEG", *PEERS),
    "full": ("hubel decoded", "hubel packed", *PEERS),
    "thumbnails": ("hubel resident", "albumentations", "torchvision"),
}  # fmt: skip


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds, after one that warms up")
    parser.add_argument("--images", type=int, default=256, help="photographs; 20 times as many thumbnails")
    parser.add_argument("--cores", default="one,all", help="one, all, or both")
    parser.add_argument("--what", default="photographs,full,thumbnails", help="which images, and what is done")
    parser.add_argument("--peers", help="only these, with commas between them")
    parser.add_argument("--photos", help="a folder of JPEG files to read instead of drawn ones")
    parser.add_argument("--no-training", action="store_true", help="leave out the share of time that a training waits")
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    parser.add_argument("--save", metavar="NAME", help="write results/NAME.json and .txt")
    parser.add_argument("--place", help=argparse.SUPPRESS)  # where the material is
    parser.add_argument("--as", dest="role", help=argparse.SUPPRESS)  # this process is a competitor
    parser.add_argument("--pipes", help=argparse.SUPPRESS)
    return parser.parse_args(words)


# Speed ---------------------------------------------------------------------------------------------------------


class CoreTurns(Turns):
    """By the processor's time of this process: what else the machine does matters less."""

    def begin(self) -> None:
        super().begin()
        self._began = time.process_time()

    def end(self, images: int) -> None:
        self._tell({"seconds": time.process_time() - self._began, "images": images})


def play(options: argparse.Namespace) -> None:
    """This process is one competitor; `role` is what/cores/name."""
    what, cores, name = options.role.split("/")
    if cores == "one" and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    turns = (CoreTurns if cores == "one" else Turns).from_pipes(options.pipes, lambda: None)
    try:
        import cv2
        import numpy as np
        import torch
        from data_peers import PHOTOGRAPHS, THUMBNAILS
        from data_readers import Work

        torch.set_num_threads(1)
        cv2.setNumThreads(0)
        place = Path(options.place)
        small = np.random.default_rng(1).integers(0, 256, (20 * options.images, 32, 32, 3), dtype=np.uint8)
        workers = 0 if cores == "one" else len(os.sched_getaffinity(0))
        work = Work(place / "photos", place / "raw.pack", place / "jpeg.pack", small, 64, workers, what == "full")
        epoch = (THUMBNAILS if what == "thumbnails" else PHOTOGRAPHS)[name](work)
        number = 0
        for _ in range(options.rounds + 1):
            turns.begin()
            began, images = time.perf_counter(), 0
            while not images or time.perf_counter() - began < TURN:
                images, number = images + epoch(number), number + 1
            turns.end(images)
        turns.begin()  # ends the process
    except BaseException as fault:
        traceback.print_exc()
        turns.fail(f"{type(fault).__name__}: {fault}")


def measure(what: str, cores: str, options: argparse.Namespace, place: Path) -> dict[str, Any]:
    """{"images_per_second": {name: [one per round]}, "missing": {name: reason}}"""
    wanted = options.peers.split(",") if options.peers else NAMES[what]
    words = [__file__, "--rounds", str(options.rounds), "--images", str(options.images), "--place", str(place)]
    players = [Competitor(n, [*words, "--as", f"{what}/{cores}/{n}"]) for n in NAMES[what] if n in wanted]
    return in_turns(players, options.rounds, f"{what}, {cores}")


def rows_of(found: dict[str, Any], what: str, cores: str) -> list[list[str]]:
    """Who, images/s, and the ratio of each of hubel's paths to it, with its goal."""
    rates = found["images_per_second"]
    ours = [name for name in rates if name.startswith("hubel")]
    rows = [["", "images/s (lowest–highest)", *(f"{name} / it" for name in ours), ""]]
    for name, values in rates.items():
        cells, notes = [], []
        for own in ours:
            found_ratio = None if name == own else ratio(rates[own], values)
            cells.append("" if found_ratio is None else found_ratio.text(2))
            goal = GOALS.get((what, own, name)) if cores == "one" else None
            if goal is not None and found_ratio is not None:
                notes.append(f"{own}: goal ≥ {goal:g} {'met' if found_ratio.median >= goal else 'missed'}")
        wanted = RATES.get((what, name)) if cores == "one" else None
        if wanted is not None:
            notes.append(f"goal ≥ {wanted:,}/s {'met' if spread(values).median >= wanted else 'missed'}")
        rows.append([name, spread(values).text(), *cells, "; ".join(notes)])
    return rows + [
        [name, f"not measured: {reason.splitlines()[-1][:60]}", *("" for _ in ours), ""]
        for name, reason in found["missing"].items()
    ]


def main() -> None:
    options = arguments()
    if options.role:
        play(options)
        return
    import torch  # noqa: F401, the machine's description

    facts = machine()
    lines, results = [describe(facts)], {}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        prepare(place, options.images, options.photos)
        for what in options.what.split(","):
            for cores in options.cores.split(","):
                found = results[f"{what}, {cores}"] = measure(what, cores, options, place)
                title = "one core" if cores == "one" else f"all {facts['cores']} cores"
                lines += ["", f"{what}, {title}", table(rows_of(found, what, cores))]
        for title, found in sharpness().items():
            results[f"sharpness, {title}"] = found
            lines += ["", f"sharpness of a random crop, {title}: dB against Lanczos in float64 (more is sharper)"]
            lines += [f"  {name}: {value.text(1)}" for name, value in found.items()]
        if not options.no_training:
            results["waiting"] = shares = waiting(place)
            lines += ["", "what trainings wait for data, all cores", table(told(shares))]
    text = "\n".join(lines)
    print(json.dumps({"machine": facts, **results}, default=str) if options.json else text)
    if options.save:
        save(options.save, {"machine": facts, **results}, text)


if __name__ == "__main__":
    main()

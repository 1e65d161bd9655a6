"""What prediction in little memory saves: peak of the resident memory, and processor time, plain and lean, in fp32.

    python bench/lean.py [--models resnet50 densenet121 mobilenetv2] [--images 32] [--size 224] [--save lean]

Memory: each network and way in a process of its own, the peak while a batch runs above what is resident after one image
and with the batch read (Linux only). Time: both
ways in turn in one process, A B A B …, processor seconds of a batch, and plain / lean round by round.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from common import describe, machine, ratio, save, spread, table

WAYS = ("plain", "lean")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["resnet50", "densenet121", "mobilenetv2"])
    parser.add_argument("--images", type=int, default=32, help="of a batch")
    parser.add_argument("--size", type=int, default=224, help="pixels of a side")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--save", metavar="NAME", help="write results/NAME.json and .txt")
    parser.add_argument("--as", dest="role", nargs=2, metavar=("MODEL", "WAY"), help=argparse.SUPPRESS)
    return parser.parse_args()


def network(name: str, way: str, size: int) -> Any:
    import hubel
    from hubel.models.surgery.lean import lean

    found = hubel.create_model(name, classes=1000, input=(3, size, size)).eval()
    return lean(found) if way == "lean" else found


def resident(line: str) -> float:
    """MB: "VmRSS", now, or "VmHWM", the most since it was last forgotten."""
    words = Path("/proc/self/status").read_text().split(f"{line}:")[1].split()
    return int(words[0]) / 1024


def play(options: argparse.Namespace) -> None:
    """This process is one network in one way: MB above those of one image."""
    import torch

    own = network(*options.role, options.size)
    with torch.inference_mode():
        own(torch.randn(1, 3, options.size, options.size))
        images = torch.randn(options.images, 3, options.size, options.size)
        before = resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak of making and reading the network
        own(images)
    print(resident("VmHWM") - before)


def memory(options: argparse.Namespace, name: str, way: str) -> float:
    given = ["--images", str(options.images), "--size", str(options.size), "--as", name, way]
    ended = subprocess.run([sys.executable, __file__, *given], check=True, capture_output=True, text=True)
    return float(ended.stdout.split()[-1])


def seconds(options: argparse.Namespace, name: str) -> dict[str, list[float]]:
    """Processor seconds of a batch, way by way, after a pass that warms up; the ways share their weights."""
    import torch

    from hubel.models.surgery.lean import lean

    plain = network(name, "plain", options.size)
    ways, images = {"plain": plain, "lean": lean(plain)}, torch.randn(options.images, 3, options.size, options.size)
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    with torch.inference_mode():
        for _ in range(options.rounds + 1):
            for way, own in ways.items():
                began = time.process_time()
                own(images)
                found[way].append(time.process_time() - began)
    return {way: values[1:] for way, values in found.items()}


def main() -> None:
    options = arguments()
    if options.role:
        play(options)
        return
    about = machine()
    measured = {
        name: {"megabytes": {way: memory(options, name, way) for way in WAYS}, "seconds": seconds(options, name)}
        for name in options.models
    }
    rows: list[list[Any]] = [["", "plain MB", "lean MB", "plain s", "lean s", "plain / lean, s"]]
    for name, one in measured.items():
        times = [one["seconds"][way] for way in WAYS]
        megabytes = [f"{one['megabytes'][way]:.0f}" for way in WAYS]
        rows.append([name, *megabytes, *(spread(t).text(2) for t in times), ratio(*times).text(2)])
    text = f"{describe(about)}\n{options.images} images of {options.size} pixels, fp32\n\n{table(rows)}"
    print(text)
    if options.save:
        print(save(options.save, {"machine": about, "images": options.images, "measured": measured}, text))


if __name__ == "__main__":
    main()

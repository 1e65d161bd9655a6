"""Training speed in images/s of a whole epoch, hubel against its limit and its peers, measured in turn in one run.

    python bench/train.py [--networks lenet5,small_cnn,resnet18] [--rounds 5] [--images 20000] [--json]
    python bench/train.py --networks small_cnn --accuracy 3        # three seeds each, 3 epochs

Each competitor is a process of its own; rounds go A B C … A B C …, after one that warms up. Printed: median images/s
(smallest–largest) and the ratio hubel / other, taken round by round, beside its goal. LeNet-5 and the small CNN learn
Fashion-MNIST, ResNet-18 synthetic images of 128 pixels that lie in memory. See README.md for who does what.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from common import Spread, describe, machine, ratio, save, spread, table
from turns import Competitor, Turns, in_turns

from hubel.waiting import wait_briefly

NAMES = ("hubel", "limit", "default", "lightning", "fastai", "keras")
IMAGES = {"lenet5": 20_000, "small_cnn": 12_800, "resnet18": 1_024}
ROUNDS = {"lenet5": 5, "small_cnn": 5, "resnet18": 3}  # with all six competitors below 20 minutes on two cores
BATCH = {"lenet5": 128, "small_cnn": 128, "resnet18": 32}
GOALS = {"limit": 0.97}  # hubel / other
PEER_GOAL = 2.5  # of each other one's default, on a CPU with native bf16


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default=",".join(IMAGES), help="which networks, with commas between them")
    parser.add_argument("--competitors", default=",".join(NAMES), help="who takes part")
    parser.add_argument("--rounds", type=int, help="measured rounds, after one that warms up (5; 3 of ResNet-18)")
    parser.add_argument("--images", type=int, help="images in an epoch, instead of each network's own number")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--accuracy", type=int, metavar="EPOCHS", help="compare test accuracies after so many epochs")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of --accuracy")
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    parser.add_argument("--save", metavar="NAME", help="write results/NAME.json and .txt")
    parser.add_argument("--as", dest="role", help=argparse.SUPPRESS)  # this process is a competitor
    parser.add_argument("--pipes", help=argparse.SUPPRESS)
    return parser.parse_args(words)


def measure(network: str, names: Sequence[str], options: argparse.Namespace) -> dict[str, Any]:
    """{"images_per_second": {name: [one per round]}, "missing": {name: reason}}"""
    count, rounds = options.images or IMAGES[network], options.rounds or ROUNDS[network]
    command = [__file__, "--networks", network, "--images", str(count), "--rounds", str(rounds)]
    command += ["--device", options.device, "--as"]
    players = [Competitor(name, [*command, name], own_environment(name)) for name in names]
    return {"images": count, "batch": BATCH[network], **in_turns(players, rounds, network)}


def own_environment(name: str) -> dict[str, str]:
    """What `import hubel` sets before torch is loaded, for the tightest loop too; the others run as they come."""
    found: dict[str, str] = {}
    if name in ("hubel", "limit") and "OMP_WAIT_POLICY" not in os.environ:
        wait_briefly(found)
    return found


def ratios(rates: Mapping[str, Sequence[float]]) -> dict[str, Spread]:
    """hubel / other, for each other one."""
    if "hubel" not in rates:
        return {}
    return {name: ratio(rates["hubel"], values) for name, values in rates.items() if name != "hubel"}


def rows_of(found: Mapping[str, Any], goal: float | None = PEER_GOAL) -> list[list[str]]:
    """The table of one network: who, images/s, hubel / who, the goal and whether it is met by the median."""
    rows = [["", "images/s (lowest–highest)", "hubel / it", "goal", ""]]
    against = ratios(found["images_per_second"])
    for name, values in found["images_per_second"].items():
        row = [name, spread(values).text(), "", "", ""]
        if name in against:
            wanted = GOALS.get(name, goal)
            met = "" if wanted is None else "met" if against[name].median >= wanted else "missed"
            row[2:] = [against[name].text(2), "" if wanted is None else f"≥ {wanted:g}", met]
        rows.append(row)
    rows += [[name, "not measured", reason.splitlines()[-1][:70], "", ""] for name, reason in found["missing"].items()]
    return rows


def play(options: argparse.Namespace) -> None:
    """This process is one competitor."""
    import torch

    turns = Turns.from_pipes(options.pipes, torch.cuda.synchronize if options.device != "cpu" else lambda: None)
    try:
        from competitors import COMPETITORS, Work

        network = options.networks
        images, labels = material(network, options.images)
        work = Work(network, images, labels, BATCH[network], options.rounds + 1, options.device)
        COMPETITORS[options.role](work, turns)
    except BaseException as fault:
        traceback.print_exc()
        turns.fail(f"{type(fault).__name__}: {fault}")


def material(network: str, count: int) -> tuple[Any, Any]:
    """(N, H, W, C) uint8 and (N,) int64: Fashion-MNIST's training part, or noise of 128 pixels."""
    import numpy as np

    if network == "resnet18":
        random = np.random.default_rng(0)
        return random.integers(0, 256, (count, 128, 128, 3), dtype=np.uint8), random.integers(0, 10, count)
    from hubel.data.builtin import fashion_mnist

    dataset = fashion_mnist()
    index = dataset.splits["train"][:count]
    return np.ascontiguousarray(dataset.images.array[index]), dataset.annotations["label"][index]


def main() -> int:
    options = arguments()
    if options.role:
        play(options)
        return 0
    about = machine(options.device)
    text, found = [describe(about)], {}
    native = bool(about["bf16"]) or options.device != "cpu"
    for network in options.networks.split(","):
        if options.accuracy:
            from accuracy import compare, rows_of_accuracy

            found[network] = compare(network, options.accuracy, range(options.seeds), options.images)
            rows = rows_of_accuracy(found[network])
        else:
            found[network] = measure(network, options.competitors.split(","), options)
            rows = rows_of(found[network], PEER_GOAL if native else None)
        setting = {k: v for k, v in found[network].items() if isinstance(v, int)}
        text += [f"\n{network}: " + ", ".join(f"{k} {v:,}" for k, v in setting.items()), table(rows)]
    content = {"machine": about, "command": sys.argv[1:], "networks": found}
    if options.save:
        save(options.save, content, "\n".join(text))
    print(json.dumps(content) if options.json else "\n".join(text))
    return 0


if __name__ == "__main__":
    sys.exit(main())

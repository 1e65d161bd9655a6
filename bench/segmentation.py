"""hubel's U-Net against segmentation_models.pytorch's: the same encoder, images, epochs and batch, in one run.

    python bench/segmentation.py --data camvid_dev [--epochs 160] [--rounds 5] [--save segmentation]
    python bench/segmentation.py --data camvid_dev --speed-only
    python bench/segmentation.py --data camvid_dev --quality-only --competitors hubel_whole,smp --seeds 0 1 2 --work DIR

DATA is a folder with train/images, train/masks, val/images, val/masks and a data.yaml (`names`, `ignore`). Speed: each
competitor is a process that trains one epoch in its turn (A B A B …), after a round that warms up; images/s with all
that an epoch reads and augments, and hubel / other round by round. Quality: each trains alone, chooses its weights on
val as its users do, and answers for val's images in their own pixels; the mean IoU of all is counted by scikit-learn.
With --work the answers are kept there, and a second call trains only what is missing.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
from common import describe, machine, ratio, save, spread, table
from turns import Competitor, Turns, in_turns

from hubel.waiting import wait_briefly

NAMES = ("hubel", "hubel_whole", "smp", "smp_tuned")
OURS = ("hubel", "hubel_whole")
SPEED_GOAL = 2.0  # hubel / smp as it comes, on a CPU with native bf16
WHAT = {
    "hubel": "hubel, as it comes",
    "hubel_single": "hubel, one view",
    "hubel_whole": "hubel, trained on whole sizes",
    "hubel_whole_single": "hubel, trained on whole sizes, one view",
    "smp": "smp, as in its CamVid example",
    "smp_tuned": "smp, with hubel's loss, optimiser, schedule",
}


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of images and masks")
    parser.add_argument("--competitors", default=",".join(NAMES), help="who takes part")
    parser.add_argument("--epochs", type=int, help="of each training; what hubel chooses where left out")
    parser.add_argument("--batch", type=int, help="images in a batch; what hubel chooses where left out")
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds of one epoch each, after a warm one")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="a training of each; the first one's speed")
    parser.add_argument("--work", type=Path, help="where answers are kept, so that an interrupted run goes on")
    parser.add_argument("--speed-only", action="store_true", help="no whole training")
    parser.add_argument("--quality-only", action="store_true", help="no rounds of single epochs")
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    parser.add_argument("--save", metavar="NAME", help="write results/NAME.json and .txt")
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--as", dest="role", help=argparse.SUPPRESS)  # this process is a competitor
    parser.add_argument("--pipes", help=argparse.SUPPRESS)
    parser.add_argument("--answers", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(words)


# Speed --------------------------------------------------------------------------------------------------------


def speed(options: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    """{"images_per_second": {name: [one per round]}, "missing": {name: reason}}; the tuned smp is no other network."""
    chosen = [name for name in names if name != "smp_tuned" or "smp" not in names]
    seed = options.seeds[0]
    players = [Competitor(name, [__file__, *words(options, name, seed)], environment(name)) for name in chosen]
    return in_turns(players, options.rounds, "speed")


def words(options: argparse.Namespace, name: str, seed: int) -> list[str]:
    """The command line of a competitor's process."""
    given = {"data": options.data, "epochs": options.epochs, "batch": options.batch, "rounds": options.rounds}
    pairs = [[f"--{key}", str(value)] for key, value in (given | {"seed": seed, "as": name}).items()]
    return [word for pair in pairs for word in pair]


def environment(name: str) -> dict[str, str]:
    """What `import hubel` sets before torch is loaded; the peer runs as it comes."""
    found: dict[str, str] = {}
    if name in OURS and "OMP_WAIT_POLICY" not in os.environ:
        wait_briefly(found)
    return found


def speed_rows(found: Mapping[str, Any], goal: float | None = SPEED_GOAL) -> list[list[str]]:
    """The goal is that of hubel as it comes; its crops are small, those of `hubel_whole` as large as smp's."""
    rates = found["images_per_second"]
    bases = [name for name in OURS if name in rates]
    rows = [["", "images/s (lowest–highest)", *(f"{base} / it" for base in bases), "goal", ""]]
    for name, values in rates.items():
        against = {base: ratio(rates[base], values) for base in bases if name not in OURS}
        cells = [against[base].text(2) if against else "" for base in bases]
        first = against.get("hubel")
        judged = first is not None and goal is not None
        met = "" if not judged else "met" if first.median >= goal else "missed"
        rows.append([name, spread(values).text(1), *cells, f"≥ {goal:g}" if judged else "", met])
    empty = [""] * (len(bases) + 1)
    return rows + [[name, "not measured", why.splitlines()[-1][:70], *empty] for name, why in found["missing"].items()]


# Quality ------------------------------------------------------------------------------------------------------


def quality(options: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    """{name: [miou, iou by class, seconds of the training, parameters of each seed]}; reasons in "missing"."""
    found: dict[str, Any] = {"trained": {}, "missing": {}}
    with tempfile.TemporaryDirectory() as folder:
        place = options.work or Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        for seed, name in itertools.product(options.seeds, names):
            made = place / f"{options.data.name}-{name}-{options.epochs}-{options.batch}-{seed}.npz"
            if not made.exists():
                part = made.with_suffix(".part.npz")
                command = [sys.executable, __file__, *words(options, name, seed), "--answers", str(part)]
                ended = subprocess.run(command, env={**os.environ, **environment(name)}, stdout=sys.stderr)
                if ended.returncode or not part.exists():
                    found["missing"][name] = f"its process ended with {ended.returncode}"
                    continue
                part.rename(made)
            with np.load(made, allow_pickle=False) as kept:
                rows = judged(name, dict(kept), options.data)
            for key, row in rows.items():
                found["trained"].setdefault(key, []).append(row)
                print(f"{key}, seed {seed}: mIoU {row['miou']:.4f}", file=sys.stderr, flush=True)
    return found


def judged(name: str, kept: Mapping[str, np.ndarray], data: Path) -> dict[str, Any]:
    """One row for each set of answers: "masks", and "masks_single" where one view was asked too."""
    found = {}
    for key in (key for key in kept if key.startswith("masks")):
        each = iou_by_class(data, kept[key])
        about = {"miou": float(np.mean(list(each.values()))), "iou": each}
        about |= {word: float(kept[word]) for word in ("seconds", "parameters")}
        found[name + key.removeprefix("masks")] = about
    return found


def iou_by_class(data: Path, masks: np.ndarray) -> dict[str, float]:
    """Intersection over union of each class, all pixels of val (n, H, W) together; neither hubel nor smp counts."""
    from segmentation_work import Scenes
    from sklearn.metrics import jaccard_score

    scenes = Scenes(data, "val")
    truth = np.stack([scenes.mask(i) for i in range(len(scenes))])
    known = truth != scenes.ignore
    each = jaccard_score(truth[known], masks[known], labels=range(len(scenes.names)), average=None, zero_division=0)
    return dict(zip(scenes.names, map(float, each), strict=True))


def quality_rows(found: Mapping[str, Any]) -> list[list[str]]:
    """Means over the seeds; the deviation of the mean IoU where there are several."""
    trained = found["trained"]
    classes = list(next(iter(trained.values()))[0]["iou"]) if trained else []
    rows = [["", "mIoU", "seeds", "minutes", "parameters", *classes]]
    for name, seeds in trained.items():
        miou, minutes = [one["miou"] for one in seeds], statistics.mean(one["seconds"] for one in seeds) / 60
        spread = f" ± {statistics.stdev(miou):.4f}" if len(miou) > 1 else ""
        about = [f"{statistics.mean(miou):.4f}{spread}", str(len(miou)), f"{minutes:.1f}"]
        each = [f"{statistics.mean(one['iou'][word] for one in seeds):.2f}" for word in classes]
        rows.append([WHAT.get(name, name), *about, f"{int(seeds[0]['parameters']):,}", *each])
    return rows + [
        [name, "not measured", why[:60], *[""] * (len(classes) + 2)] for name, why in found["missing"].items()
    ]


# Both ---------------------------------------------------------------------------------------------------------


def play(options: argparse.Namespace) -> None:
    """This process is one competitor: epochs in its turns, or one whole training."""
    from segmentation_peers import COMPETITORS
    from segmentation_work import Work

    work = Work(options.data, options.epochs, options.batch, options.seed)
    if options.answers:
        np.savez(options.answers, **COMPETITORS[options.role].learn(work))
        return
    turns = Turns.from_pipes(options.pipes, lambda: None)
    try:
        COMPETITORS[options.role].take_turns(work, turns, options.rounds + 1)
    except BaseException as fault:
        traceback.print_exc()
        turns.fail(f"{type(fault).__name__}: {fault}")


def chosen_by_hubel(options: argparse.Namespace) -> argparse.Namespace:
    """Epochs and batch, where they were left open."""
    from hubel.api import settle_for

    settings = settle_for(str(options.data), layers=[("bench", {"model": "unet"})])
    options.epochs = options.epochs or settings["epochs"].value
    options.batch = options.batch or settings["batch_size"].value
    options.data = options.data.absolute()
    return options


def main() -> int:
    options = arguments()
    if options.role:
        play(options)
        return 0
    options, about, names = chosen_by_hubel(options), machine(), options.competitors.split(",")
    text = [describe(about), f"{options.data.name}: {options.epochs} epochs, batches of {options.batch}"]
    content: dict[str, Any] = {"machine": about, "command": [Path(word).name for word in sys.argv[1:]]}
    content |= {"epochs": options.epochs, "batch": options.batch}
    if not options.quality_only:
        content["speed"] = speed(options, names)
        text += ["", table(speed_rows(content["speed"], SPEED_GOAL if about["bf16"] else None))]
    if not options.speed_only:
        content["quality"] = quality(options, names)
        text += ["", table(quality_rows(content["quality"]))]
    if options.save:
        save(options.save, content, "\n".join(text))
    print(json.dumps(content) if options.json else "\n".join(text))
    return 0


if __name__ == "__main__":
    sys.exit(main())

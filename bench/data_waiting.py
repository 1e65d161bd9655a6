"""What a training waits for data, by path, and whether it need: images/s that are read against those that are learnt.

Two networks on the same photographs: a small CNN at 64 pixels, which on a CPU learns nearly as fast as a core decodes,
and ResNet-18 at 224 pixels. A training of two epochs with all of hubel's defaults; the last one is looked at. It has
2,000 images at least, as users' have: the first batch of an epoch, for which nothing was read ahead, is told apart.
Beside it the loader of that training alone, in the same processes. Reading at least as fast as the network learns
allows a share of 0; the goal is less than 2 %.

    python bench/data_waiting.py [--save data-cpu-waiting]        about 15 min on 2 cores
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

GOAL = 0.02
MARGIN = 1.25  # of reading over learning: cores are shared by both on a machine without a GPU
EPOCH = 2000  # images that are learnt from
FILES = 3400  # four in ten are held out
NETWORKS = {"small_cnn": 64, "resnet18": 224}
PATHS = {"decoded": "photos", "packed": "raw.pack"}


def waiting(place: Path, files: int = FILES, networks: dict[str, int] = NETWORKS) -> dict[str, dict[str, float]]:
    """{"network, path": {"share" of the epoch, "first" batch in seconds, "later" share without it, "learnt" and "read"
    in images/s, "images" of the epoch, "workers"}}. `place`/photos holds JPEG files, fewer than `files` are linked."""
    many = _linked(place / "photos", place / "many", files)
    return {
        f"{network} at {side}, {path}": _one(many / name, network, side)
        for network, side in networks.items()
        for path, name in PATHS.items()
    }


def _linked(photos: Path, many: Path, files: int) -> Path:
    """many/photos/<class>/*.jpg: the same files again and again, each decoded as often as it is listed; and a pack."""
    from hubel.data.formats import folder
    from hubel.data.pack_write import pack

    known = sorted(photos.rglob("*.jpg"))
    for i in range(files):
        source = known[i % len(known)]
        target = many / "photos" / source.parent.name / f"{i:05}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(source, target)
    pack(folder.read(many / "photos"), many / "raw.pack")
    return many


def _one(source: Path, network: str, side: int) -> dict[str, float]:
    from networks import NETWORKS as OWN

    import hubel

    class First(hubel.Callback):
        """What the first batch of each epoch was waited for."""

        def __init__(self) -> None:
            self.seconds: list[float] = []

        def on_step(self, loop: Any, losses: Any) -> None:
            if loop.batch == 1:
                self.seconds.append(loop.data.train.wait_seconds)

    model, first = OWN[network] if network == "resnet18" else network, First()  # the one is not in the zoo
    with tempfile.TemporaryDirectory() as folder:
        run = hubel.train(
            source,
            model=model,
            epochs=2,
            size=side,
            augment="standard",
            out=folder,
            progress="quiet",
            callbacks=[first],
        )
        last, workers, images = run.history[-1], int(run.recipe.workers or 0), len(run.splits["train"])
    share, seconds = float(last["wait_share"]), float(last["seconds"])
    later = (share * seconds - first.seconds[-1]) / max(seconds - first.seconds[-1], 1e-9)
    learnt = float(last["images_per_second"]) / max(1 - share, 1e-9)
    found = {"share": share, "first": first.seconds[-1], "later": later, "learnt": learnt, "images": images}
    return {**found, "read": _read(source, side, workers), "workers": workers}


def _read(source: Path, side: int, workers: int) -> float:
    """Images/s of the loader alone, with what a training does to them, in its second epoch."""
    import numpy as np

    from hubel.data.formats import open_path
    from hubel.data.loader import Loader
    from hubel.data.policies import policy
    from hubel.data.preprocess import Preprocess

    dataset = open_path(source)
    augment, _ = policy("standard", dataset.traits, (side, side), 3)
    with Loader(dataset, lambda i: i, Preprocess((side, side), 3), augment=augment, workers=workers) as loader:
        for epoch in range(2):
            began = time.perf_counter()
            count = sum(len(batch.images) for batch in loader.batches(np.arange(len(dataset)), epoch, 64))
    return count / (time.perf_counter() - began)


def told(found: dict[str, dict[str, float]]) -> list[list[str]]:
    """Rows of a table: the share, the first batch, the arithmetic, and what is said of the goal."""
    head = ["", "images", "waits", "first batch", "later", "the loader alone", "the network learns", "read / learnt"]
    rows = [[*head, f"goal: under {GOAL:.0%}"]]
    for name, one in found.items():
        factor = one["read"] / one["learnt"]
        said = "met" if one["share"] < GOAL else "missed" if factor >= MARGIN else "out of reach: it learns too fast"
        said += "" if one["images"] >= EPOCH else f" (an epoch of fewer than {EPOCH:,})"
        waits = [f"{one['share']:.1%}", f"{one['first']:.2f} s", f"{one['later']:.1%}"]
        rates = [f"{one[key]:,.0f} images/s" for key in ("read", "learnt")]
        rows.append([name, f"{one['images']:,.0f}", *waits, *rates, f"{factor:.1f}", said])
    return rows


def main() -> None:
    from common import describe, machine, save, table
    from data_material import prepare

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=FILES, help="photographs, of which some are held out")
    parser.add_argument("--networks", default=",".join(NETWORKS), help="only these, with commas between them")
    parser.add_argument("--photos", help="a folder of JPEG files to read instead of drawn ones")
    parser.add_argument("--save", metavar="NAME", help="write results/NAME.json and .txt")
    options = parser.parse_args()
    facts = machine()
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), min(256, options.files), options.photos)
        chosen = {name: NETWORKS[name] for name in options.networks.split(",")}
        shares = waiting(Path(folder), options.files, chosen)
    text = "\n".join([describe(facts), "", "what trainings wait for data, all cores", table(told(shares))])
    print(text)
    if options.save:
        save(options.save, {"machine": facts, "waiting": shares}, text)


if __name__ == "__main__":
    main()

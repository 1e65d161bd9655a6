"""What a training waits for data, by path, and whether it need: images/s that are read against those that are learnt.

Two networks on the same photographs: a small CNN at 64 pixels, which on a CPU learns nearly as fast as a core decodes,
and ResNet-18 at 224 pixels. A training of two epochs with all of hubel's defaults; the last one is looked at. Beside
it the loader of that training alone, in the same processes. Reading at least as fast as the network learns allows a
share of 0; the goal is less than 2 %.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

GOAL = 0.02
MARGIN = 1.25  # of reading over learning: cores are shared by both on a machine without a GPU
NETWORKS = {"small_cnn": 64, "resnet18": 224}
PATHS = {"decoded": "photos", "packed": "raw.pack"}


def waiting(place: Path) -> dict[str, dict[str, float]]:
    """{"network, path": {"share", "learnt" and "read" in images/s, "images" of an epoch}}"""
    return {
        f"{network} at {side}, {path}": _one(place / name, network, side)
        for network, side in NETWORKS.items()
        for path, name in PATHS.items()
    }


def _one(source: Path, network: str, side: int) -> dict[str, float]:
    from networks import NETWORKS as OWN

    import hubel

    model = OWN[network] if network == "resnet18" else network  # which is not in the zoo
    with tempfile.TemporaryDirectory() as folder:
        run = hubel.train(source, model=model, epochs=2, size=side, augment="standard", out=folder, progress="quiet")
        last, workers = run.history[-1], int(run.recipe.workers)
    share = float(last["wait_share"])
    learnt = float(last["images_per_second"]) / max(1 - share, 1e-9)
    return {"share": share, "learnt": learnt, "read": _read(source, side, workers), "workers": workers}


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
    """Rows of a table: the share, the arithmetic, and what is said of the goal."""
    rows = [["", "waits", "the loader alone", "the network learns", "read / learnt", f"goal: under {GOAL:.0%}"]]
    for name, one in found.items():
        factor = one["read"] / one["learnt"]
        said = "met" if one["share"] < GOAL else "missed" if factor >= MARGIN else "out of reach: it learns too fast"
        rates = [f"{one[key]:,.0f} images/s" for key in ("read", "learnt")]
        rows.append([name, f"{one['share']:.1%}", *rates, f"{factor:.1f}", said])
    return rows

"""A classifier of crops slid over an image: window by window against convolutionally, in turn, in the same process.

    python bench/sliding.py --save

The same windows, at the same scales, and the same answers: it stops where a logit differs by more than 1e-4 of the
largest one. "one by one" classifies one window at a time, "in batches" 256 at a time; both ways as
`hubel.sliding.windows` has them. All windows of all scales are one measurement, in seconds of processor time of one
thread, which what else runs on the machine disturbs little. A minute or two.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import common
import numpy as np

NETWORKS = {
    "lenet5": (32, {}),
    "convnet": (32, {"padding": "valid", "widths": (16, 32, 64)}),
    "convnet, wide window": (64, {"padding": "valid", "widths": (16, 32, 64)}),
}
SAME = 1e-4  # of the largest logit


def made(name: str) -> Any:
    """An untrained classifier of ten classes, as parts of a run."""
    import torch

    import hubel
    from hubel.data.preprocess import Preprocess
    from hubel.rebuild import Parts
    from hubel.tasks.classification import Classification

    side, options = NETWORKS[name]
    torch.manual_seed(0)
    network = hubel.create_model(name.partition(",")[0], classes=10, input=(3, side, side), **options).eval()
    words = tuple(map(str, range(10)))
    return Parts(network, Classification(words), Preprocess((side, side), 3), torch.device("cpu"), words, "fp32")


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    started = time.process_time()
    found = run()
    return time.process_time() - started, found


def measured(name: str, side: int, scales: tuple[float, ...], rounds: int) -> dict[str, Any]:
    """Seconds of each way, round by round, and how far their answers are apart."""
    from hubel import sliding

    parts = made(name)
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    seconds: dict[str, list[float]] = {"convolutional": [], "in batches": [], "one by one": []}
    for k in range(rounds + 1):  # the first one warms up
        for way, values in seconds.items():
            sliding.BATCH = 1 if way == "one by one" else 256
            spent, found = timed(lambda w=way: sliding.windows(parts, image, scales, w == "convolutional"))
            values += [spent] if k else []
            if way == "convolutional":
                whole = found
            else:
                assert (found.boxes == whole.boxes).all()
                difference = float((found.outputs - whole.outputs).abs().max() / whole.outputs.abs().max())
                assert difference < SAME, f"{name}, {way}: {difference:.1e} of the largest logit"
    return {"windows": len(whole.boxes), "difference": difference, "seconds": seconds}


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--scales", type=float, nargs="+", default=[1.0, 0.71, 0.5])
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--save", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    head = ["network", "windows", "convolutional, ms", "in batches / it", "one by one / it", "largest difference"]
    machine, rows, found = common.machine(), [head], {}
    for name in NETWORKS:
        one = measured(name, asked.side, tuple(asked.scales), asked.rounds)
        fast = one["seconds"]["convolutional"]
        ratios = [common.ratio(one["seconds"][way], fast) for way in ("in batches", "one by one")]
        cells = [common.spread([1000 * s for s in fast]).text(), *(ratio.text(1) for ratio in ratios)]
        rows.append([name, f"{one['windows']:,}", *cells, f"{one['difference']:.1e}"])
        found[name] = one
    scales = ", ".join(f"{scale:g}" for scale in asked.scales)
    words = f"{common.describe(machine)}\nimage {asked.side} x {asked.side}, scales {scales}, {asked.rounds} rounds\n"
    text = words + common.table(rows)
    print(text)
    if asked.save:
        print(common.save("sliding", {"machine": machine, "found": found}, text))


if __name__ == "__main__":
    main()

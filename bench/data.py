"""Images read and augmented per second, hubel's three paths against its peers, measured in turn in one run.

    python bench/data.py [--rounds 5] [--images 256] [--cores one,all] [--photos FOLDER] [--save data]

Photographs: JPEG of 500 x 375 pixels -> batches of 224 x 224 uint8, random crop and flip. Without --photos they are
drawn: amplitudes that fall with frequency as in photographs, about 100 kB each. Thumbnails: 32 x 32 in memory, shift
and flip. "one": one process without workers, on one core, by its processor time; "all": as many workers as cores.
Printed: images/s, median (lowest–highest), and ratios round by round; then the sharpness of each crop against a
float64 Lanczos resampling, and the share of the time that a training waits for data.
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
from turns import Competitor, Turns, in_turns

SIZE = (375, 500)
GOALS = {  # (who, whom, cores): at least
    ("hubel decoded", "torchvision", "one"): 1.8,
    ("hubel resident", "albumentations", "one"): 2.0,
}
RATES = {("hubel packed", "one"): 8000}
NAMES = {
    "photographs": ("hubel decoded", "hubel packed", "hubel packed as JPEG", "torchvision", "albumentations", "timm",
                    "fastai", "kornia", "ffcv"),
    "thumbnails": ("hubel resident", "albumentations", "torchvision"),
}  # fmt: skip


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds, after one that warms up")
    parser.add_argument("--images", type=int, default=256, help="photographs; 20 times as many thumbnails")
    parser.add_argument("--cores", default="one,all", help="one, all, or both")
    parser.add_argument("--what", default="photographs,thumbnails", help="which images")
    parser.add_argument("--peers", help="only these, with commas between them")
    parser.add_argument("--photos", help="a folder of JPEG files to read instead of drawn ones")
    parser.add_argument("--no-training", action="store_true", help="leave out the share of time that a training waits")
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    parser.add_argument("--save", metavar="NAME", help="write results/NAME.json and .txt")
    parser.add_argument("--place", help=argparse.SUPPRESS)  # where the material is
    parser.add_argument("--as", dest="role", help=argparse.SUPPRESS)  # this process is a competitor
    parser.add_argument("--pipes", help=argparse.SUPPRESS)
    return parser.parse_args(words)


# Material ------------------------------------------------------------------------------------------------------


def photograph(random: Any, size: tuple[int, int] = SIZE) -> Any:
    """(H, W, 3) uint8: brightness of amplitude 1 / f^1.15, and paler colours."""
    import numpy as np

    y, x = np.fft.fftfreq(size[0])[:, None], np.fft.rfftfreq(size[1])[None]
    amplitude = 1 / np.maximum(np.hypot(y, x), 1 / size[1]) ** 1.15
    fields = [np.fft.irfft2(amplitude * np.exp(2j * np.pi * random.random(amplitude.shape)), size) for _ in range(3)]
    light, red, blue = (field / field.std() for field in fields)
    colours = [128 + 50 * light + shift for shift in (17 * red, -4 * blue - 8.5 * red, 21 * blue)]
    return np.clip(np.stack(colours, -1), 0, 255).astype(np.uint8)


def prepare(place: Path, count: int, photos: str | None) -> None:
    """place/photos/{even,odd}/*.jpg, place/raw.pack and place/jpeg.pack."""
    import cv2
    import numpy as np

    from hubel.data.formats import folder
    from hubel.data.pack_write import pack

    names = [place / "photos" / ("even", "odd")[i % 2] / f"{i:05}.jpg" for i in range(count)]
    for folder_of in {name.parent for name in names}:
        folder_of.mkdir(parents=True)
    if photos:
        for name, path in zip(names, sorted(Path(photos).rglob("*.jpg")), strict=False):
            name.write_bytes(path.read_bytes())
    else:
        random = np.random.default_rng(0)
        for name in names:
            data = cv2.imencode(".jpg", photograph(random)[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
            name.write_bytes(data.tobytes())
    dataset = folder.read(place / "photos")
    pack(dataset, place / "raw.pack")
    pack(dataset, place / "jpeg.pack", quality=90)


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
        from data_readers import PHOTOGRAPHS, THUMBNAILS, Work

        torch.set_num_threads(1)
        cv2.setNumThreads(0)
        place = Path(options.place)
        small = np.random.default_rng(1).integers(0, 256, (20 * options.images, 32, 32, 3), dtype=np.uint8)
        workers = 0 if cores == "one" else len(os.sched_getaffinity(0))
        work = Work(place / "photos", place / "raw.pack", place / "jpeg.pack", small, 64, workers)
        epoch = (PHOTOGRAPHS if what == "photographs" else THUMBNAILS)[name](work)
        for number in range(options.rounds + 1):
            turns.begin()
            turns.end(epoch(number))
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


def rows_of(found: dict[str, Any], cores: str) -> list[list[str]]:
    """Who, images/s, and the ratio of each of hubel's paths to it, with its goal."""
    rates = found["images_per_second"]
    ours = [name for name in rates if name.startswith("hubel")]
    rows = [["", "images/s (lowest–highest)", *(f"{name} / it" for name in ours), ""]]
    for name, values in rates.items():
        cells, notes = [], []
        for own in ours:
            found_ratio = None if name == own else ratio(rates[own], values)
            cells.append("" if found_ratio is None else found_ratio.text(2))
            goal = GOALS.get((own, name, cores))
            if goal is not None and found_ratio is not None:
                notes.append(f"{own}: goal ≥ {goal:g} {'met' if found_ratio.median >= goal else 'missed'}")
        wanted = RATES.get((name, cores))
        if wanted is not None:
            notes.append(f"goal ≥ {wanted:,}/s {'met' if spread(values).median >= wanted else 'missed'}")
        rows.append([name, spread(values).text(), *cells, "; ".join(notes)])
    return rows + [
        [name, f"not measured: {reason.splitlines()[-1][:60]}", *("" for _ in ours), ""]
        for name, reason in found["missing"].items()
    ]


# Sharpness -----------------------------------------------------------------------------------------------------


def sharpness(count: int = 12) -> dict[str, Any]:
    """{name: Spread of dB} of the same crops, each resized by its library, against Lanczos in float64."""
    import cv2
    import numpy as np
    import torch

    from hubel.data.augment import Augment
    from hubel.ops.crop import resample, snap

    def others(image: Any, box: Any) -> dict[str, Any]:
        part = image[box.y0 : box.y1, box.x0 : box.x1]
        found = {"albumentations": cv2.resize(part, (224, 224), interpolation=cv2.INTER_LINEAR)}
        try:
            from peers import declare_operators

            declare_operators()
            from torchvision.transforms.v2 import functional

            tensor = torch.from_numpy(np.ascontiguousarray(part)).permute(2, 0, 1)
            found["torchvision"] = functional.resize(tensor, [224, 224], antialias=True).permute(1, 2, 0).numpy()
        except ImportError:
            pass
        return found

    random, values = np.random.default_rng(5), {}
    for i in range(count):
        image = photograph(random)
        matrix = Augment(crop=(0.08, 1.0)).draw(0, 0, np.array([i]), SIZE, (224, 224)).matrices[0]
        box = snap(matrix, SIZE, (224, 224))
        expected = lanczos(image[box.y0 : box.y1, box.x0 : box.x1], (224, 224))
        for name, out in {"hubel": resample(image, box, (224, 224)), **others(image, box)}.items():
            values.setdefault(name, []).append(10 * np.log10(255**2 / np.mean((out - expected) ** 2)))
    return {name: spread(found) for name, found in values.items()}


def lanczos(image: Any, size: tuple[int, int]) -> Any:
    """(H, W, C) -> (h, w, C) float64, antialiased."""
    import numpy as np

    def weights(n_in: int, n_out: int) -> Any:
        step = n_in / n_out
        x = (np.arange(n_in) + 0.5 - (np.arange(n_out)[:, None] + 0.5) * step) / max(step, 1)
        found = np.where(abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)
        return found / found.sum(1, keepdims=True)

    rows, columns = weights(image.shape[0], size[0]), weights(image.shape[1], size[1])
    return np.clip(np.einsum("ij,jkc,lk->ilc", rows, image.astype(float), columns, optimize=True), 0, 255)


# A training ----------------------------------------------------------------------------------------------------


def waiting(place: Path) -> dict[str, float]:
    """{path: share of the last of two epochs that a training (small_cnn, 64 pixels) waited for data}."""
    import hubel

    found = {}
    for name, source in (("decoded", place / "photos"), ("packed", place / "raw.pack")):
        with tempfile.TemporaryDirectory() as folder:
            run = hubel.train(source, model="small_cnn", epochs=2, size=64, out=folder, progress="quiet")
            found[name] = float(run.history[-1]["wait_share"])
    return found


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
                lines += ["", f"{what}, {title}", table(rows_of(found, cores))]
        results["sharpness"] = found_sharp = sharpness()
        lines += ["", "sharpness of a random crop, dB against Lanczos in float64 (more is sharper)"]
        lines += [f"  {name}: {value.text(1)}" for name, value in found_sharp.items()]
        if not options.no_training:
            results["waiting"] = shares = waiting(place)
            lines += ["", "share of an epoch that a training waited for data, small_cnn at 64 pixels"]
            lines += [f"  {name}: {share:.1%}" for name, share in shares.items()]
    text = "\n".join(lines)
    print(json.dumps({"machine": facts, **results}, default=str) if options.json else text)
    if options.save:
        save(options.save, {"machine": facts, **results}, text)


if __name__ == "__main__":
    main()

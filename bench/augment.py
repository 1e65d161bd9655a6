"""Images augmented per second and core, against albumentations and torchvision v2: python bench/augment.py

Each case does the same to the same photographs-like images, (H, W, 3) uint8 -> (h, w, 3) uint8: in memory; from JPEG
files of 500 × 375 pixels (quality 90, about 100 kB); or small and resident. hubel's Reader or Resident makes batches
of 64, draws included; the others pass one image after the other through their Compose and stack 64 (files are opened
by OpenCV for albumentations and by Pillow for torchvision, as their documentations do). One thread each, in turn, by
the processor time of this process; the first round only warms up. What a peer lacks is left out of its pipeline: then
it does less. After that the sharpness: affine warps against a float64 Lanczos resampling.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from augment_peers import albumentations_of, torchvision_of
from common import describe, machine, ratio, save, spread, table
from data_material import SIZE, photograph
from PIL import Image
from sharpness import sharpness, with_opencv, with_torchvision

from hubel.data.augment import Augment
from hubel.data.geometric import Geometric
from hubel.data.images import ArrayImages, FileImages, PackedNames
from hubel.data.photometric import Colour, Texture
from hubel.data.preprocess import Preprocess
from hubel.data.read import Reader
from hubel.data.resident import Resident
from hubel.placing import keep_memory

JITTER = Colour(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.05)


@dataclass(frozen=True)
class Case:
    """What is done; the peers' pipelines are made by `albumentations_of` and `torchvision_of`."""

    name: str
    source: tuple[int, int]
    target: tuple[int, int]
    augment: Augment
    goals: tuple[tuple[str, float], ...] = ()  # (peer, at least so many times as fast)
    place: str = "memory"  # or "files", "resident"


FULL = Augment(crop=(0.35, 1.0), flip="random", border="mirror", geometric=Geometric(rotate=15, shear=5), colour=JITTER)
TEXTURE = Texture(blur=1.5, noise=0.03)
WITHOUT, WITH = (("albumentations", 4.0), ("torchvision", 20.0)), (("albumentations", 2.5), ("torchvision", 11.0))
CASES = (
    Case("crop, flip", (256, 340), (224, 224), Augment(crop=(0.35, 1.0), flip="random", border="mirror")),
    Case("affine, crop, flip, jitter", (256, 340), (224, 224),
         FULL, WITHOUT),
    Case("the same, blur, noise", (256, 340), (224, 224), replace(FULL, texture=TEXTURE), WITHOUT),
    Case("JPEG: affine, crop, flip, jitter", SIZE, (224, 224), FULL, WITH, "files"),
    Case("JPEG: the same, blur, noise", SIZE, (224, 224), replace(FULL, texture=TEXTURE), WITH, "files"),
    Case("elastic", (256, 256), (224, 224), Augment(border="mirror", geometric=Geometric(elastic=0.04))),
    Case("small: affine, flip, jitter", (32, 32), (32, 32),
         Augment(flip="random", border="mirror", geometric=Geometric(rotate=15, shear=5), colour=JITTER),
         (("albumentations", 2.0),), "resident"),
    Case("small: shift, flip", (32, 32), (32, 32), Augment(shift=4, flip="random"), (("albumentations", 2.0),),
         "resident"),
)  # fmt: skip


def photographs(size: tuple[int, int], count: int) -> np.ndarray:
    """(N, H, W, 3) uint8 with the smoothness of photographs: sums of noise at several scales."""
    rng, out = np.random.default_rng(0), np.zeros((count, *size, 3), np.float32)
    for scale in (2, 8, 32):
        coarse = rng.normal(0, 12 * scale**0.5, (count, size[0] // scale + 1, size[1] // scale + 1, 3)).astype(
            np.float32
        )
        out += np.stack([cv2.resize(c, size[::-1], interpolation=cv2.INTER_CUBIC) for c in coarse])
    return np.clip(out + 128, 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Work:
    """The images of a case: in memory, or as files."""

    arrays: np.ndarray  # (N, H, W, 3) uint8
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, case: Case, folder: Path, count: int = 64) -> Work:
        if case.place != "files":
            return cls(photographs(case.source, count))
        random, names = np.random.default_rng(0), [folder / f"{i:03}.jpg" for i in range(count)]
        for name in names:
            if not name.exists():
                cv2.imwrite(str(name), photograph(random)[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
        return cls(np.zeros((count, 1, 1, 3), np.uint8), tuple(map(str, names)))

    def batch(self, transform: Callable[[Any], Any], images: Any, opened: Callable[[str], Any]) -> list[Any]:
        """64 through the transform, each opened first where it is a file."""
        if self.names:
            return [transform(opened(self.names[i % len(self.names)])) for i in range(64)]
        return [transform(images[i % len(images)]) for i in range(64)]


def hubel(case: Case, work: Work) -> Callable[[int], Any]:
    """Batches of 64 as a loading process makes them, or from images that are resident."""
    preprocess = Preprocess(case.target, 3, policy="none" if case.source == case.target else "crop")
    images = FileImages("", PackedNames.pack(work.names)) if work.names else ArrayImages(work.arrays)
    slots = np.arange(64)
    if case.place == "resident":
        order, parts = np.arange(64) % len(images), [slots]
        resident = Resident.load(images, preprocess, torch.device("cpu"))
        return lambda k: [fetched.pixels for fetched in resident.fetch(order, k, parts, case.augment, 0)]
    reader = Reader(images, preprocess, case.augment, 0)
    return lambda k: reader.many(k, slots, slots % len(images))


def albumentations(case: Case, work: Work) -> Callable[[int], Any]:
    transform = albumentations_of(case.augment, case.source, case.target)

    def opened(name: str) -> np.ndarray:
        return cv2.imread(name, cv2.IMREAD_COLOR_RGB)

    return lambda k: np.stack(work.batch(transform, work.arrays, opened))


def torchvision(case: Case, work: Work) -> Callable[[int], Any]:
    transform = torchvision_of(case.augment, case.source, case.target)
    from torchvision.transforms.v2.functional import pil_to_tensor

    def opened(name: str) -> torch.Tensor:
        return pil_to_tensor(Image.open(name).convert("RGB"))

    tensors = torch.from_numpy(work.arrays).permute(0, 3, 1, 2).contiguous()
    return lambda k: torch.stack(work.batch(transform, tensors, opened))


PEERS = {"hubel": hubel, "albumentations": albumentations, "torchvision": torchvision}


def rates(case: Case, makers: dict[str, Callable], folder: Path, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Images per second of processor time, round by round, the competitors in turn."""
    work = Work.of(case, folder)
    runs = {name: make(case, work) for name, make in makers.items()}
    found: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            began, count = time.process_time(), 0
            while time.process_time() - began < seconds or not count:
                run(turn * 1000 + count)
                count += 64
            if turn:
                found[name].append(count / (time.process_time() - began))
    return found


def available(names: list[str]) -> dict[str, Callable]:
    makers: dict[str, Callable] = {}
    for name in names:
        try:
            PEERS[name](CASES[0], Work.of(CASES[0], Path(), 1))(0)
        except ImportError as fault:
            print(f"{name} is left out: {fault}", file=sys.stderr)
            continue
        makers[name] = PEERS[name]
    return makers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of processor time, each competitor in each round")
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--cases", help="only those whose name contains one of these, with commas between them")
    parser.add_argument("--save", help="name under results/")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    keep_memory()  # as a training does; the peers are in the same process
    makers, where = available(options.peers.split(",")), machine()
    head = ["images per second and core", *makers, *(f"hubel / {name}" for name in makers if name != "hubel"), "goals"]
    rows: list[list[str]] = [head]
    content: dict[str, Any] = {"machine": where, "cases": {}}
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            if options.cases and not any(word in case.name for word in options.cases.split(",")):
                continue
            found = rates(case, makers, Path(folder), options.rounds, options.seconds)
            content["cases"][case.name] = found
            rows.append(row_of(case, found))
            print(table(rows[:1] + rows[-1:]), flush=True)
    turned = {"albumentations": with_opencv, "torchvision": with_torchvision}
    content["sharpness"] = sharp = sharpness({name: turned[name] for name in makers if name in turned})
    lines = [f"  {name}: {spread(values).text(1)}" for name, values in sharp.items()]
    lines = ["sharpness of crops that are turned, dB against Lanczos in float64 (more is sharper)", *lines]
    text = f"{describe(where)}\nimages per second of processor time\n\n{table(rows)}\n\n" + "\n".join(lines)
    print("\n" + text)
    if options.save:
        save(options.save, content, text)


def row_of(case: Case, found: dict[str, list[float]]) -> list[str]:
    """Rates, ratios round by round, and each goal, met or missed."""
    ratios = {name: ratio(found["hubel"], values) for name, values in found.items() if name != "hubel"}
    goals = [
        f"{peer} ≥ {goal:g} {'met' if ratios[peer].median >= goal else 'missed'}"
        for peer, goal in case.goals
        if peer in ratios
    ]
    rates_of = (spread(values).text() for values in found.values())
    return [case.name, *rates_of, *(value.text(1) for value in ratios.values()), ", ".join(goals)]


if __name__ == "__main__":
    main()

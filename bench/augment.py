"""Images augmented per second and core, in memory, against albumentations and torchvision v2: python bench/augment.py

Each case does the same to the same photographs-like arrays, (H, W, 3) uint8 -> (h, w, 3) uint8, one image at a time
as a loading process does: hubel through its Reader, draws included, the others through their Compose. One thread
each, in turn, by the processor time of this process; the first round only warms up. What a peer lacks is left out of
its pipeline and said so: then it does less.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from common import describe, machine, ratio, save, spread, table

from hubel.data.augment import Augment
from hubel.data.geometric import Geometric
from hubel.data.images import ArrayImages
from hubel.data.photometric import Colour, Texture
from hubel.data.preprocess import Preprocess
from hubel.data.read import Reader

JITTER = Colour(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.05)


@dataclass(frozen=True)
class Case:
    """What is done; the peers' pipelines are made by `albumentations_of` and `torchvision_of`."""

    name: str
    source: tuple[int, int]
    target: tuple[int, int]
    augment: Augment
    goal: str = ""


CASES = (
    Case("crop, flip", (256, 340), (224, 224), Augment(crop=(0.35, 1.0), flip="random", border="mirror")),
    Case("affine, crop, flip, jitter", (256, 340), (224, 224),
         Augment(crop=(0.35, 1.0), flip="random", border="mirror", geometric=Geometric(rotate=15, shear=5),
                 colour=JITTER), "about 2,400 images/s; 4 × and 20 ×"),
    Case("the same, blur, noise", (256, 340), (224, 224),
         Augment(crop=(0.35, 1.0), flip="random", border="mirror", geometric=Geometric(rotate=15, shear=5),
                 colour=JITTER, texture=Texture(blur=1.5, noise=0.03))),
    Case("elastic", (256, 256), (224, 224), Augment(border="mirror", geometric=Geometric(elastic=0.04))),
    Case("small: affine, flip, jitter", (32, 32), (32, 32),
         Augment(flip="random", border="mirror", geometric=Geometric(rotate=15, shear=5), colour=JITTER), "2 ×"),
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


def hubel(case: Case, images: np.ndarray) -> Callable[[int], Any]:
    """Batches of 64 as a loading process makes them."""
    preprocess = Preprocess(case.target, 3, policy="none" if case.source == case.target else "crop")
    reader = Reader(ArrayImages(images), preprocess, case.augment, 0)
    return lambda k: reader.many(k, np.arange(64), np.arange(64) % len(images))


def one_by_one(images: np.ndarray, transform: Callable[[np.ndarray], Any]) -> Callable[[int], Any]:
    return lambda k: np.stack([np.asarray(transform(images[i % len(images)])) for i in range(64)])


def albumentations(case: Case, images: np.ndarray) -> Callable[[int], Any]:
    import albumentations as package

    a, (height, width), steps = case.augment, case.target, []
    if a.crop:
        steps.append(package.RandomResizedCrop((height, width), scale=a.crop, ratio=a.ratio))
    elif case.source != case.target:
        steps.append(package.Resize(height, width))
    if a.flip != "none":
        steps.append(package.HorizontalFlip())
    g = a.geometric
    if g.rotate or g.shear:
        steps.append(package.Affine(rotate=(-g.rotate, g.rotate), shear=(-g.shear, g.shear), p=1,
                                    border_mode=cv2.BORDER_REFLECT))  # fmt: skip
    if g.elastic:
        steps.append(package.ElasticTransform(alpha=50, sigma=10, approximate=True, p=1))
    c = a.colour
    if c.brightness:
        steps.append(package.ColorJitter((0.6, 1.4), (0.6, 1.4), (0.6, 1.4), (-c.hue, c.hue), p=1))
    if a.texture.blur:
        steps += [
            package.GaussianBlur(0, (0.1, a.texture.blur), p=0.5),
            package.GaussNoise((0.0, a.texture.noise), p=0.5),
        ]
    transform = package.Compose(steps)
    return one_by_one(images, lambda image: transform(image=image)["image"])


def torchvision(case: Case, images: np.ndarray) -> Callable[[int], Any]:
    declare_operators()
    from torchvision.transforms import v2

    a, size, steps = case.augment, list(case.target), []
    if a.crop:
        steps.append(v2.RandomResizedCrop(size, a.crop, a.ratio, antialias=True))
    elif case.source != case.target:
        steps.append(v2.Resize(size, antialias=True))
    if a.flip != "none":
        steps.append(v2.RandomHorizontalFlip())
    g, c = a.geometric, a.colour
    bilinear = v2.InterpolationMode.BILINEAR
    if g.rotate or g.shear:
        steps.append(v2.RandomAffine(g.rotate, shear=[-g.shear, g.shear, -g.shear, g.shear], interpolation=bilinear))
    if g.elastic:
        steps.append(v2.ElasticTransform(interpolation=bilinear))
    if c.brightness:
        steps.append(v2.ColorJitter(c.brightness, c.contrast, c.saturation, c.hue))
    if a.texture.blur:
        steps.append(v2.RandomApply([v2.GaussianBlur(9, (0.1, a.texture.blur))]))
        noise = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.GaussianNoise(0, a.texture.noise / 2),
                            v2.ToDtype(torch.uint8, scale=True)])  # fmt: skip
        steps.append(v2.RandomApply([noise]))
    transform = v2.Compose(steps)
    tensors = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    return lambda k: torch.stack([transform(tensors[i % len(images)]) for i in range(64)])


def declare_operators() -> None:
    """Beside a torch for the CPU only torchvision's compiled operators don't load; no transform here calls one."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    declare_operators.kept = library  # type: ignore[attr-defined]  # they vanish with it


PEERS = {"hubel": hubel, "albumentations": albumentations, "torchvision": torchvision}


def rates(case: Case, makers: dict[str, Callable], rounds: int, seconds: float) -> dict[str, list[float]]:
    """Images per second of processor time, round by round, the competitors in turn."""
    images = photographs(case.source, 64)
    runs = {name: make(case, images) for name, make in makers.items()}
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
            PEERS[name](CASES[0], photographs((256, 340), 1))(0)
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
    makers, where = available(options.peers.split(",")), machine()
    rows: list[list[str]] = [
        ["one core, in memory", *makers, *(f"hubel / {name}" for name in makers if name != "hubel"), "goal"]
    ]
    content: dict[str, Any] = {"machine": where, "cases": {}}
    for case in CASES:
        if options.cases and not any(word in case.name for word in options.cases.split(",")):
            continue
        found = rates(case, makers, options.rounds, options.seconds)
        content["cases"][case.name] = found
        ratios = [ratio(found["hubel"], found[name]).text(1) for name in found if name != "hubel"]
        rows.append([case.name, *(spread(values).text() for values in found.values()), *ratios, case.goal])
        print(table(rows[:1] + rows[-1:]), flush=True)
    text = f"{describe(where)}\nimages per second of processor time\n\n{table(rows)}"
    print("\n" + text)
    if options.save:
        save(options.save, content, text)


if __name__ == "__main__":
    main()

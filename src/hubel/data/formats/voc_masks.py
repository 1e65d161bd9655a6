"""SegmentationClass/ID.png of a VOC data set: number 0 is the background, k the class k of VOC's list, 255 void.

Another list of classes is in labelmap.txt (`name:r,g,b:parts:actions`, one a line, in the order of the numbers).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hubel.data.findings import Finding
from hubel.data.formats.fence import printable
from hubel.data.formats.layout import Gathered
from hubel.data.images import FileImages, PackedNames
from hubel.data.masks import IGNORE, Masks
from hubel.data.yaml_file import read_text, unique_names

FOLDER = "SegmentationClass"
VOC = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


def masks_column(found: Gathered, home: Path, images: FileImages, classes: Sequence[str]) -> Masks | None:
    """The masks of the images that have one; None where there is no folder of them."""
    if not (home / FOLDER).is_dir():
        return None
    there = {str(p.relative_to(home / FOLDER).with_suffix("")): p for p in sorted((home / FOLDER).rglob("*.png"))}
    names = []
    for name in found.names:
        path = there.pop(_identity(name), None)
        relative = f"{FOLDER}/{path.relative_to(home / FOLDER)}" if path else ""
        fault = found.fence.fault(relative) if relative else ""
        if fault:
            found.refuse(relative, fault)
        names.append("" if fault else relative)
    for key in there:
        reason, action = (
            f"a mask of '{printable(key)}', an image that is not there",
            "Add the image, or remove the mask.",
        )
        found.findings.append(Finding("missing file", f"{FOLDER}/{printable(key)}.png", reason, action))
    known, colours = _meaning(found, home, classes)
    found.notes.append(
        f"{sum(map(bool, names)):,} masks in {FOLDER}: 0 … {len(known) - 1} are {', '.join(known[:3])} …, 255 is void"
    )
    return Masks(
        images.root, PackedNames.pack(names), images.names, known, np.arange(len(known)), (IGNORE,), colours=colours,
        max_pixels=images.max_pixels,
    )  # fmt: skip


def _identity(name: str) -> str:
    """JPEGImages/a/1.jpg -> a/1."""
    return os.path.splitext(name.split("/", 1)[-1])[0]  # noqa: PTH122


def _meaning(found: Gathered, home: Path, classes: Sequence[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """Names of the numbers, and their colours: of labelmap.txt, VOC's own, or background and our classes."""
    if found.may_open("labelmap.txt"):
        lines = [line.strip() for line in read_text(home / "labelmap.txt", 2**20).splitlines()]
        fields = [line.rsplit(":", 3) for line in lines if line and not line.startswith("#")]
        names, _ = unique_names([parts[0] for parts in fields][:IGNORE])
        return names, np.array([_colour(parts) for parts in fields][:IGNORE], np.uint8).reshape(-1, 3)
    names = VOC if set(classes) <= set(VOC) else tuple(classes)
    known = tuple(dict.fromkeys(("background", *names)))[:IGNORE]
    return known, np.array([voc_colour(k) for k in range(len(known))], np.uint8).reshape(-1, 3)


def _colour(parts: Sequence[str]) -> tuple[int, int, int]:
    try:
        r, g, b = (min(255, max(0, int(number))) for number in parts[1].split(","))
    except (IndexError, ValueError):
        return 0, 0, 0
    return r, g, b


def voc_colour(k: int) -> tuple[int, int, int]:
    """VOC's colour of number k: its bits 0, 1, 2, 3 … are in turn the highest bits of red, green, blue, red …"""
    rgb = [0, 0, 0]
    for bit in range(8):
        rgb[bit % 3] |= (k >> bit & 1) << (7 - bit // 3)
    return rgb[0], rgb[1], rgb[2]

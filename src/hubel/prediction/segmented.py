"""Masks of images of any size by trained networks, as arrays or as files; see tiling.py and mask_files.py."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from hubel.data.decode import MAX_PIXELS
from hubel.data.regions import Regions, regions
from hubel.prediction.inference import Way
from hubel.prediction.mask_files import USUAL, MaskFolder
from hubel.prediction.tiling import Tiling, Voter, check_dense, masks_of


def write_masks(
    voters: Sequence[Voter],
    images: Iterable[tuple[str, Any]],
    out: str | Path | None,
    files: Sequence[str] = USUAL,
    tiling: Tiling | None = None,
    large: bool = False,
    path: str = "auto",
) -> tuple[list[dict[str, Any]], Way | None]:
    """For each (name, image) a dict, JSON-ready but for "mask"; and how the network ran on the last one.

    What the voters say is averaged; `path` is of one that stands alone.

    "image", "size" (height, width), "tiles", "tile" (pixels of the image that one answers for), "scale", "shares"
    {class: share of the pixels}; "files" {kind: path} where there is an `out`, else "mask" (H, W) uint8.
    """
    for voter in voters:
        check_dense(voter.parts.task)
    found: list[dict[str, Any]] = []
    way = None
    classes: tuple[str, ...] = voters[0].parts.task.classes  # type: ignore[attr-defined]
    with ExitStack() as stack:
        folder = None if out is None else stack.enter_context(MaskFolder(out, classes, files))
        for name, source in images:
            image = regions(source, sys.maxsize if large else MAX_PIXELS)
            plan, way, bands = masks_of(voters, image, tiling or Tiling(), path)
            if folder is None:
                mask = _whole(image, bands)
                made: dict[str, Any] = {"mask": mask, "pixels": np.bincount(mask.ravel(), minlength=len(classes))}
            else:
                made = folder.add(name, image, bands)
            shares = made.pop("pixels") / (image.size[0] * image.size[1])
            order = np.argsort(-shares, kind="stable").tolist()
            about = {"image": name, "size": list(image.size), "tiles": plan.tiles, "tile": list(plan.grid.side)}
            about |= {"scale": [round(s, 6) for s in plan.scale]}
            found.append(about | {"shares": {classes[k]: float(shares[k]) for k in order if shares[k] > 0}} | made)
    return found, way


def _whole(image: Regions, bands: Iterable[tuple[int, np.ndarray]]) -> np.ndarray:
    mask = np.empty(image.size, np.uint8)
    for y, band in bands:
        mask[y : y + len(band)] = band
    return mask

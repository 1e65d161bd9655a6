"""Writes masks: <part>/images + <part>/masks and a data.yaml that says what the values mean; files are copied as they
are. Images in several parts lie once in images/ and masks/, and train.txt, val.txt … list them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hubel.data.dataset import Dataset
from hubel.data.formats.copies import Places, copy_images, filled, new_folder, overlapping, places, save_png, write_text
from hubel.data.masks import Masks
from hubel.data.yaml_file import write_yaml
from hubel.errors import UserError

FOLDER = {"dev": "val"}  # as folders call the parts; the others are called alike


def write(dataset: Dataset, out: Path) -> list[str]:
    """The data set as images and masks in the new folder `out`; gives what was lost, one sentence each.

    Raises UserError where there are no masks, or something stands in `out`.
    """
    masks = dataset.annotations.get("mask")
    if not isinstance(masks, Masks):
        known = ", ".join(dataset.annotations) or "nothing"
        raise UserError(f"{dataset.name} has no masks, only {known}. Choose another format.")
    out = new_folder(Path(out))
    where = places(dataset)
    images, stems = _targets(dataset, where)
    lost = copy_images(dataset, [out / name for name in images]) + _copy_masks(masks, out, stems)
    write_yaml(out / "data.yaml", _settings(masks))
    if overlapping(dataset):
        for part in filled(dataset):
            lines = [images[i].removeprefix("images/") for i in dataset.splits[part].tolist()]
            write_text(out / f"{FOLDER.get(part, part)}.txt", lines)
    return _lost(dataset, where) + lost


def _targets(dataset: Dataset, where: Places) -> tuple[list[str], list[str]]:
    """The image's file and, without its ending, the mask's, for each image."""
    shared = overlapping(dataset)
    images, stems = [], []
    for i, part in enumerate(where.parts):
        above, below = (
            ("", f"{part}/" if part else "") if shared else (f"{FOLDER.get(part, part)}/" if part else "", "")
        )
        images.append(f"{above}images/{below}{where.names[i]}")
        stems.append(f"{above}masks/{below}{where.stem(i)}")
    return images, stems


def _copy_masks(masks: Masks, out: Path, stems: Sequence[str]) -> list[str]:
    missing = 0
    for i, stem in enumerate(stems):
        (out / stem).parent.mkdir(parents=True, exist_ok=True)
        name = os.fsdecode(masks.names[i])
        if not name:
            continue
        source = Path(masks.root, name)
        if source.is_file():
            shutil.copyfile(source, out / f"{stem}{source.suffix}")
        elif not masks.root:  # drawn when it is read, in no file
            save_png(masks.as_stored(i).astype(np.uint8)[..., None], out / f"{stem}.png")
        else:
            missing += 1
    return [f"{missing:,} masks could not be read and were not copied"] if missing else []


def _settings(masks: Masks) -> dict[str, Any]:
    """What data.yaml says: {value: name}, or a name and a colour for each class."""
    ignore: list[Any] = (
        [f"#{value:06x}" for value in masks.ignore] if masks.coloured else [int(v) for v in masks.ignore]
    )
    keys = list(range(len(masks.classes))) if masks.coloured else _keys(masks)
    settings: dict[str, Any] = {"names": dict(zip(keys, masks.classes, strict=True))}
    if masks.coloured:
        settings["colors"] = {k: f"#{int(value):06x}" for k, value in enumerate(masks.values)}
    elif len(masks.colours):
        settings["colors"] = dict(zip(keys, masks.colours.tolist(), strict=True))
    return settings | {"ignore": ignore}


def _keys(masks: Masks) -> list[int]:
    """The value of each class; classes that no file can hold (-1) get one that is free."""
    free = iter(sorted(set(range(65536)) - set(masks.values.tolist()) - set(masks.ignore)))
    return [value if value >= 0 else next(free) for value in masks.values.tolist()]


def _lost(dataset: Dataset, where: Places) -> list[str]:
    objects = dataset.annotations.get("objects")
    sentences = [f"lost: {objects.count:,} objects"] if objects is not None else []
    others = [name for name in dataset.annotations if name not in ("mask", "objects")]
    sentences += [f"lost: {len(dataset):,} values of '{name}'" for name in others]
    sentences += [f"lost: {len(table):,} rows of '{name}'" for name, table in dataset.tables.items()]
    return sentences + [f"{where.renamed:,} images got another name"] * bool(where.renamed)

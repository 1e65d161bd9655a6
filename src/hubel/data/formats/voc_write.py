"""Writes Pascal VOC: JPEGImages, Annotations, ImageSets/Main, classes.txt (the order of the classes, which VOC's own
files can't say), and SegmentationClass with labelmap.txt where there are masks. Coordinates count from 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from hubel.data.dataset import Dataset
from hubel.data.decode import BadImage
from hubel.data.formats.copies import Places, copy_images, filled, new_folder, one_line, places, write_text
from hubel.data.formats.voc_masks import FOLDER, voc_colour
from hubel.data.formats.voc_xml import render, render_object
from hubel.data.masks import Masks
from hubel.data.objects import CROWD, Objects
from hubel.data.sizes import image_sizes
from hubel.errors import UserError

LISTS = {"dev": "val"}  # as VOC calls the parts; the others are called alike


def write(dataset: Dataset, out: Path) -> list[str]:
    """The data set as VOC in the new folder `out`; gives what was lost, one sentence each.

    Raises UserError where there are neither objects nor masks, or something stands in `out`.
    """
    objects, masks = dataset.annotations.get("objects"), dataset.annotations.get("mask")
    if not isinstance(objects, Objects) and not isinstance(masks, Masks):
        known = ", ".join(dataset.annotations) or "nothing"
        raise UserError(f"{dataset.name} has neither objects nor masks for VOC, only {known}. Choose another format.")
    out = new_folder(Path(out))
    where = places(dataset)
    ids = _ids(where)
    suffixes = [Path(name).suffix for name in where.names]
    lost = copy_images(dataset, [out / "JPEGImages" / f"{one}{end}" for one, end in zip(ids, suffixes, strict=True)])
    classes, changed = one_line(dataset.classes)
    write_text(out / "classes.txt", classes)
    if isinstance(objects, Objects):
        _annotations(dataset, objects, out, ids, suffixes, classes)
        lost = _lost(objects) + lost
    if isinstance(masks, Masks):
        lost += _masks(masks, out, ids)
    _lists(dataset, out, ids)
    return lost + _others(dataset, where, changed)


def _ids(where: Places) -> list[str]:
    """VOC has one folder for the images of all parts: names that two parts have get a number."""
    taken: set[str] = set()
    found = []
    for i in range(len(where.names)):
        stem, number = where.stem(i), 1
        new = stem
        while new.casefold() in taken:
            number += 1
            new = f"{stem}_{number}"
        taken.add(new.casefold())
        found.append(new)
    return found


def _annotations(
    dataset: Dataset, objects: Objects, out: Path, ids: Sequence[str], suffixes: Sequence[str], classes: Sequence[str]
) -> None:
    sizes = dataset.annotations.get("declared_size", np.zeros((len(dataset), 2), np.int64))
    sizes = np.where((sizes > 0).all(1, keepdims=True), sizes, image_sizes(dataset.images))
    flags = objects.flags if len(objects.flags) else np.zeros(objects.count, np.uint8)
    segmented = dataset.annotations.get("mask")
    for i, one in enumerate(ids):
        rows = range(objects.offsets[i], objects.offsets[i + 1])
        things = [_thing(objects, m, int(flags[m]), classes) for m in rows]
        size = (int(sizes[i, 0]), int(sizes[i, 1]), dataset.images.channels)
        masked = isinstance(segmented, Masks) and len(segmented.names[i]) > 0
        text = render(f"{Path(one).name}{suffixes[i]}", size, masked, things)
        write_text(out / "Annotations" / f"{one}.xml", [text.rstrip("\n")])


def _thing(objects: Objects, m: int, flags: int, classes: Sequence[str]) -> str:
    label = int(objects.labels[m])
    return render_object(classes[label] if label >= 0 else "", flags, objects.boxes[m].tolist())


def _lists(dataset: Dataset, out: Path, ids: Sequence[str]) -> None:
    for part in filled(dataset):
        write_text(
            out / "ImageSets" / "Main" / f"{LISTS.get(part, part)}.txt", [ids[i] for i in dataset.splits[part].tolist()]
        )
    both = [i for part in ("train", "dev") for i in dataset.splits.get(part, np.empty(0, np.int64)).tolist()]
    if {"train", "dev"} <= set(filled(dataset)):
        write_text(out / "ImageSets" / "Main" / "trainval.txt", [ids[i] for i in sorted(set(both))])


def _masks(masks: Masks, out: Path, ids: Sequence[str]) -> list[str]:
    """Numbers as VOC has them, with its colours as palette; 255 for what is ignored or means no class."""
    (out / FOLDER).mkdir(exist_ok=True)
    colours = masks.colours if len(masks.colours) else np.array([voc_colour(k) for k in range(len(masks.classes))])
    names, _ = one_line(masks.classes)
    lines = [f"{name}:{r},{g},{b}::" for name, (r, g, b) in zip(names, colours.tolist(), strict=True)]
    write_text(out / "labelmap.txt", ["# label:color_rgb:parts:actions", *lines])
    table = np.array([voc_colour(k) for k in range(256)], np.uint8)
    table[: len(colours)] = colours
    odd = bad = 0
    for i, one in enumerate(ids):
        if not len(masks.names[i]):
            continue
        try:
            odd += bool(masks.strange(i))
            image = Image.fromarray(masks.read(i))
        except BadImage:
            bad += 1
            continue
        image.putpalette(table.tobytes())
        target = out / FOLDER / f"{one}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        image.save(target, format="PNG")
    notes = [f"lost: values of {odd:,} masks that mean no class; they are void (255)"] * bool(odd)
    return notes + [f"lost: {bad:,} masks that can't be read, or have another size than their image"] * bool(bad)


# What is lost --------------------------------------------------------------------------------------------------


def _lost(objects: Objects) -> list[str]:
    """One sentence for each kind of thing that VOC has no place for, with how many there are."""
    fractions = np.isfinite(objects.boxes).all(1) & (objects.boxes != np.round(objects.boxes)).any(1)
    told = [
        (int((objects.flags & CROWD > 0).sum()) if len(objects.flags) else 0, "crowd flags"),
        (int((objects.outlines.counts > 0).sum()) if objects.outlines is not None else 0, "outlines"),
        (int((objects.runs.counts > 0).sum()) if objects.runs is not None else 0, "run-length masks"),
        (len(objects.keypoints), "objects' keypoints"),
        (len(objects.areas), "areas"),
        (len(objects.ids), "ids of objects"),
    ]
    sentences = [f"lost: {count:,} {what}" for count, what in told if count]
    few = int(fractions.sum())
    return sentences + [f"{few:,} boxes have fractions of pixels, which some readers of VOC refuse"] * bool(few)


def _others(dataset: Dataset, where: Places, changed: int) -> list[str]:
    kept = ("objects", "mask", "declared_size")
    sentences = [f"lost: {len(dataset):,} values of '{name}'" for name in dataset.annotations if name not in kept]
    sentences += [f"lost: {len(table):,} rows of '{name}'" for name, table in dataset.tables.items() if len(table)]
    sentences += [f"{changed:,} names of classes were changed to fit one line"] * bool(changed)
    return sentences + [f"{where.renamed:,} images got another name"] * bool(where.renamed)

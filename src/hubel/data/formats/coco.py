"""COCO JSON: images, annotations and categories in three lists, one file, or one per part.

    {"images": [{"id", "file_name", "height", "width"}], "categories": [{"id", "name", "keypoints", "skeleton"}],
     "annotations": [{"id", "image_id", "category_id", "bbox": [x, y, w, h], "area", "iscrowd", "segmentation",
                      "keypoints": [x, y, v, …]}]}

A segmentation is a list of polygons [x, y, x, y, …] or run lengths {"size": [h, w], "counts": text or numbers}
(arXiv:1405.0312, and the format's own description). Numbers of categories may have gaps: classes are their positions,
`tables["category_id"]` (K,) their numbers. Annotations without image files open too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from hubel.data.dataset import SPLITS, Dataset
from hubel.data.decode import MAX_PIXELS
from hubel.data.findings import Finding
from hubel.data.formats.coco_cache import parse_cached
from hubel.data.formats.coco_find import ANNOTATIONS, OTHERS, Source, candidates, kind_of, source, sources
from hubel.data.formats.coco_images import SAMPLE, Found, find_images
from hubel.data.formats.coco_parse import Parsed, parse
from hubel.data.formats.coco_write import write
from hubel.data.formats.fence import Fence, printable
from hubel.data.formats.layout import holds, subfolders
from hubel.data.formats.walk import EXTENSIONS
from hubel.data.images import FileImages, PackedNames, evenly, survey

__all__ = ["read", "recognise", "write"]


def recognise(path: Path) -> str | None:
    """Why this is a COCO data set (or one of COCO's other files, which `read` refuses with a reason), or None."""
    if path.is_file():
        kind = kind_of(path) if path.suffix.lower() == ".json" else None
        return None if kind is None else f"COCO JSON: {OTHERS.get(kind, 'images and their objects')}"
    if not path.is_dir():
        return None
    found = {one: kind for one, kind in candidates(path).items() if kind != "detections"}  # beside any data set
    good = [one for one, kind in found.items() if kind == "objects"] or list(found)
    if not good:
        return None
    more = f" and {len(good) - 1} more" if len(good) > 1 else ""
    return f"COCO JSON: {printable(str(good[0].relative_to(path)))}{more}"


def read(
    path: Path,
    *,
    channels: int | None = None,
    max_pixels: int = MAX_PIXELS,
    root: str | Path | None = None,
    annotations: str | None = None,
    cache: bool = True,
) -> Dataset:
    """The JSON file, or all parts of the folder. Raises UserError where nothing sensible can be read.

    `root`: images elsewhere, but below it, may be opened too. `annotations`: how the names of the files begin, where a
    folder has several kinds ("person_keypoints"). `cache`: large files are kept, parsed, in the user's cache folder.
    """
    chosen, home, notes = _choose(path, annotations)
    fence = Fence(root or home)
    shown = [printable(os.path.relpath(os.path.realpath(one.path), fence.root)) for one in chosen]
    paths = [one.path for one in chosen]
    parsed, cached = parse_cached(paths, shown) if cache else (parse(paths, shown), False)
    found = [
        find_images(one, _names(parsed, k), fence, name)
        for k, (one, name) in enumerate(zip(chosen, shown, strict=True))
    ]
    names = [name for one in found for name in one.names]
    keep = np.concatenate([one.keep for one in found])
    parsed, names = _without(parsed, names, keep)
    images, more = _files(fence, names, channels, max_pixels)
    splits = _splits(chosen, parsed, path.is_file())
    return Dataset(
        printable(Path(os.path.realpath(home)).name) if path.is_dir() else printable(path.stem),
        images,
        _columns(parsed, shown),
        parsed.classes,
        splits,
        source=str(path.resolve()),
        format="coco",
        notes=(*_told(parsed, chosen, shown, found, cached), *more, *notes),
        findings=(*parsed.findings, *(f for one in found for f in one.findings), *_leaks(names, splits, shown)),
        tables={"category_id": parsed.category_ids},
    )


def _choose(path: Path, only: str | None) -> tuple[list[Source], Path, list[str]]:
    """The files, the folder that they and the images are in, and notes."""
    if path.is_dir():
        chosen, notes = sources(path, only)
        chosen = sorted(chosen, key=lambda one: (SPLITS.index(one.part) if one.part else len(SPLITS), one.word))
        return chosen, _home(path, chosen), notes
    chosen = [source(path, path.parent)]
    return chosen, _home(path.absolute().parent, chosen), []


def _home(folder: Path, chosen: Sequence[Source]) -> Path:
    """The folder, or the one above it where it is called annotations, or where images lie beside it and not in it."""
    folder = folder.absolute()
    if holds(folder, EXTENSIONS):
        return folder
    words = {"images", *(one.word for one in chosen if one.word)}
    beside = len(folder.parts) > 2 and any(below.name.lower() in words for below in subfolders(folder.parent))
    alone = all(one.path.parent.absolute() == folder for one in chosen)
    return folder.parent if alone and (folder.name.lower() in ANNOTATIONS or beside) else folder


def _names(parsed: Parsed, k: int) -> list[bytes]:
    """Names in file k."""
    low, high = np.searchsorted(parsed.files, [k, k + 1]).tolist()
    buffer, offsets = parsed.names.buffer.tobytes(), parsed.names.offsets.tolist()
    return [buffer[offsets[i] : offsets[i + 1]] for i in range(low, high)]


def _without(parsed: Parsed, names: list[str], keep: np.ndarray) -> tuple[Parsed, list[str]]:
    """Images that may not be opened are left out, with their objects."""
    if keep.all():
        return parsed, names
    index = np.flatnonzero(keep)
    new = np.full(len(keep) + 1, -1)
    new[index] = np.arange(len(index))
    return replace(
        parsed, names=parsed.names.take(index), files=parsed.files[index], image_ids=parsed.image_ids[index],
        sizes=parsed.sizes[index], objects=parsed.objects.take(index),
        findings=tuple(replace(one, image=int(new[one.image])) for one in parsed.findings),
    ), [names[i] for i in index.tolist()]  # fmt: skip


def _files(fence: Fence, names: Sequence[str], channels: int | None, max_pixels: int) -> tuple[FileImages, list[str]]:
    some = [os.path.join(fence.root, names[i]) for i in evenly(len(names), SAMPLE).tolist()]  # noqa: PTH118
    seen, depth = survey(some, SAMPLE, max_pixels)
    images = FileImages(fence.root, PackedNames.pack(names), channels or seen, depth, max_pixels, bool(channels))
    return images, ["16 bits per value are kept"] if depth == 16 else []


def _columns(parsed: Parsed, shown: Sequence[str]) -> dict:
    files = PackedNames.pack(shown).take(parsed.files)
    return {
        "objects": replace(parsed.objects, files=files),
        "image_id": parsed.image_ids,
        "declared_size": parsed.sizes,
    }


def _splits(chosen: Sequence[Source], parsed: Parsed, alone: bool) -> dict[str, np.ndarray]:
    """The part of each file of a folder; a file alone is no part."""
    if alone:
        return {}
    return {one.part: np.flatnonzero(parsed.files == k) for k, one in enumerate(chosen) if one.part}


def _told(parsed: Parsed, chosen: Sequence[Source], shown: Sequence[str], found: Sequence[Found], cached: bool) -> list:
    objects = parsed.objects
    what = ", ".join(
        name for name, there in (
            ("polygons", objects.outlines is not None), ("run lengths", objects.runs is not None),
            ("keypoints", len(objects.keypoints)),
        ) if there
    )  # fmt: skip
    notes = [
        f"COCO JSON: {objects.count:,} objects of {len(parsed.classes)} classes in {len(parsed.names):,} images"
        + (f", with {what}" if what else "")
    ]
    if len(chosen) > 1:
        notes += [
            f"{name} is the {one.part} part" if one.part else f"{name} is in no part"
            for one, name in zip(chosen, shown, strict=True)
        ]
    notes += [one.rule for one in found]
    return [*notes, "annotations come from the cache"] if cached else notes


def _leaks(names: Sequence[str], splits: Mapping[str, np.ndarray], shown: Sequence[str]) -> list[Finding]:
    """Files that are in two parts."""
    if len(splits) < 2 or len(set(names)) == len(names):
        return []
    findings, first = [], dict[str, str]()
    for part, index in splits.items():
        own = {names[i] for i in index.tolist()}
        both = sorted(name for name in own if first.get(name, part) != part)
        if both:
            other = first[both[0]]
            reason = f"{len(both):,} images are in {other} and in {part}: {printable(both[0])} …"
            action = "Keep each image in one part only: scores would be too good."
            findings.append(Finding("listed twice", printable(both[0]), reason, action))
        first |= {name: first.get(name, part) for name in own}
    return findings

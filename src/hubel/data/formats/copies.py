"""What every writer of a data set does: a new folder, a place for each image in its part, files copied as they are.

Nothing that exists is ever overwritten, and the source is only read.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from hubel.data.dataset import SPLITS, Dataset
from hubel.data.formats.layout import PART_NAMES
from hubel.data.images import ConcatImages, FileImages, Images
from hubel.errors import UserError

SHELVES = {"images", "jpegimages", "imgs", "img", "masks"}  # folders that say what files are, not which
REST = "unsplit"  # the folder of images that are in no part, beside those of the parts


@dataclass(frozen=True)
class Places:
    """Where the N images of a data set go: the part of each, and its name there."""

    parts: tuple[str, ...]  # of each image: "train", "dev" …, REST, or "" where the data set has no parts
    names: tuple[str, ...]  # a/b.jpg: unique within the part, also without the ending
    renamed: int  # how many could not keep their own

    def stem(self, i: int) -> str:
        return str(PurePosixPath(self.names[i]).with_suffix(""))


def new_folder(out: Path) -> Path:
    """The folder, made. Raises UserError where there is something already."""
    out = Path(out)
    try:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UserError(f"{out} exists already and is never overwritten. Choose a new folder.")
        out.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise UserError(f"{out} can't be made: {fault.strerror}. Choose another folder.") from fault
    return out


def places(dataset: Dataset) -> Places:
    """A place for each image: its own name, without folders that only say which part or kind it is."""
    parts = parts_of(dataset)
    taken: set[str] = set()
    names, renamed = [], 0
    for i, part in enumerate(parts):
        wish = _plain(file_name(dataset.images, i))
        name, number = _clean(wish), 1
        while f"{part}/{PurePosixPath(name).with_suffix('')}".casefold() in taken:
            number += 1
            path = PurePosixPath(_clean(wish))
            name = str(path.with_name(f"{path.stem}_{number}{path.suffix}"))
        renamed += name != wish
        taken.add(f"{part}/{PurePosixPath(name).with_suffix('')}".casefold())  # many disks can't tell a from A
        names.append(name)
    return Places(tuple(parts), tuple(names), renamed)


def parts_of(dataset: Dataset) -> list[str]:
    """The part of each image: the first that has it; "" for all where there are no parts."""
    if not filled(dataset):
        return [""] * len(dataset)
    found = [REST] * len(dataset)
    for part in reversed([name for name in SPLITS if name in dataset.splits]):
        for i in dataset.splits[part].tolist():
            found[i] = part
    return found


def filled(dataset: Dataset) -> list[str]:
    """The parts that have images, in the usual order; an empty one can't be told from none."""
    return [part for part in SPLITS if len(dataset.splits.get(part, ()))]


def overlapping(dataset: Dataset) -> bool:
    """Whether an image is in several parts, or twice in one, so that folders can't say it."""
    index = [*dataset.splits.values()]
    return bool(index) and len(np.unique(np.concatenate(index))) < sum(map(len, index))


def file_name(images: Images, i: int) -> str:
    """The name that a copy of image i has: its own, or its number and .png where it has no file."""
    own = source_file(images, i)
    if own is None:
        return f"{i:06d}.png"
    inner, i = innermost(images, i)
    return os.fsdecode(inner.names[i])  # type: ignore[attr-defined]


def innermost(images: Images, i: int) -> tuple[Images, int]:
    while isinstance(images, ConcatImages):
        images, i = images._find(i)
    return images, i


def source_file(images: Images, i: int) -> str | None:
    """The path of image i, or None for images in memory."""
    inner, i = innermost(images, i)
    return inner.path(i) if isinstance(inner, FileImages) else None


def copy_images(dataset: Dataset, targets: Sequence[Path]) -> list[str]:
    """Image i to targets[i]: byte for byte, or as PNG where it is in memory. Says how many are missing."""
    missing = 0
    for i, target in enumerate(targets):
        target.parent.mkdir(parents=True, exist_ok=True)
        own = source_file(dataset.images, i)
        if own is None:
            save_png(dataset.images.read(i), target)
        elif not _copied(Path(own), target):
            missing += 1
    return [f"{missing:,} images could not be read and were not copied"] if missing else []


def _copied(source: Path, target: Path) -> bool:
    if not source.is_file():
        return False
    try:
        shutil.copyfile(source, target)
    except PermissionError:
        return False
    except OSError as fault:
        raise UserError(f"{target} can't be written: {fault.strerror}. Make room, or choose another folder.") from fault
    return True


def save_png(pixels: np.ndarray, target: Path) -> None:
    """(H, W, C) uint8 or uint16 to a PNG with the same values."""
    done, encoded = cv2.imencode(".png", pixels[:, :, ::-1])  # OpenCV wants blue first; 16 bits in colour, too
    if not done:
        raise UserError(f"{target} can't be written as PNG: {pixels.shape} {pixels.dtype}.")
    target.write_bytes(encoded.tobytes())


def write_text(path: Path, lines: Sequence[str]) -> None:
    """One entry a line, UTF-8, line feeds on every system."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(f"{line}\n" for line in lines).encode("utf-8"))


def one_line(names: Sequence[str]) -> tuple[list[str], int]:
    """Names that a line of text can hold and give back, all different; and how many had to be changed."""
    plain = [
        " ".join("".join(c if c.isprintable() else " " for c in name).split()) or f"class {k}"
        for k, name in enumerate(names)
    ]
    found: list[str] = []
    for name in plain:
        new, number = name, 1
        while new in found:
            number += 1
            new = f"{name} ({number})"
        found.append(new)
    return found, sum(a != b for a, b in zip(found, names, strict=True))


def _plain(name: str) -> str:
    """ "train/images/a/1.jpg" -> "a/1.jpg"."""
    *folders, last = [part for part in name.replace("\\", "_").split("/") if part not in ("", ".", "..")] or ["image"]
    kept = [f for f in folders if f.lower() not in SHELVES]
    if kept and kept[0].lower() in PART_NAMES:
        kept = kept[1:]
    return "/".join([*kept, last])


def _clean(name: str) -> str:
    """Without what a line of text, or another system, can't hold in a file name."""
    safe = re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff<>:\"|?*\u2028\u2029]", "_", name)
    return "/".join(part.strip() or "_" for part in safe.split("/"))

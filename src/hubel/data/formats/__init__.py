"""Which layout a path has, asked of each format in turn. What is recognised is announced, never guessed in silence.

Formats with annotation files of their own are asked first; a folder per class, IDX and .npz only where none of these
fits, since folders of images are part of most layouts. Archives are unpacked into the cache and opened from there. A
folder that holds nothing but another folder, or one file, stands for that.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from hubel.data.archive import is_archive, unpack
from hubel.data.dataset import Dataset
from hubel.data.formats import (
    coco,
    csv_table,
    folder,
    folder_write,
    identities,
    idx,
    idx_write,
    masks,
    npz,
    npz_write,
    pack,
    pairs,
    voc,
    yolo,
)  # fmt: skip
from hubel.data.formats.hints import hints
from hubel.data.formats.walk import EXTENSIONS, folders
from hubel.errors import UserError, did_you_mean

SPECIFIC: dict[str, ModuleType] = {
    "pack": pack, "coco": coco, "yolo": yolo, "voc": voc, "masks": masks, "pairs": pairs, "identities": identities,
    "csv": csv_table,
}  # fmt: skip
GENERAL: dict[str, ModuleType] = {"folder": folder, "idx": idx, "npz": npz}
FORMATS = SPECIFIC | GENERAL
WRITERS = {name: form.write for name, form in FORMATS.items() if hasattr(form, "write")}
WRITERS |= {"folder": folder_write.write, "npz": npz_write.write, "idx": idx_write.write}

LAYOUTS = """
  a folder per class:      ROOT/cat/1.jpg, ROOT/dog/2.png …
  the same with splits:    ROOT/train/cat/1.jpg, ROOT/test/dog/2.jpg … (also val, valid, validation, dev)
  COCO JSON:               ROOT/annotations/instances_train.json …, or the file itself
  YOLO:                    ROOT/data.yaml, ROOT/images/1.jpg, ROOT/labels/1.txt …
  Pascal VOC:              ROOT/JPEGImages/1.jpg, ROOT/Annotations/1.xml …
  images and masks:        ROOT/images/1.jpg, ROOT/masks/1.png … (also below train, val, test)
  a CSV table:             TABLE.csv, or a folder with images and one table: file,label
  pairs of images:         PAIRS.csv: image_1,image_2,same
  identities:              ROOT/train/anna/1.jpg, ROOT/test/ben/1.jpg: other names in each part
  IDX files:               ROOT/train-images-idx3-ubyte.gz, ROOT/train-labels-idx1-ubyte.gz …
  a NumPy archive:         FILE.npz with the arrays images and labels
  a pack:                  OUT/pack.json, as hubel data SOURCE --pack OUT makes it
  any of these in a .zip or .tar archive"""


def open_path(path: str | Path, *, say: Callable[[str], None] | None = None, **options: Any) -> Dataset:
    """The dataset at `path`; `options` go to its format, `say` is told before an archive is unpacked.

    Raises UserError where none or several formats fit.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise UserError(f"There is no file or folder {path.absolute()}. Check the path.")
    try:
        if is_archive(path):
            unpacked = unpack(path, say=say)
            found = _open(unpacked.folder, options)
            return replace(found, source=str(path.resolve()), notes=(*unpacked.notes, *found.notes))
        return _open(path, options)
    except OSError as fault:
        raise UserError(f"{path} can't be read: {fault.strerror}. Check its permissions.") from fault


def _open(path: Path, options: dict[str, Any]) -> Dataset:
    home, form, reason = locate(path)
    try:
        found = FORMATS[form].read(home, **options)
    except UserError as fault:
        if form == "folder":
            raise _with_hints(fault, path) from fault
        raise
    notes = [f"recognised as {form}: {reason}"]
    notes += [f"the data set is in {home.relative_to(path)}, the only one in the folder"] if home != path else []
    return replace(found, notes=(*notes, *found.notes))


def locate(path: Path) -> tuple[Path, str, str]:
    """Where the data set is (the path, or what is alone in it), its format, and why. UserError as `recognise`."""
    found = _fitting(path)
    if found is not None and (found[0] != "folder" or folder.split_folders(path)):
        return path, *found
    inner = _alone(path)
    if inner is not None:
        with contextlib.suppress(UserError):
            return locate(inner)
    return (path, *found) if found is not None else (path, *recognise(path))


def recognise(path: Path) -> tuple[str, str]:
    """The name of the format, and why. Raises UserError where none or several fit."""
    found = _fitting(path)
    if found is not None:
        return found
    if path.is_dir():
        fault = UserError(f"{path.absolute()}: {folder.why_not(path)}")
        raise UserError(f"{_with_hints(fault, path)} What can be read:{LAYOUTS}")
    raise UserError(f"{path.absolute()} is a file of no known layout. What can be read:{LAYOUTS}")


def _fitting(path: Path) -> tuple[str, str] | None:
    for table in (SPECIFIC, GENERAL):
        reasons = {name: form.recognise(path) for name, form in table.items()}
        fitting = {name: reason for name, reason in reasons.items() if reason is not None}
        if len(fitting) > 1:
            both = " and as ".join(f"'{name}' ({reason})" for name, reason in fitting.items())
            raise UserError(f"{path} can be read as {both}. Move one of them to a folder of its own.")
        if fitting:
            return next(iter(fitting.items()))
    return None


def _alone(path: Path) -> Path | None:
    """The only folder in a folder without images of its own; where there is no folder, the only NumPy archive."""
    if not path.is_dir():
        return None
    below = folders(path)
    files = [Path(entry.path) for entry in os.scandir(path) if entry.is_file() and not entry.name.startswith(".")]
    if len(below) == 1:
        return None if any(file.name.lower().endswith(EXTENSIONS) for file in files) else below[0]
    arrays = [file for file in files if file.suffix.lower() == ".npz"]
    return arrays[0] if not below and len(arrays) == 1 else None


def _with_hints(fault: UserError, path: Path) -> UserError:
    return UserError(" ".join([str(fault), *hints(path)]))


def write(dataset: Dataset, out: Path, form: str) -> list[str]:
    """Write the data set into the new folder `out` in the format `form`: what that format can't say, a sentence each.

    Raises UserError for a format that can't be written, a folder that exists, and what the format can't hold at all.
    """
    if form not in WRITERS:
        raise UserError(f"'{form}' is no format to write{did_you_mean(form, WRITERS)}")
    found: list[str] = WRITERS[form](dataset, Path(out).expanduser())
    return found

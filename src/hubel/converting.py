"""`hubel convert` and `hubel data --pack`: a data set written anew, never over or into the data that is there.

hubel.convert_data("photos/", "as_csv/", "csv")
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hubel.data import formats
from hubel.data.dataset import Dataset
from hubel.data.images import ConcatImages, FileImages
from hubel.data.pack_write import pack
from hubel.data.tight import tight_crops
from hubel.errors import UserError, did_you_mean
from hubel.parts import load_dataset
from hubel.training.progress import Progress

EVERY = 10.0  # seconds between words of progress
CROPS, SIDE = "crops", 32  # what a sliding window learns from; pixels a side
MIXED = "the data has no parts, so crops of one image can come into several: a score on them is too good"


def convert_data(
    source: Any, out: str | Path, form: str, *, side: int = SIDE, background: float = 1.0, download: bool = False
) -> list[str]:
    """Write `source` into the new folder `out` in another format; returns what that format could not say.

    "crops": a folder per class with each object as an image of its own, `side` pixels a side, and `background` windows
    without one for each (data/tight.py). Raises UserError for an unknown format, a folder that holds something already,
    and what the format can't hold.
    """
    if form not in (known := (*formats.WRITERS, CROPS)):
        raise UserError(f"'{form}' is no format to write{did_you_mean(form, known)}")
    dataset = load_dataset(source, download=download)
    folder, notes = outside(Path(out).expanduser().absolute(), dataset), list[str]()
    if form == CROPS:
        dataset = tight_crops(dataset, side, background)
        form, notes = "folder", [*dataset.notes, *([] if dataset.splits else [MIXED])]
    return [*notes, *formats.write(dataset, folder, form)]


def pack_data(
    source: Any, out: str | Path, *, side: int | None = 256, quality: int | None = None, shards: int = 1,
    download: bool = False, progress: Any = None,
) -> dict[str, Any]:  # fmt: skip
    """Write the images of `source` once, resized, into the new folder `out`, for fast training: see data/pack_write.py.

    Returns {"out", "images", "bytes"}. Raises UserError where `out` exists or lies in the data.
    """
    progress = Progress(progress or "auto") if progress is None or isinstance(progress, str) else progress
    dataset = load_dataset(source, download=download)
    folder = outside(Path(out).expanduser().absolute(), dataset)
    with counting(progress, len(dataset)) as tick:
        pack(dataset, folder, side=side, quality=quality, shards=shards, progress=lambda done: tick())
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return {"out": str(folder), "images": len(dataset), "bytes": size}


def outside(folder: Path, dataset: Dataset) -> Path:
    """The folder, where it is not inside the data. Raises UserError otherwise."""
    for root in _roots(dataset):
        if Path(os.path.realpath(folder)).is_relative_to(root):
            raise UserError(
                f"{folder} lies inside the data, {root}, where nothing is written. Choose a folder outside, such as "
                f"{root.parent / f'{root.name}_out'}."
            )
    return folder


def _roots(dataset: Dataset) -> list[Path]:
    """Folders that hold the user's files."""
    found = [Path(dataset.source)] if dataset.source and Path(dataset.source).is_dir() else []
    parts = [dataset.images]
    while parts:
        images = parts.pop()
        if isinstance(images, ConcatImages):
            parts += images.parts
        elif isinstance(images, FileImages):
            found.append(Path(images.root))
    return [Path(os.path.realpath(root)) for root in found]


@contextlib.contextmanager
def counting(progress: Any, total: int) -> Any:
    """A function to call after each image: a bar on a terminal, a line now and then elsewhere."""
    if getattr(progress, "kind", "") != "bar":
        yield _lines(progress, total)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("looking at images"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda: bar.advance(task)


def _lines(progress: Any, total: int) -> Callable[[], None]:
    done, due = 0, time.monotonic() + EVERY

    def tick() -> None:
        nonlocal done, due
        done += 1
        if time.monotonic() >= due:
            due = time.monotonic() + EVERY
            progress.say(f"looked at {done:,} of {total:,} images")

    return tick

"""A CSV file that says what is in each image: one label, several, numbers, or a box in each row.

    file,label,split                  file,labels           file,xmin,ymin,xmax,ymax,label
    a.jpg,cat,train                   a.jpg,cat|grass       a.jpg,10,20,80,90.5,cat

ROOT with images and one CSV file (or one for each part: train.csv, val.csv, test.csv, or one in each part's folder), or
the file itself; which files: `csv_choice`. The header names the columns (`csv_columns` knows which names); `image=`,
`label=`, `numbers=`, `split=`, `separator=` decide where names and values can't. Classes are in natural order, or as
classes.txt beside lists them. Coordinates are pixels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hubel.data.dataset import Bad, Dataset
from hubel.data.decode import MAX_PIXELS
from hubel.data.findings import Finding
from hubel.data.formats import pairs
from hubel.data.formats.csv_choice import choose, home_of, names_images, read_all
from hubel.data.formats.csv_columns import Asked, Columns, named, understand
from hubel.data.formats.csv_rows import Rows, listed
from hubel.data.formats.csv_targets import objects_of, targets_of
from hubel.data.formats.csv_text import DELIMITERS, Table
from hubel.data.formats.csv_write import write
from hubel.data.formats.fence import printable
from hubel.data.formats.layout import direct_images
from hubel.data.images import FileImages, PackedNames, survey
from hubel.errors import UserError

__all__ = ["read", "recognise", "write"]
CLASSES = "classes.txt"
Words = str | tuple[str, ...]


def recognise(path: Path) -> str | None:
    """Why this is a CSV file of images, or a folder with one; None where it is not, or holds pairs of images."""
    files = choose(path).files
    if not files or pairs.recognise(path) or not all(names_images(file) for file in files):
        return None
    home = home_of(path, files)
    return f"{', '.join(printable(str(file.relative_to(home))) for file in files)} with a column of images"


def read(
    path: Path, *, channels: int | None = None, max_pixels: int = MAX_PIXELS, image: str = "", label: Words = "",
    numbers: Words = "", split: str = "", separator: str = "",
) -> Dataset:  # fmt: skip
    """The dataset. `label` and `numbers` name a column or several (a,b or a tuple).

    Raises UserError where the file is no UTF-8 CSV, or where no column names images that exist.
    """
    path = Path(path)
    chosen = choose(path)
    files = chosen.files
    if not files:
        raise UserError(f"{path} is no CSV file, and holds none or several. Give the file, which ends in .csv.")
    home = home_of(path, files)
    root = home.resolve()
    asked = Asked(image, _words(label), _words(numbers), split, separator)
    table, more = read_all(files, home, asked)
    columns = understand(table, root, asked)
    rows = listed(table, columns)
    if not rows.names:
        raise UserError(f"{files[0]}: none of the {len(table.rows):,} lines names an image that is there.")
    made = objects_of if columns.box else targets_of
    values = made(rows, _known_classes(root), asked)
    images, looks = _images(str(root), rows.names, channels, max_pixels)
    unlisted = _unlisted(root, rows, columns)
    about = (*_notes(table, columns, len(rows.names)), *chosen.notes, *more, *values.notes, *columns.finder.notes())
    dataset = Dataset(
        printable(root.name if path.is_dir() else path.stem),
        images,
        values.columns | rows.facts(),
        values.classes,
        rows.splits(),
        rows.weights(),
        source=str(path.resolve()),
        format="csv",
        notes=(*about, *rows.notes, *looks, *unlisted),
        findings=tuple(rows.findings),
        traits={"identities": True} if columns.identities and not columns.box else {},
    )
    return _without_faulty(dataset, rows.findings, bool(columns.box))


def _words(given: Words) -> tuple[str, ...]:
    if not isinstance(given, str):
        return tuple(given)
    return tuple(word.strip() for word in given.split(",") if word.strip())


def _known_classes(root: Path) -> tuple[str, ...]:
    """Names of classes in the order that is asked for, one a line. () where nothing is."""
    file = root / CLASSES
    if not file.is_file():
        return ()
    try:
        lines = file.read_text("utf-8-sig").split("\n") if file.stat().st_size < 2**24 else []
    except (OSError, UnicodeDecodeError) as fault:
        raise UserError(f"{file} can't be read: {fault}. It lists the classes, one a line, in UTF-8.") from fault
    return tuple(dict.fromkeys(name for line in lines if (name := line.strip())))


def _images(root: str, names: list[str], channels: int | None, max_pixels: int) -> tuple[FileImages, list[str]]:
    seen, depth = survey([f"{root}/{name}" for name in names], max_pixels=max_pixels)
    notes = ["16 bits per value are kept"] if depth == 16 else []
    return FileImages(root, PackedNames.pack(names), channels or seen, depth, max_pixels, bool(channels)), notes


def _notes(table: Table, columns: Columns, count: int) -> list[str]:
    """What was recognised: separator, and the meaning of each column."""
    parts = [f"images in '{table.header[columns.image]}'"]
    if columns.label >= 0:
        parts.append(f"{'identities' if columns.identities else 'labels'} in '{table.header[columns.label]}'")
    if columns.hot:
        parts.append(f"0 and 1 in {named(table, columns.hot)}")
    if columns.numbers:
        parts.append(f"numbers to predict in {named(table, columns.numbers)}")
    if columns.box:
        parts.append(f"a box in each row ({named(table, columns.box)})")
    parts += [f"{role} in '{table.header[c]}'" for role, c in columns.roles.items()]
    files = ", ".join(dict.fromkeys(table.files)) or table.file
    notes = [f"CSV {files}, separated by {DELIMITERS[table.delimiter]}: {count:,} images", "; ".join(parts)]
    if table.headless:
        notes.append("the first line names no columns but an image: it is read like the others")
    if columns.unused:
        notes.append(f"columns not used: {named(table, columns.unused)}")
    return notes


def _unlisted(root: Path, rows: Rows, columns: Columns) -> list[str]:
    """How many images in the folders of the listed ones are not listed themselves."""
    seen = set(rows.names)
    try:
        beside = [name for f in set(columns.finder.folders) for name in direct_images(root / f, root)]
    except UserError:
        return []
    extra = [name for name in beside if name not in seen]
    return [f"{len(extra):,} images are not listed and take no part, such as {printable(extra[0])}"] if extra else []


def _without_faulty(dataset: Dataset, findings: list[Finding], boxes: bool) -> Dataset:
    """Images whose label or number can't be known take no part. A box that can't be read leaves its image in."""
    reasons = {f.image: f.reason for f in findings if f.severity == "error" and f.image >= 0}
    if boxes or not reasons:
        return dataset
    bad = tuple(Bad(dataset.images.name(i), reason) for i, reason in sorted(reasons.items()))
    return dataset.without(np.array(sorted(reasons), dtype=np.int64), bad)

"""What each column of a CSV file means, by its name, by its values where no name tells, or as the user says.

image       image, file, filename, path …, or the column whose cells are files
label       label, class, category, species … | identity, person …
several     labels, tags … with several names in a cell, or one column of 0 and 1 for each class
numbers     number, number_1 …, or the only columns left, when they hold decimal numbers
box         xmin, ymin, xmax, ymax (or x, y, w, h …): a row for each object; difficult, truncated, occluded, crowd
split, group, weight, image_id, width and height of the image
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hubel.data.formats.csv_files import Finder, finder, folders_below
from hubel.data.formats.csv_text import Table
from hubel.data.formats.fence import Fence
from hubel.errors import UserError, did_you_mean

IMAGE = (
    "image", "file", "filename", "file_name", "path", "filepath", "file_path", "image_path", "imagepath", "image_file",
    "imagefile", "image_name", "imagename", "image_filename", "img", "img_path", "img_name", "img_file", "images",
    "files", "filenames", "photo", "picture", "uri", "name", "image_id", "imageid", "id",
)  # fmt: skip
LABEL = (
    "label", "labels", "class", "classes", "class_name", "classname", "label_name", "category", "categories", "target",
    "tag", "tags", "species", "diagnosis", "breed", "type", "y", "keywords",
)  # fmt: skip
IDENTITY = ("identity", "identity_id", "person", "person_id", "individual", "individual_id")
PLURAL = ("labels", "classes", "categories", "tags", "keywords")
ROLES = {
    "split": ("split", "set", "subset", "part", "partition", "data_set", "dataset", "usage", "fold_name"),
    "group": ("group", "group_id", "patient", "patient_id", "patientid", "subject", "subject_id", "video", "video_id"),
    "weight": ("weight", "sample_weight", "example_weight", "image_weight"),
    "image_id": ("image_id",),
    "width": ("image_width", "width", "img_width"),
    "height": ("image_height", "height", "img_height"),
}
CORNERS = (
    ("xmin", "ymin", "xmax", "ymax"), ("x_min", "y_min", "x_max", "y_max"), ("x0", "y0", "x1", "y1"),
    ("x1", "y1", "x2", "y2"), ("left", "top", "right", "bottom"),
)  # fmt: skip
SIZED = (
    ("x", "y", "w", "h"), ("x", "y", "width", "height"), ("left", "top", "width", "height"),
    ("bbox_x", "bbox_y", "bbox_width", "bbox_height"), ("x", "y", "box_width", "box_height"),
)  # fmt: skip
FLAGS = {"crowd": 1, "iscrowd": 1, "difficult": 2, "truncated": 4, "occluded": 8}
NUMBERS = re.compile(r"numbers?(_\d+)?")
PREFIX = "labels."  # in front of a class: a column of 0 and 1, whatever the class is called
NOTHING = {"", "index", "unnamed:_0"}  # a column of row numbers


@dataclass
class Columns:
    """Positions of columns by what they mean."""

    finder: Finder
    image: int
    label: int = -1  # names of classes; -1: none
    hot: list[int] = field(default_factory=list)  # a column of 0 and 1 for each class
    numbers: list[int] = field(default_factory=list)
    box: list[int] = field(default_factory=list)
    sized: bool = False  # the box is x, y, width, height
    roles: dict[str, int] = field(default_factory=dict)  # "split", "group" …
    flags: dict[int, int] = field(default_factory=dict)  # column -> bit
    identities: bool = False
    unused: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Asked:
    """What the user says about the columns; "" or () where the names and values decide."""

    image: str = ""
    label: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    split: str = ""
    separator: str = ""


def plain(name: str) -> str:
    return re.sub(r"[\s\-]+", "_", name.strip().lower())


def understand(table: Table, root: Path, asked: Asked) -> Columns:
    """The meaning of each column. Raises UserError where no column names images, or what is asked for is missing."""
    names = [plain(name) for name in table.header]
    _refuse_twins(table, names)
    columns = _find_images(table, names, Fence(root), asked)
    columns.box, columns.sized = _box(names, {columns.image, *(_asked(table, one) for one in asked.numbers)})
    taken = {columns.image, *columns.box}
    columns.label, columns.identities = _label(table, names, asked, taken)
    taken.add(columns.label)
    columns.hot = [_asked(table, one) for one in asked.label] if len(asked.label) > 1 else []
    columns.numbers = [_asked(table, one) for one in asked.numbers]
    columns.numbers = columns.numbers or [c for c, n in enumerate(names) if NUMBERS.fullmatch(n) and c not in taken]
    columns.hot = columns.hot or [c for c, name in enumerate(table.header) if name.startswith(PREFIX)]
    taken |= {*columns.hot, *columns.numbers}
    columns.roles = _roles(table, names, asked, taken)
    taken |= set(columns.roles.values())
    columns.flags = {c: FLAGS[n] for c, n in enumerate(names) if n in FLAGS and columns.box and c not in taken}
    columns.unused = [c for c, n in enumerate(names) if c not in taken | set(columns.flags) and n not in NOTHING]
    return columns


def _refuse_twins(table: Table, names: list[str]) -> None:
    twins = sorted({name for name in names if name and names.count(name) > 1})
    if twins:
        raise UserError(f"{table.file}, line 1: the header names the column '{twins[0]}' twice. Rename one of them.")


def _asked(table: Table, name: str) -> int:
    if name not in table.header:
        raise UserError(f"{table.file} has no column '{name}'{did_you_mean(name, table.header)}")
    return table.header.index(name)


def _find_images(table: Table, names: list[str], fence: Fence, asked: Asked) -> Columns:
    below = folders_below(fence.root)
    if asked.image:
        c = _asked(table, asked.image)
        return Columns(finder(fence, table.column(c), below), c)
    named = [names.index(name) for name in IMAGE if name in names]
    best: Columns | None = None
    for c in [*named, *(c for c in range(len(names)) if c not in named)]:
        if best is not None and best.finder.share > (0.9 if c in named else 0.1):
            break  # a column that is called so counts even where many of its files are missing
        found = finder(fence, table.column(c), below)
        if found.share > (best.finder.share if best else 0.0) and (c in named or found.share >= 0.5):
            best = Columns(found, c)
    if best is None:
        example = f": looked for '{table.rows[0][named[0]]}'" if named and table.rows else ""
        raise UserError(
            f"{table.file}: no column names images that are there{example} in "
            f"{fence.root} and the folders below. File names are relative to the CSV file. Put it beside the images, "
            "or say which column it is with image=…."
        )
    return best


def _label(table: Table, names: list[str], asked: Asked, taken: set[int]) -> tuple[int, bool]:
    """Position of the column with names of classes, and whether they are identities."""
    if asked.label:
        one = _asked(table, asked.label[0]) if len(asked.label) == 1 else -1
        return one, one >= 0 and names[one] in IDENTITY
    if any(name.startswith(PREFIX) for name in table.header) and "label" not in names:
        return -1, False
    for word in (*LABEL, *IDENTITY):
        if word in names and names.index(word) not in taken and word not in asked.numbers:
            return names.index(word), word in IDENTITY
    return -1, False


def _box(names: list[str], taken: set[int]) -> tuple[list[int], bool]:
    for words, sized in [*((one, False) for one in CORNERS), *((one, True) for one in SIZED)]:
        found = [names.index(word) for word in words if word in names]
        if len(found) == 4 and not taken & set(found):
            return found, sized
    return [], False


def _roles(table: Table, names: list[str], asked: Asked, taken: set[int]) -> dict[str, int]:
    found = {}
    for role, words in ROLES.items():
        c = next((names.index(word) for word in words if word in names and names.index(word) not in taken), -1)
        if role == "split" and asked.split:
            c = _asked(table, asked.split)
        if c >= 0:
            found[role] = c
    if ("width" in found) != ("height" in found):
        found = {role: c for role, c in found.items() if role not in ("width", "height")}
    return found


def named(table: Table, columns: Sequence[int]) -> str:
    shown = ", ".join(table.header[c] for c in columns[:5])
    return shown + (f" and {len(columns) - 5} more" if len(columns) > 5 else "")

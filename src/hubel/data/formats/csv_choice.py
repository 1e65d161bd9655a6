"""Which CSV files of a folder say what is in its images: the only one, or one for each part.

ROOT/labels.csv; ROOT/train.csv + ROOT/val.csv …; ROOT/train/_annotations.csv + ROOT/valid/_annotations.csv …, whose
names are relative to their own folder. Where several lie there, those that name no images, and examples of what to
hand in (sample_submission.csv), are left out, and that is said.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hubel.data.formats.csv_columns import Asked, understand
from hubel.data.formats.csv_text import ENDINGS, Table, glance, merged, read_table
from hubel.data.formats.fence import printable
from hubel.data.formats.layout import PART_NAMES, subfolders
from hubel.data.formats.walk import natural
from hubel.errors import UserError


@dataclass(frozen=True)
class Choice:
    """The files to read together; () where none, or nobody can tell which."""

    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()


def choose(path: Path) -> Choice:
    """The CSV file itself, or those of the folder."""
    if path.is_file():
        return Choice((path,)) if path.name.lower().endswith((*ENDINGS, ".txt")) else Choice()
    if not path.is_dir():
        return Choice()
    found = tables(path)
    if not found:
        return Choice(tuple(_in_parts(path)))
    kept = found if len(found) == 1 or _are_parts(found) else [f for f in found if _of_images(f)]
    if not kept or (len(kept) > 1 and not _are_parts(kept)):
        return Choice()
    left = [printable(f.name) for f in found if f not in kept]
    return Choice(tuple(kept), (f"tables that are not read: {', '.join(left)}",) if left else ())


def tables(folder: Path) -> list[Path]:
    """CSV files directly in the folder, in natural order."""
    try:
        found = [f for f in folder.iterdir() if f.name.lower().endswith(ENDINGS) and f.is_file()]
    except OSError:
        return []
    return sorted((f for f in found if not f.name.startswith(".")), key=lambda f: natural(f.name))


def home_of(path: Path, files: tuple[Path, ...]) -> Path:
    """The folder that images are looked for in, and below."""
    return path if path.is_dir() else files[0].parent


def read_all(files: tuple[Path, ...], home: Path, asked: Asked) -> tuple[Table, list[str]]:
    """The tables one after the other, with the column "split" where there are several; and notes. Names of images are
    relative to `home`. UserError as `read_table`, and where a table in a part's folder names no images."""
    read_in = []
    for file in files:
        below = file.parent.relative_to(home)
        table = read_table(file, printable(str(below / file.name)))
        read_in.append(_from_home(table, file.parent, below.as_posix(), asked) if below.parts else table)
    if len(files) == 1:
        return read_in[0], []
    parts = [PART_NAMES.get(file.parent.name.lower(), "") if _part(file) is None else _part(file) for file in files]
    kept, notes = _answered(read_in, parts, home)
    return merged([read_in[k] for k in kept], "split", [parts[k] or "" for k in kept]), notes


def _answered(tables: list[Table], parts: list[str | None], home: Path) -> tuple[list[int], list[str]]:
    """Which tables say what is to be learnt: a test part whose answers are not given out has the images' names only."""
    if "train" not in parts:
        return list(range(len(tables))), []
    train = tables[parts.index("train")]
    columns = understand(train, home, Asked())
    roles = {train.header[c] for c in columns.roles.values()}
    kept, notes = [], []
    for k, table in enumerate(tables):
        gone = set(train.header) - set(table.header) - roles
        if gone and set(table.header) < set(train.header):
            notes.append(f"{table.file} has no column '{min(gone)}': its {len(table.rows):,} images take no part")
        else:
            kept.append(k)
    return kept, notes


def _in_parts(path: Path) -> list[Path]:
    """The only table in each folder of a part, where at least the training part has one."""
    found = []
    for folder in (f for f in subfolders(path) if PART_NAMES.get(f.name.lower())):
        inside = tables(folder)
        found += inside if len(inside) == 1 else []
    return found if any(PART_NAMES[file.parent.name.lower()] == "train" for file in found) else []


def _are_parts(files: list[Path]) -> bool:
    return all(_part(f) is not None for f in files)


def _part(file: Path) -> str | None:
    return PART_NAMES.get(file.stem.lower())


def _of_images(file: Path) -> bool:
    return "submission" not in file.stem.lower() and names_images(file)


def names_images(file: Path) -> bool:
    """Whether the table has rows, and a column of images."""
    table = glance(file)
    if table is None or not table.rows:
        return False
    try:
        understand(table, file.parent, Asked())
    except UserError:
        return False
    return True


def _from_home(table: Table, folder: Path, prefix: str, asked: Asked) -> Table:
    """With names of images that begin with the table's own folder."""
    columns = understand(table, folder, asked)
    for row in table.rows:
        cell = row[columns.image]
        if cell:
            row[columns.image] = f"{prefix}/{columns.finder.find(cell)[0] or cell}"
    return table

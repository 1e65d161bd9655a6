"""Why a folder with images was not understood: what lies beside them, and what to do with it. A sentence each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from hubel.data.formats.csv_choice import tables
from hubel.data.formats.csv_columns import Asked, understand
from hubel.data.formats.csv_text import GLANCE, glance, read_table
from hubel.data.formats.fence import printable
from hubel.data.formats.layout import subfolders
from hubel.errors import UserError

MOST = 3  # tables that are explained
SHEETS = (".xlsx", ".xls", ".ods")
BINARY = (".mat", ".parquet", ".tfrecord", ".h5", ".hdf5", ".mdb", ".pkl", ".pickle", ".npy", ".pt", ".arrow")


def hints(path: Path) -> list[str]:
    """Sentences on the files directly in the folder and in the folders below; [] where nothing helps."""
    if not path.is_dir():
        return []
    here = tables(path)
    found = [*_tables(here)] or [*_tables_below(path, here)]
    endings = _endings(path)
    for ending in (e for e in SHEETS if e in endings):
        found.append(f"{endings[ending]} is a spreadsheet, which is not read. Save it as CSV (UTF-8).")
    for ending in (e for e in BINARY if e in endings):
        found.append(
            f"{endings[ending]}: files {ending} are not read. Load them in Python and give hubel arrays or a data set."
        )
    if ".json" in endings and _of_labelme(path / endings[".json"]):
        found.append(f"{endings['.json']} and others are labelme's files. Export them as COCO JSON, YOLO or VOC.")
    return found


def _tables(files: list[Path]) -> Iterator[str]:
    """Why each table at hand is not used."""
    good = []
    for file in files[:MOST]:
        try:
            table = glance(file) or read_table(file, printable(file.name), GLANCE)  # the second says what is wrong
            understand(table, file.parent, Asked())
            good.append(printable(file.name))
        except UserError as fault:
            yield str(fault)
    if len(good) > 1:
        yield f"{', '.join(good)} all name images. Give the one that is meant."


def _tables_below(path: Path, here: list[Path]) -> Iterator[str]:
    below = [] if here else [file for folder in subfolders(path)[:20] for file in tables(folder)]
    if below:
        shown = ", ".join(printable(str(file.relative_to(path))) for file in below[:MOST])
        yield f"{shown}: a table's names are relative to its own folder. Put it into {path}."


def _endings(path: Path) -> dict[str, str]:
    """{ending: the first file directly in the folder that has it}."""
    with os.scandir(path) as entries:
        names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
    return {os.path.splitext(name)[1].lower(): name for name in reversed(names)}  # noqa: PTH122


def _of_labelme(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            data = stream.read(GLANCE)
            stream.seek(max(0, file.stat().st_size - GLANCE))
            data += stream.read(GLANCE)
    except OSError:
        return False
    return b'"shapes"' in data and b'"imagePath"' in data

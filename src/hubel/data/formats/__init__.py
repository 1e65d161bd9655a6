"""Which layout a path has, asked of each format in turn. What is recognised is announced, never guessed in silence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hubel.data.dataset import Dataset
from hubel.data.formats import folder, idx, npz
from hubel.errors import UserError

FORMATS = {"folder": folder, "idx": idx, "npz": npz}

LAYOUTS = """
  a folder per class:      ROOT/cat/1.jpg, ROOT/dog/2.png …
  the same with splits:    ROOT/train/cat/1.jpg, ROOT/test/dog/2.jpg … (also val, valid, validation, dev)
  IDX files:               ROOT/train-images-idx3-ubyte.gz, ROOT/train-labels-idx1-ubyte.gz …
  a NumPy archive:         FILE.npz with the arrays images and labels"""


def open_path(path: str | Path, **options: Any) -> Dataset:
    """The dataset at `path`; `options` go to its format. Raises UserError where none or several formats fit."""
    path = Path(path).expanduser()
    if not path.exists():
        raise UserError(f"There is no file or folder {path.absolute()}. Check the path.")
    try:
        reasons = {name: form.recognise(path) for name, form in FORMATS.items()}
    except OSError as fault:
        raise UserError(f"{path} can't be read: {fault.strerror}. Check its permissions.") from fault
    fitting = {name: reason for name, reason in reasons.items() if reason is not None}
    if len(fitting) > 1:
        both = " and as ".join(f"'{name}' ({reason})" for name, reason in fitting.items())
        raise UserError(f"{path} can be read as {both}. Move one of them to a folder of its own.")
    if fitting:
        return FORMATS[next(iter(fitting))].read(path, **options)
    if path.is_dir():
        raise UserError(f"{path.absolute()}: {folder.why_not(path)} What can be read:{LAYOUTS}")
    raise UserError(f"{path.absolute()} is a file of no known layout. What can be read:{LAYOUTS}")

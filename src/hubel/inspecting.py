"""`hubel data`: look at a data set before a training.

found = hubel.inspect_data("photos/")          # found.findings, found.settings(); nothing is written
found.write("looked_at/")                      # page, findings, quarantine list
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hubel.converting import counting, outside
from hubel.data import quarantine
from hubel.data.dataset import Dataset
from hubel.data.findings import Finding
from hubel.data.inspect import Inspection, inspect
from hubel.data.places import cache_folder
from hubel.data.policies import POLICIES
from hubel.data.preview import Previewer
from hubel.data.preview_mixed import mixtures
from hubel.errors import UserError, close_to
from hubel.extents import Extents, against, seen_by
from hubel.parts import load_dataset
from hubel.report import data_page
from hubel.training.atomic import make_folder, write_atomically
from hubel.training.machine import cores
from hubel.training.places import safe_name
from hubel.training.progress import Progress

POLICY = "standard"  # what the page shows where nobody asks for another
VIEWED, DRAWS = 8, 5  # images, and augmented views of each
PAGE, FINDINGS, QUARANTINE = "data.html", "findings.json", "quarantine.csv"
OURS = {PAGE, FINDINGS, QUARANTINE}


@dataclass(frozen=True)
class DataReport:
    """A data set that was looked at: what was found, and the files where it stands once it is written."""

    inspection: Inspection
    augment: str = POLICY
    extents: Extents | None = None  # against the receptive fields of a network
    page: Path | None = None
    quarantine: Path | None = None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The gravest first."""
        return self.inspection.findings

    @property
    def dataset(self) -> Dataset:
        """Without the images that can't be read."""
        return self.inspection.dataset

    def settings(self) -> dict[str, Any]:
        """JSON-ready: format, images, classes, splits, findings, files."""
        files = {"page": self.page, "quarantine": self.quarantine}
        seen = {} if self.extents is None else {"receptive_field": self.extents.settings()}
        return (
            self.inspection.settings()
            | seen
            | {name: None if path is None else str(path) for name, path in files.items()}
        )

    def write(self, out: str | Path) -> DataReport:
        """Write data.html, findings.json and, where there are errors, quarantine.csv into the folder `out`.

        Raises UserError where `out` lies in the data, or holds anything else.
        """
        folder = _own_folder(Path(out).expanduser().absolute(), self.dataset)
        make_folder(folder)
        listed = quarantine.as_csv(self.dataset, self.findings)
        written = replace(self, page=folder / PAGE, quarantine=folder / QUARANTINE if listed else None)
        for name in OURS:  # of an earlier look
            (folder / name).unlink(missing_ok=True)
        if listed is not None:
            write_atomically(folder / QUARANTINE, listed.encode("utf-8", "backslashreplace"))
        text = json.dumps(written.settings(), indent=1, ensure_ascii=False, allow_nan=False)
        write_atomically(folder / FINDINGS, text.encode("utf-8", "backslashreplace"))
        extents = None if self.extents is None else self.extents.settings() | {"sides": self.extents.sides}
        beside = _beside(folder, listed, self.dataset)
        data_page.write(self.inspection, folder / PAGE, self._augmented(), beside, extents)
        return written

    def _augmented(self) -> data_page.Augmented | None:
        if self.augment == "none":
            return None
        try:
            previewer = Previewer.of(self.dataset, self.augment)
        except UserError:  # no image can be read: the findings say so
            return None
        chosen = data_page.Gallery(self.inspection).chosen(VIEWED)
        views, mixed = previewer.views(chosen, DRAWS), mixtures(previewer, chosen[: DRAWS + 1])
        return data_page.Augmented(self.augment, previewer.why, views, mixed)


def inspect_data(
    source: Any, *, augment: str = POLICY, model: str | None = None, size: int | None = None,
    download: bool = False, progress: Any = None, workers: int | None = None,
) -> DataReport:  # fmt: skip
    """Look at everything in `source` before a training; nothing is written until `write`.

    `source` is a built-in name, a path or a Dataset; `augment` the policy whose effect the page shows. With `model`,
    boxes and masks are compared with its receptive fields on images as a training with this `size` shows them. Raises
    UserError where nothing sensible can be read; single bad files and entries become findings.
    """
    if augment not in POLICIES:
        raise UserError(f"augment is one of {', '.join(POLICIES)}; got '{augment}'{close_to(augment, POLICIES)}")
    progress = Progress(progress or "auto") if progress is None or isinstance(progress, str) else progress
    dataset = load_dataset(source, download=download)
    network = None if model is None else seen_by(model, dataset, size)
    with counting(progress, len(dataset)) as tick:
        found = inspect(dataset, workers=workers or cores(), tick=tick, cache=cache_folder() / "looked")
    return DataReport(found, augment, None if network is None else against(found, network))


def look(source: Any, out: str | Path | None = None, **options: Any) -> DataReport:
    """`inspect_data`, written into `out`, data-<name>/ unless given; a folder that won't do is refused before."""
    dataset = load_dataset(source, download=options.pop("download", False))
    folder = _own_folder(Path(out or default_folder(dataset)).expanduser().absolute(), dataset)
    return inspect_data(dataset, **options).write(folder)


def default_folder(dataset: Dataset) -> Path:
    """data-<name>/ in the current folder."""
    return Path(f"data-{safe_name(dataset.name)}")


# Where it goes ---------------------------------------------------------------------------------------------------


def _own_folder(folder: Path, dataset: Dataset) -> Path:
    """The folder, where it is ours or new and not part of the data."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file. Choose another folder with --out.")
    if folder.is_dir():
        inside = {path.name for path in folder.iterdir()}
        if inside and not (inside <= OURS):
            raise UserError(f"{folder} holds other files, and nothing of yours is touched. Choose another with --out.")
    return outside(folder, dataset)


def _beside(folder: Path, listed: str | None, dataset: Dataset) -> list[str]:
    if listed is None:
        return []
    source = dataset.source if dataset.source and Path(dataset.source).exists() else dataset.name
    words = shlex.join(["hubel", "train", source, "--quarantine", str(folder / QUARANTINE)])
    return [f"{words} leaves out what is an error."]

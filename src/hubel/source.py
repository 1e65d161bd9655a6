"""Where a run's data is: its address, the data found again, and whether it is still the same.

With `--split.dev_from` the images of another source stand behind the run's own, at positions n, n + 1, …
"""

from __future__ import annotations

from typing import Any

from hubel.data.check import check_files
from hubel.data.dataset import FOUND, Dataset
from hubel.data.quarantine import Quarantine
from hubel.data.split import train_here_judge_there
from hubel.errors import UserError
from hubel.names import address
from hubel.parts import load_dataset
from hubel.training.run import RunFolder


def data_facts(source: Any, judged_on: Any, dataset: Dataset) -> dict[str, Any]:
    """What the manifest says of the data; `dataset` with its files checked and its sources joined."""
    facts = {"hash": as_found(dataset), "source": address(source), "name": dataset.name}
    if "left_out" in dataset.traits:
        facts["quarantine"] = dataset.traits["left_out"]
    return facts if judged_on is None else {**facts, "dev_from": address(judged_on)}


def as_found(dataset: Dataset) -> str:
    """The hash of the data as it lies there: before a task made its own examples of it."""
    return str(dataset.traits.get(FOUND) or dataset.hash())


def source_of(folder: RunFolder) -> str:
    """The address that the run has saved. Raises UserError where it has none, or where the data came from Python."""
    source = folder.manifest.get("data", {}).get("source")
    if source is None:
        raise UserError(
            f"{folder.path / 'manifest.json'} is missing or says nothing of the data; give it with source=… or data=…."
        )
    if str(source).startswith("<"):
        raise UserError(f"{folder.path} was trained on data given from Python; give it again with source=… or data=….")
    return source


def same_data(folder: RunFolder, source: Any = None) -> Dataset:
    """The data that the run began with, every file looked at; `source` where it came from Python.

    Raises UserError where it is gone or has changed.
    """
    dataset = check_files(load_dataset(source_of(folder) if source is None else source))
    listed = folder.manifest.get("data", {}).get("quarantine")
    if listed is not None:
        dataset = Quarantine.from_settings(listed).applied(dataset)
    judged_on = folder.manifest.get("data", {}).get("dev_from")
    if judged_on is not None:
        dataset = train_here_judge_there(dataset, check_files(load_dataset(judged_on)))
    refuse_other(dataset, folder)
    return dataset


def refuse_other(dataset: Dataset, folder: RunFolder) -> None:
    """Raise UserError where the data is not what the run began with."""
    before = folder.manifest.get("data", {}).get("hash")
    if before is not None and before != as_found(dataset):
        raise UserError(
            f"The data at {dataset.source} has changed since the run began, so it can't go on exactly. Restore the "
            f"data, or start anew from its weights: hubel train {dataset.source} --from {folder.path}"
        )

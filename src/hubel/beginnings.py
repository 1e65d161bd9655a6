"""What a run folder holds before the first step."""

from __future__ import annotations

import contextlib
import inspect
from pathlib import Path
from typing import Any

import torch

from hubel.job import Job
from hubel.rebuild import save_parts
from hubel.session import Session
from hubel.source import data_facts
from hubel.training import distributed
from hubel.training.manifest import manifest
from hubel.training.run import RunFolder


def write_beginnings(session: Session, folder: RunFolder, job: Job) -> None:
    """What a run folder holds before the first step; network.json comes last and makes it resumable."""
    folder.write_config(session.settings)
    folder.write_manifest(
        manifest(
            code=_own_code(session, job),
            seed=session.recipe.seed,
            data=data_facts(job.source, job.judged_on, session.dataset),
            start_from=None if job.from_run is None else str(job.from_run.absolute()),
            device=str(session.device),
            threads=torch.get_num_threads(),  # sums in fp32 depend on it: the same bits need as many
            launcher=distributed.launcher(),
        )
    )
    folder.write_quarantine(session.dataset.quarantine)
    folder.write_splits(session.dataset.splits)
    save_parts(session, folder.path / "network.json")


def _own_code(session: Session, job: Job) -> list[Path]:
    """The folders of what the user wrote: file.py:Net, or the class of an object."""
    words = [str(session.settings[key].value) for key in ("model", "task", "log")]
    files = [word.rpartition(":")[0] for word in words if ".py:" in word]
    for given in (job.model, job.task):
        with contextlib.suppress(TypeError, OSError):  # built in, or typed into a notebook
            files += [] if given is None else [inspect.getfile(given if inspect.isroutine(given) else _class(given))]
    ours = Path(__file__).parent
    folders = dict.fromkeys(Path(file).absolute().parent for file in files if Path(file).exists())
    return [f for f in folders if ours not in (f, *f.parents) and "site-packages" not in f.parts]


def _class(given: Any) -> type:
    return given if isinstance(given, type) else type(given)

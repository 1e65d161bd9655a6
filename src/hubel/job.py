"""What a training is given beside its settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hubel.tasks.base import Task
from hubel.training.callbacks import Callback, Logger


@dataclass(frozen=True)
class Job:
    """What a training is given beside its settings: the user's own objects, and who listens."""

    progress: Any
    source: Any = None  # as the user gave it: a name, a path, or an object
    recipe: str | None = None
    model: Any = None  # an own module or function; names are settings
    task: Task | None = None
    from_run: Path | None = None
    download: bool = False  # may pretrained weights be fetched?
    callbacks: tuple[Callback, ...] = ()
    loggers: tuple[Logger, ...] = ()
    judged_on: Any = None  # the source of dev and test, where it is another one
    private: bool = False  # no paths and names of files in the report
    part_of_several: bool = False  # a fold, a restart: the whole is what is resumed

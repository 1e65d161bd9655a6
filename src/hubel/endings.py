"""How a training ends early: a fault, a full disk, Ctrl-C. The disk says so, and what can be resumed is named."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator

from hubel.job import Job
from hubel.training import distributed
from hubel.training.interrupts import undisturbed
from hubel.training.loop import Loop
from hubel.training.run import RunFolder


@contextlib.contextmanager
def ending(folder: RunFolder, job: Job) -> Iterator[None]:
    """Whatever ends a training early is written down, and travels up with the run that can be resumed."""
    try:
        yield
    except KeyboardInterrupt as stop:
        with undisturbed(), contextlib.suppress(Exception):
            job.progress.stop()
            _interrupted(folder, job, stop)
        raise
    except BaseException as fault:
        with contextlib.suppress(Exception):
            folder.set_state("failed", f"{type(fault).__name__}: {fault}")
            fault.run = folder.path  # type: ignore[attr-defined]
        raise


def _interrupted(folder: RunFolder, job: Job, stop: KeyboardInterrupt) -> None:
    """A run that holds a checkpoint can be resumed and says so; one that never began leaves no folder."""
    if next(folder.path.rglob("checkpoints/last/*.json"), None) is None:
        if distributed.is_main():
            shutil.rmtree(folder.path)
        return
    stop.run = folder.path  # type: ignore[attr-defined]
    folder.set_state("interrupted", "Ctrl-C")
    if not job.part_of_several and distributed.is_main():
        job.progress.say(f"Interrupted; {folder.path} is saved and can be resumed.")


@contextlib.contextmanager
def saved_where_it_began(loop: Loop, resumed: bool) -> Iterator[None]:
    """Ctrl-C before the first step leaves a run that can be resumed, too: nothing was drawn or learnt yet."""
    try:
        yield
    except KeyboardInterrupt:
        if not resumed and distributed.world() == 1:
            with undisturbed(), contextlib.suppress(Exception):
                loop.save()
        raise

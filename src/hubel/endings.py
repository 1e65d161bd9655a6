"""How a training ends early: a fault, a full disk, Ctrl-C. The disk says so, and what can be resumed is named.

After a fault the weights that are kept are judged and reported, so that somebody can look at what went wrong.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator

from hubel import outcome
from hubel.job import Job
from hubel.session import Session
from hubel.training import distributed
from hubel.training.interrupts import undisturbed
from hubel.training.loop import Loop
from hubel.training.run import RunFolder


@contextlib.contextmanager
def ending(folder: RunFolder, job: Job, session: Session | None = None) -> Iterator[None]:
    """Whatever ends a training early is written down, and travels up with the run that can be resumed.

    With a `session` a fault leaves a report, too: `fault.report` is its path.
    """
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
        if session is not None and isinstance(fault, Exception):
            _report(fault, session, folder, job)
        raise


def _report(fault: Exception, session: Session, folder: RunFolder, job: Job) -> None:
    """The page of a training that failed; Ctrl-C, or another fault, leaves it out.

    Several processes would wait for one that is gone. Where a disk is full or lost there is nothing to write to or
    read from, and before the first checkpoint nothing to show.
    """
    begun = next((folder.path / "checkpoints" / "last").glob("*.json"), None) is not None
    if distributed.world() > 1 or isinstance(fault, OSError) or not begun:
        return
    with contextlib.suppress(Exception, KeyboardInterrupt):
        job.progress.stop()
        job.progress.say("The training failed. Its report is written from the last good weights; Ctrl-C leaves it out.")
        fault.report = outcome.rewrite_report(session, folder, job.private)  # type: ignore[attr-defined]


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

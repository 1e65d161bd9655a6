"""`python -m hubel` is `hubel`; `torchrun … -m hubel train …` starts it on several devices."""

import atexit
import contextlib
import os
import sys

from hubel.cli import main


def leave(status: int) -> None:
    """End the process.

    One of several leaves the group, tidies up and ends without tearing the libraries down: their threads may hold
    connections to processes that are gone already. After a fault it waits for nobody, who may be dead.
    """
    distributed = sys.modules.get("hubel.training.distributed")
    if distributed is None or not distributed.launched():
        sys.exit(status)
    if status == 0:
        distributed.finish()
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


if __name__ == "__main__":
    leave(main())

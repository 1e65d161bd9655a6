"""`python -m hubel` is `hubel`; `torchrun … -m hubel train …` starts it on several devices."""

import os
import sys

from hubel.cli import main


def leave(status: int) -> None:
    """End the process. One of several first leaves the group; after a fault it waits for nobody, who may be dead."""
    distributed = sys.modules.get("hubel.training.distributed")
    if distributed is not None and distributed.world() > 1:
        if status != 0:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
        distributed.finish()
    sys.exit(status)


if __name__ == "__main__":
    leave(main())

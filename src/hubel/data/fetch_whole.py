"""A file from an address, whole or not at all: under a temporary name first, renamed when it is all there and right.

So nobody ever reads half a file, and what breaks off leaves nothing behind.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO

Opener = Callable[[str], AbstractContextManager[IO[bytes]]]


def fetch_whole(url: str, target: Path, opener: Opener, check: Callable[[Path], None]) -> None:
    """Copy what `opener` gives for `url` to `target`, whose folder exists, unless `check` of the copy raises.

    Raises OSError where it can't be had or written.
    """
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".hubel-", suffix=".tmp", delete=False) as file:
        temporary = Path(file.name)
        try:
            with opener(url) as source:
                shutil.copyfileobj(source, file)
            file.flush()
            os.fsync(file.fileno())
            check(temporary)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)

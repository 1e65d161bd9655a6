"""Where hubel keeps what it can find or compute again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """The user's cache: $XDG_CACHE_HOME or ~/.cache, then hubel. Not created."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(root) if os.path.isabs(root) else Path.home() / ".cache") / "hubel"  # noqa: PTH117

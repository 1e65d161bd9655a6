"""Where hubel keeps what it can find or compute again."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np


def cache_folder() -> Path:
    """The user's cache: $XDG_CACHE_HOME or ~/.cache, then hubel. Not created."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(root) if os.path.isabs(root) else Path.home() / ".cache") / "hubel"  # noqa: PTH117


def keep_arrays(store: Path, **arrays: np.ndarray) -> None:
    """Write `store` (.npz), whole or not at all; best effort: a cache that can't be written only costs time."""
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=store.parent, prefix=".hubel-", suffix=".tmp", delete=False) as file:
            temporary = Path(file.name)
            try:
                np.savez(file, **arrays)  # type: ignore[arg-type]
                file.flush()
                temporary.replace(store)
            finally:
                temporary.unlink(missing_ok=True)
    except OSError:
        return

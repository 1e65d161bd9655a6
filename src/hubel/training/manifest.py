"""What a reader needs to repeat a run: versions, commit, hardware, command line."""

from __future__ import annotations

import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from hubel.training.machine import cores, processor


def manifest(code: Sequence[Path] = (), **facts: Any) -> dict[str, Any]:
    """What a reader needs to repeat the run: versions, git, hardware, command; `facts` are added.

    `code` are the folders of the user's own networks and tasks: the commit is that of their repository, else that of
    the folder which the command runs in; None where neither is in one.
    """
    packages = ("hubel", "torch", "numpy", "pillow", "opencv-python-headless", "safetensors", "scikit-learn")
    return {
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": sys.argv,
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in packages}},
        "hardware": _hardware(),
        "git": next((found for found in map(_git, [*code, Path.cwd()]) if found is not None), None),
        **facts,
    }


def _hardware() -> dict[str, Any]:
    return {
        "machine": platform.machine(), "system": platform.platform(), "processor": processor(), "cores": cores(),
    }  # fmt: skip


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _git(folder: Path) -> dict[str, Any] | None:
    """The commit of the repository that `folder` is in, its top folder, and whether tracked files differ from it."""

    def ask(*words: str) -> str:
        done = subprocess.run(["git", "-C", folder, *words], capture_output=True, text=True, timeout=5, check=True)
        return done.stdout.strip()

    try:
        commit, top = ask("rev-parse", "HEAD"), ask("rev-parse", "--show-toplevel")
        return {"commit": commit, "changed": bool(ask("status", "--porcelain", "-uno")), "folder": top}
    except (OSError, subprocess.SubprocessError):
        return None

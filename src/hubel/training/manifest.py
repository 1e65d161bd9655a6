"""What a reader needs to repeat a run: versions, commit, hardware, command line."""

from __future__ import annotations

import platform
import subprocess
import sys
import time
from importlib import metadata
from typing import Any

from hubel.training.machine import processor


def manifest(**facts: Any) -> dict[str, Any]:
    """What a reader needs to repeat the run: versions, git, hardware, command; `facts` are added."""
    packages = ("hubel", "torch", "numpy", "pillow", "opencv-python-headless", "safetensors", "scikit-learn")
    return {
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": sys.argv,
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in packages}},
        "hardware": {"machine": platform.machine(), "system": platform.platform(), "processor": processor()},
        "git": _git(),
        **facts,
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _git() -> dict[str, Any] | None:
    """The commit of the folder that the command runs in, where it is a repository."""

    def ask(*words: str) -> str:
        return subprocess.run(["git", *words], capture_output=True, text=True, timeout=5, check=True).stdout.strip()

    try:
        return {"commit": ask("rev-parse", "HEAD"), "changed": bool(ask("status", "--porcelain", "-uno"))}
    except (OSError, subprocess.SubprocessError):
        return None

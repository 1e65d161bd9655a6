"""Files of weights from the network, only where the user asked for it in that very command, checked by SHA-256."""

from __future__ import annotations

import hashlib
import urllib.request
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO

from hubel.data.fetch_whole import Opener as Opener
from hubel.data.fetch_whole import fetch_whole
from hubel.errors import UserError

SMALL = 2**20  # bytes: what a description or a pointer has at most


def over_https(url: str) -> AbstractContextManager[IO[bytes]]:
    return urllib.request.urlopen(url, timeout=60)


def ask(url: str, opener: Opener) -> bytes:
    """A small file's content. Raises UserError where it can't be had."""
    try:
        with opener(url) as source:
            return source.read(SMALL)
    except OSError as fault:
        raise UserError(f"{url} could not be read: {fault}. Look at the name, or try again later.") from fault


def fetch(url: str, target: Path, sha256: str, opener: Opener) -> None:
    """Download `url` to `target`. `sha256`: of the whole, or its first digits. Raises UserError, and keeps nothing."""

    def check(file: Path) -> None:
        found = hash_of(file)
        if not found.startswith(sha256):
            raise UserError(f"{url} has SHA-256 {found}, expected {sha256}…. Nothing was kept; try again later.")

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        fetch_whole(url, target, opener, check)
    except OSError as fault:
        raise UserError(f"{url} could not be downloaded to {target.parent}: {fault}. Try again later.") from fault


def hash_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

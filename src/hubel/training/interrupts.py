"""Ctrl-C and SIGTERM: the first lets a step be finished and saved, the second ends at once, tidying up is not torn.

with interrupts() as received: …    collects signals; KeyboardInterrupt leaves by the handler that was there before
with undisturbed(): …               a few small files are written first, whoever presses what
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

Item = TypeVar("Item")
NUMBERS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def interrupts() -> Iterator[list[int]]:
    """Collects SIGINT and SIGTERM, so that a step is finished and saved first; a second signal ends at once."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    before = {number: signal.getsignal(number) for number in NUMBERS}

    def note(number: int, frame: Any) -> None:
        if received:
            _raise(before[signal.SIGINT], frame)
        received.append(number)

    for number in NUMBERS:
        if before[number] is not signal.SIG_IGN:  # nohup, or a shell's background: they asked for silence
            signal.signal(number, note)
    try:
        yield received
    except KeyboardInterrupt:
        _restore(before)
        _raise(before[signal.SIGINT], None)
        raise
    finally:
        _restore(before)


class AskedToStopError(Exception):
    """Ctrl-C, seen between two batches of an evaluation."""


def until_asked(items: Iterable[Item], received: Sequence[int]) -> Iterator[Item]:
    """The items; raises AskedToStopError before the next one where a signal has come."""
    for item in items:
        if received:
            raise AskedToStopError
        yield item


def _raise(handler: Any, frame: Any) -> None:
    """KeyboardInterrupt, by way of the handler that counts them (cli.py's, a notebook's)."""
    if callable(handler):
        handler(signal.SIGINT, frame)
    else:
        raise KeyboardInterrupt


def _restore(before: dict[signal.Signals, Any]) -> None:
    for number, handler in before.items():
        signal.signal(number, handler)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Inside, Ctrl-C does nothing: for the small files that say how a run ended. Not for anything that may hang."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)

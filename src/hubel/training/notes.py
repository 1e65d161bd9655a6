"""What the user should know of a training: kept in its order for checkpoints and the report, and told to who listens.

It knows nothing of the loop: what holds a `Notes` (an optimiser that may run out of memory) doesn't hold the network.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from hubel.training.callbacks import Callback


class Notes:
    """Sentences; `listeners` with a method `say` hear them."""

    def __init__(self, listeners: Sequence[Callback] = ()):
        self.listeners, self.kept = listeners, list[str]()
        self._waiting: list[str] | None = None

    def add(self, *texts: str) -> None:
        for text in texts:
            self._add(text)

    def _add(self, text: str) -> None:
        self.kept.append(text)
        if self._waiting is None:
            self._tell([text])
        else:
            self._waiting.append(text)

    @contextmanager
    def told_afterwards(self) -> Iterator[None]:
        """What is added inside is kept at once and told at the end, however that comes."""
        self._waiting = []
        try:
            yield
        finally:
            waiting, self._waiting = self._waiting, None
            self._tell(waiting)

    def _tell(self, texts: Iterable[str]) -> None:
        for text in texts:
            for listener in self.listeners:
                if hasattr(listener, "say"):
                    listener.say(text)

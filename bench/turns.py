"""Taking turns: each competitor is a process that trains one epoch when told to, and sleeps while the others do.

A process sees a terminal (a pty that is read and thrown away), so that it draws its progress bar as for a user. It
speaks through two pipes: it reads "go", trains an epoch, writes {"seconds": s, "images": n}.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO


class Turns:
    """The competitor's side: `begin` before an epoch, `end` after it."""

    def __init__(self, commands: TextIO, answers: TextIO, settle: Callable[[], None] = lambda: None):
        self.commands, self.answers, self.settle = commands, answers, settle

    @classmethod
    def from_pipes(cls, numbers: str, settle: Callable[[], None]) -> Turns:
        read, write = (int(number) for number in numbers.split(","))
        return cls(os.fdopen(read), os.fdopen(write, "w"), settle)

    def begin(self) -> None:
        """Wait for the turn; exits where there is none any more."""
        self._tell({"ready": True})
        if not self.commands.readline():
            os._exit(0)
        self._started = time.perf_counter()

    def end(self, images: int) -> None:
        self.settle()  # a GPU may still be at work
        self._tell({"seconds": time.perf_counter() - self._started, "images": images})

    def fail(self, reason: str) -> None:
        self._tell({"error": reason})

    def _tell(self, message: Mapping[str, Any]) -> None:
        self.answers.write(json.dumps(message) + "\n")
        self.answers.flush()


class Competitor:
    """The other side: `turn()` gives the images/s of one epoch, or None and `error` where it can't take part."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None):
        self.name, self.error = name, None
        (theirs_in, ours_out), (ours_in, theirs_out) = os.pipe(), os.pipe()
        terminal, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 120, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, *command, "--pipes", f"{theirs_in},{theirs_out}"],
            pass_fds=(theirs_in, theirs_out),
            stdin=subprocess.DEVNULL,
            stdout=slave,
            stderr=slave,
            env={**os.environ, "TERM": "xterm-256color", **(environment or {})},
        )
        for handle in (theirs_in, theirs_out, slave):
            os.close(handle)
        self._commands, self._answers = os.fdopen(ours_out, "w"), os.fdopen(ours_in)
        self.shown = bytearray()  # the last that it said, for when it fails
        threading.Thread(target=self._drain, args=(terminal,), daemon=True).start()

    def _drain(self, terminal: int) -> None:
        while True:
            try:
                seen = os.read(terminal, 65536)
            except OSError:  # the other end is closed
                return
            self.shown = (self.shown + seen)[-4000:]

    def turn(self) -> float | None:
        if self.error is not None or self._hear("ready") is None:
            return None
        self._commands.write("go\n")
        self._commands.flush()
        found = self._hear("seconds")
        return None if found is None else found["images"] / found["seconds"]

    def _hear(self, key: str) -> dict[str, Any] | None:
        line = self._answers.readline()
        message = json.loads(line) if line else {"error": f"it ended; the last it said: {self.shown.decode()[-500:]}"}
        if key not in message:
            self.error = str(message.get("error", f"unexpected answer {message}"))
            return None
        return message

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def in_turns(players: Sequence[Competitor], rounds: int, title: str) -> dict[str, Any]:
    """{"images_per_second": {name: [one per round]}, "missing": {name: reason}}; a round before them warms up."""
    rates: dict[str, list[float]] = {}
    missing: dict[str, str] = {}
    try:
        for turn in range(rounds + 1):
            for player in players:
                rate = player.turn()
                if rate is None:
                    missing[player.name] = player.error or "unknown"
                elif turn > 0:
                    rates.setdefault(player.name, []).append(rate)
            print(f"{title}: round {turn} of {rounds}", file=sys.stderr, flush=True)
    finally:
        for player in players:
            player.stop()
    kept = {name: values for name, values in rates.items() if name not in missing}
    return {"images_per_second": kept, "missing": missing}

"""What went wrong, told to the person who can mend it."""

import difflib
from collections.abc import Iterable
from pathlib import Path


class UserError(Exception):
    """Something that the user can mend: a path, an option, a file. The command line exits with status 2.

    The message says what was expected, what came and what to do; it is shown without a traceback.
    """


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint for a mistyped name: `; did you mean 'adamw'?`, or the known names where none is close."""
    known = sorted(known)
    return close_to(word, known) or (f"; known: {', '.join(known)}" if known else "")


def close_to(word: str, known: Iterable[str], least: float = 0.6) -> str:
    """The hint alone, for a message that names them all; "" where none is close: `least` of their letters, 0 … 1."""
    close = difflib.get_close_matches(word, sorted(known), n=1, cutoff=least)
    return f"; did you mean '{close[0]}'?" if close else ""


def looked_for(path: str | Path) -> str:
    """Where a relative path leads, for a message; "" for one that says so itself."""
    return "" if Path(path).is_absolute() else f" (looked for {Path(path).absolute()})"

"""Options of drawn data: sizes as words, numbers within a range."""

from __future__ import annotations

import re

from hubel.errors import UserError

SMALLEST, LARGEST = 16, 4096  # pixels


def sides_of(name: str, size: str | int | tuple[int, int]) -> tuple[int, int]:
    """A side, "64" or 64, or "48x96" (height by width) or (48, 96) -> (height, width); else UserError."""
    found = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", size.strip()) if isinstance(size, str) else None
    if found:
        height, width = int(found[1]), int(found[2] or found[1])
    elif isinstance(size, tuple) and len(size) == 2:
        height, width = size
    elif isinstance(size, int):
        height = width = size
    else:
        raise UserError(f"{name}: size is a number of pixels, or height x width such as 48x96; got '{size}'.")
    for side in (height, width):
        within(name, "size", side, SMALLEST, LARGEST)
    return height, width


def within(name: str, what: str, value: int, low: int, high: int) -> None:
    """UserError, beginning with `name`, unless `value` is a whole number from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise UserError(f"{name}: {what} is a whole number from {low} to {high:,}; got {value!r}.")

"""What the values in mask files mean: from `names`, `colors` and `ignore` of a data.yaml or of options, or as seen.

names: a list, or {value: name} in the order of the classes; black and white files (0 and 255) of two classes need no
values. colors: one for each class, [r, g, b] or "#rrggbb". ignore: values, or colours, that take no part; 255 unless a
class has it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hubel.data.decode import BadImage
from hubel.data.images import evenly
from hubel.data.masks import IGNORE, read_values
from hubel.data.yaml_file import unique_names, whole
from hubel.errors import UserError

SAMPLE = 64  # masks that are looked at, evenly spaced, before anything is read for good
MOST_COLOURS = 4096  # of one file: with more it is a photograph
GREY = 65793  # R = G = B = 1


@dataclass
class Seen:
    """What some of the masks hold."""

    values: set[int] = field(default_factory=set)  # of files of numbers, and of grey files saved as colours
    colours: set[int] = field(default_factory=set)  # 65536 R + 256 G + B, of files of colours
    palette: set[int] = field(default_factory=set)  # the same, that palettes show for the numbers that occur
    painted: set[tuple[int, int]] = field(default_factory=set)  # (number, the colour that its palette shows)


@dataclass(frozen=True)
class Meaning:
    """As the fields of Masks."""

    classes: tuple[str, ...]
    values: np.ndarray  # (K,) int64
    ignore: tuple[int, ...]
    coloured: bool = False
    colours: np.ndarray = field(default_factory=lambda: np.empty((0, 3), np.uint8))
    notes: tuple[str, ...] = ()


def look(paths: Sequence[str], max_pixels: int) -> Seen:
    """The values of up to SAMPLE files; damaged ones are passed over, the check will name them."""
    seen = Seen()
    for i in evenly(len(paths), SAMPLE):
        try:
            stored = read_values(paths[i], max_pixels)
        except BadImage:
            continue
        if stored.colours is None or stored.palette:
            seen.values.update(np.unique(stored.values).tolist())
        if stored.colours is None:
            continue
        packed: np.ndarray = stored.colours.astype(np.int64) @ np.array([65536, 256, 1])
        found = np.unique(packed)
        if stored.palette:
            seen.palette.update(found.tolist())
            seen.painted.update(
                divmod(both, 2**24) for both in np.unique(stored.values.astype(np.int64) * 2**24 + packed).tolist()
            )
        elif (found % GREY == 0).all():
            seen.values.update((found // GREY).tolist())
        elif len(found) > MOST_COLOURS:
            raise UserError(
                f"{paths[i]} has {len(found):,} colours: a photograph, or a mask saved with losses. Use PNG."
            )
        else:
            seen.colours.update(found.tolist())
    return seen


def meaning(said: Mapping[str, Any], seen: Seen, where: str) -> Meaning:
    """`said`: names {value: name}, colors {value: colour}, ignore as text or numbers, each only where it was given.

    Raises UserError, beginning with `where`, for what contradicts itself or the files.
    """
    colours = {key: colour(one, where) for key, one in said.get("colors", {}).items()}
    named = seen.palette and colours and seen.palette <= set(colours.values())
    if seen.colours or (named and not _numbers_fit(said, seen, colours)):
        return _of_colours(said, seen, colours, where)
    names: dict[int, str] = said.get("names", {})
    ignore = _ignored(said.get("ignore"), False, where)
    names, notes = _named(names, seen, ignore) if names else _unnamed(seen, ignore, where)
    if ignore is None:
        ignore = () if IGNORE in names else (IGNORE,)
    names = {value: name for value, name in names.items() if value not in ignore}
    _check_count(len(names), where)
    classes, _ = unique_names(list(names.values()))
    table = np.array([_rgb(colours.get(value, 0)) for value in names], np.uint8).reshape(-1, 3)
    shown = table if colours else np.empty((0, 3), np.uint8)
    return Meaning(classes, np.array(list(names), dtype=np.int64), ignore, False, shown, tuple(notes))


def _numbers_fit(said: Mapping[str, Any], seen: Seen, colours: Mapping[int, int]) -> bool:
    """Whether palettes show each number in the colour that is said for it: then the numbers mean what they say."""
    return all(value in said.get("names", {}) and colours.get(value) == colour for value, colour in seen.painted)


def _named(names: dict[int, str], seen: Seen, ignore: tuple[int, ...] | None) -> tuple[dict[int, str], list[str]]:
    """Names as given; where the files are black and white, 255 is the second of two classes, or the only one."""
    white = seen.values <= {0, IGNORE} and IGNORE in seen.values and IGNORE not in (ignore or ())
    if sorted(names) == [0, 1] and white:
        notes = [f"black and white masks: 0 is {names[0]}, 255 is {names[1]}"]
        return {(IGNORE if value else 0): name for value, name in names.items()}, notes
    if list(names) == [0] and seen.values <= {0, 1, IGNORE} and (white or 1 in seen.values):
        top = IGNORE if white else 1
        return {0: "background", top: names[0]}, [f"black and white masks: 0 is the background, {top} is {names[0]}"]
    return names, []


def _unnamed(seen: Seen, ignore: tuple[int, ...] | None, where: str) -> tuple[dict[int, str], list[str]]:
    values = seen.values - set(ignore or ())
    for top in (IGNORE, 1):
        if values <= {0, top} and top in values:
            return {0: "background", top: "foreground"}, [f"no names given: black and white masks, 0 and {top}"]
    values -= set() if ignore is not None else {IGNORE}
    if not values:
        raise UserError(f"{where}: the masks name no class. Give `names`, a list or {{value: name}}, in data.yaml.")
    found = sorted(values) if max(values) > IGNORE else range(max(values) + 1)
    notes = [f"no names given: the classes are called by their values in the masks, 0 … {max(values)}"]
    return {value: str(value) for value in found}, notes


def _of_colours(said: Mapping[str, Any], seen: Seen, colours: dict[int, int], where: str) -> Meaning:
    names: dict[int, str] = said.get("names", {})
    ignore = _ignored(said.get("ignore"), True, where) or ()
    notes = ["masks of colours"]
    if not colours:
        values = sorted((seen.colours | {value * GREY for value in seen.values}) - set(ignore))
        if names:
            raise UserError(
                f"{where}: the masks hold {len(values)} colours, and nothing says which of them means which of the "
                f"{len(names)} names. Give `colors`, one for each name, in data.yaml."
            )
        _check_count(len(values), where)
        names = {k: "#{:02x}{:02x}{:02x}".format(*_rgb(value)) for k, value in enumerate(values)}
        colours, notes = (
            dict(enumerate(values)),
            ["no names given: the classes are called by their colours in the masks"],
        )
    names = names or {key: str(key) for key in colours}
    if set(names) != set(colours):
        raise UserError(f"{where}: {len(names)} names but {len(colours)} colors. Give one colour for each name.")
    kept = [key for key in names if colours[key] not in ignore]
    if len({colours[key] for key in kept}) < len(kept):
        raise UserError(f"{where}: two classes have the same colour. Give each one of its own.")
    _check_count(len(kept), where)
    values_of = np.array([colours[key] for key in kept], dtype=np.int64)
    classes, _ = unique_names([names[key] for key in kept])
    table = np.array([_rgb(value) for value in values_of.tolist()], np.uint8).reshape(-1, 3)
    return Meaning(classes, values_of, ignore, True, table, tuple(notes))


def _check_count(count: int, where: str) -> None:
    if not 0 < count <= IGNORE:
        raise UserError(f"{where}: {count} classes; expected 1 … {IGNORE}. Check `names` and `ignore`.")


# Options and settings ------------------------------------------------------------------------------------------


def numbered(given: Any, what: str) -> dict[int, Any]:
    """An option as {value: entry}: a mapping, a sequence counted from 0, or text with commas. Else UserError."""
    if isinstance(given, str):
        given = [part.strip() for part in given.split(",")]
    if isinstance(given, Mapping):
        keys = [whole(str(key)) for key in given]
        if None not in keys:
            return dict(zip(keys, given.values(), strict=True))  # type: ignore[arg-type]
    elif isinstance(given, Sequence):
        return dict(enumerate(given))
    raise UserError(f"{what} is a list, or a mapping from values such as {{0: cat, 1: dog}}; got {given!r:.80}.")


def colour(given: Any, where: str) -> int:
    """[r, g, b], "#rrggbb" or "r g b" -> 65536 R + 256 G + B. Else UserError."""
    if isinstance(given, str) and given.startswith("#") and len(given) == 7:
        parts: list[Any] = [given[k : k + 2] for k in (1, 3, 5)]
        numbers = [int(part, 16) if all(c in "0123456789abcdefABCDEF" for c in part) else None for part in parts]
    else:
        parts = given.replace(",", " ").split() if isinstance(given, str) else given
        numbers = [whole(str(part)) for part in parts] if isinstance(parts, Sequence) else []
    if len(numbers) != 3 or any(n is None or not 0 <= n <= 255 for n in numbers):
        raise UserError(f'{where}: a colour is [r, g, b] of 0 … 255 or "#rrggbb"; got {str(given)[:40]!r}.')
    r, g, b = (int(n) for n in numbers if n is not None)
    return 65536 * r + 256 * g + b


def _ignored(given: Any, coloured: bool, where: str) -> tuple[int, ...] | None:
    """Values, or colours, that take no part; None where nothing was said."""
    if given is None:
        return None
    entries = [given] if isinstance(given, str | int) else list(given)
    if coloured:
        three = len(entries) == 3 and all(whole(str(one)) is not None for one in entries)
        return tuple(colour(one, where) for one in ([entries] if three else entries))
    numbers = [whole(str(part)) for one in entries for part in str(one).replace(",", " ").split()]
    if any(n is None or not 0 <= n < 65536 for n in numbers):
        raise UserError(
            f"{where}: ignore is a value in the masks, 0 … 65535, or a list of values; got {str(given)[:40]!r}."
        )
    return tuple(int(n) for n in numbers if n is not None)


def _rgb(packed: int) -> tuple[int, int, int]:
    return packed >> 16 & 255, packed >> 8 & 255, packed & 255

"""What a malformed entry of a COCO JSON can still say.

Text that is a number is taken as one, what is missing or no number becomes NaN, and each such liberty is told.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

from hubel.data.formats.coco_entries import NO_CLASS, NO_ID, Category, Entry, Point, RunLengths

NUMBERS = {"N": math.nan, "Infini": math.inf, "-Infini": -math.inf}  # what `coco_file` puts in place of NaN …
Tell = Callable[[str], None]


def mend(text: bytes, image_ids: dict[str, int], tell: Tell) -> Entry | None:
    """The entry written in `text`, or None where it has no image; `tell` hears each thing that is wrong.

    `image_ids`: the number given to each image whose id is text.
    """
    value = _loads(text, tell)
    if value is None:
        return None
    said = value.get("image_id")
    image = image_ids.get(said) if isinstance(said, str) else None
    image = _whole(value, "image_id", tell) if image is None else image
    if image is None:
        return None
    kind = _whole(value, "category_id", tell)
    number = _whole(value, "id", tell)
    crowd = value.get("iscrowd", 0)
    return Entry(
        image,
        NO_CLASS if kind is None else kind,
        NO_ID if number is None else number,
        _box(value, tell),
        None if value.get("area") is None else _number(value["area"], "area", tell),
        int(crowd) if isinstance(crowd, bool) or crowd in (0, 1) else _crowd(crowd, tell),
        _segmentation(value.get("segmentation"), tell),
        _keypoints(value.get("keypoints"), tell),
    )


def mend_image(text: bytes, tell: Tell) -> tuple[int | str, str, int, int] | None:
    """(id, file name, height, width) of an entry of "images"; None where it names no file or has no id."""
    value = _loads(text, tell)
    if value is None:
        return None
    name, number = value.get("file_name"), value.get("id")
    if not isinstance(name, str) or not name or "\0" in name:
        tell(f'"file_name" is {_shown(value, "file_name")}, expected the name of a file')
        return None
    if not isinstance(number, str):
        number = _whole(value, "id", tell)
    if number is None:
        return None
    height, width = (0 if value.get(key) is None else _whole(value, key, tell) or 0 for key in ("height", "width"))
    return number, name, max(0, height), max(0, width)


def mend_category(text: bytes, tell: Tell) -> Category | None:
    """None where it has no id."""
    value = _loads(text, tell)
    number = None if value is None else _whole(value, "id", tell)
    if value is None or number is None:
        return None
    name, points, edges = (value.get(key) for key in ("name", "keypoints", "skeleton"))
    if not isinstance(name, str):
        tell(f'"name" is {_shown(value, "name")}, expected text; its number is its name')
        name = str(number) if name is None else str(name)
    if points is not None and not isinstance(points, list):
        tell(f'"keypoints" is {_brief(points)}, expected a list of names')
        points = None
    good = [e for e in edges if _is_edge(e)] if isinstance(edges, list) else []
    if edges is not None and (not isinstance(edges, list) or len(good) < len(edges)):
        tell(f'"skeleton" is {_brief(edges)}, expected pairs of whole numbers')
    return Category(number, name, [str(p) for p in points] if points else None, [(a, b) for a, b in good] or None)


def _is_edge(edge: Any) -> bool:
    return isinstance(edge, list) and len(edge) == 2 and all(type(end) is int and abs(end) < 2**31 for end in edge)


def _loads(text: bytes, tell: Tell) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as fault:
        tell(f"it can't be read: {fault}")
        return None
    if not isinstance(value, dict):
        tell(f'it is {_brief(value)}, expected an object {{"image_id": …}}')
        return None
    return value


def _whole(value: dict[str, Any], key: str, tell: Tell) -> int | None:
    """A whole number of 64 bits, or None, which is told."""
    found = value.get(key)
    if type(found) is int and -(2**63) <= found < 2**63:
        return found
    if not isinstance(found, float | str) or (number := _as_float(found)) is None or number != math.floor(number):
        tell(f'"{key}" is {_shown(value, key)}, expected a whole number')
        return None
    try:
        whole = int(found)
    except ValueError:
        whole = int(number)
    if not -(2**63) <= whole < 2**63:
        tell(f'"{key}" is {_shown(value, key)}, which is too large')
        return None
    if isinstance(found, str):
        tell(f'"{key}" is the text {_brief(found)}, read as the number {whole}')
    return whole


def _as_float(found: float | str) -> float | None:
    try:
        number = float(found)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _number(found: Any, where: str, tell: Tell) -> float:
    """Any value as a number; NaN where it is none."""
    if type(found) is float or (type(found) is int and abs(found) < 2**1000):
        return float(found)
    if isinstance(found, str) and found in NUMBERS:
        tell(f"{where} is {NUMBERS[found]}, which JSON has no word for: other programs refuse the file")
        return NUMBERS[found]
    number = _as_float(found) if isinstance(found, str) else None
    if number is None:
        tell(f"{where} is {_brief(found)}, expected a number")
        return math.nan
    tell(f"{where} is the text {_brief(found)}, read as the number {number:g}")
    return number


def _numbers(found: list[Any], where: str, tell: Tell) -> list[float]:
    """At most one sentence for a whole list."""
    told: list[str] = []
    values = [_number(value, f"{where}[{k}]", told.append) for k, value in enumerate(found)]
    if told:
        tell(told[0] + (f" (and {len(told) - 1:,} more of its numbers)" if len(told) > 1 else ""))
    return values


def _box(value: dict[str, Any], tell: Tell) -> Point | None:
    found = value.get("bbox")
    if isinstance(found, list) and len(found) == 4:
        x, y, w, h = _numbers(found, "bbox", tell)
        return x, y, w, h
    tell(f'"bbox" is {_shown(value, "bbox")}, expected [x, y, width, height]')
    return None


def _crowd(found: Any, tell: Tell) -> int:
    tell(f'"iscrowd" is {_brief(found)}, expected 0 or 1')
    return int(isinstance(found, str) and found.strip() == "1")


def _segmentation(found: Any, tell: Tell) -> list[list[float]] | RunLengths | None:
    if found is None:
        return None
    if isinstance(found, list) and len(found) == 1 and isinstance(found[0], dict):
        tell('"segmentation" is a list of one mask, expected the mask alone: read all the same')
        found = found[0]
    if isinstance(found, dict):
        return _run_lengths(found, tell)
    if not isinstance(found, list):
        tell(f'"segmentation" is {_brief(found)}, expected a list of polygons or run lengths')
        return None
    if found and not isinstance(found[0], list | dict):
        tell('"segmentation" is one list of numbers, expected a list of polygons: read as one polygon')
        found = [found]
    return [ring for k, one in enumerate(found) if (ring := _ring(one, f"segmentation[{k}]", tell)) is not None]


def _ring(found: Any, where: str, tell: Tell) -> list[float] | None:
    if not isinstance(found, list):
        tell(f"{where} is {_brief(found)}, expected x, y, x, y …")
        return None
    if found and all(isinstance(point, list) and len(point) == 2 for point in found):
        tell(f"{where} is a list of points, expected x, y, x, y …: read all the same")
        found = [number for point in found for number in point]
    numbers = _numbers(found, where, tell)
    if len(numbers) % 2:
        tell(f"{where} has {len(numbers)} numbers, expected x, y, x, y …: the last one is left out")
    return numbers[: len(numbers) // 2 * 2]


def _run_lengths(found: dict[str, Any], tell: Tell) -> RunLengths | None:
    counts, size = found.get("counts"), found.get("size")
    good = isinstance(size, list) and len(size) == 2 and all(type(n) is int and abs(n) < 2**32 for n in size)
    if not good:
        tell(f'"size" of its mask is {_shown(found, "size")}, expected [height, width]')
    if isinstance(counts, list) and all(type(n) is int and 0 <= n < 2**32 for n in counts):
        return RunLengths(counts, tuple(size) if good else (0, 0))  # type: ignore[arg-type]
    if isinstance(counts, str):
        return RunLengths(counts, tuple(size) if good else (0, 0))  # type: ignore[arg-type]
    tell(f'"counts" of its mask is {_shown(found, "counts")}, expected text, or whole numbers from 0: it has no mask')
    return None


def _keypoints(found: Any, tell: Tell) -> list[float] | None:
    if found is None:
        return None
    if not isinstance(found, list):
        tell(f'"keypoints" is {_brief(found)}, expected x, y, v, x, y, v …')
        return None
    numbers = _numbers(found, "keypoints", tell)
    if len(numbers) % 3:
        tell(f'"keypoints" has {len(numbers)} numbers, expected x, y, v of each: the last {len(numbers) % 3} left out')
    return numbers[: len(numbers) // 3 * 3]


def _shown(value: dict[str, Any], key: str) -> str:
    return _brief(value[key]) if key in value else "missing"


def _brief(found: Any) -> str:
    text = json.dumps(NUMBERS.get(found, found) if isinstance(found, str) else found, ensure_ascii=False)
    return text if len(text) <= 60 else text[:59] + "…"

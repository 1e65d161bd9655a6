"""Many YOLO label files at once, by arrays: the same objects as `Rows.parse` file by file, about ten times as fast.

Where a line of a block is anything but plain numbers in the counts expected, nothing is added: the block is then read
line by line, which names what is wrong.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from hubel.data.formats.yolo_rows import LONG, Rows

MARK = b"\xef\xbb\xbf"
SPACE = np.zeros(256, bool)
SPACE[list(b" \t\n\r\x0b\x0c")] = True
PLAIN = SPACE.copy()
PLAIN[list(b"0123456789.eE+-")] = True
MOST = 2.0**53  # of a class number: all of these are exact in float64


def parse_block(rows: Rows, images: Sequence[int], contents: Sequence[bytes]) -> bool:
    """Add the objects of all files, `contents[k]` being of image `images[k]`; False, and nothing added, where one needs
    a closer look."""
    texts = [data.removeprefix(MARK) for data in contents]
    if any(b"\r" in text for text in texts):
        texts = [text.replace(b"\r\n", b"\n").replace(b"\r", b"\n") for text in texts]
    joined = b"\n".join(texts)
    codes = np.frombuffer(joined, np.uint8)
    if not PLAIN[codes].all():
        return False
    space = np.concatenate([[True], SPACE[codes], [True]])
    begins = np.flatnonzero(~space[1:-1] & space[:-2])  # of words
    lengths = np.flatnonzero(~space[1:-1] & space[2:]) + 1 - begins
    values = _values(joined, len(begins))
    if values is None or (lengths >= LONG).any():
        return False
    newlines = np.flatnonzero(codes == ord("\n"))
    line = np.searchsorted(newlines, begins)
    first = np.flatnonzero(np.diff(line, prepend=-1))
    counts = np.diff(np.append(first, len(begins))) - 1  # numbers after the class, of each line that is not empty
    if not _expected(rows, counts) or not _whole(values[first]):
        return False
    offsets = np.cumsum([0, *(len(text) + 1 for text in texts)])[:-1]  # where each file begins
    file = np.searchsorted(offsets, begins[first], side="right") - 1
    numbers = line[first] - np.searchsorted(newlines, offsets)[file] + 1
    _extend(rows.images, np.asarray(images, np.int64)[file])
    _extend(rows.labels, values[first].astype(np.int64))
    _extend(rows.lines, numbers.astype(np.int64))
    _add(rows, values, first, counts)
    return True


def _values(joined: bytes, count: int) -> np.ndarray | None:
    """All words as float64, rounded as float() does; None where one is no number."""
    if not count:
        return np.empty(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # text that does not fit is only warned of
        try:
            values = np.fromstring(joined, np.float64, sep=" ")
        except (DeprecationWarning, ValueError):
            return None
    return values if len(values) == count else None  # 1-2 is one word, and two numbers


def _expected(rows: Rows, counts: np.ndarray) -> bool:
    pose = rows.joints * rows.dims
    more = counts == 4 + pose if pose else (counts >= 6) & (counts % 2 == 0)
    return bool(((counts == 4) | more).all())


def _whole(labels: np.ndarray) -> bool:
    return bool((np.abs(labels) < MOST).all() and (labels == np.floor(labels)).all())


def _add(rows: Rows, values: np.ndarray, first: np.ndarray, counts: np.ndarray) -> None:
    pose = rows.joints * rows.dims
    polygon = np.zeros(len(counts), bool) if pose else counts > 4
    boxes = np.full((len(counts), 4), np.nan)
    boxes[~polygon] = values[first[~polygon, None] + np.arange(1, 5)]
    _extend(rows.boxes, boxes)
    _extend(rows.counts, np.where(polygon, counts // 2, 0).astype(np.int64))
    inside = np.repeat(polygon, counts + 1)
    inside[first] = False
    _extend(rows.points, values[inside])
    if pose:
        places = np.zeros((len(counts), pose))
        full = counts > 4
        places[full] = values[first[full, None] + np.arange(5, 5 + pose)]
        _extend(rows.poses, places)


def _extend(target: object, values: np.ndarray) -> None:
    target.frombytes(np.ascontiguousarray(values).tobytes())  # type: ignore[attr-defined]

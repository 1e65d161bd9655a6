"""A line of a YOLO label file <-> numbers in pixels: `c x y w h`, a polygon `c x1 y1 x2 y2 …`, a pose
`c x y w h kx ky [v] …`; all places are fractions of the image's width W and height H.

A box has the edges x0 = (x − w/2) W and x1 = (x + w/2) W. Numbers of up to 17 digits are computed so in float64. Edges
in pixels that no such numbers give are written with more digits (26 or more characters); an axis with such a number is
computed exactly and rounded once, so that every box comes back bit for bit.
"""

from __future__ import annotations

import decimal
import itertools
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

LONG = 26  # characters of a number: from here on it is computed exactly
CONTEXT = decimal.Context(prec=400, Emin=-9999, Emax=9999, traps=[])
DIGITS = (4, 6, 8, 10, 12, 14, 15, 16, 17)  # after the point: the first that comes back is written


@dataclass
class Rows:
    """The objects of all label files, in the order in which they are added."""

    joints: int = 0  # keypoints of a pose; 0: lines with more than a box are polygons
    dims: int = 3  # numbers per keypoint: x, y or x, y, v
    images: array = field(default_factory=lambda: array("q"))
    labels: array = field(default_factory=lambda: array("q"))
    lines: array = field(default_factory=lambda: array("q"))
    boxes: array = field(default_factory=lambda: array("d"))  # four each; NaN for polygons
    counts: array = field(default_factory=lambda: array("q"))  # numbers in `points` of each object
    points: array = field(default_factory=lambda: array("d"))
    poses: array = field(default_factory=lambda: array("d"))  # joints * dims each
    exact: dict[int, list[str]] = field(default_factory=dict)  # {object: x y w h as written}, where that matters

    def parse(self, image: int, data: bytes) -> list[tuple[int, str]]:
        """Add the objects of one file; gives (line, reason) of each line that is none."""
        faults = []
        for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").splitlines(), start=1):
            words = line.split()
            if words and (fault := self._line(image, number, words, line)):
                faults.append((number, fault))
        return faults

    def _line(self, image: int, number: int, words: list[bytes], line: bytes) -> str:
        try:
            label = class_number(words[0])
            values = [float(word) for word in words[1:]]
        except ValueError:
            label, values = None, []
        if label is None or b"_" in line:
            return f"expected a class number and fractions of the image, got '{_shown(line)}'"
        if not self._add(values):
            return f"{len(values)} numbers after the class: {self._expected()}"
        if len(line) > LONG and len(values) != 2 * self.counts[-1] and max(map(len, words[1:5])) >= LONG:
            self.exact[len(self.labels)] = [word.decode() for word in words[1:5]]
        self.images.append(image)
        self.labels.append(label)
        self.lines.append(number)
        return ""

    def _add(self, values: list[float]) -> bool:
        n, pose = len(values), self.joints * self.dims
        if n == 4 or (pose and n == 4 + pose):
            self.boxes.extend(values[:4])
            self.counts.append(0)
            self.poses.extend(values[4:] or [0.0] * pose)
        elif not pose and n >= 6 and n % 2 == 0:
            self.boxes.extend([np.nan] * 4)
            self.counts.append(n // 2)
            self.points.extend(values)
        else:
            return False
        return True

    def _expected(self) -> str:
        if self.joints:
            return f"expected 4 for a box, or {4 + self.joints * self.dims} with {self.joints} keypoints of {self.dims}"
        return "expected 4 for a box, or x and y of at least 3 points for a polygon"


def class_number(word: bytes) -> int | None:
    """A whole number, also written 3.0; None for anything else. ValueError where it is no number."""
    if word.isdigit() and len(word) < 19:
        return int(word)
    value = float(word)
    return int(value) if value.is_integer() and abs(value) < 2**62 else None


def _shown(line: bytes) -> str:
    text = line[:60].decode("utf-8", "backslashreplace").strip()
    return "".join(c if c.isprintable() else "�" for c in text) + " …" * (len(line) > 60)


# Fractions -> pixels -------------------------------------------------------------------------------------------


def edges(rows: Rows, sizes: np.ndarray) -> np.ndarray:
    """(M, 4) float64 x0, y0, x1, y1 in pixels; sizes (M, 2) height and width of each object's image, or NaN."""
    x, y, w, h = np.array(rows.boxes, dtype=np.float64).reshape(-1, 4).T
    height, width = sizes.T.astype(np.float64)
    with np.errstate(all="ignore"):  # what is written may be anything
        found = np.stack([(x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height], axis=1)
    for m, words in rows.exact.items():
        for axis in (0, 1):
            centre, extent = words[axis], words[axis + 2]
            if max(len(centre), len(extent)) >= LONG and np.isfinite(sizes[m, 1 - axis]):
                found[m, axis::2] = exact_edges(centre, extent, int(sizes[m, 1 - axis]), found[m, axis::2])
    return found


def exact_edges(centre: str, extent: str, size: int, rough: np.ndarray) -> tuple[float, float]:
    """(c − e/2) s and (c + e/2) s of decimal numbers, rounded once; `rough` where they are not finite."""
    with decimal.localcontext(CONTEXT):
        c, half = decimal.Decimal(centre), decimal.Decimal(extent) / 2
        low, high = float((c - half) * size), float((c + half) * size)
    return (low, high) if np.isfinite((low, high)).all() else (float(rough[0]), float(rough[1]))


# Pixels -> fractions -------------------------------------------------------------------------------------------


def box_texts(low: np.ndarray, high: np.ndarray, size: np.ndarray) -> tuple[list[str], list[str], np.ndarray]:
    """Edges (M,) and sizes (M,) of the images along one axis -> centre and extent as text that gives these edges back
    bit for bit (−0 as 0), with as few digits as that takes; and which (M,) do not come back: not finite, or no size."""
    low, high, size = low + 0.0, high + 0.0, size.astype(np.float64)  # −0 + 0 = 0
    with np.errstate(all="ignore"):
        centre, extent = (low + high) / 2 / size, (high - low) / size
        todo = np.arange(len(low))
        for change in _candidates():
            c, e = change(centre[todo], extent[todo])
            same = ((c - e / 2) * size[todo] == low[todo]) & ((c + e / 2) * size[todo] == high[todo])
            centre[todo[same]], extent[todo[same]] = c[same], e[same]
            todo = todo[~same]
    centres, extents = ([repr(v) for v in (values + 0.0).tolist()] for values in (centre, extent))
    lost = np.zeros(len(low), bool)
    for m in todo.tolist():
        texts = _exact_texts(float(low[m]), float(high[m]), size[m])
        lost[m] = texts is None
        centres[m], extents[m] = texts or (centres[m], extents[m])
    return centres, extents, lost


def _candidates() -> Iterator[Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]]:
    """Rounded centre and extent, with ever more digits; then those a last digit away."""
    for digits in DIGITS:
        yield lambda c, e, digits=digits: (np.round(c, digits), np.round(e, digits))  # type: ignore[misc]
    for a, b in itertools.product((0, 1, -1, 2, -2), repeat=2):
        yield lambda c, e, a=a, b=b: (c + a * np.spacing(c), e + b * np.spacing(e))  # type: ignore[misc]


def _exact_texts(low: float, high: float, extent: float) -> tuple[str, str] | None:
    """Decimals of equal length, long enough to be read exactly."""
    if not (np.isfinite((low, high)).all() and extent > 0):
        return None
    size = int(extent)
    least = min((abs(v) for v in (low, high) if v), default=1.0)
    digits = max(LONG, 24 + len(str(size)) - int(np.floor(np.log10(least))))
    with decimal.localcontext(CONTEXT):
        step = decimal.Decimal(10) ** -digits
        a, b = ((decimal.Decimal(v) / size).quantize(step) for v in (low, high))
        texts = f"{(a + b) / 2:.{digits + 1}f}", f"{b - a:.{digits}f}"
    return texts if exact_edges(*texts, size, np.zeros(2)) == (low, high) else None


def point_texts(values: np.ndarray, size: np.ndarray) -> list[str]:
    """float32 places (P,) in pixels and the image's extent (P,) -> fractions as text that give these places back."""
    size = size.astype(np.float64)
    with np.errstate(all="ignore"):
        full = values.astype(np.float64) / size + 0.0
        short = np.round(full, 6) + 0.0  # −0 becomes 0
        same = (short * size).astype(np.float32) == values
    return [
        repr(s) if good else f"{v:.10g}"
        for s, v, good in zip(short.tolist(), full.tolist(), same.tolist(), strict=True)
    ]

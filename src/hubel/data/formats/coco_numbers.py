"""Numbers for JSON with as few digits as give them back, and None for what JSON has no word for."""

from __future__ import annotations

from typing import Any

import numpy as np

DECIMALS = 9  # tried before digits are counted one number at a time
WHOLE = 2**24  # up to here float32 holds every whole number


def shortest(values: np.ndarray) -> np.ndarray:
    """float32 -> the float64 with the shortest text that is the same float32: 185.66, not 185.66000366210938."""
    flat = np.ascontiguousarray(values, np.float32).ravel()
    wide = flat.astype(np.float64)
    large = np.flatnonzero(np.isfinite(flat) & (np.abs(wide) > WHOLE))
    found, todo = wide.copy(), np.flatnonzero((np.abs(wide) <= WHOLE) & (wide != np.round(wide)))
    for digits in range(1, DECIMALS + 1):
        tried = np.round(wide[todo], digits)
        same = tried.astype(np.float32) == flat[todo]
        found[todo[same]] = tried[same]
        todo = todo[~same]
    for rest in (large, todo):
        found[rest] = [float(str(value)) for value in flat[rest]]
    return found.reshape(np.shape(values))


def widths(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """(M,) w with low + w == high in float64, as short as possible; the nearest where there is none."""
    with np.errstate(invalid="ignore", over="ignore"):
        exact = high - low
        found, todo = exact.copy(), np.flatnonzero(np.isfinite(exact))
        for digits in range(DECIMALS + 4):
            tried = np.round(exact[todo], digits)
            same = low[todo] + tried == high[todo]
            found[todo[same]] = tried[same]
            todo = todo[~same]
        for tried in (exact, np.nextafter(exact, np.inf), np.nextafter(exact, -np.inf)):
            same = low[todo] + tried[todo] == high[todo]
            found[todo[same]] = tried[todo[same]]
            todo = todo[~same]
    return found


def inexact(boxes: np.ndarray) -> np.ndarray:
    """(M,) bool: boxes x0, y0, x1, y1 that x, y, width, height can't give back bit for bit."""
    back = boxes.copy()
    with np.errstate(invalid="ignore", over="ignore"):
        for k in (0, 1):
            back[:, 2 + k] = boxes[:, k] + widths(boxes[:, k], boxes[:, 2 + k])
    back[~np.isfinite(back)] = np.nan
    return ~((back == boxes) | (np.isnan(back) & np.isnan(boxes))).all(1)


def plain(values: np.ndarray) -> list[Any]:
    """As lists; NaN and infinity, which JSON has no word for, as None."""
    if np.isfinite(values).all():
        return values.tolist()
    found = values.astype(object)
    found[~np.isfinite(values)] = None
    return found.tolist()

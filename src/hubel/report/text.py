"""Words and figures as the page shows them: hostile text made visible and harmless, numbers in few digits."""

from __future__ import annotations

import math
import re
from typing import Any

THIN = "\u202f"  # narrow no-break space, between a figure and its unit
DASH = "–"

# What reorders or hides the text around it, and what is no character at all.
_DIRECTION = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def clean(text: str) -> str:
    """`text` with direction marks, control characters and undecodable bytes spelled out; encodes to UTF-8.

    The byte 0xe9 of a file name that is not UTF-8 (Python holds it as U+DCE9) is shown as \\xe9. Escaping for
    HTML is the template's work and still needed.
    """
    text = _SURROGATE.sub(_spell_byte, text)
    text = _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
    return _DIRECTION.sub(lambda found: f"‹U+{ord(found[0]):04X}›", text)


def _spell_byte(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def shorten(text: str, limit: int) -> str:
    """At most `limit` characters, the middle left out."""
    text = clean(text)
    if len(text) <= limit:
        return text
    head = (limit - 1) * 2 // 3
    return f"{text[:head]}…{text[head + 1 - limit :]}"


def finite(value: Any) -> float:
    """`value` as a float that can be drawn; NaN for what is missing, no number, infinite or beyond 1e30.

    Magnitudes below 1e-30 become 0, so that no ratio of two such numbers overflows.
    """
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
    if not abs(number) < 1e30:
        return math.nan
    return number if abs(number) > 1e-30 else 0.0


_SHARES = ("accuracy", "precision", "recall", "f1", "average_precision", "exact_match", "specificity", "ece", "iou",
           "dice", "boundary_f", "localisation_error")  # fmt: skip


def is_share(metric: str) -> bool:
    """Is this metric a share of 1, shown in percent? Judged by its name: accuracy, top5, macro_f1, recall …"""
    name = metric.lower()
    parts = re.split(r"[._]", name)
    whole = bool({"map", "error"} & set(parts[:1])) or "right" in name.split(".")
    return whole or bool(re.match(r"top_?\d", name)) or any(w in name for w in _SHARES)


def percent(share: float, digits: int = 1) -> str:
    """0.979 -> "97.9 %"; NaN, a share of nothing -> "–". What is not quite 0 or 1 never reads "0.0 %" or "100.0 %"."""
    if math.isnan(finite(share)):
        return DASH
    return f"{points(share, digits)}{THIN}%"


def points(share: float, digits: int = 1) -> str:
    """0.019 -> "1.9": percentage points, or a percentage without its sign."""
    if math.isnan(finite(share)):
        return "not finite"
    share = round(share) if abs(share - round(share)) < 5e-7 else share
    while digits < 4 and 0 < abs(share) < 1 and float(f"{abs(share):.{digits + 2}f}") in (0.0, 1.0):
        digits += 1
    whole = share in (0, 1)
    return minus(f"{100 * share:.{0 if whole else digits}f}")


def figure(value: Any) -> str:
    """A number in four significant digits, thousands set off: 61706 -> "61,706", 0.06513 -> "0.06513"."""
    if isinstance(value, bool) or value is None:
        return str(value)
    number = finite(value)
    if math.isnan(number):
        return "not finite"
    if number == int(number) and abs(number) < 1e15:
        return minus(f"{int(number):,}")
    if abs(number) >= 1000:
        return minus(f"{number:,.0f}")
    return minus(f"{number:.4g}")


_NAMES = {"mae": "mean absolute error", "rmse": "root mean square error", "r2": "R²", "top5": "right in the first five",
          "miou": "mean IoU", "iou": "IoU"}  # fmt: skip


def metric_name(metric: str) -> str:
    """A metric in words: macro_f1 -> "macro F1", "mae.age" -> "mean absolute error · age"."""
    words = [_NAMES.get(part, part.replace("_", " ")) for part in metric.split(".")]
    return re.sub(r"\bf1\b", "F1", " · ".join(words))


def metric_text(metric: str, value: float) -> str:
    """The value of a metric as the page shows it."""
    return percent(value) if is_share(metric) else figure(value)


def interval_text(metric: str, interval: tuple[float, float] | None) -> str:
    """(0.958, 0.989) -> "95.8–98.9 %"; empty where there is none."""
    if interval is None:
        return ""
    low, high = interval
    if is_share(metric):
        return f"{points(low)}{DASH}{points(high)}{THIN}%"
    joint = DASH if low >= 0 else " to "
    return f"{figure(low)}{joint}{figure(high)}"


def duration(seconds: float) -> str:
    """41.3 -> "41 s", 3725 -> "1 h 2 min"."""
    seconds = finite(seconds)
    if math.isnan(seconds):
        return "not measured"
    if seconds < 10:
        return f"{seconds:.1f}{THIN}s"
    if seconds < 120:
        return f"{seconds:.0f}{THIN}s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes}{THIN}min"
    return f"{minutes // 60}{THIN}h {minutes % 60}{THIN}min"


def minus(text: str) -> str:
    return text.replace("-", "\u2212")

"""What was found wrong with data: what kind, where, why, and the one thing to do. Readers and checks collect them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Finding:
    """One fault. `file` is relative to the source; `line` the line or entry in it, from 1 (0: the whole file)."""

    kind: str  # "outside image", "unknown class", "near duplicate" …: one of a short list, for grouping
    file: str
    reason: str  # what was expected and what is there
    action: str  # what the user does
    line: int = 0
    image: int = -1  # position in the dataset, where the finding is about one image
    severity: str = "warning"  # "error": the image or object takes no part; "warning": it does; "note"
    other: int = -1  # position of a second image, which the first is compared with

    def settings(self) -> dict[str, Any]:
        """JSON-ready; without a line where there is none."""
        told = {key: value for key, value in asdict(self).items() if key not in ("line", "image", "other")}
        return told | ({"line": self.line} if self.line else {})

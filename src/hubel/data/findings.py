"""What was found wrong with data: what kind, where, why, and the one thing to do. Readers and checks collect them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
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


def in_short(findings: Sequence[Finding], example: bool = True) -> str:
    """One sentence of those that are no mere notes, the gravest as its example, if wanted; "" where there are none.

    "the data has 4 faults (syntax 3, class count 1), which hubel data shows, such as labels/a.txt, line 2: …"
    """
    wrong = sorted((one for one in findings if one.severity != "note"), key=lambda one: one.severity != "error")
    if not wrong:
        return ""
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in Counter(one.kind for one in wrong).items())
    count = "1 fault" if len(wrong) == 1 else f"{len(wrong):,} faults"
    told, first = f"the data has {count} ({kinds}), which hubel data shows", wrong[0]
    where = f"{first.file}, line {first.line}" if first.line else first.file
    return f"{told}, such as {where}: {first.reason}" if example else told

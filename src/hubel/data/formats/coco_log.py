"""Findings of one reading: the first thousand of each kind and file one by one, the others counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from hubel.data.findings import Finding

MOST = 1000  # findings of a kind that are kept one by one


@dataclass
class Log:
    """Collects findings of the file that is being read."""

    file: str = ""  # relative to the source
    findings: list[Finding] = field(default_factory=list)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(
        self, kind: str, reason: str, action: str, line: int = 0, image: int = -1, severity: str = "warning"
    ) -> None:
        """line: the number of the entry, from 1."""
        self.counts[self.file, kind] += 1
        if self.counts[self.file, kind] <= MOST:
            self.findings.append(Finding(kind, self.file, reason, action, line, image, severity))

    def closed(self) -> tuple[Finding, ...]:
        """All, with one that counts what was not kept."""
        more = [
            Finding(kind, file, f"{count - MOST:,} more entries like the {MOST:,} before", "As for these.")
            for (file, kind), count in self.counts.items()
            if count > MOST
        ]
        return (*self.findings, *more)

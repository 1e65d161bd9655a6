"""The commands about this machine and this package: doctor and version."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hubel.cli.layout import print_parts, table, text_of
from hubel.cli.options import Command

Outcome = tuple[int, Any, Any]


def doctor(command: Command) -> Outcome:
    from hubel.doctor import examine

    found = examine(Path(command.flags.get("out", "runs")))
    return (1 if found["problems"] else 0), found, lambda: show_doctor(found)


def show_doctor(found: Mapping[str, Any]) -> None:
    """Two columns: what, and what was found; then what to mend."""
    from hubel.doctor import summary

    rows = table("", "")
    rows.show_header = False
    for name, text in summary(found):
        rows.add_row(text_of(name), text_of(text))
    print_parts(rows)
    for problem in found["problems"]:
        print_parts(f"! {problem}")
    for hint in found["hints"]:
        print_parts(*textwrap.wrap(f"- {hint}", 80, subsequent_indent="  ", break_long_words=False))
    if not found["problems"]:
        print_parts("Ready to train.")


def version(command: Command) -> Outcome:
    from importlib.metadata import version as of

    return 0, {"hubel": of("hubel")}, lambda: print(f"hubel {of('hubel')}")

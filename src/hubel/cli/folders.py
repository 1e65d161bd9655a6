"""The commands about run folders: runs lists and removes them, report writes a page anew, export the network."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hubel.cli import runs as cli_runs
from hubel.cli.layout import duration, near, number, print_parts, table, text_of
from hubel.cli.options import Command
from hubel.errors import UserError

Outcome = tuple[int, Any, Any]


def runs(command: Command) -> Outcome:
    root = Path(command.flags.get("out", "runs")).expanduser().absolute()
    rows = cli_runs.table(root)
    if "prune" not in command.flags:
        if command.has("yes"):
            raise UserError("'--yes' goes with --prune N.")
        return 0, {"runs": rows}, lambda: show_runs(rows, root)
    doomed = cli_runs.to_remove(rows, command.flags["prune"])
    if command.has("yes"):
        for row in doomed:
            shutil.rmtree(row["run"])
    found = {"removed" if command.has("yes") else "would_remove": [row["run"] for row in doomed]}
    return 0, found, lambda: show_pruned(doomed, command.has("yes"))


def show_runs(rows: Sequence[Mapping[str, Any]], root: Path) -> None:
    if not rows:
        print_parts(f"No runs in {root.absolute()}. `hubel train` makes the first; --out DIR looks elsewhere.")
        return
    known = {row["metric"] for row in rows if row.get("metric")}
    one = next(iter(known)) if len(known) == 1 else None  # then its name need not stand in every row
    columns = ["run", "epochs", *([] if one else ["metric"]), "dev", "test", "time", "state"]
    lines = table(*columns, right=["epochs", "dev", "test", "time"])
    for row in rows:
        cells = {**row, "epochs": number(row.get("epochs")), "dev": number(row.get("dev"))}
        cells |= {"test": number(row.get("test")), "time": duration(row.get("seconds")), "run": near(row["run"])}
        lines.add_row(*(text_of(cells.get(name) or "–") for name in columns))
    print_parts(lines)
    if one:
        print_parts(f"dev, test: {one}")


def show_pruned(doomed: Sequence[Mapping[str, Any]], removed: bool) -> None:
    for row in doomed:
        print_parts(f"{'removed' if removed else 'would remove'} {near(row['run'])}")
    if not doomed:
        print_parts("Nothing to remove.")
    elif not removed:
        print_parts(f"Nothing was removed yet: add --yes to remove {len(doomed)} run{'s' if len(doomed) > 1 else ''}.")


def report(command: Command) -> Outcome:
    from hubel import api

    run = api.Run.open(command.words[0])
    path = run.report(private=command.has("private"))
    return 0, {"run": str(run.path), "report": str(path)}, lambda: print(path)


def export(command: Command) -> Outcome:
    from hubel import api

    place, out = command.words
    run = api.Run.open(place)
    made = run.export(out)
    found = {"run": str(run.path), **made.settings()}
    return (0 if made.agrees else 1), found, lambda: print(f"{made.path} ({made.bytes / 1e6:,.1f} MB): {made.said}")

"""The command that scores: a run, several, or one seen in several ways; and how networks are combined."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from hubel.cli.options import Command
from hubel.cli.scores import compared, metrics
from hubel.errors import UserError

Outcome = tuple[int, Any, Any]
COMBINING = ("ensemble", "average", "polyak", "snapshots", "dropout_samples", "views")


def evaluate(command: Command) -> Outcome:
    from hubel import api

    data: Any = command.flags.get("data")
    if data is not None and command.has("download"):
        data = api.load_dataset(data, download=True)
    if len(command.words) > 1 or any(command.has(flag) for flag in COMBINING):
        return _compare(command, data)
    run = api.Run.open(command.words[0])
    scores = run.evaluate(split=command.flags.get("split"), data=data, path=command.flags.get("path"))
    found = {"run": str(run.path), "metrics": scores, "path": path_taken(run, command)}
    return 0, found, lambda: metrics(scores, run.primary)


def path_taken(run: Any, command: Command) -> dict[str, Any]:
    """How the network ran; said where it was not as it was trained, or where somebody asked."""
    if (run.way.name != "eager" or command.has("path")) and not command.has("quiet"):
        print(f"hubel: the network ran {run.way.words()}", file=sys.stderr)
    return run.way.settings()


def _compare(command: Command, data: Any) -> Outcome:
    """Several ways to predict, judged on the same images."""
    ensemble = together(command, command.words)
    judged = ensemble.evaluate(split=command.flags.get("split"), data=data)
    primary = ensemble.runs[0].primary
    found: dict[str, Any] = {"runs": [str(run.path) for run in ensemble.runs], "primary": primary}
    found |= {"averaged": ensemble.averaged(), "metrics": {k: one.rows[-1].metrics for k, one in judged.items()}}
    found |= {"compared": {part: one.settings() for part, one in judged.items()}}
    return 0, found, lambda: compared(found)


def together(command: Command, runs: Sequence[str]) -> Any:
    """The ensemble that the flags ask for."""
    from hubel.ensembles.ensemble import Ensemble

    asked = [flag for flag in ("ensemble", "average", "polyak") if command.has(flag)]
    if len(asked) > 1:
        raise UserError(f"'--{asked[0]}' and '--{asked[1]}' are two ways to combine networks. Give one of them.")
    if command.has("path"):
        raise UserError("'--path' goes with one network; what is combined or compared runs as it was trained.")
    more = [flag for flag in ("snapshots", "dropout_samples", "views") if command.has(flag)]
    combine = {"average": "weights", "polyak": "steps"}.get(asked[0], "predictions") if asked else ""
    word = command.flags.get("snapshots")
    return Ensemble(
        list(runs),
        combine=combine or ("predictions" if more or command.verb == "predict" else "none"),
        snapshots=0 if word == "all" else command.whole("snapshots"),
        dropout_samples=command.whole("dropout_samples", 0) or 0,
        views=command.flags.get("views"),
    )

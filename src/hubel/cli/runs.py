"""What `hubel runs` knows: a row per run folder, and which of them pruning removes. Small files only, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from hubel.errors import UserError
from hubel.training.run import RunFolder, list_runs

LOWER_IS_BETTER = ("loss", "mae", "mse", "rmse")
KEPT = ("running",)  # never removed


def table(root: Path) -> list[dict[str, Any]]:
    """Rows (run, dataset, model, epochs, metric, dev, test, seconds, state, bytes), by dataset, network and number."""
    return [_row(run) for run in list_runs(root)]


def _row(run: RunFolder) -> dict[str, Any]:
    row: dict[str, Any] = {"run": str(run.path), "kind": run.path.parent.name, "number": run.path.name}
    try:
        settings, scores = run.settings, run.metrics
        metric = run.primary or _first_metric(scores)
        row |= {
            "dataset": run.manifest.get("data", {}).get("name"),
            "model": settings["model"].value if "model" in settings else None,
            "epochs": len(run.history) or None,
            "metric": metric,
            "dev": scores.get("dev", {}).get(metric or ""),
            "test": scores.get("test", {}).get(metric or ""),
            "seconds": run.seconds if scores else None,
            "state": run.state,
        }
    except (UserError, OSError, ValueError):
        row["state"] = "damaged"
    return row


def _first_metric(scores: dict[str, dict[str, float]]) -> str | None:
    return next((name for split in scores.values() for name in split), None)


def to_remove(rows: Sequence[dict[str, Any]], rule: str) -> list[dict[str, Any]]:
    """`rule` is how many of each kind (dataset and network) stay, newest first, beside the best; or "failed".

    A run that is running stays in any case.
    """
    idle = [row for row in rows if row["state"] not in KEPT]
    if rule == "failed":
        return [row for row in idle if row["state"] != "finished"]
    if not rule.isdecimal():
        raise UserError(f"'--prune' needs how many runs of each kind to keep, or 'failed', got '{rule}'.")
    doomed = []
    for _, kind in groupby(idle, key=lambda row: row["kind"]):
        some = list(kind)  # by number: the newest last
        best = _best(some)
        doomed += [row for row in some[: max(len(some) - int(rule), 0)] if row is not best]
    return doomed


def _best(rows: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The run with the best primary metric on dev; the newest of equals."""
    scored = [row for row in rows if isinstance(row.get("dev"), (int, float)) and row["dev"] == row["dev"]]
    if not scored:
        return None
    sign = -1 if str(scored[-1]["metric"]).rpartition(".")[2] in LOWER_IS_BETTER else 1
    return max(reversed(scored), key=lambda row: sign * row["dev"])

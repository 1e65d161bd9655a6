"""The commands that train: train, resume, and config, which only says what a training would do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hubel.cli.layout import duration, print_parts, table, text_of, words_of
from hubel.cli.options import Command
from hubel.cli.scores import metrics

Outcome = tuple[int, Any, Any]
SHORT = ("weighted_", "top5", "macro_precision", "macro_recall")  # left out after a training; the report has them


def train(command: Command) -> Outcome:
    from hubel import api

    flags = command.flags
    run = api.train(
        command.words[0] if command.words else "digits",
        recipe=flags.get("recipe"),
        config=flags.get("config"),
        out=flags.get("out", "runs"),
        from_run=flags.get("from"),
        download=command.has("download"),
        progress=command.progress,
        layers=[("command line", dict(command.options))],
        private=command.has("private"),
    )
    return _trained(run)


def resume(command: Command) -> Outcome:
    from hubel import api

    run = api.resume(
        command.words[0],
        progress=command.progress,
        layers=[("command line", dict(command.options))],
        private=command.has("private"),
    )
    return _trained(run)


def _trained(run: Any) -> Outcome:
    from hubel.training import distributed

    reports = [str(path) for path in _reports(run)]
    found = {"run": str(run.path), "report": reports[0] if reports else None, "seconds": run.seconds}
    found |= {"metrics": run.metrics, **({"reports": reports} if len(reports) > 1 else {})}
    distributed.finish()
    return 0, found, lambda: show_trained(found, run.primary)


def _reports(run: Any) -> list[Path]:
    """The run's page; of several trainings with one network at the end also the page that compares them."""
    pages = [run.path / "report.html", run.path / "several.html"]
    return [page for page in pages if page.exists()] or pages[:1]


def show_trained(found: Mapping[str, Any], primary: str | None) -> None:
    metrics({split: _few(scores, primary) for split, scores in found["metrics"].items()}, primary)
    print_parts(f"trained in  {duration(found['seconds'])}", f"run         {found['run']}")
    reports = found.get("reports", [found["report"]])
    print_parts(*(f"report      {path}" for path in reports[:10]))
    if len(reports) > 10:
        print_parts(f"            and {len(reports) - 10:,} more")


def _few(scores: Mapping[str, float], primary: str | None) -> dict[str, float]:
    """The scores that say something new; those of a joint task are `<task>.<name>`."""
    return {k: v for k, v in scores.items() if k == primary or not k.rpartition(".")[2].startswith(SHORT)}


def config(command: Command) -> Outcome:
    from hubel import api

    flags = command.flags
    settings = api.settle_for(
        command.words[0] if command.words else "digits",
        recipe=flags.get("recipe"),
        config=flags.get("config"),
        download=command.has("download"),
        layers=[("command line", dict(command.options))],
    )
    found = {key: {"value": s.value, "source": s.source, "reason": s.reason} for key, s in settings.items()}
    return 0, found, lambda: show_settings(found)


def show_settings(found: Mapping[str, Mapping[str, Any]]) -> None:
    """A row per option: value, where it came from and why; a recipe's reason, the same for all, once below."""
    rows = table("option", "value", "from", "why")
    single = [key for key in found if "." not in key]
    for key in [*single, *sorted(set(found) - set(single))]:
        row = found[key]
        why = "" if row["source"] == "recipe" else row["reason"]
        style = "dim" if row["source"] == "default" else ""
        rows.add_row(text_of(key), text_of(words_of(row["value"])), text_of(row["source"]), text_of(why), style=style)
    print_parts(rows)
    for reason in dict.fromkeys(row["reason"] for row in found.values() if row["source"] == "recipe"):
        print_parts(f"recipe {reason}")

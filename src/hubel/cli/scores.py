"""Tables of scores: of one network by split, and of several ways to predict beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hubel.cli.layout import number, print_parts, table, text_of


def metrics(found: Mapping[str, Mapping[str, float]], primary: str | None) -> None:
    """A row per metric, the one that decides first; a column per split. Of several trainings: mean ± deviation."""
    names = list(dict.fromkeys(name for scores in found.values() for name in scores if not name.endswith(".std")))
    if primary in names:
        names.remove(primary)
        names.insert(0, primary)
    rows = table("metric", *found, right=list(found))
    for name in names:
        rows.add_row(text_of(name), *(_spread(scores, name) for scores in found.values()))
    print_parts(rows)


def _spread(scores: Mapping[str, float], name: str) -> str:
    spread = scores.get(f"{name}.std")
    return number(scores.get(name)) + (f" ± {number(spread)}" if spread is not None else "")


def compared(found: Mapping[str, Any]) -> None:
    """By part a row for each way: the metric that decides with its interval, the difference from the best network."""
    primary = found["primary"]
    for part, judged in found["compared"].items():
        rows = table(f"{part}, n = {judged['n']:,}", f"{primary}, 95 %", "difference, 95 %", "")
        for row in judged["rows"]:
            own = _with_interval(row["metrics"].get(primary), row["interval"])
            verdict = "none shown" if row["verdict"] == "no difference shown" else row["verdict"]
            rows.add_row(*map(text_of, [row["name"], own, _difference(row), verdict]))
        print_parts(rows)
        if judged.get("uncertainty"):
            print_parts(_unsure(judged["uncertainty"]))
    if found["averaged"]:
        print_parts(f"averaged: {found['averaged']}")


def _with_interval(value: float | None, pair: Sequence[float] | None, sign: str = "") -> str:
    if value is None or pair is None:
        return "–" if value is None else f"{value:{sign}.3f}"
    return f"{value:{sign}.3f} ({pair[0]:{sign}.3f}…{pair[1]:{sign}.3f})"


def interval(pair: Sequence[float] | None, sign: str = "") -> str:
    return "–" if pair is None else f"{pair[0]:{sign}.4f} … {pair[1]:{sign}.4f}"


def _difference(row: Mapping[str, Any]) -> str:
    return _with_interval(row["difference"], row["difference_interval"], "+") if "difference" in row else ""


def _unsure(means: Mapping[str, float]) -> str:
    """Mean entropies of all images, and of those answered right and wrong."""
    parts = []
    for name, words in (("entropy", "entropy of the average"), ("information", "of it disagreement")):
        told = f"{words} {means[name]:.3f} nats"
        if f"{name}.wrong" in means:
            told += f" (right answers {means[f'{name}.right']:.3f}, wrong ones {means[f'{name}.wrong']:.3f})"
        parts.append(told)
    return "; ".join(parts)

"""How results look: tables by rich on standard output, and the one JSON document of --json."""

from __future__ import annotations

import json
import math
import os
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

WIDE = 200  # columns where the output is a file or a pipe: a row stays one line
SHOWN = 5  # images whose cut-off parts are told
SHORT = ("weighted_", "top5", "macro_precision", "macro_recall")  # left out after a training; the report has them


def as_text(value: Any) -> str:
    """JSON that any reader takes: numbers that are not finite become null."""
    return json.dumps(_plain(value), indent=1, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace").decode()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist") and not isinstance(value, str):  # numpy and torch
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


def _table(*columns: str, right: Sequence[str] = ()) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    return table


def _print(*parts: Any) -> None:
    """Text is data, not markup: a class may be called [red]."""
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = WIDE
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, str))


def _text(value: Any) -> Any:
    from rich.text import Text

    return Text("" if value is None else str(value))


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) < 1000 else f"{value:,.1f}"
    return "–" if value is None else str(value)


def metrics(found: Mapping[str, Mapping[str, float]], primary: str | None) -> None:
    """A row per metric, the one that decides first; a column per split. Of several trainings: mean ± deviation."""
    names = list(dict.fromkeys(name for scores in found.values() for name in scores if not name.endswith(".std")))
    if primary in names:
        names.remove(primary)
        names.insert(0, primary)
    table = _table("metric", *found, right=list(found))
    for name in names:
        table.add_row(_text(name), *(_spread(scores, name) for scores in found.values()))
    _print(table)


def baseline(found: Mapping[str, Any]) -> None:
    """The traditional pipeline's scores, and what a network adds to them."""
    metrics(found["metrics"], "accuracy")
    for part, pair in found["intervals"].items():
        if part != "train":
            _print(f"{part} accuracy {found['metrics'][part]['accuracy']:.4f}, 95 %: {_interval(pair)}")
    for part, row in found["network_minus_baseline"].items():
        _print(f"{part}: network - baseline {row['difference']:+.4f} ({_interval(row['interval'], '+')}), "
               f"n = {row['n']:,}: {row['verdict']}")  # fmt: skip
    what = f"{found['count']:,} features ({found['features']}), {found['images']:,} training images"
    _print(f"{what}, C = {found['penalty']:g}")


def pixel_baseline(found: Mapping[str, Any]) -> None:
    """Clustering's scores, and the best that any names for its regions could reach."""
    metrics(found["metrics"], "miou")
    for part, best in found["best_match"].items():
        _print(
            f"{part}: mIoU {found['metrics'][part]['miou']:.4f}; {best['miou']:.4f} if each region had its best name"
        )
    _print(f"{found['method']}: {found['regions']:.1f} regions an image, named by {found['images']:,} training images")


def compared(found: Mapping[str, Any]) -> None:
    """By part a row for each way: the metric that decides with its interval, the difference from the best network."""
    primary = found["primary"]
    for part, judged in found["compared"].items():
        table = _table(f"{part}, n = {judged['n']:,}", f"{primary}, 95 %", "difference, 95 %", "")
        for row in judged["rows"]:
            own = _with_interval(row["metrics"].get(primary), row["interval"])
            verdict = "none shown" if row["verdict"] == "no difference shown" else row["verdict"]
            table.add_row(*map(_text, [row["name"], own, _difference(row), verdict]))
        _print(table)
        if judged.get("uncertainty"):
            _print(_unsure(judged["uncertainty"]))
    if found["averaged"]:
        _print(f"averaged: {found['averaged']}")


def _interval(pair: Sequence[float] | None, sign: str = "") -> str:
    return "–" if pair is None else f"{pair[0]:{sign}.4f} … {pair[1]:{sign}.4f}"


def _with_interval(value: float | None, pair: Sequence[float] | None, sign: str = "") -> str:
    if value is None or pair is None:
        return "–" if value is None else f"{value:{sign}.3f}"
    return f"{value:{sign}.3f} ({pair[0]:{sign}.3f}…{pair[1]:{sign}.3f})"


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


def _spread(scores: Mapping[str, float], name: str) -> str:
    spread = scores.get(f"{name}.std")
    return _number(scores.get(name)) + (f" ± {_number(spread)}" if spread is not None else "")


def trained(found: Mapping[str, Any], primary: str | None) -> None:
    metrics({split: _few(scores, primary) for split, scores in found["metrics"].items()}, primary)
    _print(f"trained in  {_duration(found['seconds'])}", f"run         {found['run']}")
    reports = found.get("reports", [found["report"]])
    _print(*(f"report      {path}" for path in reports[:10]))
    if len(reports) > 10:
        _print(f"            and {len(reports) - 10:,} more")


def _few(scores: Mapping[str, float], primary: str | None) -> dict[str, float]:
    """The scores that say something new; those of a joint task are `<task>.<name>`."""
    return {k: v for k, v in scores.items() if k == primary or not k.rpartition(".")[2].startswith(SHORT)}


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def predictions(found: Sequence[Mapping[str, Any]]) -> None:
    sure = [row.get("confidence") for row in found]
    doubt = [_doubt(row.get("uncertainty", {})) for row in found]
    columns = ["image", "prediction", *(["confidence"] if any(share is not None for share in sure) else [])]
    columns += ["uncertainty"] if any(doubt) else []
    table = _table(*columns, right=["confidence", "uncertainty"])
    for row, share, word in zip(found, sure, doubt, strict=True):
        cells = {"image": row["image"], "prediction": _words(row["prediction"]), "uncertainty": word}
        cells["confidence"] = "" if share is None else f"{share:.1%}"
        table.add_row(*(_text(cells[name]) for name in columns))
    _print(table)
    partly = [row for row in found if row.get("shown", {}).get("notable")]
    _print(*(f"{_text(row['image'])}: {row['shown']['words']}" for row in partly[:SHOWN]))
    if len(partly) > SHOWN:
        _print(f"and {len(partly) - SHOWN:,} more images are cut, barred or stretched: see --json")


def explanations(found: Sequence[Mapping[str, Any]]) -> None:
    table = _table("image", "prediction", "class", "output", "box", "picture", right=["output"])
    for row in found:
        box = "none" if row["box"] is None else ", ".join(f"{v:g}" for v in row["box"])
        cells = (row["image"], _words(row["prediction"]), row["class"], f"{row['output']:.3g}", box, row["picture"])
        table.add_row(*map(_text, cells))
    _print(table)


def masks(found: Sequence[Mapping[str, Any]], out: str) -> None:
    """A row for each image: its size, how it was cut, its largest classes, and the first of its files."""
    table = _table("image", "pixels", "tiles", "classes", "file", right=["tiles"])
    for row in found:
        height, width = row["size"]
        parts = [f"{name} {share:.0%}".replace("%", " %") for name, share in row["shares"].items()]
        words = ", ".join([*parts[:3], *([f"{len(parts) - 3} more"] if len(parts) > 3 else [])])
        first = next(iter(row["files"].values()), "")
        cells = (row["image"], f"{width} x {height}", f"{row['tiles']:,}", words, _near(str(first)))
        table.add_row(*(_text(cell) for cell in cells))
    _print(table, f"written to {out}: {', '.join(dict.fromkeys(kind for row in found for kind in row['files']))}")


def slid(found: Sequence[Mapping[str, Any]]) -> None:
    """A row for each object; what was looked at, and where the pictures are."""
    table = _table("image", "class", "probability", "box", right=["probability"])
    for row in found:
        for one in row["objects"]:
            box = ", ".join(f"{v:.0f}" for v in one["box"])
            table.add_row(*map(_text, (row["image"], one["class"], f"{one['probability']:.1%}", box)))
        if not row["objects"]:
            table.add_row(_text(row["image"]), _text("none"))
    way = "at once" if found[0]["convolutional"] else "one by one: this network pads, or its head can't slide"
    _print(table, f"{sum(row['windows'] for row in found):,} windows were looked at, {way}")
    _print(*(f"picture     {_near(row['picture'])}" for row in found if "picture" in row))


def _doubt(found: Mapping[str, Any]) -> str:
    """How unsure several networks or passes are together: nats, and the part that is disagreement; or deviations."""
    words = [f"{found['entropy']:.3f} ({found['information']:.3f} disagreement)"] if "entropy" in found else []
    return ", ".join([*words, *(f"± {value:.3g}" for value in found.get("deviation", ()))])


def _words(value: Any) -> str:
    """As it would be written on the command line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_words(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ",".join(map(_words, value))
    if value is None or isinstance(value, bool):
        return "–" if value is None else str(value).lower()
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def data(found: Mapping[str, Any]) -> None:
    """What was recognised, how much there is, and the kinds of findings, each with its first example."""
    _print(*found["notes"])
    parts = ", ".join(f"{name} {count:,}" for name, count in found["splits"].items())
    objects = f", {found['objects']:,} objects" if "objects" in found else ""
    classes = f", {len(found['classes']):,} classes" if found["classes"] else ""
    _print(f"{found['name']}: {found['images']:,} images{classes}{objects}" + (f"; {parts}" if parts else ""))
    kinds: dict[tuple[str, str], list[Any]] = {}
    for one in found["findings"]:
        kinds.setdefault((one["severity"], one["kind"]), []).append(one)
    if kinds:
        table = _table("", "finding", "count", "such as", right=["count"])
        for (severity, kind), members in kinds.items():
            table.add_row(_text(severity), _text(kind), f"{len(members):,}", _text(_example(members[0])))
        _print(table)
    else:
        _print("Nothing wrong was found.")
    if "receptive_field" in found:
        _print(found["receptive_field"]["sentence"])
    for name in ("page", "quarantine"):
        if found[name]:
            _print(f"{name:<11} {found[name]}")


def _example(one: Mapping[str, Any]) -> str:
    """Where and why, in a line."""
    number = f", entry {one['line']}" if one["file"].endswith(".json") else f":{one.get('line')}"
    where = f"{one['file']}{number}" if "line" in one else one["file"]
    text = f"{where}: {one['reason']}" if where else one["reason"]
    return text if len(text) <= 160 else f"{text[:159]}…"


def packed(found: Mapping[str, Any]) -> None:
    _print(f"{found['images']:,} images are packed in {found['out']}: {found['bytes'] / 1e6:,.1f} MB")
    _print(f"Train on it: hubel train {found['out']}")


def converted(out: str, lost: Sequence[str]) -> None:
    _print(f"written to {out}", *(f"- {sentence}" for sentence in lost))


def settings(found: Mapping[str, Mapping[str, Any]]) -> None:
    """A row per option: value, where it came from and why; a recipe's reason, the same for all, once below."""
    table = _table("option", "value", "from", "why")
    single = [key for key in found if "." not in key]
    for key in [*single, *sorted(set(found) - set(single))]:
        row = found[key]
        why = "" if row["source"] == "recipe" else row["reason"]
        style = "dim" if row["source"] == "default" else ""
        table.add_row(_text(key), _text(_words(row["value"])), _text(row["source"]), _text(why), style=style)
    _print(table)
    for reason in dict.fromkeys(row["reason"] for row in found.values() if row["source"] == "recipe"):
        _print(f"recipe {reason}")


def runs(rows: Sequence[Mapping[str, Any]], root: Path) -> None:
    if not rows:
        _print(f"No runs in {root.absolute()}. `hubel train` makes the first; --out DIR looks elsewhere.")
        return
    known = {row["metric"] for row in rows if row.get("metric")}
    one = next(iter(known)) if len(known) == 1 else None  # then its name need not stand in every row
    columns = ["run", "epochs", *([] if one else ["metric"]), "dev", "test", "time", "state"]
    table = _table(*columns, right=["epochs", "dev", "test", "time"])
    for row in rows:
        cells = {**row, "epochs": _number(row.get("epochs")), "dev": _number(row.get("dev"))}
        cells |= {"test": _number(row.get("test")), "time": _duration(row.get("seconds")), "run": _near(row["run"])}
        table.add_row(*(_text(cells.get(name) or "–") for name in columns))
    _print(table)
    if one:
        _print(f"dev, test: {one}")


def _near(place: str) -> str:
    """A path below the current folder without that folder: what is typed, and short enough for a table."""
    path = Path(place)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else place


def pruned(doomed: Sequence[Mapping[str, Any]], removed: bool) -> None:
    for row in doomed:
        _print(f"{'removed' if removed else 'would remove'} {_near(row['run'])}")
    if not doomed:
        _print("Nothing to remove.")
    elif not removed:
        _print(f"Nothing was removed yet: add --yes to remove {len(doomed)} run{'s' if len(doomed) > 1 else ''}.")


def doctor(found: Mapping[str, Any]) -> None:
    """Two columns: what, and what was found; then what to mend."""
    from hubel.doctor import summary

    table = _table("", "")
    table.show_header = False
    for name, text in summary(found):
        table.add_row(_text(name), _text(text))
    _print(table)
    for problem in found["problems"]:
        _print(f"! {problem}")
    for hint in found["hints"]:
        _print(*textwrap.wrap(f"- {hint}", 80, subsequent_indent="  ", break_long_words=False))
    if not found["problems"]:
        _print("Ready to train.")

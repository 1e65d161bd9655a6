"""`hubel info`: the verb, and its tables for a terminal of 80 columns. No torch until a network is asked for.

Rows are what has weights or changes the shape; where there are more than a screen holds, blocks are summed up.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from hubel.cli_options import Command
from hubel.cli_show import WIDE
from hubel.cli_show import _print as print_parts
from hubel.cli_show import _text as text_of
from hubel.errors import UserError

ROWS = 40  # of a table where nothing else is asked for
LABEL = 21  # characters of a layer's name
Outcome = tuple[int, Any, Any]


def info(command: Command) -> Outcome:
    """Without a word the list of networks; one network; several, compared."""
    if not command.words:
        return _listed(command)
    from hubel import information

    options = {key.partition(".")[2]: value for key, value in command.options.items()}
    if len(command.words) > 1 and options:
        raise UserError("'--model.OPTION' is of one network; compare networks as they are, or name one.")
    classes, depth = _whole(command, "classes"), _whole(command, "depth")
    shape = input_shape(command.flags["input"]) if "input" in command.flags else None
    found = [information.describe(word, classes=classes, input=shape, **options) for word in command.words]
    documents = [one.document() for one in found]
    page = _page(command, information, found)
    if len(documents) == 1:
        return 0, {**documents[0], **page}, lambda: _show(documents[0], depth, page)
    return 0, {"networks": documents, **page}, lambda: _show_several(documents, page)


def _page(command: Command, information: Any, found: Sequence[Any]) -> dict[str, str]:
    photo = command.flags.get("image")
    if photo is not None and len(found) > 1:
        raise UserError("'--image' shows what one network sees; name one network.")
    if photo is None and "page" not in command.flags:
        return {}
    name = re.sub(r"[^\w.-]+", "-", found[0].name).strip("-") or "network"
    place = command.flags.get("page") or f"info-{name}.html"
    return {"page": str(information.write_page(found, place, photo))}


def _whole(command: Command, name: str) -> int | None:
    word = command.flags.get(name)
    if word is not None and (not word.isdecimal() or int(word) < 1):
        raise UserError(f"'--{name}' needs a whole number of at least 1, got '{word}'.")
    return None if word is None else int(word)


def input_shape(word: str) -> tuple[int, int, int]:
    """'3x32x48' -> (3, 32, 48) as channels, height, width; '224' -> (3, 224, 224); '28x28' -> (3, 28, 28)."""
    match = re.fullmatch(r"(?:(\d+)[x×,])?(\d+)(?:[x×,](\d+))?", word)
    if match is None or any(part is not None and int(part) == 0 for part in match.groups()):
        raise UserError(f"'--input' needs CxHxW such as 3x32x32, or one side such as 224, got '{word}'.")
    parts = [int(part) for part in match.groups() if part is not None]
    if len(parts) == 3:
        return parts[0], parts[1], parts[2]
    return 3, parts[0], parts[-1]


# The list --------------------------------------------------------------------------------------------------------


def _listed(command: Command) -> Outcome:
    from hubel import catalogue

    for name in command.flags:
        if name not in ("json", "quiet"):
            raise UserError(f"'--{name}' goes with a network: hubel info MODEL --{name} …")
    found = catalogue.networks()
    return 0, {"families": found}, lambda: _show_list(found)


def _show_list(found: Mapping[str, Mapping[str, str]]) -> None:
    """Each family's line, then its networks."""
    width = max(len(name) for family in found.values() for name in family) + 2
    for family, members in found.items():
        print(_cut(family, 80))
        for name, line in members.items():
            print(_cut(f"  {name:<{width}}{line}", 80).rstrip())
    count = sum(map(len, found.values()))
    print(f"\n{count} networks. `hubel info NAME` shows one, `hubel info A B` compares.")
    print("Your own is file.py:Net, a trained one its run folder; with timm, timm:NAME.")


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else f"{line[: width - 1].rstrip()}…"


# One network -----------------------------------------------------------------------------------------------------


def _show(found: Mapping[str, Any], depth: int | None, page: Mapping[str, str]) -> None:
    chosen = depth or fitting_depth(found["layers"])
    unit = _unit(found)
    columns = ["layer", "type", "output", "weights", "mults", "%", unit, "train", "field", "jump", "start"]
    cells = [_cells(row, found["multiplications"], unit) for row in rows(found["layers"], chosen)]
    if _width(columns, cells) > room():
        columns, cells = [columns[0], *columns[2:]], [[row[0], *row[2:]] for row in cells]
    table = _plain_table(*columns)
    for row in cells:
        table.add_row(*map(text_of, row))
    print_parts(table, *summary(found))
    if any(row["receptive_field"] and row["receptive_field"]["whole"] for row in found["layers"]):
        print_parts("field +: and the whole image, through squeeze and excitation or the like")
    hidden = len(found["layers"]) - sum(1 for _ in rows(found["layers"], 99))
    if depth is None and chosen < deepest(found["layers"]):
        print_parts(f"Blocks are summed up; --depth {deepest(found['layers'])} shows every layer.")
    elif hidden:
        print_parts(f"{hidden} layers without weights that keep the shape are left out; --json has them.")
    print_parts(*(f"page             {place}" for place in page.values()))


def rows(layers: Sequence[Mapping[str, Any]], depth: int) -> Iterator[dict[str, Any]]:
    """Layers with weights, sums, and what changes the shape; those of one block in one row beyond `depth` names."""
    shape: Any = None
    kept = []
    for layer in layers:
        tells = layer["parameters"] or layer["multiplications"] or layer["output"] != shape
        shape = layer["output"] or shape
        if tells or layer["type"] in ("add", "cat"):
            kept.append((layer, True))
        else:
            kept.append((layer, False))
    for label, members in groupby(kept, key=lambda pair: ".".join(pair[0]["name"].split(".")[:depth])):
        block = list(members)
        if len(block) == 1 and not block[0][1]:
            continue
        if any(tells for _, tells in block):
            yield _joined(label, [layer for layer, _ in block])


def _joined(label: str, block: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A row for several layers: sums, and the output and field of the last that was reached."""
    last = next((layer for layer in reversed(block) if layer["output"] is not None), block[-1])
    sums = {key: sum(layer[key] or 0 for layer in block)
            for key in ("parameters", "multiplications", "activation_bytes", "training_bytes")}  # fmt: skip
    kind = last["type"] if len(block) == 1 else f"{len(block)} layers"
    return {"name": label, "type": kind, "output": last["output"], "receptive_field": last["receptive_field"], **sums}


def fitting_depth(layers: Sequence[Mapping[str, Any]]) -> int:
    """The deepest that gives at most ROWS rows; 1 where none does."""
    fits = (depth for depth in range(deepest(layers), 0, -1) if sum(1 for _ in rows(layers, depth)) <= ROWS)
    return next(fits, 1)


def deepest(layers: Sequence[Mapping[str, Any]]) -> int:
    return max((layer["name"].count(".") + 1 for layer in layers), default=1)


def _unit(found: Mapping[str, Any]) -> str:
    """Of memory, so that the largest layer has a figure before the point."""
    most = max((layer["activation_bytes"] for layer in found["layers"]), default=0)
    return "MB" if most >= 1e6 else "kB"


def _width(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> int:
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    return sum(widths) + len(widths) - 1


def _cells(row: Mapping[str, Any], total: int, unit: str) -> list[str]:
    label = row["name"] if len(row["name"]) <= LABEL else f"…{row['name'][-LABEL + 1 :]}"
    shape = "not used" if row["output"] is None else "x".join(map(str, row["output"])) or "1"
    share = f"{100 * row['multiplications'] / total:.1f}" if total and row["multiplications"] else ""
    field = row["receptive_field"]
    seen = ["", "", ""]
    if field is not None:
        seen = [axes(field["size"]) + ("+" if field["whole"] else ""), axes(field["jump"]), axes(field["start"])]
    scale = 1e6 if unit == "MB" else 1e3
    memory = [f"{row[key] / scale:.2f}" if row[key] else "" for key in ("activation_bytes", "training_bytes")]
    return [label, row["type"], shape, _few(row["parameters"]), _few(row["multiplications"]), share, *memory, *seen]


def _few(number: int) -> str:
    return short(number) if number else ""


def axes(values: Sequence[float]) -> str:
    """Rows and columns; one number where they are the same."""
    words = [f"{value:.1f}".rstrip("0").rstrip(".") for value in values]
    return words[0] if words[0] == words[1] else "x".join(words)


def short(number: float) -> str:
    """1234567 -> '1.23M': three or four figures."""
    for factor, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= factor * (1 if factor > 1e3 else 10):
            value = number / factor
            return f"{value:.{2 if value < 10 else 1 if value < 1000 else 0}f}{unit}"
    return f"{number:,.0f}"


def summary(found: Mapping[str, Any]) -> list[str]:
    """The totals, a line each."""
    shape, classes = "x".join(map(str, found["input"])), found["classes"]
    lines = [f"{found['model']} on {shape}" + (f", {classes:,} classes" if classes else "")]
    run = found.get("run")
    if run is not None and run["score"] is not None:
        lines.append(f"{run['metric']:<17}{run['score']:.4g} on {run['split']}, {run['path']}")
    idle = f"; {found['idle_parameters']:,} serve no prediction" if found["idle_parameters"] else ""
    lines.append(f"parameters       {found['parameters']:,}{_shares(found, 'parameters')}{idle}")
    lines.append(f"multiplications  {found['multiplications']:,} per image{_shares(found, 'multiplications')}")
    lines.append(f"activations      {as_bytes(found['activation_bytes'])} per image; "
                 f"{as_bytes(found['output_bytes'])} with the outputs of activation functions")  # fmt: skip
    if found["peak_bytes"] is not None:
        lines.append(f"prediction       {as_bytes(found['peak_bytes'])} of them at once, for one image")
    if found["training_bytes"] is not None:
        lines.append(f"training         {as_bytes(found['training_bytes'])} per image are kept for the way back")
    field = found["receptive_field"]
    if field is not None:
        jump, start = axes(field["jump"]), axes(field["start"])
        lines.append(f"receptive field  {axes(field['size'])} pixels, jump {jump}, start {start}, of the last map")
    return lines


def as_bytes(count: float) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:,.1f} kB"


def _shares(found: Mapping[str, Any], figure: str) -> str:
    """(dense 89.4 %, convolution 10.6 %)."""
    total = found[figure]
    kinds = sorted(((row[figure], kind) for kind, row in found["kinds"].items() if row[figure]), reverse=True)
    words = [f"{kind} {100 * count / total:.1f} %" for count, kind in kinds]
    return f" ({', '.join(words)})" if total else ""


# Several ---------------------------------------------------------------------------------------------------------


def _show_several(found: Sequence[Mapping[str, Any]], page: Mapping[str, str]) -> None:
    scored = any(one.get("run", {}).get("score") is not None for one in found)
    table = _plain_table(
        "network", "input", "weights", "mults", "memory", "training", "field", *(["score"] if scored else [])
    )
    for one in found:
        table.add_row(*(text_of(cell) for cell in compared(one, scored)))
    print_parts(table)
    for one in found:
        run = one.get("run")
        if run is not None and run["score"] is not None:
            print_parts(f"{Path(run['path']).parent.name}/{Path(run['path']).name}: {run['metric']} on {run['split']}")
    print_parts(
        "weights: parameters; mults, memory, training: per image;", "field: pixels that a cell of the last map sees"
    )
    print_parts(*(f"page  {place}" for place in page.values()))


def compared(one: Mapping[str, Any], scored: bool) -> list[str]:
    field, run = one["receptive_field"], one.get("run")
    training = "" if one["training_bytes"] is None else as_bytes(one["training_bytes"])
    cells = [one["model"], "x".join(map(str, one["input"])), short(one["parameters"]), short(one["multiplications"]),
              as_bytes(one["activation_bytes"]), training]  # fmt: skip
    cells.append("" if field is None else axes(field["size"]) + ("+" if field["whole"] else ""))
    score = "" if run is None or run["score"] is None else f"{run['score']:.4f}"
    return [*cells, *([score] if scored else [])]


def _plain_table(*columns: str) -> Any:
    """Tight columns: ten of them fit into 80 characters."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.Box("    \n    \n -- \n    \n    \n    \n    \n    \n"), padding=(0, 0), pad_edge=False,
                  header_style="bold", collapse_padding=True, show_edge=False)  # fmt: skip
    for i, name in enumerate(columns):
        table.add_column(name, justify="left" if not i else "right", no_wrap=True, overflow="ellipsis")
    return table


def room() -> int:
    """Columns of the terminal; many where the output is a file or a pipe."""
    if "COLUMNS" not in os.environ and not sys.stdout.isatty():
        return WIDE
    return shutil.get_terminal_size().columns

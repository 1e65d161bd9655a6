"""`hubel info`: the verb, and its tables for a terminal of 80 columns. No torch until a network is asked for."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hubel.cli.layers import as_bytes, axes, cells_of, deepest, fitting_depth, rows, short, unit_of
from hubel.cli.layout import WIDE, print_parts, text_of
from hubel.cli.options import Command
from hubel.errors import UserError

Outcome = tuple[int, Any, Any]


def info(command: Command) -> Outcome:
    """Without a word the list of networks; one network; several, compared."""
    if not command.words:
        return _listed(command)
    from hubel import information

    options = {key.partition(".")[2]: value for key, value in command.options.items()}
    if len(command.words) > 1 and options:
        raise UserError("'--model.OPTION' is of one network; compare networks as they are, or name one.")
    classes, depth = command.whole("classes", least=1), command.whole("depth", least=1)
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
    unit = unit_of(found)
    columns = ["layer", "type", "output", "weights", "mults", "%", unit, "train", "field", "jump", "start"]
    cells = [cells_of(row, found["multiplications"], unit) for row in rows(found["layers"], chosen)]
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


def _width(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> int:
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    return sum(widths) + len(widths) - 1


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

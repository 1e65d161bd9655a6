"""The rows of `hubel info`'s table of layers: which layers stand in one row, and each figure in a few characters.

Rows are what has weights or changes the shape; where there are more than a screen holds, blocks are summed up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

ROWS = 40  # of a table where nothing else is asked for
LABEL = 21  # characters of a layer's name


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


def unit_of(found: Mapping[str, Any]) -> str:
    """Of memory, so that the largest layer has a figure before the point."""
    most = max((layer["activation_bytes"] for layer in found["layers"]), default=0)
    return "MB" if most >= 1e6 else "kB"


def cells_of(row: Mapping[str, Any], total: int, unit: str) -> list[str]:
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


def as_bytes(count: float) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:,.1f} kB"

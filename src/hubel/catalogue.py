"""The networks that have a name, by family, each in one line; read from the source, so that no torch is imported."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

from hubel import names


def networks() -> dict[str, dict[str, str]]:
    """{what the family is: {name: what it is}}, in the order of names.MODELS."""
    found: dict[str, dict[str, str]] = {}
    known: dict[str, tuple[str, dict[str, str]]] = {}
    for name, place in names.MODELS.items():
        module, _, function = place.partition(":")
        if module not in known:
            known[module] = _docstrings(module)
        family, lines = known[module]
        found.setdefault(family, {})[name] = lines.get(function, "")
    return found


def _docstrings(module: str) -> tuple[str, dict[str, str]]:
    """What the module says that it is, and the first line of each of its functions' docstrings."""
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    lines = {node.name: _line(node) for node in tree.body if isinstance(node, ast.FunctionDef)}
    first = " ".join((ast.get_docstring(tree) or module).split("\n\n")[0].split())
    return first.partition(":")[0].partition(". ")[0].rstrip("."), lines


def _line(node: ast.FunctionDef) -> str:
    """The first sentence, without what is said of every network."""
    words = " ".join((ast.get_docstring(node) or "").split("\n\n")[0].replace("`", "").split())
    for said in (" for colour images", " for an input", " on the pixels of an input", ": an input"):
        head, _, tail = words.partition(said)
        words = head if tail else words
    return words.partition(". ")[0].partition("; ")[0].rstrip(".;,")

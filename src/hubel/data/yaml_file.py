"""The settings file of a data set, such as data.yaml: names of classes, folders of the parts, colours.

Read as plain text leaves, so that a class called `no` stays "no" and 007 keeps its zeros. Bounded: at most 1 MB, 32
levels, no aliases (they can stand for billions of entries), no tags that make objects, no key twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from hubel.errors import UserError

MAX_BYTES, MAX_DEPTH = 1_000_000, 32
NOTHING = ("", "~", "null", "Null", "NULL")
_Loader: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # makes text, lists and dicts, and nothing else


@dataclass(frozen=True)
class YamlFile:
    """What a settings file says; every leaf of `values` is text."""

    path: Path
    values: dict[str, Any] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)  # of each key, from 1

    def __contains__(self, key: str) -> bool:
        return self.values.get(key, "") not in NOTHING

    def where(self, key: str) -> str:
        return f"{self.path}, line {self.lines.get(key, 1)}: {key}"

    def fault(self, key: str, expected: str) -> UserError:
        shown = str(self.values.get(key, "nothing"))
        return UserError(f"{self.where(key)} must be {expected}; got {shown[:80]}{' …' * (len(shown) > 80)}.")

    def integer(self, key: str) -> int | None:
        """A whole number, or None where the file has no such key. UserError for anything else."""
        if key not in self:
            return None
        number = whole(self.values[key])
        if number is None:
            raise self.fault(key, "a whole number")
        return number

    def words(self, key: str) -> list[str]:
        """One text or a list of texts; [] where the file has no such key."""
        if key not in self:
            return []
        value = self.values[key]
        entries = value if isinstance(value, list) else [value]
        if not all(isinstance(one, str) for one in entries):
            raise self.fault(key, "a text or a list of texts")
        return entries

    def numbered(self, key: str) -> dict[int, Any] | None:
        """A list, counted from 0, or a mapping from whole numbers, in the file's order; None where there is none."""
        if key not in self:
            return None
        value = self.values[key]
        if isinstance(value, list):
            return dict(enumerate(value))
        numbers = {whole(k): one for k, one in value.items()} if isinstance(value, dict) else {None: value}
        if None in numbers or len(numbers) != len(value):
            raise self.fault(key, "a list, or a mapping from whole numbers such as {0: cat, 1: dog}")
        return numbers  # type: ignore[return-value]

    def names(self) -> dict[int, str] | None:
        """{number: name of the class}, or None. UserError where a name is no text."""
        found = self.numbered("names")
        if found is not None and not all(isinstance(name, str) for name in found.values()):
            raise self.fault("names", "a list of names, or a mapping such as {0: cat, 1: dog}")
        return found


def whole(text: Any) -> int | None:
    """The whole number that a text is, or None."""
    digits = text.strip().removeprefix("-") if isinstance(text, str) else ""
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) < 19 else None


def unique_names(names: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """Names that are all different: the second "cat" becomes "cat (2)"; and those that came twice."""
    taken, found, again = set(names), [], []
    seen: set[str] = set()
    for name in names:
        number, new = 1, name
        while new in seen:
            number += 1
            new = f"{name} ({number})" if f"{name} ({number})" not in taken else new
        if new != name:
            again.append(name)
        seen.add(new)
        found.append(new)
    return tuple(found), again


def read_text(path: Path, most: int) -> str:
    """A whole text file: UTF-8, with or without a mark at its beginning, of at most `most` bytes. Else UserError."""
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as fault:
        raise UserError(f"{path} can't be read: {fault.strerror}. Check the path and its permissions.") from fault
    if len(data) > most:
        raise UserError(f"{path} is larger than {most:,} bytes, the limit for such a file. Is it the right file?")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        line = data[: fault.start].count(b"\n") + 1
        raise UserError(f"{path}, line {line}: not UTF-8. Save the file with the encoding UTF-8.") from fault


def read_yaml(path: Path) -> YamlFile:
    """The file's settings. Raises UserError, with its line, for what is no YAML mapping or beyond the limits."""
    text = read_text(path, MAX_BYTES)
    loader = None
    try:
        _refuse_tricks(path, text)
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return YamlFile(path)
        _refuse_twice(path, node)
        values = loader.construct_document(node)
    except yaml.YAMLError as fault:
        raise _syntax(path, fault) from fault
    finally:
        if loader is not None:
            loader.dispose()
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected settings, one `name: value` a line; got {type(values).__name__}.")
    return YamlFile(path, values, {str(key.value): _line(key) for key, _ in node.value})


def write_yaml(path: Path, settings: dict[str, Any]) -> None:
    """Settings as `read_yaml` gives them back; letters as they are, control characters escaped."""
    text = yaml.safe_dump(settings, allow_unicode=True, sort_keys=False, default_flow_style=None, width=2**20)
    if not all(line.isprintable() for line in text.split("\n")):
        text = yaml.safe_dump(settings, sort_keys=False, default_flow_style=None, width=2**20)  # as \xNN
    path.write_bytes(text.encode("utf-8"))


def _refuse_tricks(path: Path, text: str) -> None:
    """Before anything is built from it: aliases, and more levels than any settings have."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            raise UserError(f"{path}, line {_line(event)}: aliases (*{event.anchor}) are not read. Write it out.")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise UserError(f"{path}, line {_line(event)}: more than {MAX_DEPTH} levels of nesting.")


def _line(part: Any) -> int:
    return part.start_mark.line + 1


def _refuse_twice(path: Path, node: yaml.Node) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise UserError(f"{path}, line {_line(key)}: a name is one word, not a list or mapping.")
            if key.value in seen:
                raise UserError(f"{path}, line {_line(key)}: '{key.value}' stands twice. Keep one.")
            seen.add(key.value)
            _refuse_twice(path, value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _refuse_twice(path, value)


def _syntax(path: Path, fault: yaml.YAMLError) -> UserError:
    mark = getattr(fault, "problem_mark", None)
    where = f", line {mark.line + 1}" if mark else ""
    problem = getattr(fault, "problem", None) or getattr(fault, "reason", None) or "not YAML"
    return UserError(f"{path}{where}: no valid YAML ({problem}). Correct the line.")

"""The names of a network's weights here and in another library: a two-way table, so that either's files load.

A pair (ours, theirs) holds two prefixes of dotted names; what follows a prefix stays. `{i}` stands for a number and
means the same one on both sides, `{i+1}` for one more: ("stages.{i}.{j}", "layer{i+1}.{j}") says that
`stages.0.2.conv.weight` is `layer1.2.conv.weight` there. The first pair that fits a name is used; a name that fits
none is the same in both.

    TORCHVISION = Renaming(("features", "features"), ("head.{i}", "classifier.{i}"))

    @known_to("torchvision", TORCHVISION)              # under its own name; or known_to("timm", TIMM, "its_name")
    @wants(224)
    def vgg16(*, classes, input): ...

    renaming_of(vgg16, "torchvision").state_to_ours(torch.load("vgg16.pth"))
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

from hubel.errors import UserError, did_you_mean

F = TypeVar("F", bound=Callable[..., Any])
V = TypeVar("V")
FIELD = re.compile(r"\{(\w+)([+-]\d+)?\}")


class Renaming:
    """A table of pairs (ours, theirs) in the order in which they are tried; see the module."""

    def __init__(self, *pairs: tuple[str, str]):
        self.pairs = pairs

    def to_theirs(self, name: str) -> str:
        """What one of our names is called there."""
        return _rename(name, self.pairs)

    def to_ours(self, name: str) -> str:
        """What one of their names is called here."""
        return _rename(name, ((theirs, ours) for ours, theirs in self.pairs))

    def state_to_theirs(self, state: Mapping[str, V]) -> dict[str, V]:
        """A state dict of ours under their names. Raises UserError where two names become one."""
        return _rename_all(state, self.to_theirs)

    def state_to_ours(self, state: Mapping[str, V]) -> dict[str, V]:
        """A state dict of theirs under our names. Raises UserError where two names become one."""
        return _rename_all(state, self.to_ours)


@dataclass(frozen=True)
class Peer:
    """The same network in another library: its name there, and the table of its weights' names."""

    name: str
    renaming: Renaming


def known_to(library: str, renaming: Renaming, name: str | None = None) -> Callable[[F], F]:
    """Say of a model function that `library` ("torchvision", "timm") has its network, as `name` (its own, if None)."""

    def mark(function: F) -> F:
        peers = getattr(function, "peers", {}) | {library: Peer(name or function.__name__, renaming)}
        function.peers = peers  # type: ignore[attr-defined]
        return function

    return mark


def peer_of(function: Callable[..., Any], library: str) -> Peer:
    """The network of a model function as `library` has it. Raises UserError where it has none."""
    peers: dict[str, Peer] = getattr(function, "peers", {})
    if library not in peers:
        name = getattr(function, "__name__", str(function))
        known = did_you_mean(library, peers) or ", nor to another library"
        raise UserError(f"The network '{name}' is not known to {library}{known}. Take weights that hubel has saved.")
    return peers[library]


def renaming_of(function: Callable[..., Any], library: str) -> Renaming:
    """The table of a model function's weights. A name is looked up first: `names.resolve(names.MODELS, "vgg16")`."""
    return peer_of(function, library).renaming


@lru_cache(None)
def _expression(prefix: str) -> re.Pattern[str]:
    """The dotted names that begin with `prefix`: one group for each of its fields, then what follows."""
    texts = FIELD.split(prefix)[::3]  # split gives text, name, shift, text, …
    return re.compile(r"(\d+)".join(map(re.escape, texts)) + r"((?:\..*)?)")


def _rename(name: str, table: Iterable[tuple[str, str]]) -> str:
    return next((new for before, after in table if (new := _fit(name, before, after)) is not None), name)


def _fit(name: str, before: str, after: str) -> str | None:
    """`name` with the prefix `before` replaced by `after`; None where it does not begin with it."""
    found = _expression(before).fullmatch(name)
    if found is None:
        return None
    *numbers, rest = found.groups()
    fields = FIELD.findall(before)
    values = {field: int(n) - int(shift or 0) for (field, shift), n in zip(fields, numbers, strict=True)}
    if min(values.values(), default=0) < 0:  # layer0 is no layer{i+1}
        return None
    return FIELD.sub(lambda field: str(values[field[1]] + int(field[2] or 0)), after) + rest


def _rename_all(state: Mapping[str, V], rename: Callable[[str], str]) -> dict[str, V]:
    found: dict[str, V] = {}
    for name, value in state.items():
        new = rename(name)
        if new in found:
            raise UserError(f"Two weights would be called '{new}', one of them '{name}' before. Is this a file of that "
                            "network, and of no other?")  # fmt: skip
        found[new] = value
    return found

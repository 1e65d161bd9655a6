"""A part of a network by its dotted name, as in `named_modules`."""

from __future__ import annotations

from difflib import get_close_matches

from torch import nn

from hubel.errors import UserError


def named_part(network: nn.Module, name: str) -> nn.Module:
    """The module called `name`. Raises UserError where there is none, with the closest name or the top parts."""
    own = dict(network.named_modules())
    if name in own and name:
        return own[name]
    close = get_close_matches(name, [word for word in own if word], n=1, cutoff=0.6)
    top = ", ".join(word for word, _ in network.named_children())
    hint = (
        f"did you mean '{close[0]}'?"
        if close
        else f"It consists of {top}, and what is in them, such as '{_deep(own)}'."
    )
    raise UserError(f"The network has no part '{name}'. {hint[0].upper()}{hint[1:]}")


def _deep(own: dict[str, nn.Module]) -> str:
    return max(own, key=lambda word: word.count("."))

"""What a task's outputs mean, for B examples: the base of every task's predictions.

Of several batches they are one (`cat`), of several views or networks their mean, each brought back to the image first
(`back`); flat tensors by name are what is saved and what an exported network gives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from hubel.types import map_tensors


@dataclass(frozen=True)
class Predictions:
    """Base of every task's predictions: a frozen dataclass whose tensor fields all start with B."""

    places: ClassVar[tuple[str, ...]] = ()  # fields that say where a prediction lies: no part of what is answered

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    def cpu(self) -> Self:
        return map_tensors(self, lambda tensor: tensor.detach().cpu())

    def take(self, rows: Tensor | slice) -> Self:
        return map_tensors(self, lambda tensor: tensor[rows])

    @classmethod
    def cat(cls, parts: Sequence[Self]) -> Self:
        """The predictions of several batches as one."""
        return _cat(list(parts))

    @classmethod
    def mean(cls, views: Sequence[Self]) -> Self:
        """The average over several views (mirrored, cropped) or networks of the same images.

        Predictions within it (those of a Joint) are averaged in their own way; whole numbers are the first one's.
        """
        names = [f.name for f in fields(views[0])]
        return replace(views[0], **{name: _mean([getattr(view, name) for view in views]) for name in names})

    def back(self, move: Tensor) -> Self:
        """What was predicted of a view, as a prediction of the image itself.

        `move` (3, 3): pixels of the image that the network sees -> pixels of the view (its mirror, a crop of it).
        Predictions that name no place stay as they are; maps, boxes and points override this.
        """
        return _nested(self, lambda part: part.back(move))

    def answers(self) -> dict[str, Tensor]:
        """Flat tensors by name: what `arrays` saves and an exported network gives, without `places`."""
        return _answers(self, "")

    def arrays(self) -> dict[str, np.ndarray]:
        """Flat numpy arrays by name, for `predictions/<split>.npz`."""
        return {name: tensor.detach().cpu().numpy() for name, tensor in self.answers().items()}


def _combine(values: list[Any], function) -> Any:
    first = values[0]
    if isinstance(first, Tensor):
        return function(values)
    if isinstance(first, Mapping):
        return {key: _combine([value[key] for value in values], function) for key in first}
    if hasattr(first, "__dataclass_fields__"):
        names = [f.name for f in fields(first)]
        return replace(first, **{n: _combine([getattr(value, n) for value in values], function) for n in names})
    return first


def _mean(values: list[Any]) -> Any:
    first = values[0]
    if isinstance(first, Tensor):
        return torch.stack(values).mean(0) if first.is_floating_point() else first
    if isinstance(first, Mapping):
        return {key: _mean([value[key] for value in values]) for key in first}
    return type(first).mean(values) if isinstance(first, Predictions) else first


def _cat(values: list[Any]) -> Any:
    return _combine(values, torch.cat)


def _answers(value: Any, name: str) -> dict[str, Tensor]:
    if isinstance(value, Tensor):
        return {name: value}
    if hasattr(value, "__dataclass_fields__"):
        hidden = getattr(value, "places", ())
        value = {f.name: getattr(value, f.name) for f in fields(value) if f.name not in hidden}
    if not isinstance(value, Mapping):
        return {}
    parts: dict[str, Tensor] = {}
    for key, item in value.items():
        parts |= _answers(item, f"{name}.{key}" if name else key)
    return parts


def _nested(value: Any, function) -> Any:
    """With `function` applied to the predictions within it, by name: those of a Joint."""
    found: dict[str, Any] = {}
    for f in fields(value):
        inner = getattr(value, f.name)
        if isinstance(inner, Predictions):
            found[f.name] = function(inner)
        elif isinstance(inner, Mapping) and any(isinstance(item, Predictions) for item in inner.values()):
            found[f.name] = {key: function(item) for key, item in inner.items()}
    return replace(value, **found) if found else value

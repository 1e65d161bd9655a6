"""What the model functions share: the size that a network wants, one value per layer, and the checks of options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from hubel.errors import UserError
from hubel.nn.activations import Activation, Unit

Size = tuple[int, int, int]  # (C, H, W)
F = TypeVar("F", bound=Callable[..., Any])


def wants(size: int | None) -> Callable[[F], F]:
    """Give a model function the attribute `size`: the side in pixels that images are brought to; None for any."""

    def mark(function: F) -> F:
        function.size = size  # type: ignore[attr-defined]
        return function

    return mark


def check_size(name: str, input: Size, smallest: int) -> None:
    """Raise UserError where a side of the input is below `smallest` pixels."""
    _, height, width = input
    if min(height, width) < smallest:
        raise UserError(
            f"An input of {height}×{width} pixels is too small for {name}; the smallest is {smallest}×{smallest}. "
            f"Give it larger images (--size {smallest} or more in a training), or choose another network."
        )


def per_layer(option: str, value: Any, layers: int) -> tuple[Any, ...]:
    """One value for every layer: a single value is repeated, a sequence must have `layers` items."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        return (value,) * layers
    if len(value) != layers:
        raise UserError(f"Option '{option}' needs one value, or one for each of the {layers} layers, "
                        f"got {len(value)}.")  # fmt: skip
    return tuple(value)


def rates(option: str, value: float | Sequence[float], layers: int) -> tuple[float, ...]:
    """Dropout rates in [0, 1), one per layer."""
    found = per_layer(option, value, layers)
    for rate in found:
        if not 0 <= rate < 1:
            raise UserError(f"Option '{option}' needs rates from 0 up to, not including, 1, got {rate}.")
    return tuple(float(rate) for rate in found)


def widths_of(option: str, value: int | Sequence[int]) -> tuple[int, ...]:
    """Numbers of units or channels: one or more whole numbers of at least 1."""
    found = (value,) if isinstance(value, int) else tuple(value)
    if not found or any(not isinstance(width, int) or width < 1 for width in found):
        raise UserError(f"Option '{option}' needs whole numbers of at least 1, such as 100,50; got {value}.")
    return found


def units(
    activation: str,
    slope: float | None,
    pieces: int | None,
    norm: str | Sequence[str],
    norm_place: str,
    layers: int,
) -> tuple[Unit, ...]:
    """What follows the weights of each of `layers` layers; `norm` may differ from layer to layer."""
    act = Activation(activation, slope, pieces)
    return tuple(Unit(act, one, norm_place) for one in per_layer("norm", norm, layers))

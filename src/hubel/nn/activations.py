"""Activations by name, and the layers that go with one: weights, batch normalisation, activation, dropout.

sigmoid 1 / (1 + e^-x)      tanh      relu max(x, 0)      leaky_relu max(x, slope * x)
elu x or e^x - 1            gelu x * Phi(x)               maxout: the largest of `pieces` linear units
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from hubel.errors import UserError, close_to
from hubel.nn.maxout import Maxout
from hubel.nn.padding import conv2d

NORMS = ("none", "batch")
PLACES = ("before", "after")
SIMPLE: dict[str, Callable[[], nn.Module]] = {
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
}
ACTIVATIONS = (*SIMPLE, "leaky_relu", "maxout")


def choice(option: str, value: object, known: tuple[str, ...]) -> None:
    """Raise UserError where `value` is none of the known words of `option`."""
    if value not in known:
        raise UserError(f"Option '{option}' needs one of {', '.join(known)}, got '{value}'"
                        f"{close_to(str(value), known)}")  # fmt: skip


@dataclass(frozen=True)
class Activation:
    """An activation and its one number: `slope` belongs to leaky_relu (0.01), `pieces` to maxout (2).

    Raises UserError for an unknown name and for a number that the activation doesn't have.
    """

    name: str = "relu"
    slope: float | None = None
    pieces: int | None = None

    def __post_init__(self) -> None:
        choice("activation", self.name, ACTIVATIONS)
        for option, owner in (("slope", "leaky_relu"), ("pieces", "maxout")):
            if getattr(self, option) is not None and self.name != owner:
                raise UserError(f"Option '{option}' belongs to the activation '{owner}', but the activation is "
                                f"'{self.name}'. Leave it out, or set activation to '{owner}'.")  # fmt: skip
        if self.pieces is not None and self.pieces < 1:
            raise UserError(f"Option 'pieces' needs a whole number of at least 1, got {self.pieces}.")

    @property
    def fan(self) -> int:
        """How many channels the layer before it gives for one that comes out."""
        return (self.pieces or 2) if self.name == "maxout" else 1

    def layer(self) -> nn.Module:
        if self.name == "maxout":
            return Maxout(self.fan)
        if self.name == "leaky_relu":
            return nn.LeakyReLU(0.01 if self.slope is None else self.slope)
        return SIMPLE[self.name]()


@dataclass(frozen=True)
class Unit:
    """What follows the weights of a layer: `norm` stands `place` ("before" or "after") the activation."""

    activation: Activation = Activation()
    norm: str = "none"
    place: str = "before"

    def __post_init__(self) -> None:
        choice("norm", self.norm, NORMS)
        choice("norm_place", self.place, PLACES)

    def conv(
        self, c_in: int, c_out: int, size: int = 3, padding: str | int = "zero", dilation: int = 1
    ) -> list[nn.Module]:
        """(B, c_in, H, W) -> (B, c_out, H, W), or less where `padding`, as in nn/padding.py, is "valid" or a number."""
        wide = c_out * self.activation.fan
        weights = conv2d(c_in, wide, size, padding=padding, dilation=dilation, bias=self.needs_bias)
        return [weights, *self._after(wide, c_out, nn.BatchNorm2d)]

    def dense(self, c_in: int, c_out: int) -> list[nn.Module]:
        """(B, c_in) -> (B, c_out)."""
        wide = c_out * self.activation.fan
        return [nn.Linear(c_in, wide, bias=self.needs_bias), *self._after(wide, c_out, nn.BatchNorm1d)]

    @property
    def needs_bias(self) -> bool:
        """A batch normalisation that follows the weights at once takes any bias away again."""
        return self.norm == "none" or self.place == "after"

    def _after(self, wide: int, c_out: int, norm: Callable[[int], nn.Module]) -> list[nn.Module]:
        act = self.activation.layer()
        if self.norm == "none":
            return [act]
        return [norm(wide), act] if self.place == "before" else [act, norm(c_out)]

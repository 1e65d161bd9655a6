"""Random changes of colour and texture: drawn as numbers, then applied as one 3×4 product, one table, one filter each.

Per image, in this order: (1) brightness, contrast, saturation, hue, colour cast, lighting, grey: one product;
(2) solarise, posterise: one table; (3) sharpen, blur, noise, JPEG. (H, W, C) or (B, H, W, C) uint8 or uint16.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np

from hubel.data.draws import normal, uniform
from hubel.data.geometric import Amounts
from hubel.errors import UserError
from hubel.ops import colour, neighbourhood

SHARE = 0.5  # of the images get each of blur, noise and JPEG: the others stay as sharp as those of an evaluation


def _check(options: Any, limits: dict[str, float]) -> None:
    for name, high in limits.items():
        value = getattr(options, name)
        if not 0 <= value <= high:
            raise UserError(f"{name} is a number from 0 to {high:g}; got {value}")


@dataclass(frozen=True)
class Colour:
    """How far colours may change; 0 leaves a change out.

    `brightness`, `contrast`, `saturation` and `cast` draw gains from 1 − x to 1 + x (`cast` one per channel); `hue`
    turns by up to so many full turns to either side; `lighting` is the deviation along the principal axes of
    photographs' colours, in their own standard deviations; `grey` is the share of the images that lose their colour.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    cast: float = 0.0
    lighting: float = 0.0
    grey: float = 0.0

    def __post_init__(self) -> None:
        _check(
            self, {"brightness": 1, "contrast": 1, "saturation": 1, "hue": 0.5, "cast": 1, "lighting": 10, "grey": 1}
        )

    def draw(self, seed: int, epoch: int, slots: np.ndarray) -> Amounts:
        place = (seed, epoch, slots)
        found: Amounts = {}
        for name in ("brightness", "contrast", "saturation"):
            if amount := getattr(self, name):
                found[name] = 1 + amount * _signed(*place, name, 1)[:, 0]
        if self.hue:
            found["hue"] = self.hue * _signed(*place, "hue", 1)[:, 0]
        if self.cast:
            found["cast"] = 1 + self.cast * _signed(*place, "cast", 3)
        if self.lighting:
            found["lighting"] = self.lighting * normal(*place, "lighting", 3)
        if self.grey:
            found["grey"] = uniform(*place, "grey", 1)[:, 0] < self.grey
        return found


@dataclass(frozen=True)
class Texture:
    """How far texture may change; 0 leaves a change out. `blur`, `noise` and `jpeg` meet half of the images each.

    `blur` is the largest standard deviation in pixels; `noise` the largest one as a share of the full scale; `jpeg`
    the lowest quality, 1 … 100; `solarise` and `posterise` are the shares of images that they change, each by a random
    amount.
    """

    blur: float = 0.0
    noise: float = 0.0
    jpeg: int = 0
    solarise: float = 0.0
    posterise: float = 0.0

    def __post_init__(self) -> None:
        _check(self, {"blur": 20, "noise": 1, "jpeg": 100, "solarise": 1, "posterise": 1})

    def draw(self, seed: int, epoch: int, slots: np.ndarray) -> Amounts:
        place = (seed, epoch, slots)
        found: Amounts = {}
        if self.blur:
            found["blur"] = self.blur * _half(uniform(*place, "blur", 2))
        if self.noise:
            u = uniform(*place, "noise", 3)
            found["noise"], found["noise_place"] = self.noise * _half(u), u[:, 2]
        if self.jpeg:
            u = uniform(*place, "jpeg", 2)
            quality = np.floor(self.jpeg + u[:, 1] * (101 - self.jpeg)).astype(np.int64)
            found["quality"] = np.where(u[:, 0] < SHARE, quality, 0)
        if self.solarise:
            u = uniform(*place, "solarise", 2)
            found["threshold"] = np.where(u[:, 0] < self.solarise, u[:, 1], 2.0)
        if self.posterise:
            u = uniform(*place, "posterise", 2)
            found["bits"] = np.where(u[:, 0] < self.posterise, np.floor(4 + u[:, 1] * 4), 8).astype(np.int64)
        return found


def _signed(seed: int, epoch: int, slots: np.ndarray, name: str, count: int) -> np.ndarray:
    return 2 * uniform(seed, epoch, slots, name, count) - 1


def _half(u: np.ndarray) -> np.ndarray:
    """(B,) the second of two draws where the first is below SHARE, else 0."""
    return np.where(u[:, 0] < SHARE, u[:, 1], 0.0)


@dataclass(frozen=True, eq=False)
class Look:
    """What is done to the colours and the texture of B images; None changes nothing."""

    colour: np.ndarray | None = None  # (B, 3, 4)
    threshold: np.ndarray | None = None  # (B,) in [0, 1] of the full scale; above 1 nothing is inverted
    bits: np.ndarray | None = None  # (B,) int64 that stay, of 8
    sharpen: np.ndarray | None = None  # (B,)
    blur: np.ndarray | None = None  # (B,) pixels
    noise: np.ndarray | None = None  # (B,) share of the full scale
    noise_place: np.ndarray | None = None  # (B,) in [0, 1)
    quality: np.ndarray | None = None  # (B,) int64; 0 for none

    @functools.cached_property
    def plain(self) -> bool:
        """Whether it changes nothing."""
        return all(getattr(self, f.name) is None for f in fields(self))

    def rows(self, rows: slice | np.ndarray) -> Self:
        parts = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{name: None if value is None else value[rows] for name, value in parts.items()})

    @property
    def tables(self) -> np.ndarray | None:
        """(B, 256) uint8 of solarise and posterise together."""
        if self.threshold is None and self.bits is None:
            return None
        count = len(self.bits if self.threshold is None else self.threshold)  # type: ignore[arg-type]
        threshold = np.full(count, 2.0) if self.threshold is None else self.threshold
        return colour.tables(threshold, np.full(count, 8) if self.bits is None else self.bits)


def look_of(amounts: Amounts) -> Look:
    """From drawn amounts; names that belong to geometry are passed over."""
    known = {f.name for f in fields(Look)} - {"colour"}
    return Look(_product(amounts), **{name: amounts[name] for name in known & amounts.keys()})


def _product(amounts: Amounts) -> np.ndarray | None:
    """(B, 3, 4): all changes of colour as one."""
    changes = [
        getattr(colour, name)(amounts[name])
        for name in ("brightness", "contrast", "saturation", "hue", "cast", "lighting")
        if name in amounts
    ]
    if "grey" in amounts:
        changes.append(colour.saturation(np.where(amounts["grey"], 0.0, 1.0)))
    return colour.compose(*changes) if changes else None


# Applying ------------------------------------------------------------------------------------------------------


def apply_look(image: np.ndarray, look: Look, row: int = 0, out: np.ndarray | None = None) -> np.ndarray:
    """(H, W, C) uint8 or uint16 -> the same type; `out` may be the image itself, and is used where it saves a copy."""
    if look.colour is not None:
        image = colour.apply(image, look.colour[row], out)
    image = _pointwise(image, look, row)
    if look.sharpen is not None:
        image = neighbourhood.sharpen(image, float(look.sharpen[row]), out)
    if look.blur is not None:
        image = neighbourhood.blur(image, float(look.blur[row]), out)
    if look.noise is not None and look.noise_place is not None:
        image = neighbourhood.noise(image, float(look.noise[row]), float(look.noise_place[row]), out)
    return image if look.quality is None else neighbourhood.jpeg(image, int(look.quality[row]))


def _pointwise(image: np.ndarray, look: Look, row: int) -> np.ndarray:
    if look.threshold is not None and look.threshold[row] <= 1:
        image = colour.solarise(image, float(look.threshold[row]))
    if look.bits is not None and look.bits[row] < 8:
        image = colour.posterise(image, int(look.bits[row]))
    return image

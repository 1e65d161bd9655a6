"""Augmentation in two steps: draw all random numbers here, then apply them by pure functions (`data/apply.py`).

Per image one matrix, source -> target, M = mirror · shift · turn · (crop or fit), and an elastic displacement, so
pixels are resampled once and boxes or keypoints can follow the same M; one look (colours, texture); and one rectangle
to erase after normalisation, the last stage (cutout, arXiv:1708.04552). Draws are pure functions of (seed, epoch,
slot, name of the operation): see `draws.py`.

Matrices (B, 3, 3) float64; rectangles (B, 4) int32: x0, y0, x1, y1, half open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

import numpy as np

from hubel.data.arrange import Collage
from hubel.data.chosen import Chosen, together
from hubel.data.draws import integers, uniform
from hubel.data.geometric import Amounts, Geometric, matrices, upside_down
from hubel.data.mixing import Mixing
from hubel.data.photometric import Colour, Look, Texture, look_of
from hubel.errors import UserError, close_to
from hubel.ops.geometry import check_border, compose, mirror, resizing, scaling, translation

FLIPS = ("none", "random", "alternating")


@dataclass(frozen=True)
class Draws:
    """What was drawn for B slots; the only input, beside the pixels, of the functions that apply it."""

    matrices: np.ndarray  # (B, 3, 3) float64, source -> target
    erase: np.ndarray  # (B, 4) int32: x0, y0, x1, y1 in target pixels; x0 = x1: nothing
    size: tuple[int, int]  # height and width of the target
    border: str = "zero"
    turned: bool = False  # by more than shift, mirror and crop
    control: np.ndarray | None = None  # (B, 2, POINTS, POINTS): see ops/elastic.py
    look: Look = field(default_factory=Look)

    def __len__(self) -> int:
        return len(self.matrices)

    def rows(self, rows: slice | np.ndarray) -> Self:
        control = None if self.control is None else self.control[rows]
        look = self.look if self.look.plain else self.look.rows(rows)
        return replace(self, matrices=self.matrices[rows], erase=self.erase[rows], control=control, look=look)


@dataclass(frozen=True)
class Augment:
    """Which random changes a training sees; the default changes nothing.

    `shift` moves by up to that many target pixels, whole ones, in x and y. `flip` mirrors left and right: "random"
    with probability ½, "alternating" each example in every second epoch (half of them start mirrored). `crop` is the
    range of the area that is kept, as parts of the image, with width / height within `ratio` of the target's.
    `cutout` is the side of the erased square in pixels. `border` fills what comes from outside the image. `vertical`
    turns half of the images upside down: for what has no upright. The other parts state their own.
    """

    shift: int = 0
    flip: str = "none"
    crop: tuple[float, float] | None = None
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    cutout: int = 0
    border: str = "zero"
    vertical: bool = False
    geometric: Geometric = field(default_factory=Geometric)
    colour: Colour = field(default_factory=Colour)
    texture: Texture = field(default_factory=Texture)
    chosen: Chosen | None = None
    mixing: Mixing = field(default_factory=Mixing)
    collage: Collage = field(default_factory=Collage)

    def __post_init__(self) -> None:
        check_border(self.border)
        if self.flip not in FLIPS:
            raise UserError(f"flip is one of {', '.join(FLIPS)}; got '{self.flip}'{close_to(str(self.flip), FLIPS)}")
        if self.shift < 0 or self.cutout < 0:
            raise UserError(f"shift and cutout are pixels, 0 or more; got {self.shift} and {self.cutout}")
        if self.crop is not None and not 0 < self.crop[0] <= self.crop[1] <= 1:
            raise UserError(f"crop is a range of areas within (0, 1], such as (0.35, 1); got {self.crop}")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise UserError(f"ratio is a range of width / height, such as (0.75, 1.33); got {self.ratio}")

    @property
    def turns(self) -> bool:
        """Whether images are resampled by more than a crop: never by whole pixels alone."""
        return not self.geometric.plain or self.chosen is not None

    @property
    def shifts_only(self) -> bool:
        """Whether its geometry moves by whole pixels and mirrors left and right, at most."""
        return not (self.crop or self.vertical or self.turns)

    def settings(self) -> dict[str, Any]:
        """What rebuilds it, JSON-ready: only what differs from the default."""
        plain = Augment()
        return {name: value for name, value in asdict(self).items() if value != asdict(plain)[name]}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        kinds = {"geometric": Geometric, "colour": Colour, "texture": Texture, "chosen": Chosen, "mixing": Mixing}
        kinds |= {"collage": Collage}
        values = {name: _tuples(value) for name, value in settings.items()}
        return cls(**{name: kinds[name](**v) if name in kinds else v for name, v in values.items()})

    def draw(
        self,
        seed: int,
        epoch: int,
        slots: np.ndarray,
        size_in: tuple[int, int],
        size_out: tuple[int, int],
        *,
        examples: np.ndarray | None = None,
    ) -> Draws:
        """The draws of `slots` (B,) in one epoch, for images of size_in = (height, width).

        Without a crop the whole image goes onto the whole target before shift and mirror. `examples` (B,) say which
        example stands in each slot: the alternating flip needs them.
        """
        place = (seed, epoch, slots)
        first = self._crop(*place, size_in, size_out) if self.crop else resizing(size_in, size_out)
        amounts = self._amounts(*place)
        turned = matrices(amounts, size_out, len(slots))
        steps = [first] if turned is None else [first, turned]
        if self.shift:
            steps.append(translation(*self._shift(*place).T))
        steps.append(mirror(size_out[1], self._flip(*place, examples)))
        if self.vertical:
            steps.append(upside_down(size_out[0], uniform(*place, "vertical flip", 1)[:, 0] < 0.5))
        control = self.geometric.draw_control(*place)
        erased = self._erase(*place, size_out)
        free = turned is not None or control is not None
        return Draws(compose(*steps), erased, size_out, self.border, free, control, look_of(amounts))

    def _amounts(self, seed: int, epoch: int, slots: np.ndarray) -> Amounts:
        place = (seed, epoch, slots)
        drawn = [self.geometric.draw(*place), self.colour.draw(*place), self.texture.draw(*place)]
        return together([*drawn, self.chosen.draw(*place)] if self.chosen else drawn)

    def _shift(self, seed: int, epoch: int, slots: np.ndarray) -> np.ndarray:  # (B, 2)
        return integers(uniform(seed, epoch, slots, "shift", 2), -self.shift, self.shift)

    def _flip(self, seed: int, epoch: int, slots: np.ndarray, examples: np.ndarray | None) -> np.ndarray:  # (B,) bool
        if self.flip == "none":
            return np.zeros(len(slots), dtype=bool)
        if self.flip == "random":
            return uniform(seed, epoch, slots, "flip", 1)[:, 0] < 0.5
        if examples is None:
            raise ValueError("flip='alternating' needs `examples`, the positions of the examples in the dataset")
        return (uniform(seed, 0, examples, "alternating flip", 1)[:, 0] < 0.5) ^ (epoch % 2 == 1)

    def _crop(
        self, seed: int, epoch: int, slots: np.ndarray, size_in: tuple[int, int], size_out: tuple[int, int]
    ) -> np.ndarray:
        """(B, 3, 3): a rectangle of random area, ratio and place, onto the whole target."""
        assert self.crop is not None
        u = uniform(seed, epoch, slots, "crop", 4)
        height, width = size_in
        area = height * width * (self.crop[0] + u[:, 0] * (self.crop[1] - self.crop[0]))
        log_ratio = np.log(self.ratio[0]) + u[:, 1] * (np.log(self.ratio[1]) - np.log(self.ratio[0]))
        ratio = np.exp(log_ratio) * size_out[1] / size_out[0]
        w = np.minimum(np.sqrt(area * ratio), width)  # what does not fit is cut to the image
        h = np.minimum(np.sqrt(area / ratio), height)
        corner = translation(-u[:, 2] * (width - w), -u[:, 3] * (height - h))
        return compose(corner, scaling(size_out[1] / w, size_out[0] / h))

    def _erase(self, seed: int, epoch: int, slots: np.ndarray, size_out: tuple[int, int]) -> np.ndarray:
        """(B, 4): squares whose centre is any pixel, cut off at the edges, as in the paper."""
        if not self.cutout:
            return np.zeros((len(slots), 4), dtype=np.int32)
        height, width = size_out
        u = uniform(seed, epoch, slots, "cutout", 2)
        low = np.floor(u * [width, height]).astype(np.int64) - self.cutout // 2
        corners = np.concatenate([low, low + self.cutout], axis=1)
        return np.clip(corners, 0, [width, height, width, height]).astype(np.int32)


def _tuples(value: Any) -> Any:
    """JSON has lists only."""
    if isinstance(value, Mapping):
        return {name: _tuples(inner) for name, inner in value.items()}
    return tuple(value) if isinstance(value, list) else value

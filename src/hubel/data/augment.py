"""Augmentation in two steps: draw all random numbers, then apply them by pure functions.

Per image one matrix, source -> target, M = mirror · shift · (crop or fit), so pixels are resampled once and boxes or
keypoints can follow the same M; and one rectangle to erase after normalisation, the last stage (cutout,
arXiv:1708.04552). Draws are pure functions of (seed, epoch, slot, name of the operation): see `draws.py`.

Images (B, H, W, C) or (H, W, C); matrices (B, 3, 3) float64; rectangles (B, 4) int32: x0, y0, x1, y1, half open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from hubel.data.draws import integers, uniform
from hubel.errors import UserError, did_you_mean
from hubel.ops.geometry import (
    check_border,
    compose,
    mirror,
    resizing,
    scaling,
    translation,
    warp_batch,
    whole_pixels,
)
from hubel.ops.move import move_batch
from hubel.ops.resize import warp

FLIPS = ("none", "random", "alternating")


@dataclass(frozen=True)
class Draws:
    """What was drawn for B slots; the only input, beside the pixels, of the functions that apply it."""

    matrices: np.ndarray  # (B, 3, 3) float64, source -> target
    erase: np.ndarray  # (B, 4) int32: x0, y0, x1, y1 in target pixels; x0 = x1: nothing
    size: tuple[int, int]  # height and width of the target
    border: str = "zero"

    def __len__(self) -> int:
        return len(self.matrices)

    def rows(self, rows: slice | np.ndarray) -> Self:
        return type(self)(self.matrices[rows], self.erase[rows], self.size, self.border)


@dataclass(frozen=True)
class Augment:
    """Which random changes a training sees; the default changes nothing.

    `shift` moves by up to that many target pixels, whole ones, in x and y. `flip` mirrors left and right: "random"
    with probability ½, "alternating" each example in every second epoch (half of them start mirrored). `crop` is the
    range of the area that is kept, as parts of the image, with width / height within `ratio` of the target's.
    `cutout` is the side of the erased square in pixels. `border` fills what comes from outside the image.
    """

    shift: int = 0
    flip: str = "none"
    crop: tuple[float, float] | None = None
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    cutout: int = 0
    border: str = "zero"

    def __post_init__(self) -> None:
        check_border(self.border)
        if self.flip not in FLIPS:
            raise UserError(
                f"flip is one of {', '.join(FLIPS)}; got '{self.flip}'{did_you_mean(str(self.flip), FLIPS)}"
            )
        if self.shift < 0 or self.cutout < 0:
            raise UserError(f"shift and cutout are pixels, 0 or more; got {self.shift} and {self.cutout}")
        if self.crop is not None and not 0 < self.crop[0] <= self.crop[1] <= 1:
            raise UserError(f"crop is a range of areas within (0, 1], such as (0.35, 1); got {self.crop}")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise UserError(f"ratio is a range of width / height, such as (0.75, 1.33); got {self.ratio}")

    def settings(self) -> dict[str, Any]:
        """What rebuilds it, JSON-ready: only what differs from the default."""
        names = ("shift", "flip", "crop", "ratio", "cutout", "border")
        return {name: getattr(self, name) for name in names if getattr(self, name) != getattr(Augment, name)}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in settings.items()}
        return cls(**values)

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
        crop = self._crop(seed, epoch, slots, size_in, size_out) if self.crop else None
        first = resizing(size_in, size_out) if crop is None else crop
        flips = mirror(size_out[1], self._flip(seed, epoch, slots, examples))
        shifts = translation(*self._shift(seed, epoch, slots).T)
        return Draws(compose(first, shifts, flips), self._erase(seed, epoch, slots, size_out), size_out, self.border)

    def _shift(self, seed: int, epoch: int, slots: np.ndarray) -> np.ndarray:  # (B, 2)
        if not self.shift:
            return np.zeros((len(slots), 2))
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


def policy(name: str, traits: Mapping[str, Any], size: tuple[int, int], channels: int) -> tuple[Augment, str]:
    """The augmentation called `name` (none, light, standard) for images of `size` (h, w), and why it is so.

    Label-preserving by default: mirrors only where the dataset's traits or the pictures' kind allow it.
    """
    known = ("none", "light", "standard")
    if name not in known:
        raise UserError(f"augment is one of {', '.join(known)}; got '{name}'{did_you_mean(name, known)}")
    if name == "none":
        return Augment(), "none was asked for"
    mirrored = bool(traits.get("mirror", channels == 3))
    flip = "random" if mirrored else "none"
    if "mirror" in traits:
        why = f"{'mirrored' if mirrored else 'never mirrored'}, as the dataset says of its labels"
    else:
        why = "mirrored, as photographs may be" if mirrored else "not mirrored: grey images are often characters"
    side = min(size)
    border = "mirror" if channels == 3 else "zero"
    if side > 64:
        crop = (0.35, 1.0) if name == "standard" else (0.7, 1.0)
        return Augment(flip=flip, crop=crop), f"random crops of {crop[0]:.0%} to 100 % of the area; {why}"
    shift = max(1, round(side / (8 if name == "standard" and channels == 3 else 14)))
    cutout = side // 4 if name == "standard" else 0
    erased = f", a square of {cutout} erased" if cutout else ""
    return (
        Augment(shift=shift, flip=flip, cutout=cutout, border=border),
        f"shifts up to {shift} of {side} pixels{erased}; {why}",
    )


# Applying ----------------------------------------------------------------------------------------------------


def apply_image(image: np.ndarray, draws: Draws, row: int = 0) -> np.ndarray:
    """(H, W, C) uint8 or uint16 -> (h, w, C): area reduction where it shrinks, then at most one warp."""
    return warp(image, draws.matrices[row], draws.size, draws.border)


def apply_batch(images: Tensor, draws: Draws) -> Tensor:
    """(B, H, W, C) -> (B, h, w, C) of the same dtype, on the images' device.

    Whole-pixel shifts and mirrors copy pixels; anything else is one bilinear warp, without area reduction.
    """
    exact = whole_pixels(draws.matrices)
    if exact is None or (exact[0][:, 1] < 0).any():
        return warp_batch(images, draws.matrices, draws.size, draws.border)
    return move_batch(images, exact[0][:, 0] < 0, exact[1], draws.size, draws.border)


def erase(images: Tensor, rectangles: np.ndarray) -> Tensor:
    """Set the rectangles (B, 4) of normalised images (B, C, H, W) to zero, the mean colour, in place."""
    if not (rectangles[:, 2] > rectangles[:, 0]).any():
        return images
    return _erase_slices(images, rectangles) if images.device.type == "cpu" else _erase_mask(images, rectangles)


def _erase_slices(images: Tensor, rectangles: np.ndarray) -> Tensor:
    """On the CPU slices of numpy take a third of the time of a mask."""
    pixels = images.permute(0, 2, 3, 1).numpy()
    for image, (x0, y0, x1, y1) in zip(pixels, rectangles.tolist(), strict=True):
        image[y0:y1, x0:x1] = 0
    return images


def _erase_mask(images: Tensor, rectangles: np.ndarray) -> Tensor:
    x0, y0, x1, y1 = torch.from_numpy(rectangles).to(images.device).T[:, :, None]  # (B, 1) each
    y, x = (torch.arange(n, device=images.device) for n in images.shape[2:])
    inside = ((y >= y0) & (y < y1))[:, None, :, None] & ((x >= x0) & (x < x1))[:, None, None, :]
    return images.masked_fill_(inside, 0)

"""From an image of any size to what the network sees: one geometry, then x = (v / top − mean) / std per channel.

Training, evaluation, prediction and export use the same object, so a score is measured on what is shipped.
(H, W, C) uint8 or uint16 -> geometry -> (h, w, C); (B, h, w, C) -> normalise -> (B, C, h, w) float32, channels_last.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from hubel.data.dataset import Dataset
from hubel.data.pixels import convert
from hubel.data.shown import Shown, shown_of
from hubel.data.whiten import Whitening
from hubel.errors import UserError, close_to
from hubel.ops.filtered import METHODS, filtered
from hubel.ops.geometry import compose, resizing, translation
from hubel.ops.resize import warp

POLICIES = ("none", "crop", "letterbox", "stretch")
OWN_SIZE_UP_TO = 256  # pixels: images of one size up to this are left as they are
LARGEST_AUTO = 224  # pixels: the side that is chosen for larger ones


DEFAULTS = {"share": 1.0, "interpolation": "area"}  # said only where pretrained weights ask for something else


@dataclass(frozen=True)
class Preprocess:
    """How pixels reach the network.

    `size` (height, width). `policy`: "crop" resizes until the image just covers the size and keeps the centre;
    "letterbox" resizes until it just fits and fills with black; "stretch" changes the proportions; "none" means that
    the images have this size already (one that has not is cropped). Shrinking averages over areas. `mean` and `std`
    per channel in [0, 1] of the full scale; `depth` 8 or 16 bits. A `whitening` (see data/whiten.py) takes their place.
    Pretrained weights ask for more: `share` in (0, 1], "crop": of the side that covers the size, so much is kept;
    `interpolation`: "area" (ours, above), "bilinear" or "bicubic" (ops/filtered.py).
    """

    size: tuple[int, int]
    channels: int
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    policy: str = "crop"
    depth: int = 8
    whitening: Whitening | None = None  # in place of mean and std
    share: float = 1.0
    interpolation: str = "area"

    def __post_init__(self) -> None:
        if self.interpolation not in ("area", *METHODS) or not 0 < self.share <= 1:
            raise UserError(
                f"share is a number above 0, at most 1, and interpolation one of area, {', '.join(METHODS)}; got "
                f"{self.share} and '{self.interpolation}'"
            )
        if self.policy not in POLICIES:
            raise UserError(
                f"resize is one of {', '.join(POLICIES)}; got '{self.policy}'{close_to(str(self.policy), POLICIES)}"
            )
        if len(self.size) != 2 or min(self.size) < 1:
            raise UserError(f"size is (height, width), each at least 1 pixel; got {self.size}")
        if self.channels not in (1, 3) or self.depth not in (8, 16):
            raise UserError(f"Images have 1 or 3 channels of 8 or 16 bits; got {self.channels} of {self.depth}")
        for values in (self.mean, self.std):
            if len(values) not in (1, self.channels):
                raise UserError(f"mean and std have one number per channel, {self.channels}; got {len(values)}")
        if min(self.std) <= 0:
            raise UserError(f"std must be above 0; got {self.std}")

    def matrix(self, height: int, width: int) -> np.ndarray:
        """(3, 3) float64: pixels of an image of this size -> pixels of the network's input."""
        if (height, width) == self.size and (self.share == 1 or self.policy != "crop"):
            return np.eye(3)
        if self.policy == "stretch":
            return resizing((height, width), self.size)
        factors = self.size[0] / height, self.size[1] / width
        share = self.share if self.policy == "crop" else 1.0
        factor = min(factors) if self.policy == "letterbox" else max(factors) / share
        inner = max(1, round(height * factor)), max(1, round(width * factor))
        centre = translation((self.size[1] - inner[1]) // 2, (self.size[0] - inner[0]) // 2)
        return compose(resizing((height, width), inner), centre)

    def geometry(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(H, W, C) -> ((h, w, channels) uint8 or uint16, (3, 3) source -> target); the source is never changed."""
        image = convert(image, self.channels, self.depth)
        matrix = self.matrix(*image.shape[:2])
        border = "zero" if self.policy == "letterbox" else "edge"
        if self.interpolation != "area" and border == "edge" and image.shape[:2] != self.size:
            return filtered(image, matrix, self.size, self.interpolation), matrix
        return warp(image, matrix, self.size, border), matrix

    def normalise(self, images: Tensor) -> Tensor:
        """(B, h, w, C) uint8, uint16 or a wider integer -> (B, C, h, w) float32, channels_last, on its device."""
        return self.turn(self.centre(images))

    def turn(self, images: Tensor) -> Tensor:
        """What is left to do after `centre`, and after images were mixed and erased: PCA or ZCA, else nothing."""
        return images if self.whitening is None else self.whitening.turn(images)

    def centre(self, images: Tensor) -> Tensor:
        """As `normalise`, but for PCA and ZCA: pixels are still pixels, and 0 is the mean."""
        if self.whitening is not None:
            return self.whitening.centre(images, 2**self.depth - 1)
        # rows of w · C numbers: a last axis of 1 or 3 would defeat vectorised arithmetic
        scale, shift = _scale_and_shift(self._pairs(), 2**self.depth - 1, images.shape[2], images.device)
        values = images.flatten(2).to(torch.float32, copy=True)  # (B, h, w · C)
        values.mul_(scale).add_(shift)
        return values.view(images.shape).permute(0, 3, 1, 2)

    def _pairs(self) -> tuple[tuple[float, float], ...]:
        """(mean, std) of each channel."""
        return tuple((self.mean[c % len(self.mean)], self.std[c % len(self.std)]) for c in range(self.channels))

    def with_statistics(self, mean: Any, std: Any) -> Self:
        """The same geometry with the mean and deviation of the training part."""
        return replace(self, mean=tuple(float(m) for m in mean), std=tuple(float(s) for s in std))

    def settings(self) -> dict[str, Any]:
        """What rebuilds it, JSON-ready; the arrays of a whitening are saved in a file of their own."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "whitening"}
        plain = {key: list(v) if isinstance(v, tuple) else v for key, v in values.items() if v != DEFAULTS.get(key)}
        return plain if self.whitening is None else {**plain, "whitening": self.whitening.settings()}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], arrays: Path | None = None) -> Self:
        """`arrays` is the file of a whitening, where there is one. Raises UserError where it is not whole."""
        values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in settings.items()}
        if "whitening" in values:
            if arrays is None:
                raise ValueError("a whitening needs its arrays")
            values["whitening"] = Whitening.load(values["whitening"], arrays)
        return cls(**values)

    def shown(self, height: int, width: int) -> Shown:
        """What the network sees of an image of this size."""
        return shown_of((height, width), self.size, self.matrix(height, width))

    @classmethod
    def choose(cls, dataset: Dataset, size: int | tuple[int, int] | None = None, policy: str | None = None) -> Self:
        """The geometry for a dataset: the size that is asked for (a side or (height, width)), else the images' own.

        Images of one size up to 256 pixels are left as they are; others become squares of their median short side,
        a multiple of 8, at most 224. Raises UserError where no image can be read.
        """
        sizes = dataset.images.sizes(200)
        if not len(sizes):
            raise UserError(f"{dataset.name}: none of the images looked at can be read. See its quarantine list.")
        same = bool((sizes == sizes[0]).all())
        if size is None:
            size = _own_size(sizes, same)
        size = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
        if policy is None:
            policy = "none" if same and size == tuple(sizes[0]) else "crop"
        return cls(size, dataset.images.channels, policy=policy, depth=dataset.images.depth)

    def describe(self, sizes: np.ndarray) -> str:
        """One sentence for the user on what happens to images of these (n, 2) heights and widths."""
        target = f"{self.size[0]} x {self.size[1]}"
        if (sizes == self.size).all() and (self.share == 1 or self.policy != "crop"):
            return f"images are {target} pixels and stay as they are"
        low, high = sizes.min(0), sizes.max(0)
        found = " x ".join(f"{a}" if a == b else f"{a} … {b}" for a, b in zip(low, high, strict=True))
        grown = (sizes < self.size).any(1).mean()
        return f"images of {found} pixels are {self._how(sizes)} {target}" + (
            f"; {grown:.0%} are enlarged" if grown else ""
        )

    def _how(self, sizes: np.ndarray) -> str:
        if self.share < 1 and self.policy == "crop":
            return f"resized, and cropped to the middle {self.share:.3g} of their shorter sides, to"
        if (sizes[:, 0] * self.size[1] == sizes[:, 1] * self.size[0]).all():
            return "resized to"
        words = {"letterbox": "fitted with black bars into", "stretch": "stretched to"}
        return words.get(self.policy, "resized, and cropped at their longer sides, to")


@functools.lru_cache(maxsize=16)
def _scale_and_shift(
    pairs: tuple[tuple[float, float], ...], top: int, width: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """x / (top · std) and −mean / std for each number of a row of `width` pixels."""
    scale = torch.tensor([1 / (top * s) for _, s in pairs] * width, dtype=torch.float32, device=device)
    shift = torch.tensor([-m / s for m, s in pairs] * width, dtype=torch.float32, device=device)
    return scale, shift


def _own_size(sizes: np.ndarray, same: bool) -> tuple[int, int]:
    if same and sizes[0].max() <= OWN_SIZE_UP_TO:
        return int(sizes[0][0]), int(sizes[0][1])
    side = int(np.median(sizes.min(axis=1)))
    side = min(LARGEST_AUTO, side // 8 * 8 or side)
    return side, side

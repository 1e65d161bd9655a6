"""Training images blended with backgrounds, x = (1 − s) · image + s · background.

They come nearer to those of a dev part that were taken elsewhere (rain on the lens, another scanner's grain), when one
has pictures of that and no labels.
The target stays. Half of the images get a background, of a share s between 0 and `blend`; which one, and its share,
are functions of the slot. Images (B, C, h, w) float32 after normalisation: a blend is linear, so nothing is rounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hubel.data.decode import BadImage
from hubel.data.draws import uniform
from hubel.data.formats.walk import scan
from hubel.data.images import FileImages, PackedNames
from hubel.data.preprocess import Preprocess
from hubel.errors import UserError
from hubel.ops.neighbourhood import normals

NOISE = "noise"  # in place of a folder: grain of several sizes
MOST = 256  # backgrounds that are kept on the device
SHARE = 0.5  # of the images


@dataclass(frozen=True, eq=False)
class Backgrounds:
    """n of them, ready to be laid over images."""

    images: Tensor  # (n, C, h, w) float32, normalised, channels_last
    blend: float  # the largest share of a background

    @classmethod
    def load(cls, source: str, blend: float, preprocess: Preprocess, device: torch.device) -> Backgrounds:
        """From a folder of pictures, or "noise". Raises UserError where there is none that can be read."""
        pixels = _noise(preprocess) if source == NOISE else _read(Path(source).expanduser(), preprocess)
        pixels = pixels if pixels.dtype == np.uint8 else pixels.astype(np.int32)
        images = preprocess.centre(torch.from_numpy(pixels).to(device))
        return cls(images.contiguous(memory_format=torch.channels_last), blend)

    def apply(self, images: Tensor, seed: int, epoch: int, slots: np.ndarray) -> Tensor:
        """(B, C, h, w) of the slots (B,) -> the same, blended."""
        which, share = self.draw(seed, epoch, slots)
        rows = torch.from_numpy(which).to(images.device)
        weight = torch.from_numpy(share).to(images)[:, None, None, None]
        return torch.lerp(images, self.images[rows], weight)

    def draw(self, seed: int, epoch: int, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(B,) int64 which background, (B,) float64 its share: 0 for half of the images."""
        u = uniform(seed, epoch, slots, "background", 3)
        return np.floor(u[:, 0] * len(self.images)).astype(np.int64), np.where(u[:, 1] < SHARE, u[:, 2], 0) * self.blend


def _noise(preprocess: Preprocess) -> np.ndarray:
    """(64, h, w, C): grain of 1, 2, 4 and 8 pixels around mid-grey."""
    top = 2**preprocess.depth - 1
    found = []
    for k in range(64):
        grain = 2 ** (k % 4)
        shape = tuple(-(-side // grain) for side in preprocess.size)
        field = normals((*shape, preprocess.channels), k / 64).repeat(grain, 0).repeat(grain, 1)
        found.append(np.clip((0.5 + 0.2 * field[: preprocess.size[0], : preprocess.size[1]]) * top, 0, top))
    return np.rint(np.stack(found)).astype(np.uint8 if preprocess.depth == 8 else np.uint16)


def _read(folder: Path, preprocess: Preprocess) -> np.ndarray:
    """Up to MOST pictures below the folder, evenly spaced, each as an evaluation would see it."""
    if not folder.is_dir():
        raise UserError(f"augment.backgrounds is a folder of pictures, or 'noise'; there is no folder '{folder}'.")
    names = scan(folder, folder).files
    names = [names[i] for i in np.unique(np.linspace(0, len(names) - 1, min(MOST, len(names))).round().astype(int))]
    files = FileImages(str(folder), PackedNames.pack(names), preprocess.channels, preprocess.depth)
    found = []
    for i in range(len(names)):
        try:
            found.append(preprocess.geometry(files.read(i))[0])
        except (BadImage, OSError):
            continue  # one background more or less teaches the same
    if not found:
        raise UserError(f"augment.backgrounds: '{folder}' holds no picture that can be read.")
    return np.stack(found)

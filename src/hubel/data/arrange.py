"""Which images make a scene: mosaics of four (arXiv:2004.10934), objects copied from another (arXiv:2012.07177).

The first of augmentation's stages. The image of slot i keeps its place in the batch and takes any quadrant of its
mosaic; what joins it is drawn from the epoch's order, so rare classes that are drawn more often join more often too.
Part k of a scene has draws of its own, those of slot i + k · 2⁴⁰. All are pure functions of (seed, epoch, slot, order).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hubel.data.draws import uniform
from hubel.errors import UserError

WHOLE, PASTED = -1, 4  # what a part is, if none of the quadrants 0 … 3, left to right and top to bottom
STRIDE = 1 << 40  # more slots than an epoch has


@dataclass(frozen=True, eq=False)
class Parts:
    """S ≥ B images that make the B scenes of a batch: those of one scene in a row, its own first, the pasted last."""

    scene: np.ndarray  # (S,) int64, rising: position in the batch
    slots: np.ndarray  # (S,) int64: what is drawn for each
    index: np.ndarray  # (S,) int64: position in the dataset
    role: np.ndarray  # (S,) int64: its quadrant, WHOLE or PASTED

    @property
    def own(self) -> np.ndarray:
        """(B,) int64: the first part of each scene, the image that stands in the batch's slot."""
        return np.flatnonzero(np.diff(self.scene, prepend=-1))

    @property
    def plain(self) -> np.ndarray:
        """(B,) bool: scenes of one image, as it is."""
        return np.bincount(self.scene) == 1


@dataclass(frozen=True)
class Collage:
    """Shares of the images, in [0, 1]: that become a mosaic of four, and that get objects of another laid onto them."""

    mosaic: float = 0.0
    copy_paste: float = 0.0

    def __post_init__(self) -> None:
        for name, share in vars(self).items():
            if not 0 <= share <= 1:
                raise UserError(f"{name} is a share of the images, from 0 to 1; got {share}")

    @property
    def plain(self) -> bool:
        """Whether every scene is one image."""
        return not (self.mosaic or self.copy_paste)

    def draw(self, seed: int, epoch: int, slots: np.ndarray, index: np.ndarray, pool: np.ndarray) -> Parts:
        """For the images `index` (B,) in `slots` (B,); others come from `pool` (n,) int64, positions in the dataset."""
        place = (seed, epoch, slots)
        mosaic = uniform(*place, "mosaic", 1)[:, 0] < self.mosaic
        pasted = uniform(*place, "copy-paste", 1)[:, 0] < self.copy_paste
        own = np.floor(uniform(*place, "quadrant", 1)[:, 0] * 4).astype(np.int64)
        others = pool[np.floor(uniform(*place, "sources", 4) * len(pool)).astype(np.int64)]  # (B, 4)
        examples = np.column_stack([index, others])  # (B, 5): itself, three of a mosaic, one to copy from
        count = np.arange(4)
        quadrants = np.where(mosaic[:, None], (own[:, None] + count) % 4, WHOLE)
        roles = np.column_stack([quadrants, np.full(len(slots), PASTED)])
        there = np.column_stack([np.ones(len(slots), bool), *[mosaic] * 3, pasted])
        scene, part = np.nonzero(there)
        return Parts(scene, slots[scene] + part * STRIDE, examples[scene, part], roles[scene, part])

"""Kept features: one array for all images of a view, in memory and in a file, with what a batch says of each image."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hubel.data.places import keep_arrays

COLUMNS = ("features", "sizes", "matrices")


ROOM = 4 * 2**30  # bytes of kept features; the oldest files go first


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """Features (n, …) of the images `index` (n,), ascending; with what a batch says of each image."""

    index: np.ndarray
    features: Tensor
    sizes: Tensor  # (n, 2)
    matrices: Tensor  # (n, 3, 3)

    @classmethod
    def read(cls, path: Path, index: np.ndarray) -> Table | None:
        """Of the images `index`, from a file, which counts as used now; None where there is none that is whole."""
        try:
            with np.load(path, allow_pickle=False) as saved:
                table = cls(index, *(torch.from_numpy(saved[name]) for name in COLUMNS))
        except Exception:  # there is none, it lacks an array, or what else a damaged file may lead to
            return None
        if {len(index)} != {len(getattr(table, name)) for name in COLUMNS}:
            return None
        path.touch()
        return table

    def write(self, path: Path) -> None:
        """To a file, in place of those in its folder that were not used for longest."""
        keep_arrays(path, **{name: getattr(self, name).cpu().numpy() for name in COLUMNS})
        make_room(path.parent, ROOM)

    def to(self, device: torch.device) -> Table:
        return Table(self.index, self.features.to(device), self.sizes.to(device), self.matrices.to(device))

    def rows(self, index: np.ndarray) -> Tensor:
        return torch.from_numpy(np.searchsorted(self.index, index)).to(self.features.device)


def make_room(folder: Path, limit: int) -> None:
    """Remove the files that were not used for longest until all together have at most `limit` bytes."""
    files = sorted(((f.stat().st_mtime, f.stat().st_size, f) for f in folder.glob("*.npz")), reverse=True)
    total = 0
    for _, size, file in files:
        total += size
        if total > limit and file is not files[0][2]:
            file.unlink(missing_ok=True)

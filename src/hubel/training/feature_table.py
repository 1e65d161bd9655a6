"""Kept features: of each map an array for all images of a view, in memory and in a file, with a batch's other numbers.

bfloat16, which NumPy doesn't know, is written as the int16 of the same bits.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hubel.data.places import keep_arrays
from hubel.types import map_tensors

MAPS = "features{}"  # in the file, from 0

ROOM = 4 * 2**30  # bytes of kept features; the oldest files go first


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """Features, a tensor or several (n, …), of the images `index` (n,), ascending; with what a batch says of each."""

    index: np.ndarray
    features: tuple[Tensor, ...]
    sizes: Tensor  # (n, 2)
    matrices: Tensor  # (n, 3, 3)

    @classmethod
    def read(cls, path: Path, index: np.ndarray) -> Table | None:
        """Of the images `index`, from a file, which counts as used now; None where there is none that is whole."""
        try:
            with np.load(path, allow_pickle=False) as saved:
                count = sum(name.startswith(MAPS.format("")) for name in saved.files)
                maps = tuple(_from_numpy(saved[MAPS.format(i)]) for i in range(count))
                table = cls(index, maps, *(torch.from_numpy(saved[name]) for name in ("sizes", "matrices")))
        except Exception:  # there is none, it lacks an array, or what else a damaged file may lead to
            return None
        if not maps or {len(index)} != {len(each) for each in (*maps, table.sizes, table.matrices)}:
            return None
        path.touch()
        return table

    def write(self, path: Path) -> None:
        """To a file, in place of those in its folder that were not used for longest."""
        maps = {MAPS.format(i): _to_numpy(x) for i, x in enumerate(self.features)}
        keep_arrays(path, sizes=self.sizes.cpu().numpy(), matrices=self.matrices.cpu().numpy(), **maps)
        make_room(path.parent, ROOM)

    def to(self, device: torch.device) -> Table:
        return map_tensors(self, lambda tensor: tensor.to(device))

    def rows(self, index: np.ndarray) -> Tensor:
        return torch.from_numpy(np.searchsorted(self.index, index)).to(self.sizes.device)


def _to_numpy(x: Tensor) -> np.ndarray:
    return (x.view(torch.int16) if x.dtype == torch.bfloat16 else x).cpu().numpy()


def _from_numpy(array: np.ndarray) -> Tensor:
    found = torch.from_numpy(array)
    return found.view(torch.bfloat16) if found.dtype == torch.int16 else found


def make_room(folder: Path, limit: int) -> None:
    """Remove the files that were not used for longest until all together have at most `limit` bytes."""
    files = sorted(((f.stat().st_mtime, f.stat().st_size, f) for f in folder.glob("*.npz")), reverse=True)
    total = 0
    for _, size, file in files:
        total += size
        if total > limit and file is not files[0][2]:
            file.unlink(missing_ok=True)

"""What stands beyond the edge of a map, for filters that reach over it. (…, H, W) -> (…, H + 2p, W + 2q).

valid    nothing: the filter stays inside, and the map shrinks
zero     zeros: cheap, but an edge of its own wherever the map isn't near zero
mean     the mean of that channel of that image: the border is as bright as the rest
mirror   the map reflected about its outermost pixels, which aren't repeated: c b | a b c | b a
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hubel.errors import UserError, close_to

PADDINGS = ("valid", "zero", "mean", "mirror")


def pad(maps: Tensor, margin: tuple[int, int], padding: str) -> Tensor:
    """`margin` (rows, columns) more on each side of (…, H, W); "valid" leaves the maps as they are.

    Raises UserError for an unknown padding, and where a mirror would need more than there is: margin < side.
    """
    rows, columns = margin
    if padding == "valid" or margin == (0, 0):
        return maps
    if padding == "mirror":
        return _mirrored(_mirrored(maps, -2, rows), -1, columns)
    check_padding(padding)
    sides = (columns, columns, rows, rows)
    inside = F.pad(maps, sides)
    if padding == "zero":
        return inside
    beyond = F.pad(maps.new_zeros(maps.shape[-2:]), sides, value=1.0)  # 1 on the border, so that the inside stays exact
    return inside + beyond * maps.mean((-2, -1), keepdim=True)


def check_padding(padding: str) -> None:
    """Raise UserError where `padding` is none of PADDINGS."""
    if padding not in PADDINGS:
        raise UserError(f"Option 'padding' needs one of {', '.join(PADDINGS)}, got '{padding}'"
                        f"{close_to(padding, PADDINGS)}")  # fmt: skip


def _mirrored(maps: Tensor, axis: int, margin: int) -> Tensor:
    """By slices: their gradient is a sum in a fixed order, on a GPU too (that of torch's reflection is not)."""
    if not margin:
        return maps
    side = maps.shape[axis]
    if margin >= side:
        raise UserError(f"A mirror of {margin} pixels needs a side of at least {margin + 1}, got {side}. "
                        "Give it larger images, or choose another padding.")  # fmt: skip
    before = maps.narrow(axis, 1, margin).flip(axis)
    behind = maps.narrow(axis, side - 1 - margin, margin).flip(axis)
    return torch.cat([before, maps, behind], axis)

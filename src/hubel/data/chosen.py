"""A few operations per image, chosen at random: in the style of RandAugment (arXiv:1909.13719), `count` of one
strength, and of TrivialAugment (arXiv:2103.10158), one of any strength.

Their lists without equalise and autocontrast, which depend on the image's histogram and are no product, table or
filter that could be drawn beforehand; with RandAugment's ranges; and always in the order of our stages. So it is their
style, not their exact transform. An operation that is chosen twice is done once, twice as strongly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hubel.data.draws import uniform
from hubel.data.geometric import Amounts
from hubel.errors import UserError

GEOMETRIC = ("turn", "shear_x", "shear_y", "move_x", "move_y")
COLOURED = ("saturation",)
OPERATIONS = ("identity", *GEOMETRIC, "brightness", "contrast", *COLOURED, "sharpen", "bits", "threshold")
# What strength 1 means: 30 degrees, a tangent of 0.3, 30 % of the side, gains of 1 ± 0.9, 4 bits, everything inverted
RANGES = {"turn": np.radians(30), "shear_x": 0.3, "shear_y": 0.3, "move_x": 0.3, "move_y": 0.3, "sharpen": 0.9,
          "brightness": 0.9, "contrast": 0.9, "saturation": 0.9}  # fmt: skip
GAINS = ("brightness", "contrast", "saturation")


@dataclass(frozen=True)
class Chosen:
    """`count` operations of OPERATIONS without `leave` per image, of strength `magnitude` in (0, 1]; None: of any."""

    count: int = 2
    magnitude: float | None = 0.3
    leave: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.count <= 10:
            raise UserError(f"operations is how many are chosen per image, 1 … 10; got {self.count}")
        if self.magnitude is not None and not 0 < self.magnitude <= 1:
            raise UserError(f"magnitude is above 0 and at most 1; got {self.magnitude}")

    @property
    def operations(self) -> tuple[str, ...]:
        return tuple(name for name in OPERATIONS if name not in self.leave)

    def draw(self, seed: int, epoch: int, slots: np.ndarray) -> Amounts:
        """Amounts as `geometric.matrices` and `photometric.look_of` take them, for the slots (B,)."""
        signed = self.strengths(seed, epoch, slots)
        found: Amounts = {}
        for name, strength in signed.items():
            if name in GAINS:
                found[name] = np.maximum(0.05, 1 + RANGES[name] * strength)
            elif name in RANGES:
                found[name] = RANGES[name] * strength
        if "bits" in signed:
            found["bits"] = 8 - np.rint(4 * np.minimum(np.abs(signed["bits"]), 1)).astype(np.int64)
        if "threshold" in signed:
            amount = np.minimum(np.abs(signed["threshold"]), 1)
            found["threshold"] = np.where(amount > 0, 1 - amount, 2.0)
        return found

    def strengths(self, seed: int, epoch: int, slots: np.ndarray) -> dict[str, np.ndarray]:
        """By name, (B,) the sum of the strengths, with signs, that an operation was chosen with; 0: it was not."""
        u = uniform(seed, epoch, slots, "chosen operations", 3 * self.count)
        names = self.operations
        choice = np.floor(u[:, 0::3] * len(names)).astype(np.int64)  # (B, count)
        size = u[:, 1::3] if self.magnitude is None else np.full(choice.shape, self.magnitude)
        signed = np.where(u[:, 2::3] < 0.5, -size, size)
        return {
            name: np.where(choice == k, signed, 0.0).sum(axis=1) for k, name in enumerate(names) if name != "identity"
        }


def together(parts: Sequence[Amounts]) -> Amounts:
    """Amounts of several parts as one: gains multiply, places add up, of tables the stronger one counts."""
    found: Amounts = {}
    for name, values in ((name, values) for part in parts for name, values in part.items()):
        if name not in found:
            found[name] = values
        elif name in GAINS:
            found[name] = found[name] * values
        else:
            found[name] = np.minimum(found[name], values) if name in ("bits", "threshold") else found[name] + values
    return found

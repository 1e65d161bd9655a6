"""Random turns, sizes, shears, perspectives and elastic distortions: drawn as numbers, then one 3×3 about the middle.

M = C⁻¹ · perspective · turn · shear · scale · C with C the target's middle at the origin and half its longer side as
the unit. Draws are pure functions of (seed, epoch, slot, name of the operation): see `draws.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hubel.data.draws import uniform
from hubel.errors import UserError
from hubel.ops.elastic import LARGEST, POINTS
from hubel.ops.geometry import compose, scaling, translation

Amounts = dict[str, np.ndarray]  # by name, (B,) each; a name that is missing changes nothing


@dataclass(frozen=True)
class Geometric:
    """How far each change may go; 0 leaves it out.

    `rotate` and `shear` in degrees to either side; `scale` as a share: 0.25 draws factors from 1 / 1.25 to 1.25,
    evenly in their logarithm; `perspective` is how much nearer or farther, as a share, the middles of the sides may
    come; `elastic` the largest displacement as a share of the image's sides, at most 0.05.
    """

    rotate: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    perspective: float = 0.0
    elastic: float = 0.0

    def __post_init__(self) -> None:
        limits = {"rotate": 180.0, "scale": 9.0, "shear": 60.0, "perspective": 0.45, "elastic": LARGEST}
        for name, high in limits.items():
            value = getattr(self, name)
            if not 0 <= value <= high:
                raise UserError(f"{name} is a number from 0 to {high:g}; got {value}")

    @property
    def plain(self) -> bool:
        """Whether it changes nothing."""
        return self == Geometric()

    def draw(self, seed: int, epoch: int, slots: np.ndarray) -> Amounts:
        """What `matrices` takes, for the slots (B,)."""
        found: Amounts = {}
        if self.rotate:
            found["turn"] = np.radians(self.rotate) * _signed(seed, epoch, slots, "rotate", 1)[:, 0]
        if self.scale:
            found["factor"] = (1 + self.scale) ** _signed(seed, epoch, slots, "scale", 1)[:, 0]
        if self.shear:
            angles = np.radians(self.shear) * _signed(seed, epoch, slots, "shear", 2)
            found["shear_x"], found["shear_y"] = np.tan(angles).T
        if self.perspective:
            found["tilt_x"], found["tilt_y"] = self.perspective * _signed(seed, epoch, slots, "perspective", 2).T
        return found

    def draw_control(self, seed: int, epoch: int, slots: np.ndarray) -> np.ndarray | None:
        """(B, 2, POINTS, POINTS) the displacement's control points; None without elastic distortion."""
        if not self.elastic:
            return None
        u = _signed(seed, epoch, slots, "elastic", 2 * POINTS * POINTS)
        return self.elastic * u.reshape(-1, 2, POINTS, POINTS)


def _signed(seed: int, epoch: int, slots: np.ndarray, name: str, count: int) -> np.ndarray:
    """(B, count) in [-1, 1)."""
    return 2 * uniform(seed, epoch, slots, name, count) - 1


def matrices(amounts: Amounts, size: tuple[int, int], count: int) -> np.ndarray | None:
    """(B, 3, 3) target pixels -> target pixels; None where nothing changes.

    Names: turn (radians), factor, shear_x, shear_y (tangents), tilt_x, tilt_y (change of w' at the middle of the
    sides), move_x, move_y (shares of the width and the height).
    """
    if not amounts.keys() & {"turn", "factor", "shear_x", "shear_y", "tilt_x", "tilt_y", "move_x", "move_y"}:
        return None
    still, unit = np.zeros(count), max(size) / 2

    def pair(name: str) -> list[np.ndarray]:
        return [amounts.get(f"{name}_{axis}", still) for axis in "xy"]

    centre = compose(translation(-size[1] / 2, -size[0] / 2), scaling(1 / unit, 1 / unit))
    steps = [centre]  # what was not drawn is left out: it would be the identity
    if "factor" in amounts:
        steps.append(scaling(amounts["factor"], amounts["factor"]))
    if amounts.keys() & {"shear_x", "shear_y"}:
        steps.append(shearing(*pair("shear")))
    if "turn" in amounts:
        steps.append(turning(amounts["turn"]))
    if amounts.keys() & {"tilt_x", "tilt_y"}:
        steps.append(tilting(*pair("tilt")))
    steps.append(np.linalg.inv(centre))
    if amounts.keys() & {"move_x", "move_y"}:
        x, y = pair("move")
        steps.append(translation(x * size[1], y * size[0]))
    return compose(*steps)


def turning(angle: np.ndarray) -> np.ndarray:
    """(..., 3, 3): about the origin, clockwise on the screen, in radians."""
    out = np.broadcast_to(np.eye(3), (*angle.shape, 3, 3)).copy()
    out[..., 0, 0] = out[..., 1, 1] = np.cos(angle)
    out[..., 0, 1], out[..., 1, 0] = -np.sin(angle), np.sin(angle)
    return out


def shearing(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(..., 3, 3): x' = x + x-tangent · y, then y' = y + y-tangent · x', which keeps areas."""
    first, second = (np.broadcast_to(np.eye(3), (*x.shape, 3, 3)).copy() for _ in range(2))
    first[..., 0, 1], second[..., 1, 0] = x, y
    return compose(first, second)


def tilting(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(..., 3, 3): w' = 1 + x · X + y · Y, with X and Y in units of half the longer side."""
    out = np.broadcast_to(np.eye(3), (*x.shape, 3, 3)).copy()
    out[..., 2, 0], out[..., 2, 1] = x, y
    return out


def upside_down(height: int, on: np.ndarray) -> np.ndarray:
    """(..., 3, 3): top becomes bottom in an image so high, where `on`; elsewhere the identity."""
    out = np.broadcast_to(np.eye(3), (*on.shape, 3, 3)).copy()
    out[..., 1, 1], out[..., 1, 2] = np.where(on, -1, 1), np.where(on, height, 0)
    return out

"""One object per image, what it is and where: y = (p, bx, by, bw, bh, c_1 … c_K).

    L = α·S + (1 − α)·R        S cross-entropy of the class, R the loss of the box (and of p), on one backbone

S and R only where there is an object; p, whether there is one, is learnt where some training images show none. α weighs
nats against overlaps, so L of two α can't be compared: search it by what you want (`right`, `box.iou`), not by L.
"""

from __future__ import annotations

from hubel.errors import UserError
from hubel.tasks.box import Box
from hubel.tasks.checks import check_range
from hubel.tasks.joint import Joint
from hubel.tasks.object_class import ObjectClass


def localisation(
    classes: tuple[str, ...] = (),
    alpha: float = 0.5,
    error: str = "smooth_l1+giou",
    votes: bool = True,
    several: str = "largest",
    least_iou: float = 0.5,
    smoothing: float = 0.0,
    balance: bool = False,
    decides: str = "box",
) -> Joint:
    """Joint of `class` (tasks/object_class.py) and `box` (tasks/box.py), whose options these are.

    `decides`: whose metric chooses the weights, "box" (IoU) or "class" (accuracy). Raises UserError for one class,
    which needs the task `box` alone, and for an alpha outside (0, 1).
    """
    check_range("alpha", alpha, 0, 1)
    if len(classes) < 2:
        raise UserError(f"Localisation needs at least two classes, got {len(classes)}. For one class use --task box.")
    box = Box(error=error, votes=votes, several=several, least_iou=least_iou)
    kind = ObjectClass(tuple(classes), smoothing=smoothing, balance=balance)
    return Joint({"class": kind, "box": box}, weights={"class": alpha, "box": 1 - alpha}, decides=decides)


localisation.one_object = True  # type: ignore[attr-defined]  # as what it makes says; read before a task is made

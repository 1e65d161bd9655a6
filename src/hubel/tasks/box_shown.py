"""A box in words, and drawn: the true one in white, the answer in orange."""

from __future__ import annotations

import cv2
import numpy as np

TRUTH, ANSWER = (255, 255, 255), (230, 159, 0)  # colours that are told apart by anyone


def words(box: list[float]) -> str:
    """x and y from … to."""
    x0, y0, x1, y1 = (f"{v:.0f}" for v in box)
    return f"x {x0}–{x1}, y {y0}–{y1}"


def outline(image: np.ndarray, box: list[float], colour: tuple[int, int, int]) -> None:
    """A line along the box's inside, on a dark one, into (H, W, 3) uint8."""
    thick = max(1, round(max(image.shape[:2]) / 250))
    x0, y0, x1, y1 = (round(v) for v in box)
    corners = (x0, y0), (max(x0, x1 - 1), max(y0, y1 - 1))
    if thick > 1:
        cv2.rectangle(image, *corners, (0, 0, 0), thick + 2)
    cv2.rectangle(image, *corners, colour, thick)

"""The colours of classes: class k has the colour k mod 12 on every page and in every picture.

Twelve colours that differ in lightness as well as in hue, so that they can be told apart without seeing red and green.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

PALETTE = (
    (230, 40, 70), (60, 190, 80), (255, 214, 10), (90, 130, 255), (250, 130, 40), (180, 95, 245), (50, 210, 240),
    (240, 60, 225), (185, 235, 60), (250, 180, 205), (30, 190, 165), (205, 150, 90),
)  # fmt: skip
COLOURS = len(PALETTE)
BACKGROUND = "background"  # a class of this name has no colour in pictures


def colours_of(labels: np.ndarray) -> np.ndarray:
    """(H, W) uint8 numbers of classes -> (H, W, 3) uint8; 255 (no class) is black."""
    table = np.zeros((256, 3), np.uint8)
    table[:255] = np.array(PALETTE, np.uint8)[np.arange(255) % COLOURS]
    return table[labels]


def overlay(image: np.ndarray, labels: np.ndarray, plain: int | None = None, strength: float = 0.5) -> np.ndarray:
    """The image (H, W, C) uint8 under the colours of its classes (H, W); no class and the class `plain` have none."""
    image = np.repeat(image, 3, 2) if image.shape[2] == 1 else image
    mixed = image * (1 - strength) + colours_of(labels).astype(np.float32) * strength
    bare = (labels == 255) | (labels == (255 if plain is None else plain))
    return np.where(bare[..., None], image, np.rint(mixed)).astype(np.uint8)


def plain_class(classes: Sequence[str]) -> int | None:
    """The number of the class that is drawn without a colour, where there is one."""
    return list(classes).index(BACKGROUND) if BACKGROUND in classes else None


WRONG = (214, 39, 40)


def compared(image: np.ndarray, truth: np.ndarray, answer: np.ndarray, plain: int | None = None) -> np.ndarray:
    """(H, W, C) and two label maps (H, W) -> truth, answer and wrong pixels side by side, (H, 3 W + 2 gaps, 3)."""
    gap = np.full((image.shape[0], max(2, image.shape[1] // 60), 3), 255, np.uint8)
    grey = np.repeat(image.mean(2, keepdims=True) * 0.6 + 80, 3, 2).astype(np.uint8)
    wrong = np.where(((truth != answer) & (truth != 255))[..., None], np.array(WRONG, np.uint8), grey)
    return np.concatenate([overlay(image, truth, plain), gap, overlay(image, answer, plain), gap, wrong], 1)

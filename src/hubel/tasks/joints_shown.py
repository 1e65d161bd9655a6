"""Joints in words, and drawn on an image: bones where the joints they join are known."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

TRUTH, ANSWER = (255, 255, 255), (230, 159, 0)  # colours that are told apart by anyone
SAID = 3  # joints that a sentence names
ROOM = 100  # pixels: smaller images have no room for dark outlines


def words(joints: Sequence[tuple[str, float, float]]) -> str:
    """The first few with their places."""
    said = ", ".join(f"{name} ({x:.0f}, {y:.0f})" for name, x, y in joints[:SAID])
    return (said + (f" and {len(joints) - SAID} more" if len(joints) > SAID else "")) or "no joint"


def draw_joints(
    image: np.ndarray,
    joints: np.ndarray,
    edges: Sequence[tuple[int, int]],
    colour: tuple[int, int, int],
    known: np.ndarray | None = None,
) -> None:
    """Bones and joints (J, 2) into (H, W, 3) uint8, on a dark line; only those `known` (J,)."""
    thick = max(1, round(max(image.shape[:2]) / 250))
    there = np.isfinite(joints).all(1) & (np.ones(len(joints), bool) if known is None else known)
    at = [tuple(int(v) for v in np.clip(np.nan_to_num(p), -1e4, 1e4)) for p in joints]
    for extra, shade in ((2, (0, 0, 0)), (0, colour)):
        if extra and max(image.shape[:2]) < ROOM:
            continue
        for a, b in edges:
            if there[a] and there[b]:
                cv2.line(image, at[a], at[b], shade, thick + extra, cv2.LINE_AA)
        for j in np.flatnonzero(there):
            cv2.circle(image, at[j], thick + extra // 2 + (thick > 1), shade, -1, cv2.LINE_AA)

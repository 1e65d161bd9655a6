"""Boxes without having learnt any: around the places that explain a class. arXiv:1512.04150, section 3.

A map is cut at a share of its maximum (0.2 in the paper); the box is the one around the largest connected part.
"""

from __future__ import annotations

import cv2
import numpy as np

from hubel.errors import UserError

SHARE = 0.2


def box_of(heat: np.ndarray, share: float = SHARE) -> np.ndarray | None:
    """(H, W) -> (4,) float64: x0, y0, x1, y1 in pixels of the map, its edges; None where no value is above 0.

    What is above `share` of the maximum counts, in [0, 1); NaN never does. Cells that touch at a corner are connected.
    Raises UserError for a share out of range.
    """
    if not 0 <= share < 1:
        raise UserError(f"A map is cut at a share of its maximum, from 0 and below 1; got {share}.")
    known = np.nan_to_num(heat, nan=-np.inf)
    if not known.max(initial=-np.inf) > 0:
        return None
    above = (known > share * known.max()).astype(np.uint8)
    _, _, parts, _ = cv2.connectedComponentsWithStats(above, connectivity=8)
    largest = parts[1:][parts[1:, cv2.CC_STAT_AREA].argmax()]  # the first is the background
    x, y, width, height = (int(largest[i]) for i in range(4))
    return np.array([x, y, x + width, y + height], np.float64)

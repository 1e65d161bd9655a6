"""What of an image a network sees: how much is cut off, how much of its input is bars, how far it is stretched."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hubel.ops.geometry import move_points

NOTABLE = 0.01  # smaller shares, and proportions that change by less, are not worth a word


@dataclass(frozen=True)
class Shown:
    """One image (height, width) on its way to an input (h, w)."""

    source: tuple[int, int]
    size: tuple[int, int]
    cut_off: float  # share of the image's area that is not shown
    bars: float  # share of the input that shows nothing of the image
    stretched: float  # how much wider than high it became: 1 keeps the proportions

    def settings(self) -> dict[str, Any]:
        """JSON-ready."""
        rounded = {name: round(getattr(self, name), 4) for name in ("cut_off", "bars", "stretched")}
        return {name: list(v) if isinstance(v, tuple) else v for name, v in (asdict(self) | rounded).items()}

    @property
    def notable(self) -> bool:
        """Whether the network sees something else than the picture, resized."""
        return max(self.cut_off, self.bars, abs(self.stretched - 1)) > NOTABLE

    def words(self) -> str:
        """For example "1600 x 400 pixels: 75 % is cut off, left and right"."""
        height, width = self.source
        wide = width * self.size[0] > height * self.size[1]
        parts = []
        if self.cut_off > NOTABLE:
            parts.append(f"{_percent(self.cut_off)} is cut off, {'left and right' if wide else 'above and below'}")
        if self.bars > NOTABLE:
            where = "above and below" if wide else "left and right"
            parts.append(f"{_percent(self.bars)} of what the network sees is black bars, {where}")
        if abs(self.stretched - 1) > NOTABLE:
            ratio = max(self.stretched, 1 / self.stretched)
            parts.append(
                f"it is stretched, {ratio:.3g} times {'wider' if self.stretched > 1 else 'higher'} than it was"
            )
        return f"{width} x {height} pixels: " + ("; ".join(parts) or "the whole picture is seen")


def shown_of(source: tuple[int, int], size: tuple[int, int], matrix: np.ndarray) -> Shown:
    """Of an image whose pixels `matrix` (3, 3) leads to those of the input, by stretching and moving alone."""
    corners = np.array([[0.0, 0.0], [size[1], size[0]]])
    shown = move_points(corners, np.linalg.inv(matrix))
    inside = np.clip(shown, 0, [source[1], source[0]])
    width, height = (inside[1] - inside[0]).tolist()
    covered = width * matrix[0, 0] * height * matrix[1, 1] / (size[0] * size[1])
    cut = 1 - width * height / (source[0] * source[1])
    return Shown(source, size, max(0.0, cut), max(0.0, 1 - covered), float(matrix[0, 0] / matrix[1, 1]))


def _percent(share: float) -> str:
    return f"{share:.0%}".replace("%", " %")

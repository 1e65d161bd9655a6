"""What bench/segmentation.py's competitors learn, read from the folder with Pillow and PyYAML alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from PIL import Image


@dataclass(frozen=True)
class Work:
    """The folder, and what all trainings share."""

    data: Path
    epochs: int
    batch: int
    seed: int


class Scenes:
    """Images and masks of one part, by the order of their names."""

    def __init__(self, data: Path, part: str):
        self.images = sorted((data / part / "images").iterdir())
        self.masks = [data / part / "masks" / f"{path.stem}.png" for path in self.images]
        said = yaml.safe_load((data / "data.yaml").read_text())
        self.names = [said["names"][k] for k in range(len(said["names"]))]
        self.ignore = int(said["ignore"])

    def __len__(self) -> int:
        return len(self.images)

    def image(self, i: int) -> np.ndarray:
        """(H, W, 3) uint8."""
        return np.array(Image.open(self.images[i]).convert("RGB"))

    def mask(self, i: int) -> np.ndarray:
        """(H, W) uint8: numbers of classes, and `ignore`."""
        return np.array(Image.open(self.masks[i]))

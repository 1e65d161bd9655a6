"""Images for the comparison with cleanvision and imagededup: photos, copies of them, and images with one fault each.

`made()` gives {name: (H, W, 3) uint8}, always the same; what a name begins with is what was done to the image.
"""

import cv2
import numpy as np
from skimage import data as pictures

SIDE, PHOTOS = 160, 40
COPIES = {
    "same": lambda image, random: image,
    "half": lambda image, random: cv2.resize(image, (SIDE // 2, SIDE // 2), interpolation=cv2.INTER_AREA),
    "soft": lambda image, random: cv2.GaussianBlur(image, (0, 0), 1),
    "bright": lambda image, random: np.clip(image * 1.1 + 4, 0, 255).astype(np.uint8),
    "noisy": lambda image, random: np.clip(image + random.normal(0, 6, image.shape), 0, 255).astype(np.uint8),
}
FAULTS = {
    "dark": lambda image: image // 10,
    "over": lambda image: 255 - image // 20,
    "blur": lambda image: cv2.GaussianBlur(image, (0, 0), 4),
    "flat": lambda image: np.full_like(image, int(image.mean())),
}
EACH = 6  # of every copy and every fault


def made() -> dict[str, np.ndarray]:
    random = np.random.default_rng(7)
    sources = (pictures.astronaut(), pictures.chelsea(), pictures.coffee(), pictures.rocket())
    found = {f"photo{k:02}": crop(sources[k % 4], random) for k in range(PHOTOS)}
    for j, (what, change) in enumerate(COPIES.items()):
        found |= {f"{what}{k:02}": change(found[f"photo{k:02}"], random) for k in range(EACH * j, EACH * (j + 1))}
    for what, fault in FAULTS.items():
        found |= {f"{what}{k:02}": fault(crop(sources[k % 4], random)) for k in range(EACH)}
    return found


def crop(source: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A square with something in it."""
    while True:
        y, x = (int(random.integers(0, n - SIDE)) for n in source.shape[:2])
        part = np.ascontiguousarray(source[y : y + SIDE, x : x + SIDE])
        if part.std() > 30:
            return part


def copies() -> set[tuple[str, str]]:
    """The pairs (photo, copy) that a search for near duplicates has to find, equal ones aside."""
    return {
        (f"photo{k:02}", f"{what}{k:02}")
        for j, what in enumerate(COPIES) if what != "same" for k in range(EACH * j, EACH * (j + 1))
    }  # fmt: skip

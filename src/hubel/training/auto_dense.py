"""What `auto` means where every pixel has an answer: sizes, batches, crops, and how long; see auto.py.

Measured on CamVid, 180 x 240 pixels (docs/segmentation.md): 27,000 crops of 128 x 168 take twenty minutes on 2 cores.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hubel.data.preprocess import OWN_SIZE_UP_TO

if TYPE_CHECKING:
    from hubel.training.auto import Facts

TO_SEE = 27_000  # images: epochs = this / n, between 10 and 180
TO_SEE_SMALL, SMALL = 54_000, 64  # and of images of up to so many pixels
PIXELS = 800_000  # of a batch: 16 images of 224 x 224
MOST = 16  # images of a batch, however small: steps of 128 were too few to learn from (docs/segmentation.md)
TRAIN_SHARE = 0.7  # of the side: what crops of 35 to 100 % of the area fill without a change of scale, on average
RATE = 7e-4  # of adamw for `unet`: mean IoU 0.610 after 180 epochs and 0.368 after 20; 0.002: 0.609 and 0.324
AUGMENT = {"brightness": 0.3, "contrast": 0.3}


def size(facts: Facts, gpu: bool) -> tuple[Any, str]:
    """Borders are judged in the images' own pixels: as many of these are seen as the machine can bear."""
    short = min(facts.height, facts.width)
    if facts.same_size and max(facts.height, facts.width) <= OWN_SIZE_UP_TO:
        return None, ""
    return min(short, 384 if gpu else 192), f"the shorter side, of {short} pixels; --size for another"


def train_size(facts: Facts, get: Callable[[str], Any]) -> tuple[Any, str]:
    """A crop of 35 to 100 % of the area shows things larger, on average by 1.2; on smaller images as they will be."""
    if not get("augment.crop") or get("model") == "unet_valid" or get("normalize") not in ("channel", "image"):
        return None, ""
    side = round(TRAIN_SHARE * (get("size") or min(facts.height, facts.width)) / 8) * 8
    if side < 64:
        return None, ""
    return side, "crops show things as large as evaluation does, and a step takes half the time"


def epochs(facts: Facts) -> tuple[int, str]:
    small = facts.same_size and max(facts.height, facts.width) <= SMALL
    count = TO_SEE_SMALL if small else TO_SEE
    found = round(min(max(count / max(facts.n_train, 1), 10), 180))
    return found, f"until {count:,} images are seen, each with thousands of pixels, in 10 to 180 epochs"


def largest_batch(facts: Facts, side: int | None) -> int:
    """Images, of which the shorter side is `side`, None: their own."""
    short, long = min(facts.height, facts.width), max(facts.height, facts.width)
    return min(PIXELS * short // ((side or short) ** 2 * long), MOST)

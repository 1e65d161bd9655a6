"""What `auto` means where a training begins with pretrained weights: how much learns, for how long; see transfer.py.

Little data: the head alone, since more would fit what is not there again. More data: the more layers (notes 002, 004).
Where that changes was measured on photos of clothes (docs/transfer.md): with 5 of each class the head reaches 62 % and
staged 60 %; with 10 they reach 71 and 70, with 20 79 and 82, with 60 82 and 85.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

HEAD_BELOW = 15  # training images of each class, or HEAD_BELOW_ALL where there are no classes
HEAD_BELOW_ALL = 150
TO_SEE, TO_SEE_HEAD = 12_000, 30_000  # images: of all layers, and by the head alone, whose features are kept
VIEWS = 2  # of each image, as evaluation sees it and mirrored: four, with crops, cost more and were no better
DENSE_TO_SEE = 21_000  # images, where every pixel is an answer
FASTER, FASTER_BY = ("staged", "unfreeze"), 2.5  # a tenth of 0.005 for adamw: docs/transfer.md
LATER = ("staged", "two_rates", "groups", "unfreeze")

Get = Callable[[str], Any]


def strategy(n_train: int, classes: int, get: Get, dense: bool = False) -> tuple[str, str]:
    if get("weights") is None:
        return "all", "no pretrained weights"
    if dense:
        return "two_rates", "a decoder is a deep head: it learns at its own rate, what came with weights at a lower one"
    if classes:
        few, each = n_train < HEAD_BELOW * classes, f"{n_train / classes:.0f} training images of each class"
    else:
        few, each = n_train < HEAD_BELOW_ALL, f"{n_train} training images"
    if few:
        return "head", f"{each} are too few to move more than the head"
    return "staged", f"{each}: the head first, so that it does not spoil the rest, then every layer at a lower rate"


def epochs(n_train: int, get: Get) -> tuple[int, str]:
    if get("transfer.name") == "two_rates":
        count = round(min(max(DENSE_TO_SEE / max(n_train, 1), 10), 140))
        return count, f"until {DENSE_TO_SEE:,} images are seen, in 10 to 140 epochs"
    head = round(min(max(TO_SEE_HEAD / max(n_train, 1), 5), 60))
    whole = round(min(max(TO_SEE / max(n_train, 1), 3), 30))
    if get("transfer.name") == "head":
        return head, f"until the head has seen {TO_SEE_HEAD:,} features, in 5 to 60 epochs"
    own = 0 if get("transfer.name") == "all" else max(head // 4, 1)
    return own + whole, f"until {TO_SEE:,} images are seen, in 3 to 30 epochs, {own} before that for the head"


def head_epochs(get: Get) -> tuple[Any, str]:
    if get("transfer.name") not in LATER:
        return None, ""
    part, word = {"unfreeze": (8, "part"), "two_rates": (20, "twentieth")}.get(get("transfer.name"), (3, "third"))
    return max(get("epochs") // part, 1), f"a {word} of the epochs"


def factor(get: Get) -> tuple[Any, str]:
    if get("transfer.name") not in ("staged", "two_rates", "unfreeze"):
        return None, ""
    return 0.1, "a tenth: the layers are good already"


def decay(get: Get) -> tuple[Any, str]:
    if get("transfer.name") != "groups":
        return None, ""
    return 0.4, "what is near the input is the most general"


def views(get: Get, maps: bool = False) -> tuple[Any, str]:
    if get("transfer.name") in (None, "all"):
        return None, ""
    if get("augment.mixup") or get("augment.cutmix") or get("augment.mosaic") or get("augment.copy_paste"):
        return 0, "mixed images have no features of their own"
    if get("augment.policy") == "none":
        return 1, "nothing is augmented"
    if maps:
        return VIEWS, "as evaluation sees it, and mirrored; 0 once the network is made, if its head is most of the work"
    return VIEWS, "as evaluation sees it, and mirrored (augmented where a mirrored one is another class)"

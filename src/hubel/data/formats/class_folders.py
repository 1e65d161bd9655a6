"""Where images go when each lies in a folder of its class: names that any system can hold, all different."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np


def in_folders(names: Sequence[str], label: np.ndarray, classes: Sequence[str]) -> list[str]:
    """A new place for each image: a folder of its class, and its own name there; numbered where two have the same."""
    folders = folder_names(classes)
    found, taken = [], set()
    for i, name in enumerate(names):
        last = name.rpartition("/")[2]
        place, number = f"{folders[label[i]]}/{last}", 1
        while place.casefold() in taken:
            number += 1
            stem, dot, ending = last.rpartition(".")
            place = f"{folders[label[i]]}/{stem or ending}_{number}{dot * bool(stem)}{ending if stem else ''}"
        taken.add(place.casefold())
        found.append(place)
    return found


def folder_names(classes: Sequence[str]) -> list[str]:
    """A folder for each class: its name, without what no folder can be called; slashes stay folders in folders."""
    found: list[str] = []
    for k, name in enumerate(classes):
        parts = [re.sub(r'[\x00-\x1f\x7f<>:"|?*\\]', "_", p).strip(" .") for p in name.split("/")]
        safe = "/".join(p for p in parts if p) or f"class {k}"
        number, place = 1, safe
        while place.casefold() in (f.casefold() for f in found):
            number += 1
            place = f"{safe} ({number})"
        found.append(place)
    return found

"""Frames of one video in two parts: a leak that no single pair of images shows, since frames lie seconds apart.

Names that end in a number after the same beginning, in the same order (0016E5_07959.jpg, 0016E5_07965.jpg …), count as
frames of one video where they look like it: the miniatures of neighbours in that order differ by less than FRAMES of
what two frames anywhere in the data differ by. Photos that a camera numbered don't: neighbours show something else.
"""

from __future__ import annotations

import re
from collections import defaultdict
from itertools import pairwise

import numpy as np

from hubel.data.alike import standard
from hubel.data.dataset import Dataset
from hubel.data.findings import Finding
from hubel.data.looks import Looks

FRAMES = 0.75
FEWEST = 8  # images of a sequence; of fewer nothing can be told
DRAWN = 2_000  # pairs that stand for any two images
STEM = re.compile(r"(.*?)[ _.-]*(\d+)$")


def sequence_findings(dataset: Dataset, looks: Looks) -> list[Finding]:
    """One for each video that lies in several parts."""
    part = {int(i): name for name, index in dataset.splits.items() for i in index}
    groups = _numbered(dataset, looks, part)
    small = standard(looks.rows["small"])
    anywhere = _anywhere(small, np.array([i for group in groups.values() for i in group], np.int64))
    found = []
    for name, rows in groups.items():
        kinds = [part[i] for i in rows]
        if len(set(kinds)) < 2:
            continue
        near = _distances(small, np.array(rows[:-1]), np.array(rows[1:]))
        if np.median(near) < FRAMES * anywhere:
            found.append(_finding(dataset, name, rows, part))
    return found


def _numbered(dataset: Dataset, looks: Looks, part: dict[int, str]) -> dict[str, list[int]]:
    """{beginning of the name: positions in the order of their numbers}, of readable images that are in a part."""
    found: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for i in part:
        stem = re.split(r"[\\/]", dataset.images.name(i))[-1].rpartition(".")[0]
        match = STEM.fullmatch(stem)
        if match and looks.rows["read"][i]:
            found[match[1]].append((int(match[2]), i))
    return {name: [i for _, i in sorted(pairs)] for name, pairs in found.items() if len(pairs) >= FEWEST}


def _anywhere(small: np.ndarray, rows: np.ndarray) -> float:
    """The median distance of two images drawn from `rows`."""
    if len(rows) < 2:
        return 0.0
    draws = np.random.default_rng(0)
    one, other = draws.choice(rows, DRAWN), draws.choice(rows, DRAWN)
    return float(np.median(_distances(small, one, other)[one != other]))


def _distances(small: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    return np.abs(small[i] - small[j]).mean(1)


def _finding(dataset: Dataset, name: str, rows: list[int], part: dict[int, str]) -> Finding:
    counts = {kind: sum(part[i] == kind for i in rows) for kind in dataset.splits}
    told = ", ".join(f"{count} in {kind}" for kind, count in counts.items() if count)
    border = next((a, b) for a, b in pairwise(rows) if part[a] != part[b])
    first, other = border if part[border[0]] == "train" else border[::-1]
    judged = part[other] if part[other] != "train" else part[first]
    reason = (
        f"frames of one video ('{name}…') are in several parts: {told}; "
        f"next to {dataset.images.name(first)} in {part[first]}"
    )
    return Finding(
        "sequence leak", dataset.images.name(other), reason,
        f"Keep each video in one part: the score on {judged} says how well scenes that were learnt are known again, "
        "not how well new ones are.",
        image=other, other=first,
    )  # fmt: skip

"""Finds the colours of classes: as far apart as can be, bare and over photos, for eyes of four kinds, and says how far.

    python bench/palette.py

Colours are compared by CIEDE2000 as people with normal sight see them and as protanopia, deuteranopia and tritanopia
show them (matrices of Machado, Oliveira and Fernandes 2009, doi:10.1109/TVCG.2009.113, severity 1, in linear RGB).
The first 12, of clear hue and middle lightness, are searched by exchange from many starts. What counts of two of them
is the smallest of these distances, each divided by what WEIGHTS ask for (a pair of violets, light and dark, is far
apart when bare, but over a dark and a bright part of a photo it is one colour):

    bare      as in legends and boxes
    over      both over the same dark, middle or bright part of a photo, as ops/palette.py lays them over it
    across    one over a darker part than the other

They are ordered so that the first ones are the farthest apart. Each later colour is the one that is farthest from all
before it when bare. Prints the table that ops/palette.py holds, and the smallest distances of the first n.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from skimage.color import deltaE_ciede2000, rgb2lab

from hubel.ops.palette import STRENGTH

FIRST, ALL, STARTS = 12, 255, 400
GREYS = (45, 125, 210)  # dark, middle and bright parts of a photo
WEIGHTS = {"bare": (1.8, 1.1, 1.1, 1.0), "over": (1.4, 0.75, 0.75, 0.7), "across": (0.95, 0.3, 0.3, 0.3)}  # per eye
MACHADO = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def seen(colours: np.ndarray) -> np.ndarray:
    """(N, 3) uint8 -> (4, N, 3) CIELAB: what each kind of eye sees."""
    v = colours / 255
    linear = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)
    views = np.clip(np.stack([linear @ np.asarray(matrix).T for matrix in MACHADO.values()]), 0, 1)
    return rgb2lab(np.where(views <= 0.0031308, 12.92 * views, 1.055 * views ** (1 / 2.4) - 0.055))


def distances(lab: np.ndarray, k: int) -> np.ndarray:
    """(N,): of colour k to each one, for the eyes that see the least of it. lab (4, N, 3)."""
    return deltaE_ciede2000(lab[:, k : k + 1], lab).min(0).astype(np.float32)


def between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(4, N, 3) and (4, M, 3) -> (4, N, M): distances for each kind of eye."""
    return np.stack([deltaE_ciede2000(u[:, None], v[None]) for u, v in zip(a, b, strict=True)]).astype(np.float32)


def measures(colours: np.ndarray) -> dict[str, np.ndarray]:
    """(N, 3) -> (4, N, N) for each of "bare", "over" and "across": the smallest distances, for each kind of eye."""
    bare, over = seen(colours), [seen(STRENGTH * colours + (1 - STRENGTH) * grey) for grey in GREYS]
    steps = [between(darker, brighter) for darker, brighter in pairwise(over)]
    steps = [np.minimum(step, step.transpose(0, 2, 1)) for step in steps]
    same = np.min([between(one, one) for one in over], 0)
    return {"bare": between(bare, bare), "over": same, "across": np.min(steps, 0)}


def least(table: np.ndarray, chosen: list[int]) -> float:
    """The smallest distance between any two."""
    part = table[np.ix_(chosen, chosen)] + np.eye(len(chosen)) * 1e3
    return float(part.min())


def exchanged(table: np.ndarray, chosen: list[int]) -> list[int]:
    """Each colour in turn is replaced by the one farthest from the others, until nothing gets better."""
    best = -1.0
    while least(table, chosen) > best:
        best = least(table, chosen)
        for k in range(len(chosen)):
            others = chosen[:k] + chosen[k + 1 :]
            chosen = [*chosen[:k], int(table[others].min(0).argmax()), *chosen[k + 1 :]]
    return chosen


def first(candidates: np.ndarray) -> np.ndarray:
    """(12, 3): the best set of all starts: first the two farthest apart, then always the farthest from those before."""
    lab = seen(candidates)
    normal = lab[0]
    clear = (np.hypot(normal[:, 1], normal[:, 2]) > 35) & (normal[:, 0] > 30) & (normal[:, 0] < 92)
    candidates = candidates[clear]
    found = measures(candidates)
    table = np.min([(found[way] / np.reshape(weights, (4, 1, 1))).min(0) for way, weights in WEIGHTS.items()], 0)
    random = np.random.default_rng(0)
    sets = [exchanged(table, random.choice(len(candidates), FIRST, replace=False).tolist()) for _ in range(STARTS)]
    best = max(sets, key=lambda chosen: least(table, chosen))
    part = table[np.ix_(best, best)]
    order = [int(i) for i in np.unravel_index(part.argmax(), part.shape)]
    while len(order) < FIRST:
        rest = [i for i in range(FIRST) if i not in order]
        order.append(max(rest, key=lambda i: float(part[i, order].min())))
    return candidates[[best[i] for i in order]]


def main() -> None:
    coarse = np.stack(np.meshgrid(*[np.arange(0, 256, 28)] * 3, indexing="ij"), -1).reshape(-1, 3)
    found = first(coarse.astype(np.uint8))
    fine = np.stack(np.meshgrid(*[np.arange(0, 256, 17)] * 3, indexing="ij"), -1).reshape(-1, 3).astype(np.uint8)
    lab = seen(np.concatenate([found, fine]))
    visible = (lab[0, :, 0] > 25) & (lab[0, :, 0] < 96) & (np.hypot(lab[0, :, 1], lab[0, :, 2]) > 10)
    apart, chosen = np.where(visible, np.inf, -1.0), list(range(FIRST))
    for k in range(ALL):
        if k >= FIRST:
            chosen.append(int(apart.argmax()))
        apart = np.minimum(apart, distances(lab, chosen[k]))
    colours = np.concatenate([found, fine])[chosen]
    words = ["".join(f"{v:02x}" for v in colour) for colour in colours.tolist()]
    for i in range(0, ALL, 16):
        print("   ", *words[i : i + 16])
    for n in (4, 8, FIRST, 24, 40):
        for way, found in measures(colours[:n]).items():
            each = (found + np.eye(n) * 1e3).min((1, 2)).tolist()
            print(n, way, {eyes: round(v, 1) for eyes, v in zip(MACHADO, each, strict=True)})


if __name__ == "__main__":
    main()

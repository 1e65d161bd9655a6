"""Run-length masks as COCO writes them: how many 0, then how many 1, … going down column after column.

    counts (R,) of a mask (H, W): Σ counts = H · W, pixel k of the mask read in columns is k mod H down, k div H across.

As text, counts k > 2 are first replaced by their difference to the count two before; each number is cut into groups of
5 bits, lowest first, and each group becomes one character, chr(48 + bits + 32 · (another follows)). The last group's
highest bit is the sign. (The format of COCO's own tools, as its files define it.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hubel.data.ragged import Ragged

MOST = 2**32 - 1  # a count is uint32
FIRST, MORE, SIGN, BITS = 48, 32, 16, 5
DIGITS = 7  # groups that a difference of two uint32 can need


def encode(mask: np.ndarray) -> np.ndarray:
    """(H, W) of 0 and not 0 -> counts (R,) uint32; the first one is 0 where the first pixel is set."""
    pixels = np.asarray(mask).astype(bool).ravel(order="F")
    if not pixels.size:
        return np.zeros(0, np.uint32)
    edges = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    ends = np.concatenate([[0] if pixels[0] else [], edges, [pixels.size]])
    return np.diff(ends, prepend=0).astype(np.uint32)


def decode(counts: np.ndarray, height: int, width: int) -> np.ndarray:
    """-> (height, width) uint8 of 0 and 1. Raises ValueError where the counts are not height · width in all."""
    counts = np.asarray(counts, dtype=np.int64)
    if counts.sum() != height * width:
        raise ValueError(f"run lengths add up to {counts.sum():,}, not to {height} x {width} = {height * width:,}")
    values = (np.arange(len(counts)) % 2).astype(np.uint8)
    return np.repeat(values, counts).reshape((height, width), order="F")


def area(counts: np.ndarray) -> int:
    """How many pixels are set."""
    return int(np.asarray(counts)[1::2].sum(dtype=np.int64))


def areas(runs: Ragged) -> np.ndarray:
    """(M,) int64: the same for each of M masks."""
    within = np.arange(len(runs.values)) - runs.offsets[:-1][runs.owners]
    total = np.concatenate([[0], np.cumsum(np.where(within % 2, runs.values, 0), dtype=np.int64)])
    return total[runs.offsets[1:]] - total[runs.offsets[:-1]]


def box(counts: np.ndarray, height: int) -> tuple[int, int, int, int]:
    """(x0, y0, x1, y1) in pixel edges around what is set; zeros where nothing is."""
    ends = np.cumsum(counts, dtype=np.int64)
    first, last = ends[:-1:2], ends[1::2] - 1  # of each run of 1
    first, last = first[: len(last)][last >= first[: len(last)]], last[last >= first[: len(last)]]
    if not len(last):
        return 0, 0, 0, 0
    x0, x1 = int(first[0] // height), int(last[-1] // height)
    if (first // height != last // height).any():  # a run that goes on in the next column touches both edges
        return x0, 0, x1 + 1, height
    return x0, int((first % height).min()), x1 + 1, int((last % height).max()) + 1


# As text ---------------------------------------------------------------------------------------------------------


def to_text(counts: np.ndarray) -> str:
    """Counts (R,) -> the compressed string."""
    numbers = np.array(counts, dtype=np.int64)
    numbers[3:] -= np.asarray(counts, dtype=np.int64)[1:-2]
    groups = numbers[:, None] >> (BITS * np.arange(DIGITS))  # (R, DIGITS), arithmetic: the sign is kept
    done = np.where(groups & SIGN, groups >> BITS == -1, groups >> BITS == 0)
    last = done.argmax(1)[:, None]
    place = np.arange(DIGITS)
    characters = (groups & (MORE - 1)) + np.where(place < last, MORE, 0) + FIRST
    return characters[place <= last].astype(np.uint8).tobytes().decode("ascii")


def from_texts(texts: Sequence[str | bytes]) -> tuple[Ragged, list[str]]:
    """Compressed strings -> M sequences of counts (uint32), and for each what is wrong with it, "" where nothing is."""
    encoded = [text if isinstance(text, bytes) else text.encode("utf-8", "replace") for text in texts]
    data = np.frombuffer(b"".join(encoded), np.uint8).astype(np.int64) - FIRST
    owners = np.repeat(np.arange(len(encoded)), [len(one) for one in encoded])
    faults = _faults(data, owners, len(encoded))
    if any(faults):
        good = np.array([not fault for fault in faults], dtype=bool)
        data, owners = data[good[owners]], owners[good[owners]]
    numbers, owners = _numbers(data, owners)
    offsets = np.searchsorted(owners, np.arange(len(encoded) + 1))
    counts = _undo_differences(numbers, offsets)
    wrong = np.flatnonzero((counts < 0) | (counts > MOST))
    for i in np.unique(owners[wrong]).tolist():
        faults[i] = "a run length is negative, or larger than a mask can be"
    keep = np.isin(owners, np.unique(owners[wrong]), invert=True)
    offsets = np.searchsorted(owners[keep], np.arange(len(encoded) + 1)).astype(np.int64)
    return Ragged(counts[keep].astype(np.uint32), offsets), faults


def _faults(data: np.ndarray, owners: np.ndarray, count: int) -> list[str]:
    faults = [""] * count
    for i in np.unique(owners[(data < 0) | (data >= 2 * MORE)]).tolist():
        faults[i] = "a character stands in it that such a text never has"
    ends = np.flatnonzero(np.diff(owners, append=-1))
    for i in owners[ends[(data[ends] & MORE) > 0]].tolist():
        faults[i] = faults[i] or "it ends in the middle of a number"
    stops = np.flatnonzero(data & MORE == 0)
    for i in np.unique(owners[stops[np.diff(stops, prepend=-1) > DIGITS]]).tolist():
        faults[i] = faults[i] or _too_long(data[owners == i])
    return faults


def _too_long(data: np.ndarray) -> str:
    stops = np.flatnonzero(data & MORE == 0)
    return "a number in it is too long" if np.diff(stops, prepend=-1).max(initial=0) > DIGITS else ""


def _numbers(data: np.ndarray, owners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Groups of 5 bits -> numbers with a sign, and the text of each."""
    ends = np.flatnonzero((data & MORE) == 0)
    if not len(ends):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    starts = np.concatenate([[0], ends[:-1] + 1])
    place = np.arange(len(data)) - np.repeat(starts, ends - starts + 1)
    numbers = np.add.reduceat((data & (MORE - 1)) << (BITS * place), starts)
    negative = (data[ends] & SIGN) > 0
    return numbers - np.where(negative, np.int64(1) << (BITS * (ends - starts + 1)), 0), owners[ends]


def _undo_differences(numbers: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Number k > 2 of each text is a difference to number k − 2: two running sums per text, odd k and even k > 0."""
    counts = numbers.copy()
    within = np.arange(len(numbers)) - np.repeat(offsets[:-1], np.diff(offsets))
    for parity, first in ((1, 1), (0, 2)):
        rows = np.flatnonzero((within % 2 == parity) & (within >= first))
        if len(rows):
            total = np.cumsum(numbers[rows])
            start = np.flatnonzero(within[rows] == first)
            before = np.concatenate([[0], total])[start]
            counts[rows] = total - np.repeat(before, np.diff(start, append=len(rows)))
    return counts

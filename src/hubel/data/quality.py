"""What a training would suffer from: images too dark, blurred, empty; copies, leaks, copies with other labels; classes
that are rare, or shared out differently between the parts.

looks -> findings. What is true of a large share of the images is how they are, and is said once and not of each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import combinations

import numpy as np

from hubel.data.alike import closest, equal_groups, similar_pairs
from hubel.data.dataset import Dataset, is_array
from hubel.data.findings import Finding
from hubel.data.looks import Looks
from hubel.data.sequences import sequence_findings

COMMON = 0.2  # of the images: a fault that more of them have is their nature
MANY, ALIKE = 200, 0.05  # pairs that look alike, and share of the images: of more only the closest are named
RARE = 10  # images of a class in the training part
IMBALANCE = 10  # times as many images of the commonest class as of the rarest
SHIFT = 0.1  # of the images that would have to change class for two parts to agree
LINES = 0.1  # deviation of the luma: strokes on a plain ground have more, however few they are
SIGMAS = 4.0  # that a shift of classes must be beyond chance

Rows = np.ndarray
LIGHT: tuple[tuple[str, Callable[[Rows], Rows], Callable[[Rows], str], str], ...] = (
    (
        "constant image",
        lambda r: r["contrast"] < 0.008,
        lambda r: f"all pixels have nearly the same grey, {100 * r['mean']:.0f} % of white",
        "Remove it: there is nothing to see.",
    ),
    (
        "near-empty image",
        lambda r: (r["contrast"] >= 0.008) & (r["filled"] < 0.002),
        lambda r: f"all but {100 * r['filled']:.2f} % of the pixels are background",
        "Look whether its object is in the picture; else remove it.",
    ),
    (
        "dark image",
        lambda r: (r["contrast"] >= 0.008) & (r["high"] < 0.15) & (r["contrast"] < LINES) & (r["filled"] >= 0.002),
        lambda r: f"95 % of its pixels are below {100 * r['high']:.0f} % of white",
        "Look whether a person could tell what it shows; else remove it, or brighten such images here and in use.",
    ),
    (
        "overexposed image",
        lambda r: (r["contrast"] >= 0.008) & (r["low"] > 0.92) & (r["contrast"] < LINES) & (r["filled"] >= 0.002),
        lambda r: f"95 % of its pixels are above {100 * r['low']:.0f} % of white",
        "Look whether a person could tell what it shows; else remove it.",
    ),
    (
        "blurred image",
        lambda r: (r["detail"] < 0.05) & (r["contrast"] >= 0.008) & (np.minimum(r["height"], r["width"]) >= 64),
        lambda r: (
            f"its finest detail is {100 * max(0.0, float(r['detail'])):.0f} % of what its coarser detail lets expect"
        ),
        "Look whether a person could tell what it shows; an image that was enlarged has no more than its small form.",
    ),
)


def image_findings(dataset: Dataset, looks: Looks) -> list[Finding]:
    """Of light, sharpness and content, image by image."""
    found: list[Finding] = []
    readable = max(1, int(looks.rows["read"].sum()))
    for kind, test, reason, action in LIGHT:
        hit = np.flatnonzero(looks.rows["read"] & test(looks.rows))
        if len(hit) > COMMON * readable and len(hit) > 1:
            told = f"{len(hit):,} of {readable:,} images: this is how these images are"
            found.append(Finding(kind, "", told, "Nothing, unless it surprises you.", severity="note"))
            continue
        found += [Finding(kind, dataset.images.name(i), reason(looks.rows[i]), action, image=i) for i in hit.tolist()]
    return found


# Copies ----------------------------------------------------------------------------------------------------------


def copy_findings(dataset: Dataset, looks: Looks) -> list[Finding]:
    """Equal images, and images that look alike: across parts (a leak), with different labels, or just twice."""
    part = _part_of(dataset)
    found = sequence_findings(dataset, looks)
    for group in equal_groups(looks):
        first = int(group[0])
        found += [_copy(dataset, part, first, int(other), "the same pixels as") for other in group[1:]]
    pairs = similar_pairs(looks)
    if len(pairs) > max(MANY, ALIKE * len(looks)):
        told = f"{len(pairs):,} pairs of {len(looks):,} images look alike: this is how these images are"
        pairs = closest(looks, pairs)
        told += f"; the {len(pairs):,} that are alike the most are named" if len(pairs) else ""
        found.append(Finding("alike", "", told, "Nothing, unless it surprises you.", severity="note"))
    return found + [_copy(dataset, part, first, other, "looks like") for first, other in pairs.tolist()]


def _part_of(dataset: Dataset) -> dict[int, str]:
    return {int(i): name for name, index in dataset.splits.items() for i in index}


def _copy(dataset: Dataset, part: dict[int, str], first: int, other: int, how: str) -> Finding:
    """What the pair means: the gravest of a leak, a conflict, a copy."""
    near = how == "looks like"
    a, b = dataset.images.name(first), dataset.images.name(other)
    here, there = part.get(first), part.get(other)
    labels = _label(dataset, first), _label(dataset, other)
    if labels[0] != labels[1]:
        reason = f"{how} {a}, but one is '{labels[0]}' and the other '{labels[1]}'"
        return Finding(
            "conflicting labels", b, reason, "Correct the label of one of the two.", image=other, other=first
        )
    if here != there and here and there:
        return Finding(
            "near leak" if near else "leak", b, f"in {there}, {how} {a} in {here}",
            f"Keep both in one part, or remove one: the score on {there if here == 'train' else here} is too good.",
            image=other, severity="warning" if near else "error", other=first,
        )  # fmt: skip
    kind = "near duplicate" if near else "duplicate"
    return Finding(kind, b, f"{how} {a}", "Keep one of the two, unless this is meant.", image=other, other=first)


def _label(dataset: Dataset, i: int) -> str | None:
    labels = dataset.annotations.get("label")
    return None if labels is None else dataset.classes[int(labels[i])]


# Classes ---------------------------------------------------------------------------------------------------------


def class_counts(dataset: Dataset, index: np.ndarray) -> np.ndarray | None:
    """(K,) how often each class occurs in the images `index`: as label, among several labels, or as an object."""
    columns = dataset.annotations
    if "label" in columns:
        return np.bincount(columns["label"][index], minlength=len(dataset.classes))
    if "labels" in columns:
        return np.nansum(columns["labels"][index] > 0.5, axis=0).astype(np.int64)
    objects = columns.get("objects")
    if objects is None or is_array(objects) or not dataset.classes:
        return None
    labels = objects.take(index).labels
    return np.bincount(labels[labels >= 0], minlength=len(dataset.classes))


def class_findings(dataset: Dataset) -> list[Finding]:
    """Of the classes: none or few examples to learn from, imbalance, other shares in another part.

    Parts without a class in common are parts of identities: new ones are met in each, and nothing is said.
    """
    parts = dataset.splits or {"train": dataset.usable()}
    counts = {name: found for name, index in parts.items() if (found := class_counts(dataset, index)) is not None}
    if "train" not in counts or len(dataset.classes) < 2:
        return []
    if len(counts) > 1 and (np.sum([n > 0 for n in counts.values()], axis=0) <= 1).all():
        return []
    return [*_rare(dataset, counts["train"]), *_imbalance(dataset, counts["train"]), *_shifts(counts)]


def _rare(dataset: Dataset, counts: np.ndarray) -> Iterator[Finding]:
    few = [f"'{dataset.classes[k]}' ({counts[k]})" for k in np.argsort(counts, kind="stable") if counts[k] < RARE]
    if few:
        more = f" and {len(few) - 10} more" if len(few) > 10 else ""
        reason = f"fewer than {RARE} examples to learn from: {', '.join(few[:10])}{more}"
        yield Finding("rare class", "", reason, "Collect more of these, or merge or leave out the classes.")


def _imbalance(dataset: Dataset, counts: np.ndarray) -> Iterator[Finding]:
    high, low = int(counts.argmax()), int(np.where(counts > 0, counts, counts.max()).argmin())
    if counts[low] and counts[high] >= IMBALANCE * counts[low]:
        reason = (
            f"'{dataset.classes[high]}' has {counts[high]:,} examples, '{dataset.classes[low]}' {counts[low]:,}: "
            f"{counts[high] / counts[low]:.0f} times as many"
        )
        yield Finding("imbalance", "", reason, "Train with --balance sampler or --balance loss, and judge by macro F1.")


def _shifts(counts: dict[str, np.ndarray]) -> Iterator[Finding]:
    """Total variation ½ Σ |p − q| between the shares of two parts, where χ² says that it is no chance."""
    for (one, a), (other, b) in combinations(counts.items(), 2):
        if not a.sum() or not b.sum():
            continue
        apart = np.abs(a / a.sum() - b / b.sum()).sum() / 2
        if apart > SHIFT and _beyond_chance(a, b):
            reason = f"{one} and {other} have other shares of the classes: {apart:.0%} of one would have to change"
            yield Finding(
                "class shift", "", reason, "Split anew with --split.stratify, or find out why the parts differ."
            )


def _beyond_chance(a: np.ndarray, b: np.ndarray) -> bool:
    """χ² of the 2 × K table, against its mean K − 1 and deviation √(2 (K − 1))."""
    table = np.stack([a, b])[:, (a + b) > 0].astype(np.float64)
    expected = table.sum(1, keepdims=True) * table.sum(0) / table.sum()
    freedom = table.shape[1] - 1
    return bool(((table - expected) ** 2 / expected).sum() > freedom + SIGMAS * np.sqrt(2 * freedom))


def summary(findings: list[Finding]) -> dict[str, int]:
    """How many of each kind, the commonest first."""
    return dict(Counter(one.kind for one in findings).most_common())

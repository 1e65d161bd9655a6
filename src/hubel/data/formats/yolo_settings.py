"""What a YOLO data.yaml says of classes and keypoints: `names`, `nc`, `kpt_shape`, `flip_idx`, `kpt_names`, `skeleton`.

`names` is a list or {number: name}; without it, classes.txt or obj.names has one name a line, or classes are numbers.
`kpt_shape: [J, 2 or 3]`: J keypoints of x, y or x, y, visibility. `flip_idx`: which keypoint each becomes in a mirror.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hubel.data.findings import Finding
from hubel.data.formats.layout import Gathered
from hubel.data.objects import Skeleton
from hubel.data.yaml_file import NOTHING, YamlFile, read_text, whole

SETTINGS = ("names", "nc", "kpt_shape", "flip_idx", "kpt_names", "skeleton")
CLASS_FILES = ("classes.txt", "obj.names")
MAX_CLASSES = 100_000


def class_names(found: Gathered, settings: YamlFile | None, home: Path) -> list[str] | None:
    """Names of the classes by number; None where no file says how many there are."""
    said = settings.names() if settings else None
    count = settings.integer("nc") if settings else None
    if said is None:
        for name in CLASS_FILES:
            if found.may_open(os.path.relpath(os.path.realpath(home), found.fence.root) + "/" + name):
                lines = [line.strip() for line in read_text(home / name, 2**22).splitlines()]
                found.notes.append(f"classes are those of {name}")
                return [line for line in lines if line]
        if count is None:
            return None
        if not 0 < count <= MAX_CLASSES:
            raise settings.fault("nc", f"1 … {MAX_CLASSES:,}")  # type: ignore[union-attr]
        return [str(k) for k in range(count)]
    assert settings is not None
    top = max(said, default=-1)
    if min(said, default=0) < 0 or top >= MAX_CLASSES or not said:
        raise settings.fault("names", f"a name for each of the numbers 0, 1, … below {MAX_CLASSES:,}")
    if len(said) <= top:
        found.notes.append(
            f"names has no name for {top + 1 - len(said)} numbers below {top}: they are called by number"
        )
    if count is not None and count != top + 1:
        reason = f"nc is {count}, but there are {top + 1} names"
        file = settings.path.name
        found.findings.append(Finding("class count", file, reason, "Correct nc, or add names.", settings.lines["nc"]))
    return [said.get(k, str(k)) for k in range(top + 1)]


def pose_shape(settings: YamlFile | None) -> tuple[int, int]:
    """Keypoints per object and numbers per keypoint: (0, 3) where data.yaml has no `kpt_shape`."""
    if settings is None or "kpt_shape" not in settings:
        return 0, 3
    shape = settings.values["kpt_shape"]
    numbers = [whole(one) for one in shape] if isinstance(shape, list) else []
    if len(numbers) != 2 or numbers[0] is None or not 0 < numbers[0] <= 10_000 or numbers[1] not in (2, 3):
        raise settings.fault("kpt_shape", "[keypoints, 2] or [keypoints, 3]")
    return numbers[0], numbers[1]


def skeleton(settings: YamlFile, joints: int) -> Skeleton:
    """Names, edges and mirrored partners of the keypoints, as far as data.yaml says."""
    names = settings.numbered("kpt_names") or {}
    first = next(iter(names.values()), None)
    words = first if isinstance(first, list) else list(names.values())
    if not (len(words) == joints and all(isinstance(word, str) for word in words)):
        words = [str(k + 1) for k in range(joints)]
    swaps = _indices(settings, "flip_idx", settings.values.get("flip_idx", []), joints)
    if swaps and sorted(swaps) != list(range(joints)):
        raise settings.fault("flip_idx", f"each of the numbers 0 … {joints - 1} once")
    pairs = settings.values["skeleton"] if "skeleton" in settings else []
    edges = [_indices(settings, "skeleton", pair, joints) for pair in (pairs if isinstance(pairs, list) else [pairs])]
    if any(len(pair) != 2 for pair in edges):
        raise settings.fault("skeleton", "pairs of keypoints")
    plain = Skeleton(tuple(words), tuple((a, b) for a, b in edges))
    return (
        plain if not swaps or plain.mirrored().tolist() == swaps else Skeleton(plain.names, plain.edges, tuple(swaps))
    )


def _indices(settings: YamlFile, key: str, values: Any, joints: int) -> list[int]:
    if values in NOTHING:
        return []
    numbers = [whole(value) for value in values] if isinstance(values, list) else [None]
    if any(number is None or not 0 <= number < joints for number in numbers):
        raise settings.fault(key, f"a list of numbers 0 … {joints - 1}")
    return numbers  # type: ignore[return-value]

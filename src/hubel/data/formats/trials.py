"""One-shot trials as Omniglot has them: a run shows one image of each of 20 classes, then asks for that of 20 more.

one_shot_runs/runNN/class_labels.txt: lines "runNN/test/itemMM.png runNN/training/classKK.png"
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hubel.data.findings import Finding
from hubel.data.formats.fence import printable
from hubel.data.formats.layout import Gathered
from hubel.data.formats.walk import folders

FOLDER, LABELS = "one_shot_runs", "class_labels.txt"


def has_trials(folder: Path) -> bool:
    """Whether the folder holds runs of trials."""
    return folder.name == FOLDER and any((run / LABELS).is_file() for run in folders(folder))


def add_trials(path: Path, gathered: Gathered) -> tuple[dict[str, np.ndarray], list[str]]:
    """Adds the images of all runs. {"trials": (T, 3)} and the name of the class of each image added; {}, [] without."""
    base = path / FOLDER
    if not base.is_dir() or not has_trials(base):
        return {}, []
    trials: list[tuple[int, int, int]] = []
    who: list[str] = []
    for number, run in enumerate(folders(base), start=1):
        if (run / LABELS).is_file():
            _add_run(number, run, path, gathered, trials, who)
    return {"trials": np.array(trials, dtype=np.int64).reshape(-1, 3)}, who


def _add_run(
    number: int, run: Path, path: Path, gathered: Gathered, trials: list[tuple[int, int, int]], who: list[str]
) -> None:
    file = f"{FOLDER}/{run.name}/{LABELS}"
    text = (run / LABELS).read_bytes().decode("utf-8", "replace")
    for line, words in enumerate((one.split() for one in text.splitlines()), start=1):
        if not words:
            continue
        names = [f"{FOLDER}/{word}" for word in words]
        if len(names) != 2:
            action = "Write the image, a space, and the image of its class."
            reason = f"{len(names)} names, expected 2"
            gathered.findings.append(Finding("broken line", printable(file), reason, action, line, severity="error"))
            continue
        if all(_added(gathered, name, names[1], file, line, who) for name in names[::-1]):
            item, one = (gathered.positions[_normal(name)] for name in names)
            trials.append((number, item, one))


def _added(gathered: Gathered, name: str, shown: str, file: str, line: int, who: list[str]) -> bool:
    """Whether the image is there now; a new one is of the class that the image `shown` shows."""
    before = len(gathered.names)
    relative = gathered.fence.relative(name)
    if relative is None:
        gathered.refuse(name, "outside", file, line)
        return False
    gathered.add(relative, said_by=file, line=line)
    if len(gathered.names) > before:
        who.append(str(Path(shown).with_suffix("")).replace("/training/", "/"))
    return relative in gathered.positions


def _normal(name: str) -> str:
    return str(Path(name))

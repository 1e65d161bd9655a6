"""Folders of identities: who or what is in the picture, where new ones are met after training.

    ROOT/train/<identity>/*.jpg + ROOT/test/<identity>/*.jpg     no identity in two parts
    ROOT/<group>/<identity>/*.png                                characters of alphabets, dogs of breeds (also below
                                                                 ROOT/images); the group stays in one part
    ROOT/<identity>/*.jpg                                        only with format="identities"

One-shot trials beside (one_shot_runs/runNN/class_labels.txt, as Omniglot has them: Lake et al., Science 350, 2015)
become the test part and tables["trials"] (T, 3) int64: number of the run, image, the run's image of the same class.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hubel.data.dataset import SPLITS, Dataset
from hubel.data.decode import MAX_PIXELS
from hubel.data.formats.class_folders import in_folders
from hubel.data.formats.copies import REST, SHELVES, copy_images, new_folder, overlapping, places
from hubel.data.formats.fence import Fence, printable
from hubel.data.formats.layout import PART_NAMES, Gathered
from hubel.data.formats.pairs_text import file_of, positions_of, read_pairs, write_table
from hubel.data.formats.trials import add_trials, has_trials
from hubel.data.formats.walk import folders, is_image, natural
from hubel.errors import UserError

ENOUGH = 3  # identities in each part, or on average in each group: with fewer it may be a slip of the pen
PICTURES = (2, 500)  # of an identity on average, where groups hold identities: more would be classes
OTHERS = dict.fromkeys((*SHELVES, "labels", "annotations", "imagesets", "segmentations"), "")
LOOKED_AT = 40  # folders that recognising looks into


def recognise(path: Path) -> str | None:
    """Why these are identities, or None."""
    if not path.is_dir():
        return None
    parts = _parts(path)
    if parts:
        return "no identity of the training part is in another" if _apart(path, parts) else None
    root = _root(path)
    groups = _groups(root)
    return f"{len(groups)} groups of identities in '{printable(root.name)}'" if groups else None


def read(path: Path, *, channels: int | None = None, max_pixels: int = MAX_PIXELS) -> Dataset:
    """The dataset, with label = identity. Raises UserError where there are fewer than two identities."""
    path = Path(path)
    if not path.is_dir():
        raise UserError(f"{path} is no folder. Identities are folders of images.")
    gathered = Gathered(Fence(path.resolve()))
    parts = _parts(path)
    root = _root(path)
    folders_of = [(part, path / part) for part in parts] or [("", root)]
    people: list[str] = []  # of each image
    groups: list[str] = []
    for part, folder in folders_of:
        for name in gathered.add_folder(_relative(folder, path), PART_NAMES.get(part.lower(), "")):
            if name in gathered.positions:
                who = Path(name).parent.relative_to(_relative(folder, path)).as_posix()
                people.append(who)
                groups.append(who.rpartition("/")[0])
    people, groups = _without_loose(gathered, people, groups)
    classes = tuple(sorted(set(people), key=natural))
    if len(classes) < 2:
        raise UserError(f"{path} has {len(classes)} folders of identities, expected two: ROOT/<identity>/*.jpg.")
    return _dataset(path, gathered, people, groups, classes, channels, max_pixels)


def write(dataset: Dataset, out: Path) -> list[str]:
    """A folder for each identity, below one for each part, and pairs.csv; gives what was lost, one sentence each."""
    label = dataset.annotations.get("label")
    if label is None:
        raise UserError(f"{dataset.name} has no label for its images: identities need one. Choose another format.")
    out = new_folder(Path(out))
    where = places(dataset)
    names = [""] * len(dataset)
    for part in dict.fromkeys(where.parts):
        index = [i for i, one in enumerate(where.parts) if one == part]
        placed = in_folders([where.names[i] for i in index], label[index], dataset.classes)
        for i, name in zip(index, placed, strict=True):
            names[i] = f"{part}/{name}".lstrip("/")
    lost = _lost(dataset, where.parts)
    if "pairs" in dataset.tables:
        write_table(out / "pairs.csv", dataset.tables["pairs"], names)
    return lost + copy_images(dataset, [out / name for name in names])


# Where they are --------------------------------------------------------------------------------------------------


def _parts(path: Path) -> list[str]:
    """Folders of parts, one of them the training part; [] where there are none."""
    found = [f.name for f in folders(path) if f.name.lower() in PART_NAMES]
    found.sort(key=lambda name: SPLITS.index(PART_NAMES[name.lower()]))
    return found if any(PART_NAMES[name.lower()] == "train" for name in found) else []


def _apart(path: Path, parts: Sequence[str]) -> bool:
    """Whether the parts have no folder in common, and each has enough identities, which may be in groups."""
    names: dict[bool, set[str]] = {True: set(), False: set()}
    for part in parts:
        below = folders(path / part)
        train = PART_NAMES[part.lower()] == "train"
        names[train] |= {f.name.casefold() for f in below}
        counts = [1 if _has_files(f) else len(folders(f)) for f in below[:LOOKED_AT]]
        if sum(counts) + len(below) - len(counts) < ENOUGH:
            return False
    return bool(names[True] and names[False]) and not names[True] & names[False]


def _root(path: Path) -> Path:
    """Where the identities or groups are: in the only folder of their kind, or in the path itself."""
    below = [f for f in folders(path) if not has_trials(f)]
    return below[0] if len(below) == 1 and below[0].name.lower() in ("images", "imgs", "data") else path


def _groups(root: Path) -> list[Path]:
    """Folders that hold folders of images, and nothing else; [] where it is not so for all that were looked at."""
    groups = [f for f in folders(root) if not has_trials(f)]
    if len(groups) < 2 or any(f.name.lower() in PART_NAMES | OTHERS for f in groups):
        return []
    inner = [folders(f) for f in groups[:LOOKED_AT]]
    some = [f for one in inner for f in one[: 1 + LOOKED_AT // len(inner)]]
    if not all(inner) or sum(map(len, inner)) < ENOUGH * len(inner) or any(_has_files(f) for f in groups[:LOOKED_AT]):
        return []
    counts = [_count_images(f) for f in some]
    fits = all(counts) and PICTURES[0] <= sum(counts) / len(counts) <= PICTURES[1] and not any(map(folders, some))
    return groups if fits else []


def _has_files(folder: Path) -> bool:
    return _count_images(folder) > 0


def _count_images(folder: Path) -> int:
    return sum(is_image(entry) for entry in os.scandir(folder))


def _relative(folder: Path, path: Path) -> str:
    return "" if folder == path else folder.relative_to(path).as_posix()


# Putting together --------------------------------------------------------------------------------------------------


def _without_loose(gathered: Gathered, people: list[str], groups: list[str]) -> tuple[list[str], list[str]]:
    """Images in no identity's folder take no part, and trials are read on their own."""
    trials = not gathered.parts  # only a folder beside the identities holds trials
    keep = [i for i, who in enumerate(people) if who != "." and not (trials and who.split("/")[0] == "one_shot_runs")]
    loose = sum(who == "." for who in people)
    if loose:
        gathered.notes.append(f"{loose:,} images are in no identity's folder and take no part")
    if len(keep) < len(people):
        kept = [gathered.names[i] for i in keep]
        new = {name: i for i, name in enumerate(kept)}
        gathered.parts = {
            part: [new[gathered.names[i]] for i in index if gathered.names[i] in new]
            for part, index in gathered.parts.items()
        }
        gathered.names, gathered.positions = kept, new
    return [people[i] for i in keep], [groups[i] for i in keep]


def _dataset(
    path: Path, gathered: Gathered, people: list[str], groups: list[str], classes: tuple[str, ...],
    channels: int | None, max_pixels: int,
) -> Dataset:  # fmt: skip
    count = len(people)
    tables, more = add_trials(path, gathered)
    label = _numbers([*people, *more], [*classes, *dict.fromkeys(more)])
    notes = [f"folders of identities: {len(classes):,} identities, {count:,} images"]
    notes += [f"no identity is in two parts: {', '.join(gathered.parts)}"] if gathered.parts else []
    annotations = {"label": label}
    if any(groups):
        names = sorted(set(groups), key=natural)
        annotations["group"] = _numbers([*groups, *(m.rpartition("/")[0] for m in more)], None)
        notes.append(f"{len(names):,} groups, kept whole in a split: {', '.join(names[:8])}{' …' * (len(names) > 8)}")
    if more:
        gathered.parts = {"train": list(range(count)), "test": list(range(count, len(gathered.names)))}
        notes.append(f"one_shot_runs: {len(tables['trials']):,} trials, whose {len(more):,} images are the test part")
    else:
        notes += _add_pairs(path, gathered, tables)
    splits = gathered.splits()
    images = gathered.images(channels, max_pixels)
    return Dataset(
        printable(path.resolve().name),
        images,
        annotations,
        tuple(printable(c) for c in (*classes, *dict.fromkeys(more))),
        splits,
        source=str(path.resolve()),
        format="identities",
        notes=(*notes, *gathered.notes),
        findings=tuple(gathered.findings),
        tables=tables,
        traits={"identities": True},
    )


def _add_pairs(path: Path, gathered: Gathered, tables: dict[str, np.ndarray]) -> list[str]:
    """The table of pairs beside the folders, where there is one; gives notes on it."""
    file = file_of(path)
    if file is None:
        return []
    pairs = read_pairs(file, path.resolve())
    found = positions_of(pairs, gathered)
    known = (found >= 0).all(1)
    tables["pairs"] = found[known]
    gathered.findings += pairs.findings
    notes = [f"{printable(file.name)}: {int(known.sum()):,} pairs"]
    if not known.all():
        notes.append(f"{int((~known).sum()):,} pairs name images in no identity's folder and are left out")
    return notes


def _numbers(words: Sequence[str], order: Sequence[str] | None) -> np.ndarray:
    """(N,) int64: the position of each word in `order`, or in natural order."""
    number = {word: k for k, word in enumerate(order or sorted(set(words), key=natural))}
    return np.array([number[word] for word in words], dtype=np.int64)


def _lost(dataset: Dataset, parts: Sequence[str]) -> list[str]:
    lost = [f"'{name}' of {len(dataset):,} images" for name in dataset.annotations if name not in ("label", "group")]
    groups = dataset.annotations.get("group")
    if groups is not None and not all("/" in name for name in dataset.classes):
        lost.append(f"'group' of {len(dataset):,} images")
    lost += [
        f"the table '{name}' of {len(t):,} rows" for name, t in dataset.tables.items() if name != "pairs" and len(t)
    ]
    lost = [f"lost: {one}" for one in lost]
    if overlapping(dataset):
        lost.append("images in several parts are in the first of them only")
    if REST in parts:
        lost.append(f"{parts.count(REST):,} images in no part are in the folder '{REST}'")
    if len(np.unique(dataset.annotations["label"])) < len(dataset.classes):
        lost.append("identities without images have no folder")
    return lost

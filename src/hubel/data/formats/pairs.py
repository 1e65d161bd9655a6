"""Pairs of images of the same thing or of two, for verification: a CSV file, or pairs.txt as LFW writes it.

    image_1,image_2,same          10 300                        10 folds of 300 + 300 pairs (or: 300)
    a/1.jpg,a/2.jpg,1             Ann  1  4                     Ann/Ann_0001.jpg, Ann/Ann_0004.jpg: the same
    a/1.jpg,b/1.jpg,0             Ann  1  Bob  2                Ann/Ann_0001.jpg, Bob/Bob_0002.jpg: two

(LFW: Huang et al. 2007, UMass technical report 07-49.) The dataset has every image of the folder, `label` where each
lies in a folder of its identity, tables["pairs"] (P, 3) int64 image, image, 1 or 0, tables["folds"] (P,) where given.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hubel.data.dataset import Dataset
from hubel.data.decode import MAX_PIXELS
from hubel.data.formats import identities
from hubel.data.formats.class_folders import in_folders
from hubel.data.formats.copies import copy_images, new_folder, places
from hubel.data.formats.fence import Fence, printable
from hubel.data.formats.layout import Gathered
from hubel.data.formats.pairs_text import file_of, positions_of, read_pairs, write_table
from hubel.errors import UserError


def recognise(path: Path) -> str | None:
    """Why this is a file of pairs, or a folder with exactly one; None for identities with pairs beside them."""
    found = file_of(path)
    return None if found is None or identities.recognise(path) else f"{printable(found.name)} with pairs of images"


def read(path: Path, *, channels: int | None = None, max_pixels: int = MAX_PIXELS) -> Dataset:
    """Every image of the folder (of the pairs, where a file is given). UserError where no pair is there."""
    path = Path(path)
    file = file_of(path)
    if file is None:
        raise UserError(
            f"{path} is no file of pairs, and holds none or several. Expected columns such as image_1,image_2,same, or "
            "LFW's pairs.txt."
        )
    root = file.parent.resolve()
    gathered = Gathered(Fence(root))
    if path.is_dir():
        gathered.add_folder("")
    pairs = read_pairs(file, root)
    for name in (*pairs.left, *pairs.right):
        gathered.add(name)
    table = positions_of(pairs, gathered)
    whole = (table >= 0).all(1)
    if not whole.any():
        raise UserError(f"{file}: no line names two images that are there. Put the file beside the images.")
    label, people, label_notes = _identities(gathered.names)
    tables = {"pairs": table[whole]} | ({"folds": np.array(pairs.folds)[whole]} if any(pairs.folds) else {})
    images = gathered.images(channels, max_pixels)
    same_count = int(table[whole, 2].sum())
    return Dataset(
        printable(root.name if path.is_dir() else path.stem),
        images,
        label,
        people,
        source=str(path.resolve()),
        format="pairs",
        notes=(
            f"{printable(file.name)}: {int(whole.sum()):,} pairs, {same_count:,} of the same; {len(images):,} images",
            *label_notes,
            *gathered.notes,
        ),
        findings=(*gathered.findings, *pairs.findings),
        tables=tables,
        traits={"identities": True} if people else {},
    )


def write(dataset: Dataset, out: Path) -> list[str]:
    """pairs.csv beside the images, in the new folder `out`; gives what was lost. UserError without tables["pairs"]."""
    if not len(dataset.tables.get("pairs", ())):
        raise UserError(f"{dataset.name} has no pairs to write. Choose another format.")
    out = new_folder(Path(out))
    where = places(dataset)
    label = dataset.annotations.get("label") if dataset.traits.get("identities") else None
    names = [f"{part}/{name}".lstrip("/") for part, name in zip(where.parts, where.names, strict=True)]
    if label is not None:
        names = in_folders(names, label, dataset.classes)
    write_table(out / "pairs.csv", dataset.tables["pairs"], names)
    said = () if label is None else ("label",)
    lost = [f"lost: '{c}' of {len(dataset):,} images" for c in dataset.annotations if c not in said]
    lost += [f"lost: the table '{name}' of {len(t):,} rows" for name, t in dataset.tables.items() if name != "pairs"]
    lost += [f"lost: the parts of {len(dataset):,} images"] if dataset.splits else []
    return lost + copy_images(dataset, [out / name for name in names])


def _identities(names: list[str]) -> tuple[dict[str, np.ndarray], tuple[str, ...], list[str]]:
    """The folder of each image as its identity, where every image is in one and some folder has two."""
    folders = [name.rpartition("/")[0] for name in names]
    people = list(dict.fromkeys(folders))
    if "" in folders or not 2 <= len(people) < len(names):
        return {}, (), []
    number = {name: k for k, name in enumerate(people)}
    label = np.array([number[f] for f in folders], dtype=np.int64)
    return {"label": label}, tuple(printable(p) for p in people), [f"{len(people):,} folders of identities"]

"""What COCO JSON has no place for, with how many there are."""

from __future__ import annotations

import numpy as np

from hubel.data.dataset import Dataset
from hubel.data.formats.coco_numbers import inexact
from hubel.data.formats.copies import overlapping
from hubel.data.objects import DIFFICULT, OCCLUDED, TRUNCATED, Objects, Skeleton

FLAGS = {"difficult": DIFFICULT, "truncated": TRUNCATED, "occluded": OCCLUDED}
KEPT = ("objects", "image_id", "declared_size")


def lost(dataset: Dataset, objects: Objects, renumbered: bool, renamed: int) -> list[str]:
    """One sentence each; [] where everything comes back as it is."""
    told = [(_count(objects.flags, bit), f"{name} flags") for name, bit in FLAGS.items()]
    told += [(_both(objects), "run-length masks of objects that have polygons, too")]
    told += [(_infinite(objects), "objects' infinite numbers, which come back as no number")]
    told += [(_swaps(objects.skeleton), "pairs of keypoints that swap in a mirror and are not called left and right")]
    told += [(len(dataset), f"values of '{name}'") for name in dataset.annotations if name not in KEPT]
    told += [(len(table), f"rows of '{name}'") for name, table in dataset.tables.items() if name != "category_id"]
    sentences = [f"lost: {count:,} {what}" for count, what in told if count]
    bent = int(inexact(objects.boxes.reshape(-1, 4)).sum())
    sentences += [f"{bent:,} boxes change in their last digit: COCO says their width and height"] * bool(bent)
    sentences += ["the ids of images were not unique: they are numbered from 1"] * renumbered
    sentences += [f"{renamed:,} images got another name"] * bool(renamed)
    sentences += ["images in several parts are written to the first of them only"] * overlapping(dataset)
    if not len(objects.areas) and objects.count:
        sentences.append("areas were not given: they are those of the polygon, the mask or the box")
    if not len(objects.ids) and objects.count:
        sentences.append("objects had no ids: they are numbered from 1")
    return sentences


def _count(flags: np.ndarray, bit: int) -> int:
    return int((flags & bit > 0).sum()) if len(flags) else 0


def _both(objects: Objects) -> int:
    if objects.outlines is None or objects.runs is None:
        return 0
    return int(((objects.outlines.counts > 0) & (objects.runs.counts > 0)).sum())


def _infinite(objects: Objects) -> int:
    """Objects with an infinite number in outline, keypoints or area (those of boxes are counted with the boxes)."""
    bad = np.zeros(objects.count, bool)
    if len(objects.areas):
        bad |= np.isinf(objects.areas)
    if len(objects.keypoints):
        bad |= np.isinf(objects.keypoints).any((1, 2))
    if objects.outlines is not None:
        rings = objects.outlines.values
        bad[objects.outlines.owners[rings.owners[np.isinf(rings.values).any(1)]]] = True
    return int(bad.sum())


def _swaps(skeleton: Skeleton | None) -> int:
    if skeleton is None:
        return 0
    return int((Skeleton(skeleton.names).mirrored() != skeleton.mirrored()).sum() + 1) // 2

"""Targets of images whose pixels nobody reads again: annotations go where a matrix that was kept takes them.

Kept features (training/features.py) remember of each view the matrix, source pixels -> pixels of the view. Boxes,
outlines, keypoints and masks follow it as they followed the image itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from hubel.data.assemble import kept_of
from hubel.data.loader import Loader
from hubel.data.placed import Layer, Scene, place
from hubel.data.targets import columns_of, filled, slim, tensors
from hubel.ops.follow import Move
from hubel.types import map_tensors


def targets_through(
    loader: Loader, index: np.ndarray, matrices: Tensor, sizes: Tensor, seen_by: Loader | None = None
) -> Any:
    """What `Batch.targets` of `loader` carries of the images `index` (n,), seen through `matrices` (n, 3, 3).

    `sizes` (n, 2): height and width of the source images, whose pixels nobody reads; masks are read. `seen_by`: the
    loader that read the images, where it is another one, without augmentation for example.
    """
    targets, augment, seen_by = loader.targets(index), loader.augment, seen_by or loader
    preprocess = seen_by.preprocess
    columns = columns_of(targets)
    values: list[Any] = []
    if columns:
        drawn = seen_by.augment
        from_source = drawn is not None and bool(drawn.crop or drawn.turns) and loader.path != "resident"
        scenes = []
        for row, (height, width) in enumerate(sizes.tolist()):
            kept = None if from_source else kept_of(preprocess, (height, width))
            matrix = matrices[row].double().cpu().numpy()
            scenes.append(Scene((Layer(row, Move(matrix, (height, width), preprocess.size, kept=kept)),)))
        placed, _ = place([slim(column) for column in columns], scenes, preprocess.size, whole=augment is None)
        before = columns if augment is None else [None] * len(columns)
        values = [tensors(value, source, sizes) for value, source in zip(placed, before, strict=True)]
    return map_tensors(filled(targets, iter(values)), lambda t: t.to(loader.device))

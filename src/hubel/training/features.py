"""Frozen features: what comes out before the layers that learn, computed once for each image and kept on disk.

    images (B, C, H, W) -> maps -> the head's first layers -> features (B, F), or (B, F, h, w) -> the layers that learn
                        -> maps -> those that the head reads, in the training's number format -> the head

Where a head is cut, and where it can't be: feature_cut.py. The file is found again by a hash of everything that the
features depend on: the data, the preprocessing, the frozen weights, and for augmented views also what is drawn and the
seed. Another split or another head uses the same ones.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hubel.data.loader import Loader
from hubel.data.places import cache_folder
from hubel.data.shares import parts_of
from hubel.data.through import targets_through
from hubel.recipe import Recipe
from hubel.training import distributed
from hubel.training.evaluate import evaluating
from hubel.training.feature_cut import FromFeatures, bytes_of_all, only_read
from hubel.training.feature_table import Table
from hubel.training.feed import Data, judged_at_once
from hubel.training.views import mirrored
from hubel.types import Batch, select

SCHEMA = 3  # of the files; raise it when the same key would mean other numbers


class Features:
    """`learner`: what learns; `data` gives it features in place of images.

    Epoch e of the training sees view e mod `views` of each image: view 0 as evaluation sees it; view 1 that mirrored,
    where mirrored images keep their label; the others augmented.
    """

    def __init__(self, network: nn.Module, cut: int, data: Data, recipe: Recipe, views: int, say: Callable[[str], Any]):
        self.network, self.cut, self.images, self.recipe, self.say = network, cut, data, recipe, say
        self.views = views if data.train.augment is not None else 1
        self.flips = data.train.augment is not None and data.train.augment.flip == "random"
        self.learner = FromFeatures(network, cut)
        self.before = list(network.head.children())[:cut] if cut else []  # type: ignore[union-attr]
        self._tables: dict[int, Table] = {}

    @property
    def data(self) -> Data:
        """Made when asked for: its loaders hold these features, which would live on with what they hold."""
        train, plain = FeatureLoader(self, self.images.train, self.views), FeatureLoader(self, self.images.plain, 1)
        return dataclasses.replace(self.images, train=train, plain=plain)  # type: ignore[arg-type]

    def autocast(self) -> AbstractContextManager:
        bf16 = self.recipe.precision == "bf16"
        return torch.autocast(self.images.train.device.type, torch.bfloat16) if bf16 else nullcontext()

    def compute(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, C, H, W) -> features (B, …) float32 by the frozen layers, alone; or the maps that the head reads."""
        with evaluating(self.network), self.autocast():
            maps: list[Tensor] = self.network.maps(images)  # type: ignore[operator]
            head: Any = self.network.head
            if not isinstance(head, nn.Sequential):
                return only_read(head, maps)
            x = maps[-1]
            for layer in self.before:
                x = layer(x)
            return (x.float(),)

    def bytes(self) -> int:
        """That all views take in memory, at most."""
        return bytes_of_all(self.network, self.images, self.views)

    def missing(self, epochs: int) -> int:
        """How many images must be seen for so many epochs: those of the views that are not on disk yet."""
        views = range(min(self.views, max(1, epochs)))
        return sum(len(self.index(view)) for view in views if not self._path(view).exists())

    def sample(self, images: Batch) -> Batch:
        """A batch of images as its features, to measure a step with."""
        return dataclasses.replace(images, images=self.compute(images.images), size=images.input_size)

    def table(self, view: int) -> Table:
        """The features of a view, from memory, from disk, or computed now."""
        if view not in self._tables:
            if not distributed.is_main():
                distributed.barrier()  # the first process computes
            self._tables[view] = self._load(view) or self._make(view)
            if distributed.is_main():
                distributed.barrier()
        return self._tables[view]

    def index(self, view: int) -> np.ndarray:
        """Which images: all of every part, or only what is learnt from where they are augmented."""
        parts = self.images.splits
        return np.sort(parts["train"] if view else np.unique(np.concatenate([parts[name] for name in parts])))

    def kind(self, view: int) -> str:
        """What is done to the images: "plain", "mirrored" or "augmented"."""
        return "plain" if view == 0 else "mirrored" if view == 1 and self.flips else "augmented"

    def loader(self, view: int) -> Loader:
        """Who reads the images of a view; augmented ones may have another size (--train_size) than those judged."""
        return self.images.train if self.kind(view) == "augmented" else self.images.plain

    def key(self, view: int) -> str:
        data, loader = self.images.dataset, self.images.train
        facts = {
            "schema": SCHEMA, "torch": torch.__version__, "precision": self.recipe.precision,
            "device": loader.device.type, "data": data.hash(), "images": _hash(self.index(view)),
            "preprocess": self.loader(view).preprocess.settings(), "model": str(self.recipe.model),
            "options": repr(sorted(self.recipe.model_options.items())), "cut": self.cut,
            "reads": getattr(self.network.head, "reads", None),
            "weights": self._weights(), "view": view,
            "kind": self.kind(view),
            "augment": [repr(loader.augment), loader.seed] if self.kind(view) == "augmented" else None,
        }  # fmt: skip
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def _weights(self) -> str:
        """Of every tensor before the layers that learn."""
        frozen = {str(number) for number in range(self.cut)}
        own = self.network.state_dict()
        learns = {name for name in own if name.startswith("head.") and name.split(".")[1] not in frozen}
        digest = hashlib.sha256()
        for name, value in own.items():
            if name not in learns and not name.endswith("num_batches_tracked"):
                digest.update(f"{name} {tuple(value.shape)}".encode())
                digest.update(np.ascontiguousarray(value.detach().float().cpu().numpy()).tobytes())
        return digest.hexdigest()

    def _path(self, view: int) -> Path:
        return cache_folder() / "features" / f"{self.key(view)}.npz"

    def _load(self, view: int) -> Table | None:
        path, index = self._path(view), self.index(view)
        table = Table.read(path, index)
        if table is None:
            return None
        self.say(f"Features of {len(index):,} images: those of an earlier training, {path.parent}")
        return table.to(self.images.train.device)

    def _make(self, view: int) -> Table:
        index, kind = self.index(view), self.kind(view)
        loader = self.loader(view)
        self.say(f"Features of {len(index):,} {kind if view else ''} images, computed once".replace("  ", " "))
        batches: Iterator[Batch] = loader.batches(index, view, judged_at_once(16, False, loader.preprocess.size))
        if kind == "mirrored":
            batches = map(mirrored, batches)
        parts = [(*self.compute(b.images), b.sizes, b.matrices) for b in batches]
        *features, sizes, matrices = (torch.cat(column) for column in zip(*parts, strict=True))
        table = Table(index, tuple(features), sizes, matrices)
        if distributed.is_main() and not loader.failed:
            table.write(self._path(view))
        return table


class FeatureLoader:
    """Takes the place of a Loader: the same batches, with features (B, …) in place of images."""

    resident_bytes = 0

    def __init__(self, features: Features, images: Loader, views: int):
        self.features, self.images, self.views = features, images, views
        self.device, self.failed, self.wait_seconds = images.device, images.failed, 0.0
        self.count = images.count
        self._targets: dict[int, Any] = {}  # of all images of a view: the same in every epoch

    def batches(
        self, order: np.ndarray, epoch: int, batch_size: int, start: int = 0, shard: tuple[int, int] = (0, 1),
        drop_last: bool = False,
    ) -> Iterator[Batch]:  # fmt: skip
        """As `Loader.batches`."""
        view, order = epoch % self.views, np.asarray(order, np.int64)
        table = self.features.table(view)
        seen_by = self.features.loader(view)
        if view not in self._targets:
            self._targets[view] = targets_through(self.images, table.index, table.matrices, table.sizes, seen_by)
        targets = self._targets[view]
        weights, lost = np.asarray(self.images.dataset.weights, np.float32), self.features.images.failed()
        for number, slots in enumerate(parts_of(len(order), batch_size, shard=shard, drop_last=drop_last)[start:]):
            filler = not len(slots)
            index = order[[(start + number) * batch_size]] if filler else order[slots]
            rows, chosen = table.rows(index), torch.from_numpy(0 * weights[index] if filler else weights[index])
            if lost:
                chosen[[self.images.dataset.images.name(int(i)) in lost for i in index]] = 0
            positions = torch.full((len(index),), -1) if filler else torch.from_numpy(index)
            sizes, matrices = table.sizes[rows], table.matrices[rows]
            maps = tuple(x[rows] for x in table.features)
            yield Batch(
                maps, select(targets, rows), positions.to(self.device),
                chosen.to(self.device), sizes, matrices, size=seen_by.preprocess.size,
            )  # fmt: skip

    def close(self) -> None:
        """Nothing is open."""


def _hash(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()

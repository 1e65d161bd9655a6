"""From positions in a dataset to batches on the device: one interface, three paths.

*resident*: all images lie on the device as uint8 and a batch is a gather; *decoded*: processes read and augment;
*packed*: the same, from images that stand ready, see data/packed.py.
An example's place in the epoch is its slot, its position in `order`; what is drawn for it depends on (seed, epoch,
slot) alone, so neither path, workers, processes nor the batch where a training resumes change what is seen.

Targets that lie in the image are moved with it: `targets` gives Objects or Masks of any images, in source pixels, and a
batch carries `Boxes` and `PixelClasses` of its own, in its pixels. See targets.py and placed.py.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Self

import numpy as np
import torch

from hubel.data.apply import erase
from hubel.data.arrange import Parts
from hubel.data.assemble import Request
from hubel.data.augment import Augment
from hubel.data.backgrounds import Backgrounds
from hubel.data.dataset import Dataset
from hubel.data.decoded import Decoded
from hubel.data.mixing import mix_batch
from hubel.data.packed import PackedImages
from hubel.data.path import PATHS, choose_path
from hubel.data.preprocess import Preprocess
from hubel.data.read import Reader
from hubel.data.resident import Fetched, Resident
from hubel.data.shares import owned_parts, parts_of
from hubel.data.targets import check_collage, columns_of, filled, slim, tensors
from hubel.errors import UserError
from hubel.types import Batch, map_tensors

Asked = tuple[Any, Parts | None]  # what `targets` gave for the images of a batch, and what these are


class Loader:
    """Batches of `dataset`: pixels, targets, weights and matrices, on `device`.

    `targets` takes positions (n,) int64 and gives what `Batch.targets` carries. `augment` None means evaluation.
    `path` is "resident" or "decoded"; None chooses (`loader.path`, `loader.reason`). Files that cannot be read keep
    their slot with weight 0 and are listed in `loader.failed` (name: reason). `loader.wait_seconds` is the time that
    the consumer waited for batches; set it to 0 to start anew. `like` is a loader of the same images, whose resident
    copy this one shares. Close a loader, or use it in a `with`, to end its workers.
    """

    def __init__(
        self,
        dataset: Dataset,
        targets: Callable[[np.ndarray], Any],
        preprocess: Preprocess,
        *,
        augment: Augment | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
        workers: int = 0,
        path: str | None = None,
        like: Loader | None = None,
    ):
        if path not in (None, *PATHS):
            raise UserError(f"path is one of {', '.join(PATHS)}; got '{path}'")
        if workers < 0:
            raise UserError(f"workers is the number of processes that read images, 0 or more; got {workers}")
        self.dataset, self.targets, self.preprocess = dataset, targets, preprocess
        self.augment, self.seed, self.device = augment, seed, torch.device(device)
        self.path, self.reason = (path, "asked for") if path else choose_path(dataset, preprocess, device, augment)
        self.failed: dict[str, str] = {}
        self._backgrounds: Backgrounds | None = None
        self.wait_seconds = 0.0
        self._weights = np.asarray(dataset.weights, dtype=np.float32)
        shared = like._residents if like is not None and self._same_pixels(like) else []
        self._residents: list[Resident] = shared  # empty or one
        self._decoded = Decoded(Reader(dataset.images, preprocess, augment, seed), self.device, workers)

    def _same_pixels(self, other: Loader) -> bool:
        same = other.dataset.images is self.dataset.images and other.preprocess == self.preprocess
        return same and other.device == self.device

    @property
    def resident_bytes(self) -> int:
        """Bytes of images on the device; 0 on the decoded path, and before the first batch."""
        return sum(resident.pixels.nbytes for resident in self._residents)

    def count(self, n: int, batch_size: int, drop_last: bool = False) -> int:
        """How many batches an epoch of n examples has."""
        return n // batch_size if drop_last else -(-n // batch_size)

    def batches(
        self,
        order: np.ndarray,
        epoch: int,
        batch_size: int,
        start: int = 0,
        shard: tuple[int, int] = (0, 1),
        drop_last: bool = False,
    ) -> Iterator[Batch]:
        """The batches of one epoch from batch `start` on; `order` (n,) int64 are positions in the dataset.

        Worker processes begin to read when this is called: what is asked for early is ready when it is wanted. A
        process whose part of a batch is empty gets the batch's first example with weight 0 and index −1, so that
        every process takes the same number of steps.
        """
        if batch_size < 1:
            raise UserError(f"batch_size is at least 1; got {batch_size}")
        self._check_pairs(len(order), batch_size)
        order = np.asarray(order, dtype=np.int64)
        began = time.perf_counter()
        order, parts, pool = self._parts(order, batch_size, shard, drop_last)
        parts = parts[start:]
        empty = [len(part) == 0 for part in parts]
        parts = [part if len(part) else np.array([(start + k) * batch_size]) for k, part in enumerate(parts)]
        asked: deque[Asked] = deque()
        fetched = self._fetch(order, epoch, parts, pool, asked)
        self.wait_seconds += time.perf_counter() - began
        return self._made(fetched, asked, order, epoch, list(zip(parts, empty, strict=True)))

    def _made(
        self,
        fetched: Iterator[Fetched],
        asked: deque[Asked],
        order: np.ndarray,
        epoch: int,
        parts: list[tuple[np.ndarray, bool]],
    ) -> Iterator[Batch]:
        """Batches from what was read; `parts` are the slots of each, and whether they only fill a gap."""
        began = time.perf_counter()
        for slots, filler in parts:
            found = next(fetched)
            batch = self._batch(found, asked.popleft(), order[slots], filler)
            if self.augment is not None and not filler:
                batch = self._blend(batch, epoch, slots)
                batch = mix_batch(batch, self.augment.mixing, self.seed, epoch, slots)
            erase(batch.images, found.erase)
            if self.preprocess.whitening is not None:
                batch = replace(batch, images=self.preprocess.turn(batch.images))
            self.wait_seconds += time.perf_counter() - began
            yield batch
            began = time.perf_counter()

    def _parts(
        self, order: np.ndarray, batch_size: int, shard: tuple[int, int], drop_last: bool
    ) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
        """The order as it is read, the slots of each batch, and the positions that scenes of several are made from.

        Of a pack each process reads its own shards, where there are enough: see data/shares.py.
        """
        images = self.dataset.images
        owners = images.owners(shard[1]) if isinstance(images, PackedImages) and shard[1] > 1 else None
        if owners is None or self.path == "resident":
            return order, parts_of(len(order), batch_size, shard=shard, drop_last=drop_last), order
        read, parts = owned_parts(order, owners, batch_size, shard, drop_last)
        own = order[owners[order] == shard[0]]
        return read, parts, own if len(own) else order

    def _check_pairs(self, count: int, batch_size: int) -> None:
        if self.augment is not None and not self.augment.mixing.plain and batch_size % 2 and batch_size < count:
            raise UserError(
                f"Images are mixed in pairs of neighbours in a batch, so batch_size must be even; got {batch_size}."
            )

    def _requests(
        self, order: np.ndarray, epoch: int, parts: list[np.ndarray], pool: np.ndarray, asked: deque[Asked]
    ) -> Iterator[Request]:
        """What is to be read, one by one as it is asked for; the targets that go with it wait in `asked`."""
        collage = None if self.augment is None or self.augment.collage.plain else self.augment.collage
        for slots in parts:
            index = order[slots]
            sources = None if collage is None else collage.draw(self.seed, epoch, slots, index, pool)
            targets = self.targets(index if sources is None else sources.index)
            if collage is not None:
                check_collage(collage, targets)
            asked.append((targets, sources))
            columns = tuple(map(slim, columns_of(targets)))
            yield Request(epoch, slots, index, sources, columns, whole=self.augment is None)

    def _fetch(
        self, order: np.ndarray, epoch: int, parts: list[np.ndarray], pool: np.ndarray, asked: deque[Asked]
    ) -> Iterator[Fetched]:
        requests = self._requests(order, epoch, parts, pool, asked)
        if self.path != "resident":
            return self._decoded.fetch(requests)
        if not self._residents:
            self._residents.append(Resident.load(self.dataset.images, self.preprocess, self.device))
        resident = self._residents[0]
        if self.augment is not None and not self.augment.collage.plain:
            return resident.assemble(requests, self.preprocess, self.augment, self.seed)
        batches = resident.fetch(order, epoch, parts, self.augment, self.seed)
        return (resident.place(found, next(requests), self.preprocess) for found in batches)

    def _batch(self, fetched: Fetched, asked: Asked, index: np.ndarray, filler: bool) -> Batch:
        weights = self._weights[index]
        for example, reason in fetched.faults:
            weights[index == example] = 0
            self.failed[self.dataset.images.name(example)] = reason
        rows = torch.from_numpy(index)
        if filler:
            weights, rows = np.zeros_like(weights), torch.full_like(rows, -1)
        images = self.preprocess.centre(fetched.pixels).contiguous(memory_format=torch.channels_last)
        return Batch(
            images=images,
            targets=self._move(self._targets(asked, fetched)),
            index=rows.to(self.device),
            weights=torch.from_numpy(weights).to(self.device),
            sizes=fetched.sizes,
            matrices=fetched.matrices,
        )

    def _targets(self, asked: Asked, fetched: Fetched) -> Any:
        """With tensors in place of the columns that lie in the image, and of all else those of the batch's images."""
        targets, sources = asked
        columns = columns_of(targets)
        before = columns if self.augment is None else [None] * len(columns)
        values = [tensors(value, source, fetched.sizes) for value, source in zip(fetched.placed, before, strict=True)]
        return filled(targets, iter(values), None if sources is None else torch.from_numpy(sources.own))

    def _blend(self, batch: Batch, epoch: int, slots: np.ndarray) -> Batch:
        """Images with backgrounds laid over them, where that was asked for."""
        assert self.augment is not None
        source, share = self.augment.mixing.backgrounds, self.augment.mixing.blend
        if not share:
            return batch
        if self._backgrounds is None:
            self._backgrounds = Backgrounds.load(source, share, self.preprocess, self.device)
        return replace(batch, images=self._backgrounds.apply(batch.images, self.seed, epoch, slots))

    def _move(self, targets: Any) -> Any:
        return map_tensors(targets, lambda tensor: tensor.to(self.device, non_blocking=True))

    def close(self) -> None:
        """End the worker processes and let go of the images on the device; it may be used again."""
        self._decoded.close()
        self._residents = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

"""From positions in a dataset to batches on the device: one interface, three paths.

*resident*: all images lie on the device as uint8 and a batch is a gather; *decoded*: processes read and augment;
*packed*: the same, from images that stand ready, see data/packed.py.
An example's place in the epoch is its slot, its position in `order`; what is drawn for it depends on (seed, epoch,
slot) alone, so neither path, workers, processes nor the batch where a training resumes change what is seen.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Self

import numpy as np
import torch

from hubel.data.apply import erase, not_at_once
from hubel.data.augment import Augment
from hubel.data.backgrounds import Backgrounds
from hubel.data.dataset import Dataset
from hubel.data.decoded import Decoded
from hubel.data.memory import free_memory
from hubel.data.mixing import mix
from hubel.data.packed import PackedImages
from hubel.data.preprocess import Preprocess
from hubel.data.read import Reader
from hubel.data.resident import Fetched, Resident
from hubel.data.shares import owned_parts
from hubel.errors import UserError
from hubel.ops.follow import Move
from hubel.types import Batch, Mix, map_tensors

LARGEST = 64  # pixels: images up to this side may be resident
SHARE = 1 / 4  # of the free memory that they may take
SAMPLE = 200  # images that are looked at to learn the sizes of a folder
PATHS = ("resident", "packed", "decoded")


def choose_path(
    dataset: Dataset, preprocess: Preprocess, device: torch.device | str, augment: Augment | None = None
) -> tuple[str, str]:
    """ "resident", "packed" or "decoded", and why: resident are same-size images up to 64 px in at most ¼ of memory."""
    packed = isinstance(dataset.images, PackedImages)
    other, ready = ("packed", ", and stand ready in a pack") if packed else ("decoded", "")
    sizes = dataset.images.sizes(SAMPLE)
    if len(np.unique(sizes, axis=0)) > 1:
        return other, f"the images have different sizes{ready}"
    if augment is not None and augment.crop and (sizes != preprocess.size).any():
        return other, f"random crops are cut from images of full size{ready}"
    if augment is not None and (reason := not_at_once(augment, torch.device(device), preprocess.depth)):
        return "decoded", reason
    side = max(*preprocess.size, *sizes.ravel().tolist())
    if side > LARGEST:
        return other, f"images of {side} pixels{ready}; up to {LARGEST} would be kept on the device"
    needed = _bytes(dataset, preprocess)
    free = free_memory(device)
    mega = f"{needed / 2**20:,.0f} MiB of {free / 2**20:,.0f} MiB free"
    if needed > SHARE * free:
        return other, f"keeping all images on the device would take {mega}, more than a quarter"
    return "resident", f"all images fit on the device: {mega}"


def _bytes(dataset: Dataset, preprocess: Preprocess) -> int:
    """What all images take once resident; 16 bits become int32."""
    height, width = preprocess.size
    return len(dataset.images) * height * width * preprocess.channels * (1 if preprocess.depth == 8 else 4)


def parts_of(
    n: int, batch_size: int, start: int = 0, shard: tuple[int, int] = (0, 1), drop_last: bool = False
) -> list[np.ndarray]:
    """The slots of each batch from batch `start` on, of one process: (rank, world).

    A process takes a contiguous part of every global batch, cut between pairs of slots (mixing partners stay
    together). Where a last batch has fewer pairs than processes, some parts are empty.
    """
    rank, world = shard
    parts = []
    for low in range(start * batch_size, n, batch_size):
        high = min(low + batch_size, n)
        if drop_last and high - low < batch_size:
            break
        pairs = (high - low + 1) // 2
        first, last = (low + 2 * (pairs * r // world) for r in (rank, rank + 1))
        parts.append(np.arange(first, min(last, high)))
    return parts


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

        A process whose part of a batch is empty gets the batch's first example with weight 0 and index −1, so that
        every process takes the same number of steps.
        """
        if batch_size < 1:
            raise UserError(f"batch_size is at least 1; got {batch_size}")
        self._check_pairs(len(order), batch_size)
        order = np.asarray(order, dtype=np.int64)
        began = time.perf_counter()
        order, parts = self._parts(order, batch_size, start, shard, drop_last)
        empty = [len(part) == 0 for part in parts]
        parts = [part if len(part) else np.array([(start + k) * batch_size]) for k, part in enumerate(parts)]
        fetched = self._fetch(order, epoch, parts)
        for slots, filler in zip(parts, empty, strict=True):
            found = next(fetched)
            batch = self._batch(found, order[slots], filler)
            if self.augment is not None and not filler:
                batch = self._mix(self._blend(batch, epoch, slots), epoch, slots)
            erase(batch.images, found.erase)
            if self.preprocess.whitening is not None:
                batch = replace(batch, images=self.preprocess.turn(batch.images))
            self.wait_seconds += time.perf_counter() - began
            yield batch
            began = time.perf_counter()

    def _parts(
        self, order: np.ndarray, batch_size: int, start: int, shard: tuple[int, int], drop_last: bool
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Of a pack each process reads its own shards, where there are enough: see data/shares.py."""
        images = self.dataset.images
        owners = images.owners(shard[1]) if isinstance(images, PackedImages) and shard[1] > 1 else None
        if owners is None or self.path == "resident":
            return order, parts_of(len(order), batch_size, start, shard, drop_last)
        order, parts = owned_parts(order, owners, batch_size, shard, drop_last)
        return order, parts[start:]

    def _check_pairs(self, count: int, batch_size: int) -> None:
        if self.augment is not None and not self.augment.mixing.plain and batch_size % 2 and batch_size < count:
            raise UserError(
                f"Images are mixed in pairs of neighbours in a batch, so batch_size must be even; got {batch_size}."
            )

    def _fetch(self, order: np.ndarray, epoch: int, parts: list[np.ndarray]) -> Iterator[Fetched]:
        if self.path != "resident":
            return self._decoded.fetch(order, epoch, parts)
        if not self._residents:
            self._residents.append(Resident.load(self.dataset.images, self.preprocess, self.device))
        return self._residents[0].fetch(order, epoch, parts, self.augment, self.seed)

    def _batch(self, fetched: Fetched, index: np.ndarray, filler: bool) -> Batch:
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
            targets=self._move(self._follow(self.targets(index), fetched)),
            index=rows.to(self.device),
            weights=torch.from_numpy(weights).to(self.device),
            sizes=fetched.sizes,
            matrices=fetched.matrices,
        )

    def _follow(self, targets: Any, fetched: Fetched) -> Any:
        """Targets that lie in the image (boxes, masks …) bring `follow(moves)`: they go where their pixels went."""
        if not hasattr(targets, "follow"):
            return targets
        matrices, sizes = fetched.matrices.double().cpu().numpy(), fetched.sizes.tolist()
        bent = fetched.control if fetched.control is not None else [None] * len(sizes)
        size = self.preprocess.size
        moves = [Move(m, (h, w), size, c) for m, (h, w), c in zip(matrices, sizes, bent, strict=True)]
        return targets.follow(moves)

    def _blend(self, batch: Batch, epoch: int, slots: np.ndarray) -> Batch:
        """Images with backgrounds laid over them, where that was asked for."""
        assert self.augment is not None
        source, share = self.augment.mixing.backgrounds, self.augment.mixing.blend
        if not share:
            return batch
        if self._backgrounds is None:
            self._backgrounds = Backgrounds.load(source, share, self.preprocess, self.device)
        return replace(batch, images=self._backgrounds.apply(batch.images, self.seed, epoch, slots))

    def _mix(self, batch: Batch, epoch: int, slots: np.ndarray) -> Batch:
        """Images mixed with their partners'; one that could not be read is mixed into none, and stays as it is."""
        assert self.augment is not None
        if self.augment.mixing.plain:
            return batch
        pairs = self.augment.mixing.draw(self.seed, epoch, slots, self.preprocess.size)
        lost = batch.weights.cpu().numpy() <= 0
        pairs = pairs.without(lost | lost[pairs.partner])
        rows = torch.from_numpy(pairs.partner).to(self.device)
        share = torch.from_numpy(pairs.share).to(batch.weights)
        other = Mix(map_tensors(batch.targets, lambda tensor: tensor[rows]), share)
        return replace(batch, images=mix(batch.images, pairs), mix=other)

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

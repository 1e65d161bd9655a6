"""What a training reads: the parts of a dataset, the order of an epoch, how it is cut into batches, and read ahead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from torch import nn

from hubel.data.dataset import Dataset
from hubel.data.loader import Loader
from hubel.data.order import epoch_order
from hubel.recipe import Recipe
from hubel.tasks.base import Task
from hubel.training import distributed
from hubel.types import Batch


@dataclass(frozen=True)
class Cut:
    """How an epoch is cut into steps."""

    batch_size: int  # over all processes
    drop_last: bool
    steps: int

    @classmethod
    def of(cls, data: Data, n: int, batch_size: int, network: nn.Module) -> Cut:
        """An epoch of `n` examples. A last batch that leaves a process with one image is left out where batch
        statistics are computed: one image alone has none.
        """
        least = 2 * distributed.world() if has_batch_statistics(network) else 1
        drop_last = n > batch_size >= least and 0 < n % batch_size < least
        return cls(batch_size, drop_last, data.train.count(n, batch_size, drop_last))


PIXELS = 2**21  # that are judged in one pass: 41 images of 224 × 224; more of them take memory and save no time


def judged_at_once(batch_size: int, dense: bool, size: tuple[int, int]) -> int:
    """Images of `size` (h, w) of a batch in evaluation: without gradients more fit, but not where outputs are maps."""
    return batch_size if dense else max(batch_size, min(4 * batch_size, 512, PIXELS // (size[0] * size[1])))


def has_batch_statistics(network: nn.Module) -> bool:
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())


@dataclass(frozen=True)
class Data:
    """The parts of a dataset that a training reads, and how."""

    dataset: Dataset
    train: Loader  # augmented
    plain: Loader  # not augmented: evaluation
    splits: Mapping[str, np.ndarray]  # positions; "train" is learnt from, "dev" decides
    draw_weights: np.ndarray | None = None  # (n_train,) how often each is drawn, for --balance sampler

    def order(self, task: Task, recipe: Recipe, epoch: int) -> np.ndarray:
        """(n,) positions in the order of this epoch: the task's own (it may leave examples out), or a shuffle."""
        index = self.splits["train"]
        own = task.order(self.dataset, index, epoch, recipe.seed)
        if own is not None:
            return own
        sampling = recipe.sampling if self.draw_weights is None else "replacement"
        return epoch_order(index, epoch, recipe.seed, sampling, weights=self.draw_weights)

    def batches(self, order: np.ndarray, epoch: int, cut: Cut, start: int) -> Iterator[Batch]:
        """From step `start` of the epoch on, augmented; with several processes this one's part of each."""
        shard = (distributed.rank(), distributed.world())
        return self.train.batches(order, epoch, cut.batch_size, start=start, shard=shard, drop_last=cut.drop_last)

    def batches_of(self, split: str, size: int) -> Iterator[Batch]:
        """Batches of `size` as evaluation sees them; with several processes this one's part of each."""
        shard = (distributed.rank(), distributed.world())
        return self.plain.batches(self.splits[split], 0, size, shard=shard)

    def has_dev(self) -> bool:
        return len(self.splits.get("dev", ())) > 0

    def failed(self) -> dict[str, str]:
        """Files that were whole before the training and could not be read since, with the reasons."""
        return {**self.train.failed, **self.plain.failed}


class Epochs:
    """The batches of each epoch in its order; those of the next one may be begun while this one is judged."""

    def __init__(self, task: Task, recipe: Recipe, cut: Cut):
        self.task, self.recipe, self.cut = task, recipe, cut
        self._begun: tuple[tuple[int, int], Iterator[Batch]] | None = None  # (epoch, batch) where they start, and they

    def begin(self, feed: Data, epoch: int) -> None:
        """Let them be read from now on."""
        self._begun = (epoch, 0), self._batches(feed, epoch, 0)

    def rest(self, feed: Data, epoch: int, start: int) -> Iterator[Batch]:
        """From batch `start` on: as they were begun, or anew where a state led elsewhere."""
        begun, self._begun = self._begun, None
        return begun[1] if begun is not None and begun[0] == (epoch, start) else self._batches(feed, epoch, start)

    def _batches(self, feed: Data, epoch: int, start: int) -> Iterator[Batch]:
        return feed.batches(feed.order(self.task, self.recipe, epoch), epoch, self.cut, start=start)


class Lost:
    """The files that can't be read any more: they count for nothing. Each is named once."""

    def __init__(self) -> None:
        self._named: set[str] = set()

    def sentences(self, data: Data, epoch: int) -> list[str]:
        """On those that were lost by the end of an epoch."""
        failed = data.failed()
        new = sorted(failed.keys() - self._named)
        self._named |= failed.keys()
        return [f"{name} could not be read in epoch {epoch} ({failed[name]}); it counts for nothing." for name in new]

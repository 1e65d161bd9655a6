"""What each worker process holds for itself does not grow with the data set: the index stays shared when it is read."""

import contextlib
import functools
import gc
import multiprocessing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from hubel.data.dataset import Dataset
from hubel.data.images import PackedNames
from hubel.data.loader import Loader
from hubel.data.objects import Objects
from hubel.data.preprocess import Preprocess

COUNT = 400_000  # 40 MB of names and 50 MB of annotations
SLOTS = 12_000  # read from all over the index
GROWTH = 12.0  # MB that chance and the allocator may take

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/smaps_rollup").exists() or multiprocessing.get_start_method() != "fork",
    reason="measures forked processes by /proc",
)


@dataclass
class Named:
    """Images of one pixel, which look up their name as FileImages does when it is read."""

    names: object
    channels: int = 1
    depth: int = 8

    def __len__(self):
        return len(self.names)

    def read(self, i):
        return np.full((1, 1, 1), len(self.names[i]) % 256, np.uint8)

    def name(self, i):
        return f"#{i}"

    def sizes(self, most):
        return np.ones((min(most, len(self)), 2), np.int64)

    def digest(self):
        return b""


def dataset(names):
    n = len(names)
    boxes = np.tile(np.array([0.0, 0.0, 1.0, 1.0]), (n, 1))
    objects = Objects(np.arange(n + 1, dtype=np.int64), boxes, np.zeros(n, np.int64))
    return Dataset("many", Named(names), {"label": np.zeros(n, np.int64), "objects": objects}, ("a", "b"))


def private(names, workers):
    """MB that each worker has of its own, after SLOTS images were read."""
    made = dataset(names)
    targets = functools.partial(made.take, "label")
    loader = Loader(made, targets, Preprocess((1, 1), 1), workers=workers, path="decoded")
    order = np.random.default_rng(0).integers(0, len(names), SLOTS)
    before = {child.pid for child in multiprocessing.active_children()}
    gc.freeze()  # or a collection in a worker would write to every object
    with contextlib.closing(loader):
        for _ in loader.batches(order, 0, 100):
            pass
        pids = {child.pid for child in multiprocessing.active_children()} - before
        assert len(pids) == workers
        return [_private(pid) for pid in pids]


def _private(pid):
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def many(count):
    return (f"train/images/{'x' * 70}{i:08d}.jpg" for i in range(count))


def test_an_index_of_arrays_is_shared_by_all_workers():
    small, names = max(private(PackedNames.pack(many(100)), 2)), PackedNames.pack(many(COUNT))
    for workers in (2, 4):
        assert max(private(names, workers)) < small + GROWTH


def test_the_measure_sees_an_index_that_is_not_shared():
    """A list of str, each counted when it is read: pages are copied in every worker."""
    small = max(private(list(many(100)), 2))
    assert max(private(list(many(COUNT)), 2)) > small + GROWTH

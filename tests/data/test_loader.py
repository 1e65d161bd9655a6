"""Batches: the same bits from every path, number of workers, process and point of resumption."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from standins import ListImages, dataset, photos, targets, thumbnails

from hubel.data.apply import apply_image
from hubel.data.augment import Augment
from hubel.data.loader import Loader
from hubel.data.path import choose_path
from hubel.data.preprocess import Preprocess
from hubel.data.shares import parts_of
from hubel.errors import UserError
from hubel.ops.geometry import move_points

AUGMENT = Augment(shift=2, flip="random", cutout=5)
ORDER = np.random.default_rng(3).permutation(24)
FIELDS = ("images", "targets", "index", "weights", "sizes", "matrices")


def stretch(size, channels=3, depth=8):
    """Whole image onto the whole target; normalised pixels are the numbers 0 … 2**depth − 1."""
    return Preprocess(size, channels, (0.0,), (1 / (2**depth - 1),), "stretch", depth)


def batches(loader, *args, **options):
    with loader:
        return list(loader.batches(*args, **options))


def same(left, right):
    return len(left) == len(right) and all(
        torch.equal(getattr(a, name), getattr(b, name)) for a, b in zip(left, right, strict=True) for name in FIELDS
    )


def resident(augment=AUGMENT, **options):
    return Loader(dataset(thumbnails()), targets, stretch((12, 12)), augment=augment, seed=5, **options)


def decoded(augment=AUGMENT, workers=0, images=None):
    return Loader(
        dataset(images or photos()),
        targets,
        stretch((20, 20)),
        augment=augment,
        seed=5,
        workers=workers,
        path="decoded",
    )


MAKERS = {"resident": resident, "decoded": decoded}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize("augment", [None, AUGMENT, Augment(flip="alternating", shift=1)], ids=["plain", "aug", "alt"])
def test_equals_the_loop(make, augment):
    """One example at a time: read, fit, draw for its slot, apply, normalise, erase."""
    loader = make(augment)
    preprocess, images = loader.preprocess, loader.dataset.images
    loader.dataset.weights[7] = 0.25
    loader = make(augment)
    got = batches(loader, ORDER, 2, 10)
    assert [len(batch) for batch in got] == [10, 10, 4]
    for slot, example in enumerate(ORDER):
        batch, row = got[slot // 10], slot % 10
        image = images.read(example)
        pixels, fit = preprocess.geometry(image)
        draws = (augment or Augment()).draw(
            5, 2, np.array([slot]), preprocess.size, preprocess.size, examples=np.array([example])
        )
        expected = preprocess.normalise(torch.from_numpy(apply_image(pixels, draws).copy())[None])[0]
        x0, y0, x1, y1 = draws.erase[0]
        expected[:, y0:y1, x0:x1] = 0
        assert torch.equal(batch.images[row], expected)
        np.testing.assert_allclose(batch.matrices[row].numpy(), draws.matrices[0] @ fit, rtol=1e-6, atol=1e-6)
        assert batch.index[row] == example and batch.targets[row] == 10 * example
        assert batch.sizes[row].tolist() == list(image.shape[:2])
    assert got[0].images.is_contiguous(memory_format=torch.channels_last)
    assert got[0].images.dtype == torch.float32


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_starting_at_a_batch_gives_the_rest(make):
    whole = batches(make(), ORDER, 1, 5)
    for start in range(6):
        assert same(batches(make(), ORDER, 1, 5, start=start), whole[start:])


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_epochs_and_seeds_differ_and_repeat(make):
    first, again, other = (batches(make(), ORDER, epoch, 24) for epoch in (0, 0, 1))
    assert same(first, again)
    assert not torch.equal(first[0].images, other[0].images)


def test_crops_are_cut_from_the_source():
    """One warp from the full image: what a crop shows is sharper than the same part of the small picture."""
    augment = Augment(crop=(0.1, 0.3))
    batch = batches(decoded(augment), ORDER, 0, 24)[0]
    images = photos()
    for slot, example in enumerate(ORDER):
        image = images.read(example)
        draws = augment.draw(5, 0, np.array([slot]), image.shape[:2], (20, 20))
        got = batch.images[slot].permute(1, 2, 0).numpy()
        assert np.abs(got - apply_image(image, draws)).max() < 1e-3
        np.testing.assert_allclose(batch.matrices[slot].numpy(), draws.matrices[0], rtol=1e-6)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_the_same_example_twice_gets_two_draws(make):
    batch = batches(make(Augment(shift=4, flip="random")), np.full(24, 3), 0, 24)[0]
    assert len({image.numpy().tobytes() for image in batch.images}) > 10


@pytest.mark.processes
def test_workers_change_nothing():
    """0, 1 and 4 processes, two epochs, crops too; the torch generator of the training is not touched."""
    augment = Augment(crop=(0.4, 1.0), flip="random", cutout=5)
    alone = [batches(decoded(augment), ORDER, epoch, 5) for epoch in (0, 1)]
    for workers in (1, 4):
        torch.manual_seed(0)
        with decoded(augment, workers) as loader:
            assert all(same(list(loader.batches(ORDER, epoch, 5)), alone[epoch]) for epoch in (0, 1))
            assert same(list(loader.batches(ORDER, 1, 5, start=2)), alone[1][2:])
            leave = loader.batches(ORDER, 0, 5)
            next(leave)
            leave.close()  # a stop in mid-epoch, then another epoch
            assert same(list(loader.batches(ORDER, 1, 5)), alone[1])
        assert torch.rand(1) == torch.rand(1, generator=torch.Generator().manual_seed(0))
    assert not multiprocessing.active_children()


def test_workers_change_nothing_when_resident():
    alone = batches(resident(), ORDER, 0, 5)
    for workers in (1, 4):
        assert same(batches(resident(workers=workers), ORDER, 0, 5), alone)


@pytest.mark.processes
def test_spawned_workers():
    alone = batches(decoded(), ORDER, 0, 12)
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method("spawn", force=True)
    try:
        assert same(batches(decoded(workers=1), ORDER, 0, 12), alone)
    finally:
        multiprocessing.set_start_method(before, force=True)


def test_both_paths_agree():
    images, fit = thumbnails(), stretch((12, 12))
    both = [
        Loader(dataset(images), targets, fit, augment=AUGMENT, seed=1, path=path) for path in ("resident", "decoded")
    ]
    left, right = (batches(loader, ORDER, 0, 8) for loader in both)
    assert same(left, right)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize(("batch_size", "world"), [(8, 2), (10, 2), (10, 3), (24, 4), (1, 1), (7, 1)])
def test_shards_are_parts_of_the_global_batch(make, batch_size, world):
    whole = batches(make(), ORDER, 0, batch_size)
    parts = [batches(make(), ORDER, 0, batch_size, shard=(rank, world)) for rank in range(world)]
    for k, batch in enumerate(whole):
        shards = [part[k] for part in parts]
        real = [shard for shard in shards if shard.index[0] >= 0]
        for name in FIELDS:
            assert torch.equal(torch.cat([getattr(s, name) for s in real]), getattr(batch, name))
        assert all(len(shard) % 2 == 0 for shard in real[:-1])


def test_an_empty_part_is_filled_with_weight_zero():
    """5 examples in batches of 4 for 2 processes: the last batch has one; both take two steps."""
    first, second = (batches(resident(), ORDER[:5], 0, 4, shard=(rank, 2)) for rank in (0, 1))
    assert [b.weights.tolist() for b in first] == [[1, 1], [0]] and first[1].index.tolist() == [-1]
    assert second[1].index.tolist() == [ORDER[4]] and second[1].weights.tolist() == [1]


def test_parts():
    def cut(*args, **options):
        return [part.tolist() for part in parts_of(*args, **options)]

    assert cut(5, 2) == [[0, 1], [2, 3], [4]]
    assert cut(5, 2, drop_last=True) == [[0, 1], [2, 3]]
    assert cut(10, 10, shard=(0, 3)) + cut(10, 10, shard=(1, 3)) + cut(10, 10, shard=(2, 3)) == [
        [0, 1], [2, 3, 4, 5], [6, 7, 8, 9]
    ]  # fmt: skip
    assert cut(0, 4) == [] and cut(5, 2, start=3) == []
    loader = resident()
    assert loader.count(5, 2) == 3 and loader.count(5, 2, drop_last=True) == 2


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("path", ["resident", "decoded"])
def test_a_file_that_fails_keeps_its_slot(path, workers):
    images = photos()
    images.bad = (4, 9)
    loader = Loader(dataset(images), targets, stretch((20, 20)), augment=AUGMENT, seed=5, path=path, workers=workers)
    good = decoded()
    (batch,), (intact,) = batches(loader, ORDER, 0, 24), batches(good, ORDER, 0, 24)
    missing = np.isin(ORDER, [4, 9])
    assert batch.weights.tolist() == np.where(missing, 0, 1).tolist()
    assert not batch.images[torch.from_numpy(missing)].any()
    assert torch.equal(batch.images[torch.from_numpy(~missing)], intact.images[torch.from_numpy(~missing)])
    assert loader.failed == {"image4.png": "truncated", "image9.png": "truncated"}
    assert loader.dataset.weights.all()  # the dataset is not ours to change


@pytest.mark.parametrize("path", ["resident", "decoded"])
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_are_not_cut(path, channels):
    images = thumbnails(channels=channels, dtype=np.uint16)
    loader = Loader(dataset(images), targets, stretch((12, 12), channels, 16), path=path, augment=Augment(shift=1))
    batch = batches(loader, np.arange(24), 0, 24)[0]
    assert batch.images.max() > 60_000
    plain = batches(Loader(dataset(images), targets, stretch((12, 12), channels, 16), path=path), np.arange(24), 0, 24)[
        0
    ]
    assert torch.equal(plain.images.permute(0, 2, 3, 1), torch.from_numpy(images.array.astype(np.float32)))


def test_matrices_move_a_marked_pixel():
    image = np.zeros((30, 40, 1), dtype=np.uint8)
    image[16:18, 24:26] = 255
    augment = Augment(shift=2, flip="random")
    loader = Loader(dataset(ListImages([image] * 8)), targets, stretch((15, 20), 1), augment=augment, path="decoded")
    batch = batches(loader, np.arange(8), 0, 8)[0]
    for pixels, matrix in zip(batch.images[:, 0], batch.matrices.double().numpy(), strict=True):
        x, y = move_points(np.array([[25.0, 17.0]]), matrix)[0]
        assert pixels[int(y), int(x)] == 255 and pixels.sum() == 255


def test_choose_path(monkeypatch):
    small = dataset(thumbnails())
    assert choose_path(small, stretch((12, 12)), "cpu")[0] == "resident"
    assert choose_path(small, stretch((65, 65)), "cpu")[0] == "decoded"
    name, reason = choose_path(dataset(photos()), stretch((20, 20)), "cpu")
    assert name == "decoded" and "different sizes" in reason
    big = dataset(ListImages([np.zeros((200, 200, 3), np.uint8)] * 3))
    assert choose_path(big, stretch((20, 20)), "cpu")[0] == "decoded"
    files = dataset(ListImages([np.zeros((64, 64, 3), np.uint8)] * 3, bad=(0,)))
    assert choose_path(files, stretch((64, 64)), "cpu")[0] == "resident"
    crop = Augment(crop=(0.5, 1.0))  # never from pixels that were resized before
    assert choose_path(small, stretch((12, 12)), "cpu", crop)[0] == "resident"
    assert choose_path(small, stretch((14, 14)), "cpu", crop)[0] == "decoded"
    assert choose_path(small, stretch((14, 14)), "cpu", AUGMENT)[0] == "resident"
    needed = 24 * 12 * 12 * 3
    for free, path in ((4 * needed, "resident"), (4 * needed - 1, "decoded")):
        monkeypatch.setattr("hubel.data.path.free_memory", lambda device, free=free: free)
        assert choose_path(small, stretch((12, 12)), "cpu")[0] == path
    deep = dataset(thumbnails(dtype=np.uint16))  # four bytes a number once resident
    monkeypatch.setattr("hubel.data.path.free_memory", lambda device: 15 * needed)
    assert choose_path(deep, stretch((12, 12), depth=16), "cpu")[0] == "decoded"


def test_loaders_share_the_resident_images():
    train = resident()
    with train:
        next(train.batches(ORDER, 0, 4))
        plain = Loader(train.dataset, targets, train.preprocess, like=train)
        next(plain.batches(ORDER, 0, 4))
        assert plain._residents[0] is train._residents[0]
        assert train._residents[0].pixels.data_ptr() == train.dataset.images.array.ctypes.data  # not even one copy
        pixels = train._residents[0].pixels
        assert train.resident_bytes == pixels.nbytes and decoded().resident_bytes == 0
        other = Loader(train.dataset, targets, stretch((10, 10)), like=train)
        assert next(other.batches(ORDER, 0, 4)).images.shape[-1] == 10


def test_the_source_is_never_changed():
    loader = resident(Augment(shift=2, flip="random", cutout=6))
    before = loader.dataset.images.array.copy()
    batches(loader, ORDER, 0, 24)
    batches(resident(None), ORDER, 0, 24)
    np.testing.assert_array_equal(loader.dataset.images.array, before)


def test_waiting_is_measured(monkeypatch):
    """A clock that reading advances by 2 s per image and the consumer by 100 s per batch."""
    now = [0.0]
    monkeypatch.setattr("hubel.data.loader.time.perf_counter", lambda: now[0])
    images = photos()

    def read(i):
        now[0] += 2
        return images.pixels[i]

    monkeypatch.setattr(images, "read", read)
    loader = decoded(images=images)
    for k, _ in enumerate(loader.batches(ORDER, 0, 8), start=1):
        now[0] += 100
        assert loader.wait_seconds == 16 * k
    loader.wait_seconds = 0.0
    next(loader.batches(ORDER, 0, 8))
    assert loader.wait_seconds == 16


class Noted(ListImages):
    """Counts in a file what was read, in whichever process."""

    def read(self, i):
        with Path(self.note).open("ab") as note:
            note.write(b".")
        return super().read(i)


@pytest.mark.processes
def test_workers_begin_before_the_first_batch_is_wanted(tmp_path):
    """The next epoch is read while this one is judged; one that is not wanted after all changes nothing."""
    images = Noted(photos().pixels)
    images.note = tmp_path / "read"
    with decoded(images=images, workers=1) as loader:
        images.note.unlink(missing_ok=True)
        early = loader.batches(ORDER, 0, 2)
        until = time.monotonic() + 60
        while not images.note.exists() or images.note.stat().st_size < 2:
            assert time.monotonic() < until, "nothing is read before a batch is asked for"
            time.sleep(0.01)
        expected = batches(decoded(), ORDER, 0, 2)
        assert same(list(early), expected)
        loader.batches(ORDER, 1, 2)
        assert same(list(loader.batches(ORDER, 0, 2)), expected)


@pytest.mark.processes
@pytest.mark.parametrize("workers", [0, 1])
def test_a_fault_in_reading_names_the_image(workers):
    images = photos()
    images.bugs = (6,)
    with pytest.raises(RuntimeError, match=r"image6\.png.*oops"):
        batches(decoded(workers=workers, images=images), ORDER, 0, 4)
    assert not multiprocessing.active_children()


@pytest.mark.processes
def test_a_killed_worker_gives_a_clear_message():
    loader = decoded(workers=1)
    with loader:
        epoch = loader.batches(ORDER, 0, 1)
        next(epoch)
        with pytest.raises(
            RuntimeError, match=r"ended from outside|killed by signal"
        ):  # torch tells it at once or late
            for child in multiprocessing.active_children():
                os.kill(child.pid, signal.SIGKILL)
            list(epoch)
    assert not multiprocessing.active_children()


@pytest.mark.processes
def test_two_epochs_at_once_are_refused():
    with decoded(workers=1) as loader:
        first = loader.batches(ORDER, 0, 2)
        next(first)
        next(loader.batches(ORDER, 1, 2))
        with pytest.raises(RuntimeError, match="two loaders"):
            next(first)


def test_impossible_options():
    for options in ({"path": "disk"}, {"workers": -1}):
        with pytest.raises(UserError):
            Loader(dataset(thumbnails()), targets, stretch((12, 12)), **options)
    with pytest.raises(UserError, match="batch_size"):
        next(resident().batches(ORDER, 0, 0))

"""A resumed run is bit for bit the run that was never stopped."""

import numpy as np
import pytest
import torch
from small_parts import assert_same
from small_trainings import InterruptAt, blobs

import hubel
from hubel.data.pack_write import pack
from hubel.errors import UserError
from hubel.training import checkpoint
from hubel.training.callbacks import Callback


def last(run) -> dict:
    return checkpoint.load(run.path / "checkpoints" / "last")


OPTIONS = {"regularize": {"ema": 0.9}, "model.dropout": 0.2, "precision": "fp32"}


@pytest.mark.parametrize("step", [1, 7, 10])  # in mid-epoch, and at an epoch's end (5 steps each)
def test_resume_equals_uninterrupted(small, quiet, tmp_path, step):
    whole = small(**OPTIONS)
    with pytest.raises(KeyboardInterrupt):
        small(**OPTIONS, out=tmp_path / "cut", callbacks=[InterruptAt(step)])
    path = next((tmp_path / "cut").glob("*/1"))
    assert hubel.Run.open(path).state == "interrupted"
    resumed = hubel.resume(path, source=blobs(), progress=quiet)
    assert_same(last(whole), last(resumed))
    assert whole.metrics == resumed.metrics
    for split in ("train", "dev", "test"):
        a, b = (np.load(r.path / "predictions" / f"{split}.npz") for r in (whole, resumed))
        assert all(np.array_equal(a[name], b[name]) for name in a.files)


def cut_and_resumed(small, quiet, folder, source, **options):
    """A run, and one that was interrupted in the second epoch and went on from where its files say the data is."""
    whole = small(source(), **options)
    with pytest.raises(KeyboardInterrupt):
        small(source(), **options, out=folder / "cut", callbacks=[InterruptAt(7)])
    return whole, hubel.resume(next((folder / "cut").glob("*/1")), source=source(), progress=quiet)


def test_resume_with_whitened_pixels(small, quiet, tmp_path):
    """The whitening is read from the run's file, not fitted again: a file that was changed is refused."""
    options = {"normalize": "zca", "augment": "standard", "precision": "fp32"}
    whole, resumed = cut_and_resumed(small, quiet, tmp_path, blobs, **options)
    assert_same(last(whole), last(resumed))
    assert whole.metrics == resumed.metrics
    a, b = ((run.path / "whitening.safetensors").read_bytes() for run in (whole, resumed))
    assert a == b
    (resumed.path / "whitening.safetensors").write_bytes(a[:-8] + bytes(8))
    with pytest.raises(UserError, match="whitening"):
        hubel.resume(resumed.path, source=blobs(), progress=quiet, epochs=9)


@pytest.mark.processes
@pytest.mark.parametrize("workers", [0, 2])
def test_resume_of_a_packed_source(small, quiet, tmp_path, workers):
    packed = pack(blobs(n=80, side=72), tmp_path / "blobs.pack", shards=2)
    options = {"workers": workers, "augment": {"policy": "strong", "mixup": 0.2}, "batch_size": 10}
    whole, resumed = cut_and_resumed(small, quiet, tmp_path, lambda: packed, **options)
    assert_same(last(whole), last(resumed))
    assert whole.metrics == resumed.metrics
    again = hubel.resume(resumed.path, progress=quiet, epochs=resumed.history[-1]["epoch"] + 1)  # found by itself
    assert len(again.history) == len(whole.history) + 1


@pytest.mark.processes
@pytest.mark.parametrize("workers", [0, 1, 4])
def test_resume_with_workers_that_decode(small, quiet, tmp_path, workers):
    data = blobs(n=80, side=72)  # above 64 pixels: decoded by workers
    options = {**OPTIONS, "epochs": 2}
    whole = small(data, **options, workers=0)
    with pytest.raises(KeyboardInterrupt):
        small(data, **options, workers=workers, out=tmp_path / "cut", callbacks=[InterruptAt(4)])
    path = next((tmp_path / "cut").glob("*/1"))
    resumed = hubel.resume(path, source=data, progress=quiet)
    assert last(whole)["ema"] is not None
    assert_same(last(whole), last(resumed))  # weights, optimiser, running average, generators, history


def test_a_second_seed_differs_and_the_same_seed_repeats(small, tmp_path):
    runs = [small(out=tmp_path / str(i), seed=seed) for i, seed in enumerate((0, 0, 1))]
    states = [last(run)["network"] for run in runs]
    assert_same(states[0], states[1])
    assert any(not torch.equal(states[0][k], states[2][k]) for k in states[0])


def test_more_epochs(small, quiet):
    run = small(epochs=2)
    more = hubel.resume(run.path, epochs=4, source=blobs(), progress=quiet)
    assert [row["epoch"] for row in more.history] == [1, 2, 3, 4]
    with pytest.raises(UserError, match="finished its 4 epochs"):
        hubel.resume(run.path, source=blobs(), progress=quiet)


class WorseFromTheSecondEpoch(Callback):
    """Dev scores that make a patience of two run out after the third epoch, and maybe a kill right then."""

    def __init__(self, kill: bool = False):
        self.kill = kill

    def on_start(self, loop):
        real = loop.score
        loop.score = lambda split: real(split) | {"accuracy": 1.0 - 0.1 * loop.epoch}

    def on_epoch(self, loop, row):
        if self.kill and loop.stop:
            raise KeyboardInterrupt


def test_an_early_stop_holds_after_a_resume(small, quiet, tmp_path):
    options = {"epochs": 6, "regularize": {"patience": 2}}
    whole = small(**options, callbacks=[WorseFromTheSecondEpoch()])
    with pytest.raises(KeyboardInterrupt):  # stopped and saved, but neither judged nor reported
        small(**options, out=tmp_path / "cut", callbacks=[WorseFromTheSecondEpoch(kill=True)])
    path = next((tmp_path / "cut").glob("*/1"))
    resumed = hubel.resume(path, source=blobs(), progress=quiet, callbacks=[WorseFromTheSecondEpoch()])
    assert len(resumed.history) == 3 and whole.metrics == resumed.metrics
    assert_same(last(whole), last(resumed))
    with pytest.raises(UserError, match=r"stopped early after epoch 3.*--regularize.patience 4"):
        hubel.resume(path, epochs=9, source=blobs(), progress=quiet)
    more = hubel.resume(path, source=blobs(), progress=quiet, **{"regularize.patience": 9})
    assert len(more.history) == 6


def test_what_can_not_change_says_so(small, quiet):
    run = small(epochs=1)
    with pytest.raises(UserError, match="can't change in mid-training"):
        hubel.resume(run.path, source=blobs(), progress=quiet, batch_size=3)


def test_other_data_is_refused(small, quiet):
    run = small(epochs=1)
    with pytest.raises(UserError, match="has changed since"):
        hubel.resume(run.path, source=blobs(seed=1), progress=quiet, epochs=2)

"""The mean of the weights over the last part of a training, against a loop; snapshots where a cycle ends."""

import copy

import numpy as np
import pytest
import torch
from small_parts import assert_same
from small_trainings import InterruptAt, blobs

import hubel
from hubel.errors import UserError
from hubel.models.convnet import convnet
from hubel.rebuild import kept_weights
from hubel.training import checkpoint
from hubel.training.callbacks import Callback
from hubel.training.polyak import Mean
from hubel.training.snapshots import load_snapshots


def walk(network, steps, average, first=0):
    """Steps of a training; the weights and buffers after each."""
    seen = []
    for t in range(first, first + steps):
        generator = torch.Generator().manual_seed(t)
        network(torch.randn(4, 1, 8, 8, generator=generator))  # moves the buffers
        with torch.no_grad():
            for p in network.parameters():
                p += 0.1 * torch.randn(p.shape, generator=generator)
        average.update(network)
        seen.append(copy.deepcopy(network.state_dict()))
    return seen


def tiny():
    torch.manual_seed(0)
    return convnet(classes=3, input=(1, 8, 8), widths=(4, 6))


def assert_mean(found, states):
    for name, value in found.items():
        if value.is_floating_point():
            torch.testing.assert_close(value, torch.stack([state[name] for state in states]).mean(0))
        else:
            assert torch.equal(value, states[-1][name])


def test_the_mean_of_the_last_steps():
    network = tiny()
    mean = Mean(network, skip=3)
    seen = walk(network, 8, mean)
    own = copy.deepcopy(network.state_dict())
    with mean.swap(network):
        assert_mean(network.state_dict(), seen[3:])
    assert_same(dict(network.state_dict()), dict(own))
    assert_mean(mean.state_dict()["average"], seen[3:])


def test_before_its_part_begins_the_mean_is_the_network():
    network = tiny()
    mean = Mean(network, skip=5)
    seen = walk(network, 4, mean)
    with mean.swap(network):
        assert_same(dict(network.state_dict()), dict(seen[-1]))


@pytest.mark.parametrize("skip, counted", [(3, slice(3, 9)), (7, slice(7, 9))])
def test_a_longer_training_begins_its_last_part_later(skip, counted):
    network = tiny()
    mean = Mean(network, skip=3)
    seen = walk(network, 5, mean)
    longer = Mean(network, skip)
    longer.load_state_dict(mean.state_dict())
    seen += walk(network, 4, longer, first=5)
    assert_mean(longer.state_dict()["average"], seen[counted])


class Watch(Callback):
    def __init__(self):
        self.seen = []

    def on_step(self, loop, losses):
        self.seen.append(copy.deepcopy(loop.network.state_dict()))


def test_a_run_keeps_the_mean_and_resumes_with_it(small, quiet, tmp_path):
    options = {"regularize": {"mean": 0.4}, "keep": "last", "precision": "fp32"}
    watch = Watch()
    whole = small(**options, callbacks=[watch])
    assert len(watch.seen) == 15
    assert_mean(kept_weights(whole.path, "last")[0], watch.seen[9:])
    with pytest.raises(KeyboardInterrupt):
        small(**options, out=tmp_path / "cut", callbacks=[InterruptAt(11)])
    resumed = hubel.resume(next((tmp_path / "cut").glob("*/1")), source=blobs(), progress=quiet)
    assert_same(*(checkpoint.load(run.path / "checkpoints" / "last") for run in (whole, resumed)))


def test_two_averages_are_refused(small):
    with pytest.raises(UserError, match="two averages"):
        small(regularize={"mean": 0.4, "ema": 0.9})


def test_snapshots_are_the_weights_where_a_cycle_ends(small, quiet, tmp_path):
    options = {"schedule": {"name": "cyclic", "cycles": 2}, "precision": "fp32"}
    watch = Watch()
    run = small(**options, callbacks=[watch])  # 15 steps: cycles of 8 and 7
    found = load_snapshots(run.path)
    assert list(found) == [1, 2]
    for number, step in ((1, 8), (2, 15)):
        assert_same(dict(found[number]), dict(watch.seen[step - 1]))
    assert list(load_snapshots(run.path, 1)) == [2]
    rates = np.array([row["lr"] for row in run.history])
    assert rates[1] > rates[0]  # it began anew
    with pytest.raises(KeyboardInterrupt):
        small(**options, out=tmp_path / "cut", callbacks=[InterruptAt(8)])
    resumed = hubel.resume(next((tmp_path / "cut").glob("*/1")), source=blobs(), progress=quiet)
    assert_same(found, load_snapshots(resumed.path))


def test_a_run_without_snapshots_says_how_to_get_them(small):
    with pytest.raises(UserError, match="--schedule cyclic"):
        load_snapshots(small(epochs=1).path)


def test_more_snapshots_than_there_are(small):
    run = small(schedule={"name": "cyclic", "cycles": 2})
    with pytest.raises(UserError, match="kept 2 snapshots, 3 were asked for"):
        load_snapshots(run.path, 3)

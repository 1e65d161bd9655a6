"""Two processes do what one does: the same weights, one run folder, one document; a lost worker is replaced."""

import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from small_runs import (
    PLAIN,
    document,
    end,
    environment,
    only_run,
    save_npz,
    start_torchrun,
    torchrun,
    wait_for,
    words,
)

import hubel
from hubel.training import checkpoint

pytestmark = pytest.mark.processes

NORMED = """
from torch import nn

def net(*, classes, input):
    c, h, w = input
    return nn.Sequential(nn.Conv2d(c, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(),
                         nn.Linear(4 * h * w, classes))
"""

MORTAL = """
import os, signal
from pathlib import Path
from torch import nn

class Net(nn.Module):
    '''Dies once, in the second process, in the middle of the training.'''

    def __init__(self, *, classes, input):
        super().__init__()
        self.layer, self.passes = nn.Linear(64, classes), 0

    def forward(self, images):
        self.passes += self.training
        marker = Path(__file__).with_name("died")
        if self.passes == 12 and os.environ.get("RANK") == "1" and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.layer(images.flatten(1))
"""


def last(path):
    return checkpoint.load(path / "checkpoints" / "last")


def compare(one, two, tolerance=1e-5):
    """Weights, history, metrics and predictions of two runs."""
    for name, weight in last(one)["network"].items():
        torch.testing.assert_close(last(two)["network"][name], weight, rtol=tolerance, atol=tolerance, msg=name)
    first, second = hubel.Run.open(one), hubel.Run.open(two)
    timing = {"seconds", "images_per_second", "wait_share"}
    for a, b in zip(first.history, second.history, strict=True):
        assert {k: v for k, v in a.items() if k not in timing} == pytest.approx(
            {k: v for k, v in b.items() if k not in timing}, rel=1e-4
        )
    for split, metrics in first.metrics.items():
        assert metrics == pytest.approx(second.metrics[split], rel=1e-4), split
        a, b = (np.load(path / "predictions" / f"{split}.npz") for path in (one, two))
        assert np.array_equal(a["index"], b["index"]) and np.array_equal(a["target"], b["target"])
        for name in a.files:
            np.testing.assert_allclose(a[name], b[name], rtol=1e-4, atol=1e-4, err_msg=f"{split} {name}")


def single(data, out, options):
    return hubel.train(data, out=out, progress="quiet", **options).path


def test_two_processes_follow_one(tmp_path):
    data = save_npz(tmp_path / "squares.npz", n=1098)  # 549 to learn from: 5 steps an epoch, the last with one image
    options = {**PLAIN, "batch_size": "137", "epochs": "4", "precision": "fp32", "keep": "last"}
    one = single(data, tmp_path / "one", options)
    done = torchrun(2, "train", data, "--out", tmp_path / "two", "--json", *words(options))
    found = document(done)
    two = only_run(tmp_path / "two")
    assert found["run"] == str(two) and last(two)["position"]["step"] == 20
    compare(one, two)
    assert found["metrics"]["test"] == hubel.Run.open(two).metrics["test"]
    assert (two / "report.html").exists() and not list(two.rglob("*.tmp"))
    judged = document(torchrun(2, "evaluate", two, "--split", "test", "--json"))
    assert judged["metrics"]["test"] == found["metrics"]["test"]
    assert hubel.Run.open(two).test_looks == 2


def test_shared_batch_norm_sees_the_global_batch(tmp_path):
    (tmp_path / "own.py").write_text(NORMED)
    data = save_npz(tmp_path / "squares.npz", n=102)
    options = {k: v for k, v in PLAIN.items() if not k.startswith("model")}
    options |= {
        "model": f"{tmp_path}/own.py:net",
        "batch_size": "15",
        "precision": "fp32",
        "keep": "last",
    }
    one = single(data, tmp_path / "one", options)
    done = torchrun(2, "train", data, "--out", tmp_path / "two", "--json", "--sync_batchnorm", *words(options))
    document(done)
    two = only_run(tmp_path / "two")
    compare(one, two)
    assert last(two)["network"]["1.num_batches_tracked"] == 8


def test_transfer_from_a_run_follows_one_process(tmp_path, monkeypatch):
    """As --transfer head does, features are computed by one process and read by both; then all layers learn, batch
    norms standing still."""
    data = save_npz(tmp_path / "squares.npz", n=102)
    options = {k: v for k, v in PLAIN.items() if not k.startswith("model")}
    options |= {"model": "resnet8", "model.widths": "[4, 8]", "precision": "fp32", "keep": "last", "batch_size": "15"}
    before = single(save_npz(tmp_path / "other.npz", n=60, seed=1), tmp_path / "before", options)
    options |= {"transfer": "staged", "transfer.head_epochs": "2", "epochs": "3"}
    place = tmp_path / "cache"  # of each its own: both compute the features
    monkeypatch.setenv("XDG_CACHE_HOME", str(place / "one"))
    one = single(data, tmp_path / "one", {**options, "from_run": before})
    start = ("train", data, "--out", tmp_path / "two", "--from", before, "--json", *words(options))
    done = torchrun(2, *start, XDG_CACHE_HOME=str(place / "two"))
    document(done)
    two = only_run(tmp_path / "two")
    compare(one, two)
    names = [[file.name for file in (place / which).rglob("features/*.npz")] for which in ("one", "two")]
    assert names[0] == names[1] and len(names[0]) == 1
    start, end = last(before)["network"], last(two)["network"]
    body = [name for name in start if not name.startswith("head.") and "num_batches" not in name]
    assert all(torch.equal(start[name], end[name]) == ("running" in name) for name in body)


PLAYERS = """
import warnings
import torch
from torch import nn
from hubel.recipe import Recipe, RegularizeOptions
from hubel.tasks.base import Player, Task
from hubel.training import distributed
from hubel.training.descent import Descent
from hubel.types import Batch, Term

class Game(Task):
    def of(self, i):
        def loss(network, batch):
            outputs = network(batch.images)
            return {f"term{i}": Term((outputs**2).sum() * (i + 1), len(batch))}
        return loss

    def players(self):
        return [Player(str(i), lambda network, i=i: network[i].parameters(), self.of(i)) for i in (0, 2)]

class One(Game):
    def players(self): return ()
    loss = staticmethod(Game().of(0))

distributed.start(torch.device("cpu"))
rank = distributed.rank()
for task in (Game(), One()):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    recipe = Recipe(precision="fp32", regularize=RegularizeOptions(ema=0.5))
    descent = Descent(network, task, recipe, torch.device("cpu"), print)
    torch.manual_seed(1 + rank)
    for number in range(3):
        images = torch.randn(5, 4) + rank
        batch = Batch(images, None, torch.arange(5), torch.ones(5), torch.ones(5, 2), torch.eye(3).expand(5, 3, 3))
        descent.step(batch, 1.0, number)
    states = distributed.gather([*network.state_dict().values(), *descent.ema.average.values()])
    assert all(torch.equal(a, b) for a, b in zip(*states, strict=True)), states
    assert network[1].running_mean.abs().sum() > 0
print("the same", flush=True)
distributed.barrier()
distributed.finish()
"""


def test_running_statistics_are_those_of_one_network(tmp_path):
    """Of one and of several players, with an average of the weights: all processes hold, judge and save the same."""
    (tmp_path / "game.py").write_text(PLAYERS)
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*start, tmp_path / "game.py"], capture_output=True, text=True, env=environment(), timeout=120
    )
    assert done.returncode == 0 and done.stdout.count("the same") == 2, done.stderr


def test_one_pixel_filters_bring_no_warning(tmp_path):
    """In channels_last their gradients have other strides than the weights; nobody can mend that."""
    data = save_npz(tmp_path / "squares.npz", n=80, channels=3, side=16)
    options = {"model": "resnet8", "epochs": "1", "batch_size": "8", "workers": "0"}
    done = torchrun(2, "train", data, "--out", tmp_path / "runs", "--json", *words(options), PYTHONWARNINGS="default")
    document(done)
    assert "strides" not in done.stderr


def test_a_lost_worker_is_replaced(tmp_path):
    (tmp_path / "own.py").write_text(MORTAL)
    data = save_npz(tmp_path / "squares.npz", n=128)  # 4 steps an epoch
    options = {k: v for k, v in PLAIN.items() if not k.startswith("model")}
    options |= {"model": f"{tmp_path}/own.py:Net", "epochs": "5", "precision": "fp32", "save_every": "3"}
    whole = single(data, tmp_path / "whole", options)
    assert not (tmp_path / "died").exists()
    done = torchrun(
        2, "train", data, "--out", tmp_path / "cut", "--json", *words(options), launcher=("--max-restarts", "1")
    )
    assert (tmp_path / "died").exists(), "the worker did not die: nothing was tested"
    document(done)
    cut = only_run(tmp_path / "cut")
    assert hubel.Run.open(cut).state == "finished"
    compare(whole, cut)


def test_an_interrupted_training_is_saved_once(tmp_path):
    data = save_npz(tmp_path / "squares.npz", n=128)
    options = {**PLAIN, "epochs": "100000", "precision": "fp32"}
    started = start_torchrun(2, "train", data, "--out", tmp_path / "runs", *words(options))
    try:
        wait_for(lambda: list(tmp_path.glob("runs/*/1/history.csv")) and "\n4," in history(tmp_path))
        started.send_signal(signal.SIGINT)
        _, said = started.communicate(timeout=60)
    finally:
        end(started)
    path = only_run(tmp_path / "runs")
    assert f"hubel resume {path}" in said, said
    assert hubel.Run.open(path).state == "interrupted"
    assert len(hubel.Run.open(path).history) == last(path)["position"]["epoch"] > 3
    assert len(last(path)["random"]) == 2
    with pytest.raises(hubel.UserError, match=r"ran in 2 processes.*torchrun"):
        hubel.resume(path, progress="quiet")


LEAVING = """
import atexit, os, sys
import hubel.training.distributed
from hubel.__main__ import leave

class Thread:
    def __del__(self):
        os.abort()

alive = Thread()
atexit.register(print, "tidied")
leave(int(sys.argv[1]))
"""


@pytest.mark.parametrize("status", [0, 2])
def test_one_of_several_ends_before_libraries_are_torn_down(status):
    """What aborts in the last moments of an interpreter (a thread of a store, of gloo) must not end a finished run."""
    command = [sys.executable, "-c", LEAVING, str(status)]
    several, alone = environment(RANK="0", WORLD_SIZE="2"), environment(RANK="0", WORLD_SIZE="1")
    done = subprocess.run(command, capture_output=True, text=True, env=several)
    assert done.returncode == status, done.stderr
    assert ("tidied" in done.stdout) == (status == 0)
    assert subprocess.run(command, capture_output=True, env=alone).returncode < 0  # the trap works


def history(folder):
    return next(folder.glob("runs/*/1/history.csv")).read_text()

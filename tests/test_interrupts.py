"""Ctrl-C at every moment of a training: exit 130, no traceback, and a run that goes on bit for bit, or none."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from small_parts import assert_same
from small_runs import PLAIN, Quiet, environment, save_folder, save_npz, words

import hubel
from hubel import driver, outcome
from hubel.training import atomic, checkpoint, interrupts
from hubel.training import loop as loops
from hubel.training.callbacks import Callback
from hubel.training.descent import Descent

OPTIONS = {**PLAIN, "epochs": 3, "precision": "fp32", "regularize.ema": "0.9"}


def last(path):
    return checkpoint.load(path / "checkpoints" / "last")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return save_npz(tmp_path_factory.mktemp("data") / "squares.npz")


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """The training that nobody interrupts."""
    return hubel.train(data, out=tmp_path_factory.mktemp("whole"), progress=Quiet(), **OPTIONS)


class Press:
    """Takes the place of a function: at its n-th call Ctrl-C is pressed before it does its work."""

    def __init__(self, real, call=1, times=1):
        self.real, self.left, self.times = real, call, times

    def __call__(self, *words, **options):
        self.left -= 1
        if self.left == 0:
            for _ in range(self.times):
                signal.raise_signal(signal.SIGINT)
        return self.real(*words, **options)


MOMENTS = {  # where Ctrl-C is pressed: (owner, name, at which call)
    "what is said before the first step": (driver, "announce", 1),
    "the first checkpoint": (checkpoint, "save", 1),
    "a step": (Descent, "step", 6),
    "a checkpoint between epochs": (checkpoint, "save", 4),
    "the dev part": (loops, "evaluate", 2),
    "the last judgement": (outcome, "judge", 1),
    "the report": (outcome, "report_data", 1),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_at_any_moment(data, whole, tmp_path, monkeypatch, moment):
    owner, name, call = MOMENTS[moment]
    press = Press(getattr(owner, name), call)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt) as stop:
        patch.setattr(owner, name, lambda *words, **options: press(*words, **options))
        hubel.train(data, out=tmp_path, progress=Quiet(), **OPTIONS)
    path = stop.value.run
    assert hubel.Run.open(path).state == "interrupted" and not list(path.rglob("*.tmp"))
    resumed = hubel.resume(path, progress=Quiet())
    assert resumed.state == "finished" and resumed.metrics == whole.metrics
    assert_same(last(resumed.path), last(whole.path))


def test_the_dev_part_is_cut_short(data, tmp_path, monkeypatch):
    """Ctrl-C between two batches of an evaluation does not wait for the others."""
    seen = []
    real = loops.evaluate

    def evaluate(network, task, batches, **options):
        def some():
            for batch in batches:
                seen.append(len(batch))
                signal.raise_signal(signal.SIGINT)
                yield batch

        return real(network, task, some(), **options)

    monkeypatch.setattr(loops, "evaluate", evaluate)
    with pytest.raises(KeyboardInterrupt) as stop:
        hubel.train(data, out=tmp_path, progress=Quiet(), **{**OPTIONS, "micro_batch": "8"})
    assert seen == [8] and last(stop.value.run)["position"] == {"epoch": 0, "batch": 4, "step": 4}


def test_two_at_once_end_at_once_and_lose_one_interval(data, whole, tmp_path, monkeypatch):
    class Twice(Callback):
        def on_step(self, loop, losses):
            if loop.step == 6:
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as stop:
        hubel.train(data, out=tmp_path, progress=Quiet(), callbacks=[Twice()], **OPTIONS)
    assert last(stop.value.run)["position"]["step"] == 4, "the checkpoint of the first epoch's end"
    assert_same(last(hubel.resume(stop.value.run, progress=Quiet()).path), last(whole.path))


@pytest.mark.parametrize("call", range(1, 9))
def test_ctrl_c_in_the_middle_of_a_write_leaves_no_halves(tmp_path, monkeypatch, call):
    state = {"w": torch.ones(3)}
    checkpoint.save(tmp_path, state)

    def refuse(*words, **options):
        nonlocal call
        call -= 1
        if call == 0:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        for name in ("fsync", "open"):
            real = getattr(os, name)
            patch.setattr(atomic.os, name, lambda *a, _r=real, **k: (refuse(), _r(*a, **k))[1])
        replace = atomic.Path.replace
        patch.setattr(atomic.Path, "replace", lambda *a: (refuse(), replace(*a))[1])
        with pytest.raises(KeyboardInterrupt):
            checkpoint.save(tmp_path, state)
    names = [path.name for path in tmp_path.iterdir()]
    assert not [name for name in names if name.endswith(".tmp")]
    assert len([n for n in names if n.endswith(".json")]) == len([n for n in names if n.endswith(".safetensors")])
    assert_same(checkpoint.load(tmp_path), state)


@pytest.mark.parametrize("several_of", [{"folds": 2}, {"restarts": 2}, {"refit": True}], ids=str)
def test_several_are_resumed_as_a_whole(data, tmp_path, several_of):
    """In the second of several trainings; the message names the whole, and no step is taken twice."""
    plain, press = Steps(), Steps(press=2)
    whole = hubel.train(data, out=tmp_path / "whole", progress=Quiet(), callbacks=[plain], **PLAIN, **several_of)
    with pytest.raises(KeyboardInterrupt) as stop:
        hubel.train(data, out=tmp_path / "cut", progress=Quiet(), callbacks=[press], **PLAIN, **several_of)
    path = stop.value.run
    assert path == next((tmp_path / "cut").glob("*/1")) and hubel.Run.open(path).state == "interrupted"
    rest = Steps()
    resumed = hubel.resume(path, progress=Quiet(), callbacks=[rest])
    assert resumed.metrics == whole.metrics and resumed.state == "finished"
    assert press.taken + rest.taken == plain.taken and rest.taken


class Steps(Callback):
    """Counts steps; presses Ctrl-C in a step of the second training."""

    def __init__(self, press=0):
        self.press, self.taken, self.trainings = press, 0, 0

    def on_start(self, loop):
        self.trainings += 1

    def on_step(self, loop, losses):
        self.taken += 1
        if self.trainings == 2 and loop.step == self.press:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("moment", ["the judgement", "another fault"])
def test_the_report_of_a_failed_training_hides_no_fault(data, tmp_path, monkeypatch, moment):
    """Ctrl-C while it is written, or a second fault, leave the first one as it was."""

    def broken(*words, **options):
        if moment == "the judgement":
            signal.raise_signal(signal.SIGINT)
        raise ValueError("second")

    class Broken(Callback):
        def on_step(self, loop, losses):
            monkeypatch.setattr(outcome, "judge", broken)
            raise ZeroDivisionError("first")

    with pytest.raises(ZeroDivisionError, match="first") as fault:
        hubel.train(data, out=tmp_path, progress=Quiet(), callbacks=[Broken()], **OPTIONS)
    run = hubel.Run.open(fault.value.run)
    assert not hasattr(fault.value, "report") and (run.state, run.reason) == ("failed", "ZeroDivisionError: first")


def test_ignored_signals_stay_ignored():
    """nohup, and a shell's background jobs: they asked not to be interrupted."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts.interrupts() as received:
            signal.raise_signal(signal.SIGINT)
        assert not received and signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


HURRIED = """
import os, signal, sys
from hubel import api, cli
from hubel.__main__ import leave

def press():
    for _ in range(3):
        os.kill(os.getpid(), signal.SIGINT)

class Impatient:
    def write(self, text):
        press()
        return sys.__stdout__.write(text)
    def flush(self): press()
    def fileno(self): return 2

def train(*words, **options):
    sys.stderr = Impatient()
    try:
        press()
    finally:
        press()

api.train = train
leave(cli.main())
"""


def test_hurried_presses_do_not_tear_the_ending():
    done = subprocess.run(
        [sys.executable, "-c", HURRIED, "train", "--json"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 130 and "Traceback" not in done.stderr + done.stdout, done.stderr
    assert '"interrupted"' in done.stdout


@pytest.mark.processes
@pytest.mark.parametrize("gap", [0.0, 0.05, 0.4])
def test_the_whole_group_is_interrupted_twice(tmp_path, gap):
    """As a terminal does it: every process gets each press, those that read images too."""
    data = save_folder(tmp_path / "photos", side=72)  # above 64 pixels: read anew in each epoch
    options = {**PLAIN, "epochs": 100_000, "workers": 1, "save_every": 1000}  # at each end, however slow the disk
    command = [sys.executable, "-m", "hubel", "train", data, "--out", tmp_path / "runs", *words(options)]
    started = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment(), start_new_session=True)
    try:
        for line in started.stderr:
            if line.startswith("epoch"):
                break
        for _ in range(3):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGINT)
            time.sleep(gap)
        said = started.stderr.read()
        assert started.wait(60) == 130 and "Traceback" not in said, said
    finally:
        started.kill()
    path = next((tmp_path / "runs").glob("*/1"))
    assert f"hubel resume {path}" in said and hubel.Run.open(path).state == "interrupted"
    assert last(path)["position"]["epoch"] >= 1 and not list(path.rglob("*.tmp"))

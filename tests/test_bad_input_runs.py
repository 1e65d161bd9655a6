"""Run folders that are half written, hold pickles, or lost their data; disks and signals."""

import json
import pickle
import shutil
import signal

import numpy as np
import pytest
from PIL import Image
from small_runs import PLAIN, Quiet, save_folder, save_npz, squares, start_hubel, wait_for, words

import hubel
from hubel.errors import UserError
from hubel.training import atomic, checkpoint
from hubel.training.callbacks import Callback
from hubel.training.run import list_runs

SMALL = {**PLAIN, "epochs": 1}


# Run folders that are half written --------------------------------------------------------------------------


def verbs(run_path, data):
    image = squares(1)[0][0]
    return {
        "evaluate": lambda: hubel.Run.open(run_path).evaluate(),
        "predict": lambda: hubel.Run.open(run_path).predict([image]),
        "resume": lambda: hubel.resume(run_path, progress=Quiet(), epochs=2),
        "report": lambda: hubel.Run.open(run_path).report(),
        "start from": lambda: hubel.train(data, from_run=run_path, out=run_path / "again", progress=Quiet(), epochs=1),
    }


@pytest.mark.parametrize("damage", ["missing", "truncated", "empty", "binary"])
@pytest.mark.parametrize("name", ["config.json", "network.json", "splits.npz", "manifest.json", "checkpoints"])
@pytest.mark.parametrize("verb", ["evaluate", "predict", "resume", "report", "start from"])
def test_half_written_runs(copied, finished, verb, name, damage):
    hurt(copied.path / name, damage)
    data = finished.manifest["data"]["source"]
    try:
        verbs(copied.path, data)[verb]()
    except UserError as fault:
        assert str(copied.path) in str(fault) and len(str(fault)) > 30
    rows = command_rows(copied.path.parents[1])
    if name != "config.json" or damage != "missing":
        assert len(rows) == 1  # listed, whatever state it is in


def hurt(path, damage):
    for file in [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]:
        if damage == "missing":
            file.unlink()
        else:
            content = file.read_bytes()
            file.write_bytes(
                {"truncated": content[: len(content) // 2], "empty": b"", "binary": b"\x80\xff" * 50}[damage]
            )


def command_rows(root):
    from hubel.cli import runs as cli_runs

    assert len(list_runs(root)) == len(cli_runs.table(root))
    return cli_runs.table(root)


NEEDS = {  # what each command can't do without
    "evaluate": {"config.json", "network.json", "splits.npz", "checkpoints"},
    "predict": {"config.json", "network.json", "checkpoints"},
    "resume": {"config.json", "network.json", "splits.npz", "checkpoints"},
    "report": {"config.json", "network.json", "splits.npz", "checkpoints"},
}


@pytest.mark.parametrize("verb", NEEDS)
def test_what_is_needed_is_asked_for(copied, finished, verb):
    for name in ("config.json", "network.json", "splits.npz", "checkpoints"):
        shutil.rmtree(copied.path)
        shutil.copytree(finished.path, copied.path)
        hurt(copied.path / name, "missing")
        if name in NEEDS[verb]:
            with pytest.raises(UserError):
                verbs(copied.path, None)[verb]()
        else:
            verbs(copied.path, None)[verb]()


def test_a_pickle_is_never_opened(copied):
    marker = copied.path / "ran"

    class Evil:
        def __reduce__(self):
            return (open, (str(marker), "w"))

    for part in ("best", "last"):
        folder = copied.path / "checkpoints" / part
        for file in folder.iterdir():
            file.unlink()
        (folder / "weights.pt").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(UserError, match=r"a pickle can run code"):
        copied.predict([squares(1)[0][0]])
    with pytest.raises(UserError, match=r"a pickle can run code"):
        hubel.resume(copied.path, progress=Quiet(), epochs=2)
    assert not marker.exists()


def test_a_pickle_under_our_names_is_never_opened(copied):
    marker = copied.path / "ran"

    class Evil:
        def __reduce__(self):
            return (open, (str(marker), "w"))

    for file in (copied.path / "checkpoints").rglob("*.safetensors"):
        file.write_bytes(pickle.dumps(Evil()))
    (copied.path / "splits.npz").write_bytes(pickle.dumps(Evil()))
    for call in (lambda: copied.predict([squares(1)[0][0]]), copied.evaluate):
        with pytest.raises(UserError):
            call()
    assert not marker.exists()


# The disk, signals, time ------------------------------------------------------------------------------------


class FullDisk(Callback):
    """From a step on, nothing can be written."""

    def __init__(self, monkeypatch, step):
        self.monkeypatch, self.step = monkeypatch, step

    def on_step(self, loop, losses):
        if loop.step == self.step:
            self.monkeypatch.setattr(atomic.os, "fsync", self._refuse)

    def _refuse(self, handle):
        raise OSError(28, "No space left on device")


def test_a_disk_that_fills_in_mid_training(tmp_path, monkeypatch):
    data = save_npz(tmp_path / "squares.npz")
    options = {**PLAIN, "epochs": 3, "save_every": 2, "precision": "fp32"}
    whole = hubel.train(data, out=tmp_path / "whole", progress=Quiet(), **options)
    with monkeypatch.context() as patch, pytest.raises(UserError, match=r"No room for .*`hubel resume`"):
        hubel.train(data, out=tmp_path / "cut", progress=Quiet(), callbacks=[FullDisk(patch, 5)], **options)
    path = next((tmp_path / "cut").glob("*/1"))
    assert checkpoint.load(path / "checkpoints" / "last")["position"]["step"] == 4
    assert not list(path.rglob("*.tmp"))
    resumed = hubel.resume(path, progress=Quiet())
    a, b = (checkpoint.load(run.path / "checkpoints" / "last") for run in (whole, resumed))
    assert all(np.array_equal(a["network"][name].numpy(), b["network"][name].numpy()) for name in a["network"])
    assert whole.metrics == resumed.metrics and len(resumed.history) == 3


def test_a_folder_that_can_not_be_written(tmp_path, monkeypatch):
    data = save_npz(tmp_path / "squares.npz")

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch, pytest.raises(UserError, match=r"can't be written.*--out"):
        patch.setattr("pathlib.Path.mkdir", refuse)
        hubel.train(data, out=tmp_path / "runs", progress=Quiet(), **SMALL)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a file, not a folder"):
        hubel.train(data, out=tmp_path / "file", progress=Quiet(), **SMALL)
    with monkeypatch.context() as patch, pytest.raises(UserError, match=r"can't be written.*--out"):
        patch.setattr(atomic.os, "fsync", refuse)
        hubel.train(data, out=tmp_path / "other", progress=Quiet(), **SMALL)


@pytest.mark.processes
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_an_interrupted_command_can_be_resumed(tmp_path, number):
    data = save_npz(tmp_path / "squares.npz")
    started = start_hubel(
        "train", data, "--out", tmp_path / "runs", "--quiet", "--json", *words({**PLAIN, "epochs": 100_000})
    )
    try:
        wait_for(lambda: any(p.read_text().count("\n") > 3 for p in tmp_path.glob("runs/*/1/history.csv")))
        started.send_signal(number)
        shown, said = started.communicate(timeout=240)  # a machine under load
    finally:
        started.kill()
    path = next((tmp_path / "runs").glob("*/1"))
    assert started.returncode == 130 and "Traceback" not in said
    assert f"hubel resume {path}" in said and f"hubel resume {path}" in json.loads(shown)["error"]
    assert hubel.Run.open(path).state == "interrupted"
    state = checkpoint.load(path / "checkpoints" / "last")
    assert state["position"]["epoch"] == len(hubel.Run.open(path).history)
    resumed = hubel.resume(path, epochs=state["position"]["epoch"] + 1, progress=Quiet())
    assert resumed.state == "finished" and resumed.metrics["test"]


def test_data_that_changed_since(tmp_path):
    root = save_folder(tmp_path / "photos")
    run = hubel.train(root, out=tmp_path / "runs", progress=Quiet(), **SMALL)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(root / "a" / "000.png")
    for call in (run.evaluate, run.report, lambda: hubel.resume(run.path, epochs=2, progress=Quiet())):
        with pytest.raises(UserError, match=r"has changed since the run began"):
            call()
    shutil.rmtree(root)
    with pytest.raises(UserError, match=r"no file or folder"):
        run.evaluate()
    assert run.predict([np.zeros((8, 8), np.uint8)])  # needs no data

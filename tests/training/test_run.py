"""The run folder: numbered without races, written whole or not at all, read back as it was written."""

import errno
import json
import math
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from hubel.errors import UserError
from hubel.recipe import Setting
from hubel.training import atomic
from hubel.training import run as runs
from hubel.training.manifest import manifest
from hubel.training.places import safe_name
from hubel.training.run import RunFolder, list_runs

SETTINGS = {
    "model.hidden": Setting((100, 50), "command line"),
    "epochs": Setting(3, "auto", "few images"),
    "optimizer.lr": Setting(None, "default"),
}


@pytest.fixture
def run(tmp_path):
    made = RunFolder.create(tmp_path / "runs", "digits", "mlp")
    made.write_config(SETTINGS)
    return made


def test_numbers_go_up_and_names_are_safe(tmp_path):
    paths = [RunFolder.create(tmp_path, "../my data", "net.py:Net").path for _ in range(11)]
    assert [p.name for p in paths] == [str(i) for i in range(1, 12)]
    assert paths[0].parent == tmp_path / "my-data-net.py-Net"
    (paths[4]).rmdir()  # a removed number is not given out again while a later one is there
    assert RunFolder.create(tmp_path, "../my data", "net.py:Net").path.name == "12"


@pytest.mark.parametrize(
    ("name", "safe"), [("a/b", "a-b"), ("..", "run"), ("", "run"), ("é☃", "run"), ("x" * 300, "x" * 100), ("-a.", "a")]
)
def test_safe_names(name, safe):
    assert safe_name(name) == safe


def test_many_at_once_get_different_folders(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: RunFolder.create(tmp_path, "a", "b").path, range(40)))
    assert sorted(int(p.name) for p in paths) == list(range(1, 41))


def test_a_lost_race_takes_the_next_number(tmp_path, monkeypatch):
    RunFolder.create(tmp_path, "a", "b")
    real = runs.Path.iterdir
    monkeypatch.setattr(runs.Path, "iterdir", lambda self: iter(()) if self.name == "a-b" else real(self))
    assert RunFolder.create(tmp_path, "a", "b").path.name == "2"


def test_config_survives(run):
    again = RunFolder.open(run.path)
    assert again.settings == SETTINGS
    content = json.loads((run.path / "config.json").read_text())
    assert content["schema"] == 1
    assert content["epochs"] == {"value": 3, "source": "auto", "reason": "few images"}


def test_history_grows_and_gains_columns(run):
    run.append_history({"epoch": 1, "train.loss": 0.1 + 0.2, "dev.f1": math.nan})
    run.append_history({"epoch": 2, "train.loss": -1e-30, "dev.top5": 1.0})
    first, second = run.history
    assert first["epoch"] == 1 and isinstance(first["epoch"], int)
    assert first["train.loss"] == 0.1 + 0.2 and math.isnan(first["dev.f1"]) and "dev.top5" not in first
    assert second == {"epoch": 2, "train.loss": -1e-30, "dev.top5": 1.0}
    assert (run.path / "history.csv").read_text().splitlines()[0] == "epoch,train.loss,dev.f1,dev.top5"


def test_metrics_predictions_manifest(run):
    assert run.metrics == {} and run.primary is None and run.history == []
    run.write_metrics({"metrics": {"test": {"accuracy": 0.5}}, "seconds": 2.5, "primary": "accuracy", "epoch": 3})
    run.save_predictions("test", index=np.arange(3), output=np.eye(3))
    run.write_manifest(manifest(seed=7, data={"hash": "x"}))
    again = RunFolder.open(run.path)
    assert (again.metrics, again.seconds, again.primary, again.best_epoch) == (
        {"test": {"accuracy": 0.5}}, 2.5, "accuracy", 3,
    )  # fmt: skip
    with np.load(run.path / "predictions" / "test.npz") as saved:
        assert saved["index"].tolist() == [0, 1, 2] and (saved["output"] == np.eye(3)).all()
    found = again.manifest
    assert found["seed"] == 7 and found["data"]["hash"] == "x" and found["versions"]["torch"]
    assert found["versions"]["python"] == ".".join(map(str, sys.version_info[:3])) and "processor" in found["hardware"]


def commit(folder):
    """A repository with one tracked file, `a`; returns its commit."""
    folder.mkdir(exist_ok=True)
    (folder / "a").write_text("1")
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "a"], [*who, "commit", "-qm", str(folder)]):
        subprocess.run(["git", "-C", folder, *words], check=True)
    found = subprocess.run(["git", "-C", folder, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    return found.stdout.strip()


def test_the_manifest_names_the_commit(tmp_path, monkeypatch):
    """Of the user's own code, else of the folder that the command runs in."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    (tmp_path / "plain").mkdir()
    monkeypatch.chdir(tmp_path / "plain")
    assert manifest()["git"] is None
    code, here = commit(tmp_path / "code"), commit(tmp_path / "here")
    assert code != here
    monkeypatch.chdir(tmp_path / "here")
    assert manifest()["git"] == {"commit": here, "changed": False, "folder": str(tmp_path / "here")}
    assert manifest(code=[tmp_path / "plain"])["git"]["commit"] == here
    (tmp_path / "code" / "deep").mkdir()
    (tmp_path / "code" / "a").write_text("2")
    found = manifest(code=[tmp_path / "code" / "deep"])["git"]
    assert found == {"commit": code, "changed": True, "folder": str(tmp_path / "code")}


def test_looks_at_the_test_part_are_counted(run):
    run.write_metrics({"metrics": {"test": {"accuracy": 1.0}}, "looks": {"test": 1}})
    run.note_test_look()
    assert run.test_looks == 2 and run.metrics == {"test": {"accuracy": 1.0}}


def test_states(run):
    assert run.state == "interrupted"  # nothing was written yet
    for state in ("running", "finished", "failed", "interrupted"):
        run.set_state(state, "why")
        assert run.state == state
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    content = {"state": "running", "pid": int(gone.stdout), "host": runs.platform.node()}
    (run.path / "state.json").write_text(json.dumps(content))
    assert run.state == "interrupted"  # killed: it could not say so itself
    (run.path / "state.json").write_text(json.dumps({**content, "host": "elsewhere"}))
    assert run.state == "running"  # another machine's process can't be asked


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", None, "is not a run: it holds no config.json"),
        ("config.json", '{"schema": 1, "epo', "config.json can't be read .*the run is damaged"),
        ("config.json", "[]", "holds no JSON object"),
        ("config.json", '{"schema": 2}', r"written by a newer hubel \(schema 2, this one reads 1\). Update hubel"),
        ("config.json", b"\xff\xfe", "can't be read"),
        ("config.json", '{"schema": 1, "epochs": 3}', "config.json is damaged"),
    ],
)
def test_what_can_not_be_opened(run, name, content, message):
    path = run.path / name
    path.unlink() if content is None else path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=message):
        RunFolder.open(run.path).settings  # noqa: B018


def test_a_missing_folder_and_the_folder_above(tmp_path):
    with pytest.raises(UserError, match=r"There is no run folder .*nothing"):
        RunFolder.open(tmp_path / "nothing")
    for _ in range(10):
        last = RunFolder.create(tmp_path, "a", "b")
        last.write_config(SETTINGS)
    with pytest.raises(UserError, match=f"Did you mean {last.path}"):
        RunFolder.open(last.path.parent)


def test_opening_sweeps_what_a_killed_process_left(run):
    orphan = run.path / f"{atomic.PREFIX}999999999-{atomic._host()}@history.csv.tmp"
    elsewhere = run.path / f"{atomic.PREFIX}999999999-00000000@history.csv.tmp"
    old = run.path / f"{atomic.PREFIX}999999998-00000000@history.csv.tmp"
    inside = run.path / "predictions" / orphan.name
    inside.parent.mkdir()
    for path in (orphan, elsewhere, old, inside):
        path.write_text("half")
    os.utime(old, (0, 0))
    RunFolder.open(run.path)
    assert not orphan.exists() and elsewhere.exists() and not old.exists() and not inside.exists()


@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
def test_a_failed_write_leaves_the_old_file(run, monkeypatch, call):
    run.set_state("running")
    before = sorted(run.path.iterdir()), (run.path / "state.json").read_bytes()

    def full(*words, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    owner = atomic.os if call == "fsync" else atomic.Path
    with monkeypatch.context() as patch:
        patch.setattr(owner, call, full)
        with pytest.raises(UserError, match=r"No room for .*state.json: .* MB are needed, .* MB are free"):
            run.set_state("finished")
    assert (sorted(run.path.iterdir()), (run.path / "state.json").read_bytes()) == before


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_a_folder_that_can_not_be_written(tmp_path, monkeypatch, code):
    def refuse(*words, **options):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(runs.Path, "mkdir", refuse)
    with pytest.raises(UserError, match=r"can't be written .* Choose another folder with --out"):
        RunFolder.create(tmp_path, "a", "b")


@pytest.mark.parametrize("place", ["folder", "missing/page.html", "file/page.html", "file/deeper/page.html"])
def test_a_file_that_can_not_be_written_there(tmp_path, place):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("kept")
    with pytest.raises(UserError, match=f"{place} can't be written"):
        atomic.write_atomically(tmp_path / place, b"text")
    if place.startswith("file"):
        with pytest.raises(UserError, match="file can't be written"):
            atomic.make_folder(tmp_path / "file")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"], "nothing is left behind"
    assert (tmp_path / "file").read_text() == "kept"


def test_the_place_of_runs_is_a_file(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(UserError, match="is a file, not a folder"):
        RunFolder.create(tmp_path / "runs", "a", "b")


def test_the_order_of_a_write(tmp_path, monkeypatch):
    calls = []
    for name, owner in (("fsync", atomic.os), ("replace", atomic.Path)):
        real = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *a, _r=real, _n=name, **k: (calls.append(_n), _r(*a, **k))[1])
    atomic.write_atomically(tmp_path / "a", b"1")
    assert calls == ["fsync", "replace", "fsync"] and (tmp_path / "a").read_bytes() == b"1"


def test_runs_are_listed_in_order(tmp_path):
    for dataset in ("b", "a"):
        for _ in range(11):
            RunFolder.create(tmp_path, dataset, "m").write_config(SETTINGS)
    RunFolder.create(tmp_path, "empty", "m")
    found = [(r.path.parent.name, int(r.path.name)) for r in list_runs(tmp_path)]
    assert found == [(kind, n) for kind in ("a-m", "b-m") for n in range(1, 12)]
    assert list_runs(tmp_path / "nothing") == []


def test_quarantine_keeps_any_name(run):
    from types import SimpleNamespace

    run.write_quarantine([SimpleNamespace(name="a\udcff,\n.jpg", reason="cut short")])
    assert (run.path / "quarantine.csv").read_text().startswith("file,reason\n")

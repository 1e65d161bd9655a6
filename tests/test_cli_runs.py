"""`hubel runs`, and the exit status of every ending."""

import json
import math
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hubel import api
from hubel.cli import layout as cli_layout
from hubel.cli import main
from hubel.cli import training as cli_training
from hubel.errors import UserError
from hubel.recipe import Setting
from hubel.training.run import RunFolder


@pytest.fixture(autouse=True)
def eighty_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


# Runs -------------------------------------------------------------------------------------------------------


def make_run(root, dev, state="finished", metric="accuracy", dataset="a"):
    run = RunFolder.create(root, dataset, "mlp")
    run.write_config({"model": Setting("mlp", "auto")})
    run.write_manifest({"data": {"name": dataset}})
    run.write_metrics({"metrics": {"dev": {metric: dev}, "test": {metric: 0.5}}, "seconds": 75.0, "primary": metric})
    run.append_history({"epoch": 1})
    run.set_state(state)
    return run


def test_runs_are_compared_and_pruned(tmp_path, capsys):
    for dev in (0.9, 0.2, 0.3, 0.4):
        make_run(tmp_path, dev)
    for dev in (2.0, 1.0, 3.0):
        make_run(tmp_path, dev, metric="mae", dataset="b")
    make_run(tmp_path, 0.1, state="running")
    (make_run(tmp_path, 0.1, dataset="c").path / "config.json").write_text("{")
    assert main(["runs", "--out", str(tmp_path), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["runs"]
    assert len(rows) == 9 and rows[-1]["state"] == "damaged"
    assert rows[0] | {"run": ""} == {
        "run": "", "kind": "a-mlp", "number": "1", "dataset": "a", "model": "mlp", "epochs": 1, "metric": "accuracy",
        "dev": 0.9, "test": 0.5, "seconds": 75.0, "state": "finished",
    }  # fmt: skip
    assert main(["runs", "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "0.9000" in out and "1 min 15 s" in out and "mae" in out
    assert main(["runs", "--out", str(tmp_path), "--prune", "1"]) == 0
    assert "Nothing was removed yet" in capsys.readouterr().out and (tmp_path / "a-mlp" / "2").exists()
    assert main(["runs", "--out", str(tmp_path), "--prune", "1", "--yes", "--json"]) == 0
    removed = [str(Path(run).relative_to(tmp_path)) for run in json.loads(capsys.readouterr().out)["removed"]]
    assert removed == [
        "a-mlp/2",
        "a-mlp/3",
        "b-mlp/1",
    ]  # the best (1; mae: the lowest), the newest and the running stay
    left = sorted(str(p.parent.relative_to(tmp_path)) for p in tmp_path.glob("*/*/config.json"))
    assert left == ["a-mlp/1", "a-mlp/4", "a-mlp/5", "b-mlp/2", "b-mlp/3", "c-mlp/1"]


def test_json_names_whole_paths(tmp_path, capsys, monkeypatch):
    """A program that reads them may be in another folder."""
    monkeypatch.chdir(tmp_path)
    make_run(Path("mine"), 0.5)
    assert main(["runs", "--out", "mine", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"][0]["run"] == str(tmp_path / "mine" / "a-mlp" / "1")


def test_failed_runs_are_pruned(tmp_path, capsys):
    for state in ("finished", "failed", "interrupted", "running"):
        make_run(tmp_path, 0.5, state=state)
    assert main(["runs", "--out", str(tmp_path), "--prune", "failed", "--yes"]) == 0
    assert sorted(p.name for p in (tmp_path / "a-mlp").iterdir()) == ["1", "4"]
    assert main(["runs", "--out", str(tmp_path), "--prune", "few"]) == 2


def test_no_runs(tmp_path, capsys):
    assert main(["runs", "--out", str(tmp_path)]) == 0
    assert "No runs in" in capsys.readouterr().out


# Exit status ------------------------------------------------------------------------------------------------


def raising(fault):
    def train(*words, **options):
        raise fault

    return train


def test_a_fault_of_ours_leaves_its_traceback_in_the_run(stub, monkeypatch, capsys, tmp_path):
    fault = TypeError("a bug")
    fault.run = tmp_path  # type: ignore[attr-defined]
    monkeypatch.setattr(api, "train", raising(fault))
    assert main(["train"]) == 70
    err = capsys.readouterr().err
    assert "unexpected TypeError: a bug" in err and f"{tmp_path / 'traceback.txt'}" in err and "raise fault" not in err
    assert "raise fault" in (tmp_path / "traceback.txt").read_text()


@pytest.mark.parametrize("run", [None, "/nonexistent/run"])
def test_without_a_run_the_traceback_is_in_a_file(stub, monkeypatch, capsys, run):
    fault = TypeError("a bug")
    fault.run = run  # type: ignore[attr-defined]
    monkeypatch.setattr(api, "train", raising(fault))
    assert main(["train"]) == 70
    path = Path(capsys.readouterr().err.split("traceback is in ")[1].split(";")[0])
    assert "raise fault" in path.read_text()
    path.unlink()


@pytest.mark.parametrize(
    ("fault", "status", "message"),
    [
        (UserError("mend it"), 2, "hubel: mend it"),
        (OSError(28, "No space left on device"), 2, "No room on the disk"),
        (ImportError("libtorch.so: cannot open", name="torch"), 2, "torch can't be imported"),
        (KeyboardInterrupt(), 130, "hubel: interrupted"),
    ],
)
def test_status(stub, monkeypatch, capsys, fault, status, message):
    monkeypatch.setattr(api, "train", raising(fault))
    assert main(["train"]) == status
    err = capsys.readouterr().err
    assert message in err and "Traceback" not in err


def test_an_interrupted_run_says_how_to_go_on(stub, monkeypatch, capsys):
    stop = KeyboardInterrupt()
    stop.run = "runs/a/1"  # type: ignore[attr-defined]
    monkeypatch.setattr(api, "train", raising(stop))
    assert main(["train"]) == 130
    assert "interrupted; continue with: hubel resume runs/a/1" in capsys.readouterr().err


@pytest.mark.parametrize("as_json", [False, True], ids=["a table", "--json"])
def test_ctrl_c_while_the_scores_are_printed_says_that_the_run_is_finished(stub, monkeypatch, capsys, as_json):
    def press(*words, **options):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(*((cli_layout, "as_text") if as_json else (cli_training, "show_trained")), press)
    assert main(["train", *(["--json"] if as_json else [])]) == 130
    err = capsys.readouterr().err
    assert f"{stub.run.path} is finished" in err and "Traceback" not in err and "resume" not in err
    assert main(["evaluate", "runs/a/1"]) == 0, "nothing is remembered"


@pytest.mark.parametrize(("fault", "status"), [(UserError("It diverged."), 2), (TypeError("a bug"), 70)])
@pytest.mark.parametrize("page", [None, "report.html"])
def test_a_training_that_fails_names_its_folder_and_its_report(
    stub, monkeypatch, capsys, tmp_path, fault, status, page
):
    fault.run = tmp_path
    fault.report = None if page is None else tmp_path / page
    monkeypatch.setattr(api, "train", raising(fault))
    assert main(["train", "--json"]) == status
    out, err = capsys.readouterr()
    assert err.strip().endswith(str(tmp_path) if page is None else f"What there is of the training is in {tmp_path}\n"
                                f"Its report is {tmp_path / page}")  # fmt: skip
    assert f"is in {tmp_path}" in json.loads(out)["error"]


def test_a_reader_that_goes_away_is_no_fault():
    done = subprocess.run(
        f"{sys.executable} -m hubel train --help | head -1", shell=True, capture_output=True, text=True
    )
    assert done.stderr == "" and done.stdout.startswith("hubel train")


def test_only_the_first_process_prints(stub, monkeypatch, capsys):
    monkeypatch.setenv("RANK", "1")
    assert main(["train"]) == 0
    assert "report.html" not in capsys.readouterr().out


@pytest.mark.parametrize("lost", [False, True], ids=["as another exception", "not at all"])
def test_ctrl_c_while_a_library_is_imported(stub, monkeypatch, capsys, lost):
    """torch's C code turns it into an ImportError, or loses it: the command ends as after any Ctrl-C."""

    def load(name):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            if not lost:
                raise ImportError("initialisation failed", name="torch") from None

    monkeypatch.setattr("importlib.import_module", load)
    before = signal.getsignal(signal.SIGINT)
    assert main(["train"]) == 130 and not stub.calls
    assert "hubel: interrupted" in capsys.readouterr().err and signal.getsignal(signal.SIGINT) is before


def test_a_table_says_nothing_of_what_was_not_measured():
    assert [cli_layout.number(value) for value in (None, math.nan, 0.5, 1234.5, 3)] == [
        "–",
        "–",
        "0.5000",
        "1,234.5",
        "3",
    ]

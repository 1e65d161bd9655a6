"""The command line as a user meets it: words understood, mistakes explained, one JSON document, the exit status."""

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from hubel import api, cli_help, cli_options, cli_verbs, driver
from hubel.cli import main
from hubel.cli_options import parse
from hubel.cli_show import as_text
from hubel.errors import UserError
from hubel.recipe import Setting, fields_by_key
from hubel.training.run import RunFolder

METRICS = {"dev": {"loss": 0.5, "accuracy": 0.75}, "test": {"loss": float("nan"), "accuracy": 0.5}}


class StubRun:
    """What api.train returns, without a training."""

    def __init__(self, path):
        self.path, self.metrics, self.seconds, self.primary = Path(path), METRICS, 1.5, "accuracy"
        self.asked: list = []

    def evaluate(self, split=None, data=None):
        self.asked.append(("evaluate", split, data))
        return METRICS if split is None else {split: METRICS[split]}

    def predict(self, images):
        return [{"image": image, "prediction": "[red]cat", "confidence": np.float32(0.5)} for image in images]

    def report(self, private=False):
        self.asked.append(("report", private))
        return self.path / "report.html"


@pytest.fixture(autouse=True)
def eighty_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def stub(monkeypatch, tmp_path):
    """`stub.calls` are the keyword arguments of api.train and api.resume."""
    found = SimpleNamespace(run=StubRun(tmp_path / "runs" / "[bold]digits-mlp" / "1"), calls=[])

    def train(source="digits", **options):
        print("a library prints")
        found.calls.append((source, options))
        return found.run

    monkeypatch.setattr(api, "train", train)
    monkeypatch.setattr(api, "resume", train)
    monkeypatch.setattr(api.Run, "open", classmethod(lambda cls, path: found.run))
    return found


# Words ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (["--epochs", "20"], {"epochs": "20"}),
        (["--epochs=20", "--epochs", "30"], {"epochs": "30"}),
        (["--optimizer.lr", "0.1", "--optimizer.weight-decay=1e-3"],
         {"optimizer.lr": "0.1", "optimizer.weight_decay": "1e-3"}),
        (["--batch-size", "8", "--save_every", "5"], {"batch_size": "8", "save_every": "5"}),
        (["--optimizer", "adam", "--schedule=cosine", "--augment", "light"],
         {"optimizer.name": "adam", "schedule.name": "cosine", "augment.policy": "light"}),
        (["--refit"], {"refit": "true"}),
        (["--refit", "false", "--compile", "auto", "--deterministic=yes"],
         {"refit": "false", "compile": "auto", "deterministic": "yes"}),
        (["--folds", "-1"], {"folds": "-1"}),
        (["--model.hidden", "100,50", "--task.smoothing", "0.1"], {"model.hidden": "100,50", "task.smoothing": "0.1"}),
        (["--model.last-layer=x=y"], {"model.last_layer": "x=y"}),
        (["--epochs", "auto"], {"epochs": "auto"}),
    ],
)  # fmt: skip
def test_options(words, options):
    command = parse(["train", *words, "photos"])
    assert command.options == options and command.words == ("photos",)


def test_a_switch_takes_no_word_from_the_source():
    assert parse(["train", "--refit", "photos"]).words == ("photos",)
    assert parse(["train", "--download", "photos", "--from", "runs/a/1"]).flags == {"download": "", "from": "runs/a/1"}


def test_words_after_two_dashes_are_words():
    assert parse(["predict", "runs/a/1", "--", "--odd.png"]).words == ("runs/a/1", "--odd.png")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("trian", "There is no command 'trian'; did you mean 'train'?"),
        ("digits", "did you mean 'hubel train digits'?"),
        ("--quiet train", "The command comes first"),
        ("train --epoch 3", "`hubel train` has no option '--epoch'; did you mean '--epochs'?"),
        ("train --lr 0.1", "did you mean '--optimizer.lr'?"),
        ("train --wieght-decay 1", "did you mean '--optimizer.weight_decay'?"),
        ("train --optimizer.lrr 1", "did you mean '--optimizer.lr'?"),
        ("train --nonsense 1", "`hubel train --help` lists them"),
        ("train -e 3", "has no option '-e'"),
        ("train --epochs", "'--epochs' needs a value: --epochs N"),
        ("train --epochs --refit", "'--epochs' needs a value"),
        ("train --epochs x", "'epochs' needs a whole number, got 'x'"),
        ("train --epochs 0", "at least 1"),
        ("train --optimizer adamm", "did you mean 'adam'"),
        ("train --refit=maybe", "needs true or false"),
        ("train --split 0.2", "'--split' is a group of options: --split.seed"),
        ("train --model lenet", "There is no network 'lenet'"),
        ("train --model nofile.py:Net", "There is no file"),
        ("train --task classify", "did you mean 'classification'"),
        ("train a b", "'b' is one word too many. Expected: hubel train [SOURCE]"),
        ("train --json=1", "'--json' takes no value"),
        ("train --prune 3", "has no option '--prune'"),
        ("evaluate", "Expected: hubel evaluate RUN"),
        ("evaluate run --epochs 3", "takes no option of training such as '--epochs'; it takes --split"),
        ("evaluate run --model.hidden 3", "takes no option of training"),
        ("predict run", "Expected: hubel predict RUN IMAGE..."),
        ("info", "networks: linear"),
        ("resume run --seed 3", "'--seed' can't change in mid-training"),
        ("runs --yes", "'--yes' goes with --prune"),
        ("help nosuch", "There is no command 'nosuch'"),
    ],
)
def test_mistakes_are_explained(words, message, capsys, stub):
    assert main(words.split()) == 2
    out, err = capsys.readouterr()
    assert out == "" and message in err and "Traceback" not in err
    assert err.startswith("hubel: ") and not stub.calls


def test_what_a_resume_takes_is_what_the_driver_changes():
    assert set(cli_options.RESUME_OPTIONS) == set(driver.CHANGEABLE)


def test_every_shorthand_is_an_option():
    assert set(cli_options.SHORT.values()) <= set(fields_by_key())
    assert all(hasattr(cli_verbs, verb) for verb in cli_options.VERBS)


# Help -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", [None, *cli_options.VERBS])
def test_help_fits_80_columns(verb, capsys):
    assert main([verb, "--help"] if verb else ["--help"]) == 0
    out, err = capsys.readouterr()
    assert err == "" and max(map(len, out.splitlines())) <= 80
    assert main(["help", verb] if verb else []) == 0
    assert capsys.readouterr().out == out


def test_help_lists_every_option_with_its_default():
    text = cli_help.verb("train")
    for key, (f, _) in fields_by_key().items():
        line = next(line for line in text.splitlines() if line.split()[:1] == [f"--{key}"])
        assert text.count(f"--{key} ") + text.count(f"--{key}\n") >= 1 and line
        block = text[text.index(line) :].split("\n  --")[0]
        words = " ".join(block.split())
        assert f.metadata["help"].split(";")[0] in words
        assert f.default in (None, False) or f"[{str(f.default).lower()}]" in words
    assert all(verb in cli_help.overview() for verb in cli_options.VERBS)


# Verbs ----------------------------------------------------------------------------------------------------


def test_train_passes_everything_on(stub, capsys):
    words = "train photos --epochs 3 --model mlp --recipe digits --config c.toml --out o --from r --download --quiet"
    assert main(words.split()) == 0
    assert stub.calls == [("photos", {
        "recipe": "digits", "config": "c.toml", "out": "o", "from_run": "r", "download": True, "progress": "quiet",
        "layers": [("command line", {"epochs": "3", "model": "mlp"})], "private": False,
    })]  # fmt: skip
    out = capsys.readouterr().out
    assert str(stub.run.path) in out and "report.html" in out and "0.7500" in out and "1.5 s" in out
    assert out.index("accuracy") < out.index("loss")  # the one that decides comes first


def test_train_learns_the_digits_where_nothing_is_named(stub):
    assert main(["train", "--json"]) == 0
    assert stub.calls[0][0] == "digits" and stub.calls[0][1]["progress"] is None


def test_json_is_one_document_and_the_rest_goes_elsewhere(stub, capfd):
    assert main(["train", "--json", "--private"]) == 0
    out, err = capfd.readouterr()
    found = json.loads(out)
    assert found["metrics"] == {"dev": {"loss": 0.5, "accuracy": 0.75}, "test": {"loss": None, "accuracy": 0.5}}
    assert found["run"] == str(stub.run.path) and found["report"].endswith("report.html") and found["seconds"] == 1.5
    assert "a library prints" in err and stub.calls[0][1]["private"] and not stub.run.asked  # the page is written once


def test_json_of_an_error(stub, capfd):
    assert main(["train", "--epochs", "x", "--json"]) == 2
    out, err = capfd.readouterr()
    assert "whole number" in json.loads(out)["error"] and "whole number" in err


@pytest.mark.parametrize(
    "words", ["doctor", "version", "runs", "--help", "train --help", "info mlp --input 1x8x8", "config", "trian"]
)
def test_every_verb_has_json(words, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([*words.split(), "--json"]) in (0, 2)
    assert isinstance(json.loads(capfd.readouterr().out), dict)


def test_what_c_libraries_print_stays_out_of_the_document():
    code = (
        "import os, sys; from hubel import cli, cli_verbs\n"
        "def noisy(command):\n os.write(1, b'from C'); os.system('echo from a child'); print('é')\n"
        " return 0, {'a': 'é'}, None\n"
        "cli_verbs.version = noisy; sys.exit(cli.main(['version', '--json']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"}
    )
    assert json.loads(done.stdout) == {"a": "é"}, done.stderr
    assert b"from C" in done.stderr and b"from a child" in done.stderr


def test_plain_json():
    value = {
        "a": [math.inf, -math.inf, math.nan, 1.5, True, None],
        3: np.float32(0.5),
        "b": np.arange(2),
        "c": Path("x"),
    }
    found = json.loads(as_text({**value, "d": ("\udcff", "é")}))
    assert found == {"a": [None, None, None, 1.5, True, None], "3": 0.5, "b": [0, 1], "c": "x", "d": ["?", "é"]}


def test_evaluate(stub, capsys):
    assert main(["evaluate", "r", "--split", "test", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"] == {"test": {"loss": None, "accuracy": 0.5}}
    assert main(["evaluate", "r", "--data", "other"]) == 0
    assert stub.run.asked == [("evaluate", "test", None), ("evaluate", None, "other")]


def test_predict(stub, capsys, tmp_path):
    assert main(["predict", "r", "a.png", "b.png", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["image"] for row in found] == ["a.png", "b.png"] and found[0]["confidence"] == 0.5
    assert main(["predict", "r", "a.png"]) == 0
    assert "[red]cat" in capsys.readouterr().out  # a class's name is no markup
    assert main(["predict", "r", str(tmp_path)]) == 2
    assert "is a folder; name the images" in capsys.readouterr().err


def test_info(capsys):
    assert main(["info", "mlp", "--input", "1x8x8", "--classes", "3", "--model.hidden", "5"]) == 0
    out = capsys.readouterr().out
    assert "mlp: 343 parameters" in out  # 64 * 5 + 5 + 5 * 3 + 3
    assert main(["info", "mlp", "--model.hiden", "5"]) == 2
    assert main(["info", "mlp", "--classes", "0"]) == 2


@pytest.mark.parametrize(
    ("word", "shape"),
    [("3x32x48", (3, 32, 48)), ("1,28,28", (1, 28, 28)), ("224", (3, 224, 224)), ("20x30", (3, 20, 30))],
)
def test_input_shapes(word, shape):
    assert cli_verbs.input_shape(word) == shape


@pytest.mark.parametrize("word", ["", "x", "3x", "0", "3x0x4", "1x2x3x4", "-3"])
def test_wrong_input_shapes(word):
    with pytest.raises(UserError, match="--input"):
        cli_verbs.input_shape(word)


def test_config_prints_each_value_and_its_source(capsys, tmp_path):
    (tmp_path / "c.toml").write_text("epochs = 5\n[optimizer]\nlr = 0.25\n")
    words = ["config", "--config", str(tmp_path / "c.toml"), "--epochs", "7", "--json"]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["epochs"] == {"value": 7, "source": "command line", "reason": ""}
    assert (found["optimizer.lr"]["value"], found["optimizer.lr"]["source"]) == (0.25, "config file")
    assert found["device"]["source"] == "auto" and found["device"]["reason"]
    assert set(fields_by_key()) <= set(found)
    assert main(words[:-1]) == 0
    assert "command line" in capsys.readouterr().out
    (tmp_path / "c.toml").write_text("epochs = 5\n[optimizer\n")
    assert main(words) == 2
    assert "line 2" in capsys.readouterr().err


# Runs -----------------------------------------------------------------------------------------------------


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


def test_failed_runs_are_pruned(tmp_path, capsys):
    for state in ("finished", "failed", "interrupted", "running"):
        make_run(tmp_path, 0.5, state=state)
    assert main(["runs", "--out", str(tmp_path), "--prune", "failed", "--yes"]) == 0
    assert sorted(p.name for p in (tmp_path / "a-mlp").iterdir()) == ["1", "4"]
    assert main(["runs", "--out", str(tmp_path), "--prune", "few"]) == 2


def test_no_runs(tmp_path, capsys):
    assert main(["runs", "--out", str(tmp_path)]) == 0
    assert "No runs in" in capsys.readouterr().out


# Exit status ----------------------------------------------------------------------------------------------


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


def test_a_reader_that_goes_away_is_no_fault():
    done = subprocess.run(
        f"{sys.executable} -m hubel train --help | head -1", shell=True, capture_output=True, text=True
    )
    assert done.stderr == "" and done.stdout.startswith("hubel train")


def test_only_the_first_process_prints(stub, monkeypatch, capsys):
    monkeypatch.setenv("RANK", "1")
    assert main(["train"]) == 0
    assert "report.html" not in capsys.readouterr().out


# Whole ----------------------------------------------------------------------------------------------------


@pytest.mark.train
def test_train_evaluate_predict_resume_for_real(tmp_path, capfd):
    from PIL import Image

    out = str(tmp_path / "runs")
    words = f"train --model linear --epochs 1 --workers 0 --batch-size 128 --out {out} --json".split()
    assert main(words) == 0
    captured = capfd.readouterr()
    found = json.loads(captured.out)
    assert Path(found["report"]).is_file() and 0 <= found["metrics"]["test"]["accuracy"] <= 1
    assert "epoch 1/1" in captured.err
    assert main(["evaluate", found["run"], "--split", "test", "--json"]) == 0
    again = json.loads(capfd.readouterr().out)["metrics"]["test"]["accuracy"]
    assert again == pytest.approx(found["metrics"]["test"]["accuracy"])
    Image.fromarray(np.full((8, 8), 100, np.uint8)).save(tmp_path / "a.png")
    assert main(["predict", found["run"], str(tmp_path / "a.png"), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)[0]["prediction"] in "0123456789"
    assert main(["resume", found["run"], "--epochs", "2", "--json"]) == 0
    capfd.readouterr()
    assert main(["runs", "--out", out, "--json"]) == 0
    row = json.loads(capfd.readouterr().out)["runs"][0]
    assert row["epochs"] == 2 and row["state"] == "finished"


@pytest.mark.processes
def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path):
    words = f"-m hubel train --model linear --epochs 100000 --workers 0 --out {tmp_path}".split()
    process = subprocess.Popen([sys.executable, *words], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    for line in process.stderr:
        if line.startswith("epoch "):
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 130 and out == ""
    run = next(tmp_path.glob("*/1"))
    assert f"hubel resume {run}" in err and "Traceback" not in err
    assert RunFolder.open(run).state == "interrupted" and list((run / "checkpoints" / "last").glob("*.json"))

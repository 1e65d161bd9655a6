"""The verbs as a user meets them: what each is given, one JSON document, a training as a whole."""

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hubel.cli import info as cli_info
from hubel.cli import main
from hubel.cli.layout import as_text
from hubel.errors import UserError
from hubel.options import fields_by_key
from hubel.training.run import RunFolder


@pytest.fixture(autouse=True)
def eighty_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


# Verbs ------------------------------------------------------------------------------------------------------


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
        "import os, sys; from hubel import cli; from hubel.cli import machine\n"
        "def noisy(command):\n os.write(1, b'from C'); os.system('echo from a child'); print('é')\n"
        " return 0, {'a': 'é'}, None\n"
        "machine.version = noisy; sys.exit(cli.main(['version', '--json']))"
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
    assert "mlp on 1x8x8, 3 classes\nparameters       343 (dense 100.0 %)" in out  # 64 * 5 + 5 + 5 * 3 + 3
    assert main(["info", "mlp", "--model.hiden", "5"]) == 2
    assert main(["info", "mlp", "--classes", "0"]) == 2


@pytest.mark.parametrize(
    ("word", "shape"),
    [("3x32x48", (3, 32, 48)), ("1,28,28", (1, 28, 28)), ("224", (3, 224, 224)), ("20x30", (3, 20, 30))],
)
def test_input_shapes(word, shape):
    assert cli_info.input_shape(word) == shape


@pytest.mark.parametrize("word", ["", "x", "3x", "0", "3x0x4", "1x2x3x4", "-3"])
def test_wrong_input_shapes(word):
    with pytest.raises(UserError, match="--input"):
        cli_info.input_shape(word)


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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epocs = 3", "There is no option 'epocs'; did you mean 'epochs'?"),
        ("lr = 3", "There is no option 'lr'; did you mean 'optimizer.lr'?"),
        ("[optimiser]\nlr = 3", "There is no option 'optimiser'; did you mean 'optimizer'?"),
        ("[optimizer]\nlrr = 3", "There is no option 'optimizer.lrr'; did you mean 'optimizer.lr'?"),
        ("qwertz = 3", "There is no option 'qwertz'; `hubel config` lists them."),
    ],
)
def test_a_wrong_key_in_a_configuration(capsys, tmp_path, text, message):
    (tmp_path / "c.toml").write_text(text)
    assert main(["config", "--config", str(tmp_path / "c.toml")]) == 2
    assert capsys.readouterr().err == f"hubel: {tmp_path / 'c.toml'}: {message}\n"


# Whole ------------------------------------------------------------------------------------------------------


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

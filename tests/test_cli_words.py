"""The words of a command line understood, mistakes explained, help texts."""

import pytest

from hubel import api, cli, driver
from hubel.cli import commands as cli_commands
from hubel.cli import help as cli_help
from hubel.cli import main
from hubel.cli import options as cli_options
from hubel.cli.options import parse
from hubel.options import fields_by_key


@pytest.fixture(autouse=True)
def eighty_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


# Words ------------------------------------------------------------------------------------------------------


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
        ("train --qwertz 1", "`hubel train --help` lists them"),
        ("train -e 3", "has no option '-e'"),
        ("train --epochs", "'--epochs' needs a value: --epochs N"),
        ("train --task joint", "built in Python"),
        ("train --log tensorbord", "did you mean 'tensorboard'"),
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
        ("predict run", "Expected: hubel predict RUN... IMAGE...; got only 'run'"),
        ("train --optimiser adam", "did you mean '--optimizer'?"),
        ("info nosuch", "There is no network 'nosuch'"),
        ("info --page x.html", "'--page' goes with a network: hubel info MODEL --page"),
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
    assert set(cli_commands.RESUME_OPTIONS) == set(driver.CHANGEABLE)


def test_every_shorthand_is_an_option():
    assert set(cli_options.SHORT.values()) <= set(fields_by_key())
    assert all(callable(cli.function_of(verb)) for verb in cli_commands.VERBS)


# Help -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", [None, *cli_commands.VERBS])
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
    assert all(verb in cli_help.overview() for verb in cli_commands.VERBS)


@pytest.mark.parametrize(
    ("words", "zero"), [("--model.zero", True), ("--model.zero false", False), ("--model.zero=yes --quiet", True)]
)
def test_a_networks_own_switch(words, zero):
    options = parse(["train", "--model", "linear", *words.split(), "--epochs", "1"]).options
    network = api.create_model("linear", zero=options["model.zero"])
    assert bool((next(network.parameters()) == 0).all()) == zero and options["epochs"] == "1"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--model linear --model.zero 3", "'zero' needs true or false, got '3'"),
        ("--model mlp --model.hidden --epochs 1", "option 'hidden' needs a value"),
        ("--model mlp --model.activation --epochs 1", "option 'activation' needs a value"),
    ],
)
def test_a_networks_other_options_need_a_value(words, message, capsys):
    assert main(["config", *words.split()]) == 2
    assert message in capsys.readouterr().err


# What is shown ------------------------------------------------------------------------------------------------------


def test_places_below_the_current_folder_are_short(capsys, tmp_path, monkeypatch):
    from hubel.cli import folders as cli_folders

    monkeypatch.chdir(tmp_path)
    here, elsewhere = str(tmp_path / "runs" / "digits-mlp" / "1"), str(tmp_path.parent / "far" / "digits-mlp" / "2")
    cli_folders.show_pruned([{"run": here}, {"run": elsewhere}], removed=True)
    assert capsys.readouterr().out.split() == ["removed", "runs/digits-mlp/1", "removed", elsewhere]
    cli_folders.show_runs([{"run": here, "state": "finished"}], tmp_path / "runs")
    assert " runs/digits-mlp/1 " in capsys.readouterr().out


def test_predictions_without_a_confidence_have_no_column_for_it(capsys):
    from hubel.cli import answers as cli_answers

    cli_answers.predictions([{"image": "a.png", "prediction": "3.5"}])
    assert "confidence" not in capsys.readouterr().out
    cli_answers.predictions(
        [{"image": "a.png", "prediction": "3.5"}, {"image": "b", "prediction": "4", "confidence": 0.5}]
    )
    shown = capsys.readouterr().out
    assert "confidence" in shown and "50.0%" in shown

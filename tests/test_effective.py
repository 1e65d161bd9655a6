"""What `hubel config` shows is what a training does: against the optimiser, the schedule, the network and the data."""

import subprocess

import pytest
import torch
from small_runs import Quiet, save_npz

import hubel
from hubel import api, options
from hubel.effective import effective
from hubel.recipe import OPTIMIZERS, SCHEDULES
from hubel.session import new_session
from hubel.training.optim import create_optimizer
from hubel.training.schedule import create_schedule

NAMED = {"beta1": ("betas", 0), "beta2": ("betas", 1), "weight_decay": ("decay", None), "l2": ("weight_decay", None)}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return save_npz(tmp_path_factory.mktemp("data") / "squares.npz", n=400)


def session_of(data, **chosen):
    return new_session(hubel.load_dataset(data), [("command line", {"model": "mlp", **chosen})])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_numbers_of_the_optimiser(data, name):
    session = session_of(data, **{"optimizer.name": name, "model.hidden": (9, 8)})
    shown = effective(session)
    group = create_optimizer(session.network, session.recipe.optimizer).param_groups[0]  # what the weights get
    for option in options.APPLIES_OPTIMIZER[name] - {"lr", "l1", "decay_all", "companion"}:
        key, place = NAMED.get(option, (option, None))
        if key not in group:  # Adam's numbers in Muon's companion
            assert name == "muon"
            continue
        used = group[key] if place is None else group[key][place]
        assert shown[f"optimizer.{option}"].value == used, option
        assert shown[f"optimizer.{option}"].source == "default"
    others = {k for k in shown if k.startswith("optimizer.")} - {
        f"optimizer.{k}" for k in (*options.APPLIES_OPTIMIZER[name], "name")
    }
    assert all((shown[k].value, shown[k].reason) == (None, f"{name} has none") for k in others)


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_numbers_of_the_schedule(data, name):
    session = session_of(data, **{"schedule.name": name, "epochs": 12, "batch_size": 20})
    shown, made = effective(session), create_schedule(session.recipe.schedule, 120, 10)
    for option in options.APPLIES_SCHEDULE[name]:
        value = shown[f"schedule.{option}"].value
        assert value == (made.warmup if option == "warmup" else getattr(made.shape, option)), option


def test_sizes_and_shares(data):
    shown = effective(session_of(data, batch_size=32))
    assert (shown["size"].value, shown["micro_batch"].value) == (8, 32)
    assert [shown[f"split.{k}"].value for k in ("dev", "test", "train_dev")] == [0.25, 0.25, 0.0]
    assert shown["split.dev"].reason == "100 of 400 images"
    shown = effective(session_of(data, model="lenet5"))
    assert shown["size"].value == 32 and "network" in shown["size"].reason


def test_the_network_and_the_task_tell_their_own(data):
    shown = effective(session_of(data, **{"model.hidden": "5"}))
    assert (shown["model.hidden"].value, shown["model.hidden"].source) == ("5", "command line")
    assert (shown["model.activation"].value, shown["model.activation"].source) == ("relu", "network")
    assert (shown["task.smoothing"].value, shown["task.smoothing"].source) == (0.0, "task")


def test_nothing_is_left_unexplained(data):
    """Each option has a value, or a reason why it has none; numbers of initialisers go with their initialiser."""
    for chosen in ({}, {"init": "normal"}, {"init": "he"}, {"augment.policy": "strong"}):
        shown = effective(session_of(data, **chosen))
        bare = [k for k, s in shown.items() if s.value is None and not s.reason and s.source == "default"]
        assert bare == []
    assert effective(session_of(data, init="normal"))["init_sigma"].value == 0.01
    assert effective(session_of(data, init="he"))["init_gain"].value == 1.0


def test_the_command_shows_it_and_a_run_does_not_save_it(data, train):
    assert api.settle_for(data, model="mlp", optimizer="adamw")["optimizer.beta2"].value == 0.999
    run = train(data)
    assert run.settings["optimizer.eps"].value is None, "a resume settles what was open in the same way"
    assert "sgd has none" in (run.path / "report.html").read_text()


def test_the_manifest_of_an_own_network(data, tmp_path):
    """Its repository's commit, and the number of threads."""
    own = tmp_path / "own"
    own.mkdir()
    (own / "net.py").write_text(
        "from torch import nn\n"
        "def net(*, classes, input):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))\n"
    )
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "net.py"], [*who, "commit", "-qm", "x"]):
        subprocess.run(["git", "-C", own, *words], check=True)
    found = hubel.train(data, model=f"{own}/net.py:net", epochs=1, out=tmp_path / "runs", progress=Quiet()).manifest
    assert found["git"]["folder"] == str(own) and found["threads"] == torch.get_num_threads()

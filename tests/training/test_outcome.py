"""What a run leaves behind: each file says what was measured."""

import json

import numpy as np
import pytest
import torch
from small_trainings import blobs

import hubel
from hubel.training.callbacks import Callback
from hubel.training.feed import judged_at_once


def test_predictions_are_those_that_were_scored(small):
    run = small()
    for split in ("train", "dev", "test"):
        saved = np.load(run.path / "predictions" / f"{split}.npz")
        data = blobs()
        assert sorted(saved["index"]) == sorted(data.splits[split])
        assert np.array_equal(saved["target"], data.annotations["label"][saved["index"]])
        accuracy = (saved["output.probabilities"].argmax(1) == saved["target"]).mean()
        assert run.metrics[split]["accuracy"] == pytest.approx(accuracy)


def test_evaluate_repeats_the_scores(small):
    run = small(regularize={"ema": 0.9}, views="mirror")
    again = hubel.Run.open(run.path).evaluate(data=blobs())
    assert again == run.metrics


def test_each_value_has_its_source(small):
    run = small(seed=3)
    settings = run.settings
    assert (settings["seed"].value, settings["seed"].source) == (3, "python")
    assert settings["precision"].source == "auto" and settings["precision"].reason
    assert settings["sampling"].source == "default"


def test_manifest_says_what_is_needed_to_repeat(small):
    run = small()
    assert run.manifest["data"]["hash"] == blobs().hash()
    assert run.manifest["seed"] == 0
    assert run.manifest["versions"]["torch"] == torch.__version__
    assert run.manifest["hardware"]["processor"]


def test_the_report_is_one_file_that_names_the_data(small):
    run = small()
    page = (run.path / "report.html").read_text()
    assert len(page) < 5e6 and "mlp on blobs" in page
    assert f"{run.metrics['test']['accuracy']:.1%}"[:-1] in page.replace("\u202f", "").replace("\u2009", "")


def test_the_plan_counts_parameters_and_leaves_room_on_disk(small):
    run = small()
    plan = json.loads((run.path / "plan.json").read_text())
    assert plan["parameters"] == sum(p.numel() for p in run.network.parameters())
    assert plan["disk"] >= sum(p.stat().st_size for p in run.path.rglob("*") if p.is_file())
    assert 0 < plan["seconds"] < 60


def test_the_probe_of_the_plan_changes_nothing(small, monkeypatch, tmp_path):
    from hubel import announce
    from hubel.training import checkpoint, plan

    whole = small()
    monkeypatch.setattr(announce, "estimate", lambda session, loop: plan.Plan(None, 0, 0, 0))
    without = small(out=tmp_path / "without")
    for name, weight in checkpoint.load(whole.path / "checkpoints" / "last")["network"].items():
        assert torch.equal(weight, checkpoint.load(without.path / "checkpoints" / "last")["network"][name])


def test_tensorboard_gets_the_history(small):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = small(log="tensorboard")
    found = events.EventAccumulator(str(run.path / "tensorboard")).Reload()
    scalars = [event.value for event in found.Scalars("dev/accuracy")]
    assert scalars == pytest.approx([row["dev.accuracy"] for row in run.history])


def test_an_own_logger_has_three_methods(small):
    calls = []

    class Memory:
        def start(self, settings, folder):
            calls.append(("start", folder))

        def log(self, step, values):
            calls.append((step, values["dev.accuracy"]))

        def finish(self):
            calls.append("finish")

    run = small(loggers=[Memory()])
    assert calls[0] == ("start", run.path) and calls[-1] == "finish"
    assert calls[1:-1] == [(row["step"], row["dev.accuracy"]) for row in run.history]


def test_a_callback_may_stop_the_training(small):
    class Stop(Callback):
        def on_step(self, loop, losses):
            loop.stop = loop.step == 7

    run = small(callbacks=[Stop()])
    assert run.state == "finished" and len(run.history) == 1


def test_files_are_read_before_they_are_believed(small):
    run = small()
    assert json.loads((run.path / "config.json").read_text())["schema"] == 1
    assert not list(run.path.rglob(".hubel-*"))
    assert not [p for p in run.path.rglob("*") if p.suffix in (".pt", ".pth", ".pkl", ".bin")]


@pytest.mark.parametrize(
    ("batch", "dense", "size", "wanted"),
    [
        (32, False, (224, 224), 41),
        (8, False, (224, 224), 32),
        (256, False, (224, 224), 256),  # no smaller than in training, which takes more memory
        (128, False, (28, 28), 512),
        (16, False, (28, 28), 64),
        (16, True, (28, 28), 16),
    ],
)
def test_no_more_is_judged_at_once_than_memory_bears(batch, dense, size, wanted):
    assert judged_at_once(batch, dense, size) == wanted

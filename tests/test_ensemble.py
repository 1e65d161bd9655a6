"""Ensembles against averages by hand, who may vote together, and what is said of the difference."""

import json

import numpy as np
import pytest
import torch
from scipy.stats import entropy
from small_runs import PLAIN, Quiet, in_memory, save_npz

import hubel
from hubel import cli
from hubel.ensembles.ensemble import Ensemble
from hubel.errors import UserError
from hubel.metrics.interval import wilson
from hubel.options import flatten_nested
from hubel.training import checkpoint
from hubel.training.dropout import dropping

OPTIONS = {
    **{key: value for key, value in PLAIN.items() if key not in ("optimizer", "augment")},
    "optimizer.name": "sgd",
    "optimizer.lr": "0.02",
    "augment.policy": "none",
    "model.dropout": "0.4",
    "precision": "fp32",
}


def train(source, out, **options):
    flat = {**OPTIONS, **flatten_nested(options)}
    layers = [("python", {key: value for key, value in flat.items() if value is not None})]
    return hubel.train(source, out=out, layers=layers, progress=Quiet())


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("ensembles")


@pytest.fixture(scope="module")
def source(place):
    return save_npz(place / "squares.npz", 240)


@pytest.fixture(scope="module")
def runs(place, source):
    """Three runs: another seed, another architecture."""
    cyclic = {"schedule.name": "cyclic", "schedule.cycles": 2, "regularize.mean": 0.5, "keep": "last"}
    made = [train(source, place, seed=seed, **cyclic) for seed in (0, 1)]
    return [*made, train(source, place, model="linear", **{"model.dropout": None, "model.hidden": None})]


def probabilities(run, part="test"):
    with np.load(run.path / "predictions" / f"{part}.npz") as saved:
        return saved["output.probabilities"].astype(np.float64), saved["target"]


def assert_judged(row, p, targets):
    """A row of a table against its probabilities (n, K)."""
    right = int((p.argmax(1) == targets).sum())
    assert row.metrics["accuracy"] == pytest.approx(right / len(p))
    assert row.metrics["loss"] == pytest.approx(-np.log(p[np.arange(len(p)), targets]).mean(), rel=1e-4)
    assert row.interval == pytest.approx(wilson(right, len(p)))


def test_probabilities_are_averaged(runs):
    together = Ensemble(runs)
    judged = together.evaluate("test")["test"]
    each = [probabilities(run) for run in runs]
    mean, targets = sum(p for p, _ in each) / 3, each[0][1]
    assert [row.name for row in judged.rows] == [f"squares-{m}" for m in ("mlp/1", "mlp/2", "linear/1")] + [
        "ensemble of 3"
    ]
    for row, (p, _) in zip(judged.rows, each, strict=False):
        assert_judged(row, p, targets)
    assert_judged(judged.rows[-1], mean, targets)
    assert together.averaged() == "probabilities" and judged.n == len(targets) == 60
    total = entropy(mean, axis=1)
    apart = total - np.mean([entropy(p, axis=1) for p, _ in each], axis=0)
    assert judged.uncertainty["entropy"] == pytest.approx(total.mean(), rel=1e-4)
    assert judged.uncertainty["information"] == pytest.approx(apart.mean(), rel=1e-3)
    right = mean.argmax(1) == targets
    if right.any() and not right.all():
        assert judged.uncertainty["information.wrong"] == pytest.approx(apart[~right].mean(), rel=1e-3)


def test_differences_are_from_the_best_single_network(runs):
    rows = Ensemble(runs).evaluate("dev")["dev"].rows
    best = max(rows[:3], key=lambda row: row.metrics["accuracy"])
    assert best.difference is None and best.verdict == "reference"
    for row in rows:
        if row is not best:
            gain = row.metrics["accuracy"] - best.metrics["accuracy"]
            assert row.difference.value == pytest.approx(gain)
            words = ("better" if gain > 0 else "worse") if row.difference.shown else "no difference shown"
            assert row.verdict == words


def test_all_parts_but_the_training_part(runs):
    assert set(Ensemble(runs[:2], combine="none").evaluate()) == {"dev", "test"}


def test_predictions_are_those_of_the_average(runs):
    images = np.random.default_rng(0).integers(0, 255, (3, 8, 8), np.uint8)
    found = Ensemble(runs).predict(list(images))
    for i, row in enumerate(found):
        each = [{t["class"]: t["probability"] for t in run.predict([images[i]])[0]["top"]} for run in runs]
        mean = {k: np.mean([p[k] for p in each]) for k in each[0]}
        assert {t["class"]: t["probability"] for t in row["top"]} == pytest.approx(mean, abs=1e-6)
        assert row["uncertainty"]["entropy"] == pytest.approx(entropy(list(mean.values())), rel=1e-4)
        assert row["uncertainty"]["members"] == 3
    assert Ensemble(runs).predict([]) == []
    assert "uncertainty" not in Ensemble(runs[:1]).predict([images[0]])[0]


def test_images_far_apart_draw_dropout_masks_of_their_own(runs):
    """Predictions are made 64 at a time."""
    image = np.random.default_rng(0).integers(0, 255, (8, 8), np.uint8)
    found = [one["confidence"] for one in Ensemble(runs[0], dropout_samples=1).predict([image] * 66)]
    assert found[:2] != found[64:]
    assert found == [one["confidence"] for one in Ensemble(runs[0], dropout_samples=1).predict([image] * 66)]


def by_hand(run, states):
    """(n, K) of the test part for each state dict."""
    found = []
    for state in states:
        session = run.session_on()
        session.network.load_state_dict(state)
        found.append(predicted(session))
    return found


def predicted(session, seed=None):
    network = session.network.eval()
    with session.plain() as loader, torch.no_grad():
        (batch,) = loader.batches(session.dataset.splits["test"], 0, 256)
        if seed is None:
            return network(batch.images).softmax(1).double().numpy()
        with dropping(network, seed):
            return network(batch.images).softmax(1).double().numpy()


def snapshots(run):
    return [checkpoint.load(run.path / "checkpoints" / "snapshots" / name)["network"] for name in ("001", "002")]


def test_snapshots_take_the_place_of_the_network(runs):
    judged = Ensemble(runs[0], snapshots=0).evaluate("test")["test"]
    each, targets = by_hand(runs[0], snapshots(runs[0])), probabilities(runs[0])[1]
    assert [row.name for row in judged.rows] == ["squares-mlp/1, snapshot 1", "squares-mlp/1, snapshot 2",
                                                 "ensemble of 2"]  # fmt: skip
    for row, p in zip(judged.rows, [*each, np.mean(each, axis=0)], strict=True):
        assert_judged(row, p, targets)
    assert len(Ensemble(runs[:2], snapshots=1, combine="none").singles) == 2


def test_weights_are_averaged(runs):
    judged = Ensemble(runs[0], snapshots=0, combine="weights").evaluate("test")["test"]
    a, b = snapshots(runs[0])
    (p,) = by_hand(runs[0], [{name: (a[name] + b[name]) / 2 for name in a}])
    assert judged.rows[-1].name == "mean weights of 2"
    assert_judged(judged.rows[-1], p, probabilities(runs[0])[1])


def test_the_running_average_against_the_last_weights(runs):
    judged = Ensemble(runs[0], combine="steps").evaluate("test")["test"]
    last = checkpoint.load(runs[0].path / "checkpoints" / "last")
    own, mean = by_hand(runs[0], [last["network"], last["ema"]["average"]])
    targets = probabilities(runs[0])[1]
    assert [row.name for row in judged.rows] == ["squares-mlp/1, last weights", "running average"]
    assert_judged(judged.rows[0], own, targets)
    assert_judged(judged.rows[1], mean, targets)
    assert not np.allclose(own, mean)


def test_dropout_samples_are_averaged(runs):
    together = Ensemble(runs[0], dropout_samples=4)
    judged = together.evaluate("test")["test"]
    session, targets = runs[0].session_on(), probabilities(runs[0])[1]
    masks = [predicted(session, seed) for seed in range(4)]
    assert judged.rows[0].name == "squares-mlp/1" and judged.rows[1].name == "4 dropout samples"
    assert_judged(judged.rows[0], predicted(session), targets)  # weight scaling
    assert_judged(judged.rows[1], np.mean(masks, axis=0), targets)
    assert judged.settings() == together.evaluate("test")["test"].settings()
    assert judged.uncertainty["information"] > 0


def test_views_are_averaged_against_the_single_view(runs):
    judged = Ensemble(runs[0], views="mirror").evaluate("test")["test"]
    assert [row.name for row in judged.rows] == ["squares-mlp/1", "views mirror"]
    assert_judged(judged.rows[0], *probabilities(runs[0]))
    assert judged.rows[1].metrics["loss"] != judged.rows[0].metrics["loss"]


def test_numbers_are_averaged_in_their_units(place, monkeypatch):
    monkeypatch.setattr("hubel.facts.bootstrap", lambda *given, **options: (0.0, 1.0))  # slow
    data = in_memory(90, columns={"numbers": np.random.default_rng(0).normal(50, 9, (90, 2)).astype(np.float32)})
    given = data.with_splits({"train": np.arange(60), "test": np.arange(60, 90)})
    runs = [train(given, place, seed=seed, task="regression", epochs=1) for seed in (0, 1)]
    together = Ensemble(runs)
    judged = together.evaluate(data=given)["test"]
    values = [np.load(run.path / "predictions" / "test.npz")["output.values"] for run in runs]
    error = np.abs(np.mean(values, axis=0) - data.annotations["numbers"][60:]).mean()
    assert judged.rows[-1].metrics["mae"] == pytest.approx(error, rel=1e-5) and together.averaged() == "values"
    assert judged.rows[-1].difference is not None and judged.uncertainty == {}
    best = min(row.metrics["mae"] for row in judged.rows[:2])
    assert judged.rows[-1].difference.value == pytest.approx(judged.rows[-1].metrics["mae"] - best, rel=1e-4)
    row = together.predict([np.asarray(data.images.read(60))])[0]
    assert row["uncertainty"]["deviation"] == pytest.approx(np.std([v[0] for v in values], axis=0), rel=1e-3)


@pytest.mark.parametrize("options, words", [
    ({"combine": "votes"}, "combines predictions, weights, steps, none; got 'votes'"),
    ({"views": "many"}, "Views are single, mirror"),
    ({"dropout_samples": -1}, "at least 0"),
    ({"combine": "steps", "snapshots": 0}, "Ask for one of them"),
    ({"combine": "weights"}, "One set of weights has no average"),
    ({"snapshots": 9}, "kept 2 snapshots, 9 were asked for"),
])  # fmt: skip
def test_what_can_not_be_asked(runs, options, words):
    with pytest.raises(UserError, match=words):
        Ensemble(runs[0], **options)


def test_what_a_run_lacks(runs):
    linear = runs[2]
    with pytest.raises(UserError, match="no dropout"):
        Ensemble(linear, dropout_samples=2).evaluate("test")
    with pytest.raises(UserError, match="kept no average"):
        Ensemble(linear, combine="steps")
    with pytest.raises(UserError, match="don't fit those of the first"):
        Ensemble(runs, combine="weights").evaluate("test")
    with pytest.raises(UserError, match="at least one run"):
        Ensemble([])
    with pytest.raises(UserError, match="no part 'other' that all these runs share; they share train, dev, test"):
        Ensemble(runs).evaluate("other")


def test_who_can_not_vote_together(runs, place):
    names = train(save_npz(place / "four.npz", 80, classes=4), place, epochs=1)
    with pytest.raises(UserError, match="can't vote together: their classes differ: 0, 1, 2, 3 and 0, 1, 2"):
        Ensemble([runs[0], names])
    lines = {"model": "linear", "model.dropout": None, "model.hidden": None}
    task = train(save_npz(place / "else.npz", 80), place, epochs=1, task="perceptron", **lines)
    with pytest.raises(UserError, match="their tasks differ: perceptron and classification"):
        Ensemble([runs[0], task])
    other = train(save_npz(place / "other.npz", 80, seed=3), place, epochs=1)
    with pytest.raises(UserError, match="trained on different data"):
        Ensemble([runs[0], other]).evaluate()
    assert Ensemble([runs[0], other]).evaluate(data=place / "other.npz")["test"].rows


def test_only_parts_that_all_share_are_judged(runs, place, source):
    moved = train(source, place, epochs=1, **{"split.move_dev": 0.5})
    assert set(Ensemble([runs[0], moved]).evaluate()) == {"test"}
    with pytest.raises(UserError, match="no part 'dev'"):
        Ensemble([runs[0], moved]).evaluate("dev")


# The command line -------------------------------------------------------------------------------------------------


def asked(capsys, *words):
    assert cli.main([*map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_evaluate_several_runs(runs, capsys):
    paths = [run.path for run in runs]
    looks = runs[0].test_looks
    found = asked(capsys, "evaluate", *paths, "--ensemble", "--split", "test")
    expected = Ensemble(runs).evaluate("test")["test"]
    assert found["compared"]["test"] == json.loads(json.dumps(expected.settings()))
    assert found["metrics"]["test"] == expected.rows[-1].metrics and found["averaged"] == "probabilities"
    assert runs[0].test_looks == looks + 2
    assert len(asked(capsys, "evaluate", *paths, "--split", "dev")["compared"]["dev"]["rows"]) == 3  # compared only
    assert cli.main(["evaluate", *map(str, paths), "--ensemble"]) == 0
    out = capsys.readouterr().out
    assert "ensemble of 3" in out and "reference" in out and "averaged: probabilities" in out and "nats" in out


@pytest.mark.parametrize("flags, name", [
    (["--snapshots", "all"], "ensemble of 2"),
    (["--snapshots", "2", "--average"], "mean weights of 2"),
    (["--polyak"], "running average"),
    (["--dropout_samples", "2"], "2 dropout samples"),
    (["--views", "mirror"], "views mirror"),
])  # fmt: skip
def test_evaluate_one_run_in_other_ways(runs, capsys, flags, name):
    found = asked(capsys, "evaluate", runs[0].path, *flags, "--split", "test")
    assert found["compared"]["test"]["rows"][-1]["name"] == name


def test_predict_with_several_runs(runs, capsys, tmp_path):
    from PIL import Image

    image = np.random.default_rng(0).integers(0, 255, (8, 8), np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    found = asked(capsys, "predict", runs[0].path, runs[1].path, tmp_path / "a.png")
    assert found[0]["uncertainty"] == pytest.approx(Ensemble(runs[:2]).predict([image])[0]["uncertainty"])
    assert cli.main(["predict", str(runs[0].path), str(tmp_path / "a.png"), "--dropout_samples", "3"]) == 0
    assert "disagreement" in capsys.readouterr().out


@pytest.mark.parametrize("words, message", [
    (["evaluate", "A", "--ensemble", "--average"], "two ways to combine"),
    (["evaluate", "A", "--snapshots", "many"], "needs a whole number"),
    (["predict", "A", "B"], "No images were named, only runs"),
    (["predict", __file__, "A"], "Runs come first, then images: hubel predict "),
    (["predict", "A", "nothing/*.jpg"], "No file fits the pattern 'nothing/*.jpg'"),
    (["evaluate", "A", "B", "--path", "folded"], "'--path' goes with one network"),
    (["evaluate", "A", "--split", "val"], "'dev' is what others call val"),
])  # fmt: skip
def test_words_that_make_no_sense(runs, capsys, words, message):
    places = {"A": str(runs[0].path), "B": str(runs[1].path)}
    assert cli.main([places.get(word, word) for word in words]) == 2
    assert message in capsys.readouterr().err

"""The traditional pipeline: what it answers, on which images, and how it compares with a network."""

import json

import numpy as np
import pytest
from small_runs import PLAIN, Quiet, save_folder, save_npz

import hubel
from hubel import cli
from hubel.baselines.traditional import baseline
from hubel.errors import UserError
from hubel.metrics.paired import of_shares


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return save_npz(tmp_path_factory.mktemp("baseline") / "squares.npz", 240, side=16)


@pytest.fixture(scope="module")
def run(source):
    options = {**PLAIN, "optimizer.name": "sgd", "augment.policy": "none", "epochs": 1, "optimizer.lr": 0.001}
    flat = {key: value for key, value in options.items() if key not in ("optimizer", "augment")}
    return hubel.train(source, out=source.parent, layers=[("python", flat)], progress=Quiet())


def test_it_learns_where_the_bright_square_is(source):
    found = baseline(source)
    assert found.metrics["test"]["accuracy"] > 0.75 and found.features == "both" and found.images == 120
    assert found.count == 7 * 7 * 4 * 9 and found.intervals["test"][0] > 0.6 and found.against == {}


def test_it_is_compared_with_a_network_on_the_same_images(source, run):
    found = baseline(source, run=run)
    with np.load(run.path / "predictions" / "test.npz") as saved:
        right = saved["output.probabilities"].argmax(1) == saved["target"]
    n, gain = len(right), right.mean() - found.metrics["test"]["accuracy"]
    assert found.against["test"].value == pytest.approx(gain) and found.against["test"].n == n
    assert set(found.against) == {"dev", "test"} and found.against["test"].shown  # the network hardly learnt
    assert found.settings()["network_minus_baseline"]["test"]["verdict"] == "the network is worse than the baseline"
    assert of_shares(right, right).value == 0


def test_photos_of_other_sizes_and_their_colours(tmp_path):
    folder = save_folder(tmp_path / "photos", 60, side=20, channels=3)
    found = baseline(folder, images=20)
    assert found.count == hog_count(20) + 64 and 15 <= found.images <= 20
    assert baseline(folder, features="colour").count == 64 and baseline(folder, features="hog").count == hog_count(20)


def hog_count(side):
    return (side // (side // 8) - 1) ** 2 * 4 * 9


def test_what_can_not_be_asked(source, run, tmp_path):
    with pytest.raises(UserError, match="Features are hog, colour, both; got 'sift'"):
        baseline(source, features="sift")
    with pytest.raises(UserError, match="was trained on other data"):
        baseline(save_npz(tmp_path / "other.npz", 60, side=16), run=run)


def test_the_command(source, run, capsys):
    assert cli.main(["baseline", str(source), "--run", str(run.path), "--features", "hog", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["metrics"]["test"]["accuracy"] == baseline(source, features="hog").metrics["test"]["accuracy"]
    assert cli.main(["baseline", str(source), "--run", str(run.path)]) == 0
    out = capsys.readouterr().out
    assert "accuracy" in out and "the network is worse than the baseline" in out
    assert cli.main(["baseline", str(source), "--images", "many"]) == 2

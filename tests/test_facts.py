"""What the report shows of a run: intervals against the literature's simplest case, and runs that did not end well."""

import numpy as np
import pytest

import hubel
from hubel import facts, outcome
from hubel.training.run import RunFolder

SHARED = {"model": "linear", "epochs": 2, "progress": "quiet"}


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    """Two numbers per image: a run, its session and its evaluations."""
    draws = np.random.default_rng(0)
    images = draws.integers(0, 256, (160, 6, 6), dtype=np.uint8)
    pairs = [(image, np.float32([image.mean(), draws.normal()])) for image in images]
    run = hubel.train(pairs, out=tmp_path_factory.mktemp("numbers"), **SHARED)
    session = facts_session(run, pairs)
    return run, session, outcome.judge(session, list(session.dataset.splits), session.autocast, session.plain())


def facts_session(run, pairs):
    return run.session_on(data=hubel.load_dataset(pairs).with_splits(run.splits))


def test_the_interval_of_a_mean_error_is_that_of_a_mean(numbers):
    """The percentile bootstrap of a mean is close to mean ± 1.96 standard errors."""
    run, session, found = numbers
    low, high = facts.intervals(session, found["train"])["mae"]
    saved = np.load(run.path / "predictions" / "train.npz")
    errors = np.abs(saved["output.values"] - saved["target"]).mean(1)
    reach = float(1.96 * errors.std() / len(errors) ** 0.5)
    assert (low + high) / 2 == pytest.approx(float(errors.mean()), abs=0.2 * reach)
    assert (high - low) / 2 == pytest.approx(reach, rel=0.2)
    assert low < found["train"].metrics["mae"] < high


def test_numbers_are_compared_with_the_median_of_the_training_part(numbers):
    run, session, found = numbers
    data = facts.report_data(session, found, run, 2, [])
    train, test = (np.load(run.path / "predictions" / f"{name}.npz")["target"] for name in ("train", "test"))
    assert data.baseline.value == pytest.approx(np.abs(test - np.median(train, axis=0)).mean(), rel=1e-6)
    assert "interval not measured" not in (run.path / "report.html").read_text()


def test_several_labels_have_an_interval(tmp_path):
    draws = np.random.default_rng(0)
    pairs = [(draws.integers(0, 256, (6, 6), dtype=np.uint8), draws.integers(0, 2, 3)) for _ in range(160)]
    run = hubel.train(pairs, out=tmp_path, **SHARED)
    session = facts_session(run, pairs)
    (found,) = outcome.judge(session, ["test"], session.autocast, session.plain()).values()
    known = facts.intervals(session, found)
    low, high = known["average_precision"]
    assert 0 < low < found.metrics["average_precision"] < high < 1
    assert known["exact_match"] == pytest.approx(facts.wilson(found.metrics["exact_match"] * 32, 32))


@pytest.mark.parametrize(
    "state, words",
    [
        ("failed", "This run failed. It diverged. The figures are of the weights after epoch 2."),
        ("interrupted", "This run was interrupted; `hubel resume` goes on with it. The figures"),
    ],
)
def test_a_run_that_did_not_end_says_so(tmp_path, state, words):
    run = hubel.train("digits", out=tmp_path, **SHARED)
    assert not outcome.unfinished(run, 2)
    folder = RunFolder(run.path)
    folder.set_state("failed", "ValueError: too much")
    assert outcome.unfinished(folder, 2)[0].startswith("This run failed. ValueError: too much. The figures")
    folder.set_state(state, "UserError: It diverged." if state == "failed" else "")
    page = run.report().read_text()
    assert f'<ul class="warnings" aria-label="Warnings">\n<li>{words}' in page


def test_the_perceptron_learns_by_its_own_rule(tmp_path):
    pairs = [(np.full((4, 4), 250 * (i % 2), np.uint8), i % 2) for i in range(60)]
    run = hubel.train(pairs, out=tmp_path, **SHARED | {"model": "perceptron"})
    assert run.settings["task"].value == "perceptron" and run.settings["batch_size"].value == 1
    assert "train.cross_entropy" not in run.history[0]

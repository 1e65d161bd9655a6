"""Folds, restarts and refits: their parts, what is refused, how they are resumed."""

import numpy as np
import pytest

import hubel
from hubel import several
from hubel.data.builtin import digits
from hubel.data.split import split
from hubel.options import flatten, unflatten


@pytest.mark.parametrize("several_of", [{"folds": 3}, {"restarts": 2}, {"refit": True}])
@pytest.mark.parametrize(
    "asked", [{"split.dev": 0.1, "split.test": 0.2}, {"split.bootstrap": True}, {"split.train_dev": 0.1}]
)
def test_a_child_keeps_the_parts_that_it_is_given(several_of, asked):
    if "folds" in several_of and "split.bootstrap" in asked:
        pytest.skip("a sample with repeats can't be cut into folds")
    recipe = unflatten({**several_of, **asked})
    dataset = split(digits(), recipe.split)
    _, work = several.jobs(dataset, recipe)
    for given, changes in work:
        again = split(given, unflatten({**flatten(recipe), **changes}).split)
        assert {name: index.tolist() for name, index in again.splits.items()} == {
            name: np.asarray(index).tolist() for name, index in given.splits.items()
        }


SMALL = {"model": "linear", "epochs": 1, "progress": "quiet", "workers": 0}


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"folds": 1}, r"--folds needs 2 … 1438"),
        ({"folds": 1439}, r"--folds needs 2 … 1438"),
        ({"folds": 3, "split": {"bootstrap": True}}, "both say who is held out"),
    ],
)
def test_what_can_not_be_done_is_refused_before_a_folder_is_made(tmp_path, asked, told):
    with pytest.raises(hubel.UserError, match=told):
        hubel.train("digits", out=tmp_path / "runs", **SMALL, **asked)
    assert not (tmp_path / "runs").exists()


def test_a_refit_is_evaluated_on_the_parts_that_its_network_knew(tmp_path):
    """What it learnt from is its training part; a dev part would be scored on images that were learnt."""
    run = hubel.train("digits", out=tmp_path, refit=True, **SMALL)
    assert {name: len(index) for name, index in run.splits.items()} == {"train": 1438, "test": 359}
    assert hubel.Run.open(run.path).evaluate() == run.metrics  # judged in batches of the size that it learnt with
    chosen = hubel.Run.open(run.path / "selection" / "1")
    assert {name: len(index) for name, index in chosen.splits.items()} == {"train": 1079, "dev": 359, "test": 359}
    learnt = np.load(run.path / "predictions" / "train.npz")["index"]
    assert np.array_equal(np.sort(learnt), run.splits["train"])


def test_several_trainings_are_resumed_as_they_began(tmp_path):
    run = hubel.train("digits", out=tmp_path, restarts=2, **SMALL)
    with pytest.raises(hubel.UserError, match="leave out --epochs"):
        hubel.resume(run.path, epochs=3, progress="quiet")
    assert len(hubel.Run.open(run.path).history) == 1

"""Folds, restarts and refits take their split as it is: it is not carved a second time."""

import numpy as np
import pytest

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

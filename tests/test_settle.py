"""What a recipe gives, and how it fits what the user asks for."""

from dataclasses import replace

import pytest

from hubel.errors import UserError
from hubel.settle import settle
from hubel.training.auto import Facts

PHOTOS = Facts(
    n_train=9000, has_dev=True, height=32, width=32, channels=3, same_size=True, columns=("label",), classes=10,
    wanted=None, mirror=True, mirror_reason="photos",
)  # fmt: skip


def settled(**asked):
    return settle([("command line", asked)], PHOTOS, None, "photos")


@pytest.mark.parametrize(("epochs", "warmup"), [(None, 4.0), (40, 4.0), (80, 4.0), (20, 2.0), (4, 0.4)])
def test_a_recipes_warm_up_keeps_its_share_of_a_shorter_training(epochs, warmup):
    settings = settled(epochs=epochs)
    assert settings["schedule.warmup"].value == pytest.approx(warmup)
    assert settings["schedule.warmup"].source == "recipe"


def test_a_warm_up_that_was_asked_for_stays():
    assert settled(epochs=20, **{"schedule.warmup": 5.0})["schedule.warmup"].value == 5.0


def test_another_schedule_takes_none_of_the_recipes_numbers():
    assert settled(**{"schedule.name": "constant"}, epochs=4)["schedule.warmup"].source != "recipe"


@pytest.mark.parametrize(("columns", "told"), [(("objects",), "carry objects, and no task"), ((), "no labels")])
def test_what_no_task_learns_from_is_named(columns, told):
    with pytest.raises(UserError, match=told):
        settle([], replace(PHOTOS, columns=columns), None, "photos")

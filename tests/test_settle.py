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


@pytest.mark.parametrize(
    ("changes", "model"),
    [
        ({}, "airbench"),
        ({"channels": 1}, "airbench"),
        ({"n_train": 4_999}, "resnet8"),  # 8 or 40 epochs of so few images would end long before anything is learnt
        ({"n_train": 200_001}, "resnet8"),
        ({"height": 15}, "resnet8"),
        ({"width": 65}, "resnet8"),
        ({"same_size": False}, "resnet8"),
        ({"n_train": 600, "height": 8, "width": 8, "channels": 1}, "convnet"),
    ],
)
def test_a_recipe_is_for_data_like_those_it_was_measured_on(changes, model):
    assert settle([], replace(PHOTOS, **changes), None, "photos")["model"].value == model


@pytest.mark.parametrize(("dataset", "flip"), [("letters", "none"), ("fashion-mnist", "random")])
def test_a_recipe_mirrors_only_what_keeps_its_label(dataset, flip):
    grey = replace(PHOTOS, channels=1, mirror=False, mirror_reason="grey images may be text or symbols")
    settings = settle([], grey, None, dataset)
    assert settings["model"].reason.startswith("fashion-mnist") and settings["model"].source == "recipe"
    assert settings["augment.flip"].value == flip
    assert settings["views"].value == ("mirror" if flip == "random" else "single")
    assert settle([], grey, "fashion-mnist", dataset)["augment.flip"].value == "random"  # asked for by name

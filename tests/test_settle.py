"""What a recipe gives, and how it fits what the user asks for."""

from dataclasses import replace

import numpy as np
import pytest

from hubel.data.dataset import Dataset
from hubel.data.images import ArrayImages
from hubel.data.objects import CROWD, Objects
from hubel.errors import UserError
from hubel.settle import asking, facts_of, settle
from hubel.tasks.box import Box
from hubel.tasks.classification import Classification
from hubel.tasks.joint import Joint
from hubel.tasks.localisation import localisation
from hubel.tasks.segmentation import Segmentation
from hubel.training.auto import Facts

PHOTOS = Facts(
    n_train=9000, n_dev=1000, height=32, width=32, channels=3, same_size=True, columns=("label",), classes=10,
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


def test_where_there_is_nothing_to_learn_from_it_is_said():
    with pytest.raises(UserError, match="no labels"):
        settle([], replace(PHOTOS, columns=()), None, "photos")


@pytest.mark.parametrize(
    ("facts", "task"),
    [
        ({"classes": 3}, "localisation"),
        ({"classes": 1}, "box"),
        ({"classes": 3, "joints": 5}, "heatmap"),
        ({"classes": 1, "joints": 17, "crowded": 40}, "heatmap"),  # each is cut out
        ({"classes": 3, "crowded": 1}, "--task localisation"),
        ({"classes": 1, "crowded": 1}, "--task box"),
        ({"classes": 3, "joints": 5, "crowded": 1}, "--task localisation.*--task heatmap"),
    ],
)
def test_the_task_of_images_with_objects(facts, task):
    facts = replace(PHOTOS, columns=("objects",), **facts)
    if "--" in task:
        with pytest.raises(UserError, match=f"1 images show several objects, .*{task}"):
            settle([], facts, None, "photos")
        return
    settings = settle([], facts, None, "photos")
    assert (settings["task"].value, settings["task"].source) == (task, "auto")
    assert settings["model.widths"].value == (16, 32, 64, 128) and settings["model"].reason.startswith("one-object")
    assert settings["epochs"].value == 10


def test_facts_of_objects():
    """Crowds are no second object; one image without joints does not hide those of another."""
    points = np.zeros((4, 2, 3), np.float32)
    points[2, 1] = 5, 5, 1
    boxes, labels = np.tile([0.0, 0, 4, 4], (4, 1)), np.zeros(4, np.int64)
    flags = np.array([0, CROWD, 0, 0], np.uint8)
    objects = Objects(np.array([0, 2, 4]), boxes, labels, flags=flags, keypoints=points)
    images = ArrayImages(np.zeros((2, 8, 8, 3), np.uint8))
    facts = facts_of(Dataset("two", images, {"objects": objects}, ("cat",)))
    assert (facts.crowded, facts.joints) == (1, 2)
    unlabelled = replace(objects, keypoints=np.zeros((4, 2, 3), np.float32))
    assert facts_of(Dataset("two", images, {"objects": unlabelled}, ("cat",))).joints == 0


def test_another_network_leaves_the_recipe_of_one_object_out():
    facts = replace(PHOTOS, columns=("label", "objects"))
    asked = {"task": "localisation", "model": "resnet18"}
    assert "model.widths" not in settle([("command line", asked)], facts, None, "photos")
    again = settle([("command line", {"task": "localisation"})], facts, None, "photos")
    assert again["model.logit_scale"].value == 1.0
    assert settle([], facts, None, "photos")["task"].value == "classification"


@pytest.mark.parametrize(
    ("changes", "asked", "wanted"),
    [
        ({}, {}, ("unet_plain", 90, 16)),
        ({"n_train": 6_000}, {}, ("unet_plain", 10, 16)),
        ({"n_train": 40}, {}, ("unet_plain", 180, 4)),
        ({"width": 65}, {}, ("unet", 45, 16)),
        ({"same_size": False}, {}, ("unet", 45, 16)),
        ({}, {"model": "unet"}, ("unet", 90, 16)),
        ({}, {"model.encoder": "resnet8"}, ("unet", 90, 16)),  # which the recipe's network does not have
        ({}, {"model.width": 8}, ("unet_plain", 90, 16)),
    ],
)
def test_small_masks_are_seen_at_their_own_resolution(changes, asked, wanted):
    """54,000 small images rather than 27,000, in batches of 16 at most; larger ones by the usual U-Net."""
    facts = replace(PHOTOS, columns=("mask",), n_train=600, height=64, width=64)
    found = settle([("command line", asked)], replace(facts, **changes), None, "masks")
    assert tuple(found[key].value for key in ("model", "epochs", "batch_size")) == wanted
    assert found["optimizer.lr"].value == (0.03 if wanted[0] == "unet_plain" else 0.0007)
    assert "erased" not in found["augment.shift"].reason and found["augment.cutout"].value == 0


@pytest.mark.parametrize("size", [64, 240])
@pytest.mark.parametrize("more", [{}, {"weights": "some.safetensors"}])
def test_a_task_of_several_with_masks_is_chosen_for_like_masks_alone(size, more):
    """All but the task's own options; also where there are labels, and as many images as a recipe for these wants."""
    facts = replace(PHOTOS, columns=("mask",), height=size, width=size)
    alone = settle([("command line", more)], facts, None, "masks")
    several = replace(facts, columns=("label", "mask"), dense=True, every_pixel=True)
    found = settle([("python", {"task": "joint", **more})], several, None, "masks")
    assert found["model"].value == ("unet_plain" if size == 64 and not more else "unet")
    assert (found["train_size"].value is None) == (size == 64) and "task.inverse_frequency" not in found
    assert (found["transfer.name"].value, found["transfer.views"].value) == (
        ("two_rates", 2) if more else ("all", None)
    )
    for key, setting in alone.items():
        assert key.startswith("task") or found[key].value == setting.value, key
    labels = settle([("python", {"task": "joint"})], replace(facts, columns=("label", "mask")), None, "masks")
    assert labels["model"].value == "resnet8"


class Leaf(Box):
    """A task of a user's own."""


@pytest.mark.parametrize(
    ("task", "asked"),
    [
        (None, ()),
        ("my.py:Leaf", ()),  # not known before it is made
        ("box", ("one_object",)),
        ("localisation", ("one_object",)),
        ("heatmap", ("dense", "one_object")),
        ("segmentation", ("dense", "every_pixel")),
        (Leaf(), ("one_object",)),
        (localisation(("cat", "dog")), ("one_object",)),
        (Joint({"kind": Classification(("a", "b")), "where": Box()}), ()),
        (Joint({"kind": Classification(("a", "b")), "where": Segmentation(("a", "b"))}), ("dense", "every_pixel")),
    ],
)
def test_rules_know_what_a_task_asks_for(task, asked):
    """By its name, and as an object: a task of one's own is treated as those it is made of."""
    found = asking(replace(PHOTOS, columns=("label", "objects", "mask")), task)
    assert tuple(kind for kind in ("dense", "every_pixel", "one_object") if getattr(found, kind)) == asked


@pytest.mark.parametrize(
    ("task", "maps"), [("classification", 0), ("segmentation", 1), ("localisation", 0), ("pose", 0), ("heatmap", 1)]
)
def test_views_are_kept_unless_the_head_turns_out_to_be_deep(task, maps):
    """Of maps that is known later: test_kept_targets.py."""
    facts = replace(PHOTOS, columns=("label", "mask", "objects"))
    found = settle([("command line", {"task": task, "weights": "some.safetensors"})], facts, None, "photos")
    assert found["transfer.views"].value == 2 and ("most of the work" in found["transfer.views"].reason) == maps


def test_another_task_takes_none_of_the_recipes_options():
    asked = {"task": "labels"}
    found = settle([("command line", asked)], PHOTOS, "small-photos", "photos")
    assert found["model"].value == "airbench" and "task.smoothing" not in found


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


@pytest.mark.parametrize(
    ("facts", "asked", "keep", "why"),
    [
        ({"n_dev": 0}, {}, "last", "no dev part"),
        ({"n_dev": 90}, {}, "last", "90 dev images are too few"),
        ({"n_dev": 1000}, {}, "best", "dev part"),
        ({"n_dev": 90}, {"schedule.name": "cosine"}, "last", "falls to 0"),
        ({"n_dev": 90}, {"schedule.name": "constant"}, "best", "does not fall"),
        ({"n_dev": 90}, {"schedule.final": 0.1}, "best", "does not fall"),
        ({"n_dev": 90}, {"regularize.patience": 3}, "best", "patience 3"),
        ({"n_dev": 90, "columns": ("mask",)}, {}, "best", "dev part"),  # thousands of pixels in each
    ],
)
def test_few_dev_images_choose_no_epoch_where_the_rate_falls_to_nothing(facts, asked, keep, why):
    facts = replace(PHOTOS, **{"n_train": 500, **facts})
    found = settle([("command line", asked)], facts, None, "photos")["keep"]
    assert (found.value, found.source) == (keep, "auto") and why in found.reason

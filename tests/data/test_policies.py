"""Named policies: what each does to which images, and that options say the same as the policy itself."""

import functools
from dataclasses import fields

import numpy as np
import pytest

from hubel.data.augment import Augment
from hubel.data.dataset import Dataset
from hubel.data.images import ArrayImages
from hubel.data.loader import Loader
from hubel.data.policies import POLICIES, from_options, options_of, policy
from hubel.data.preprocess import Preprocess
from hubel.errors import UserError
from hubel.recipe import AugmentOptions

SIZES = [((28, 28), 1), ((32, 32), 3), ((224, 224), 3), ((100, 300), 1)]


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize(("size", "channels"), SIZES)
@pytest.mark.parametrize("traits", [{}, {"mirror": False}, {"mirror": True, "upright": False}, {"colour": False}])
def test_options_say_the_same(name, size, channels, traits):
    augment, why = policy(name, traits, size, channels)
    assert why and from_options(options_of(augment), traits, channels) == augment
    assert Augment.from_settings(augment.settings()) == augment


def test_labels_are_kept_by_default():
    for name in POLICIES:
        characters, _ = policy(name, {"mirror": False}, (28, 28), 1)
        assert characters.flip == "none" and not characters.vertical and characters.geometric.rotate <= 15
        photos, _ = policy(name, {}, (224, 224), 3)
        assert not photos.vertical and photos.mixing.plain
        assert (photos.flip == "random") == (name != "none")
        colours, _ = policy(name, {"colour": False}, (224, 224), 3)
        c = colours.colour
        assert not (c.hue or c.saturation or c.cast or c.grey)
        assert colours.chosen is None or "saturation" in colours.chosen.leave
    cells, _ = policy("strong", {"upright": False}, (224, 224), 3)
    assert cells.vertical and cells.geometric.rotate == 180


def test_strong_does_more_than_standard():
    strong, why = policy("strong", {}, (224, 224), 3)
    assert strong.crop == (0.25, 1.0) and strong.cutout == 56 and strong.turns and "turned" in why
    assert strong.colour.hue and strong.texture.blur and strong.border == "mirror"


def test_chosen_policies_say_that_they_are_a_style():
    for name, count, magnitude in (("randaugment", 2, 0.3), ("trivialaugment", 1, None)):
        augment, why = policy(name, {}, (32, 32), 3)
        assert (augment.chosen.count, augment.chosen.magnitude) == (count, magnitude)
        assert "style, without equalise" in why and augment.shift == 4


def test_nothing_asked_is_nothing_done():
    assert from_options({}, {}, 3) == Augment(border="mirror")
    some = from_options({"rotate": 15.0, "noise": 0.1, "mixup": 0.2, "operations": 1, "magnitude": 0.0}, {}, 3)
    assert some.geometric.rotate == 15 and some.texture.noise == 0.1 and some.mixing.mixup == 0.2
    assert some.chosen.magnitude is None and not some.shifts_only
    with pytest.raises(UserError, match="rotate"):
        from_options({"rotate": 400.0}, {}, 3)


def test_every_policy_draws():
    slots = np.arange(6)
    for name in POLICIES:
        for size, channels in SIZES:
            draws = policy(name, {}, size, channels)[0].draw(0, 0, slots, size, size, examples=slots)
            assert draws.matrices.shape == (6, 3, 3) and np.isfinite(draws.matrices).all()
            assert draws.turned == (name in ("strong", "randaugment", "trivialaugment"))


EFFECTS = {
    "shift": 3, "flip": "random", "crop": 0.4, "cutout": 9, "vertical": True, "rotate": 20.0, "scale": 0.3,
    "shear": 10.0, "perspective": 0.2, "elastic": 0.05, "brightness": 0.4, "contrast": 0.4, "saturation": 0.5,
    "hue": 0.2, "cast": 0.3, "lighting": 2.0, "grey": 0.9, "solarise": 0.9, "posterise": 0.9, "blur": 2.0,
    "noise": 0.1, "jpeg": 20, "operations": 3, "mixup": 1.0, "cutmix": 1.0,
}  # fmt: skip
ELSEWHERE = {  # what has no effect of its own, and what test_backgrounds and test_scene_loader look at
    "policy", "border", "magnitude", "mixed", "blend", "backgrounds", "mosaic", "copy_paste",
}  # fmt: skip


def test_every_option_of_a_recipe_is_known_here():
    assert {field.name for field in fields(AugmentOptions)} == EFFECTS.keys() | ELSEWHERE


@pytest.mark.parametrize("path", ["resident", "decoded"])
@pytest.mark.parametrize("name", EFFECTS)
def test_every_option_changes_the_images_of_a_batch(name, path):
    """Through the loader, as a training sees them; most of the images, and no image for the worse: all are finite."""
    pixels = np.random.default_rng(0).integers(0, 256, (32, 24, 24, 3)).astype(np.uint8)
    data = Dataset("noise", ArrayImages(pixels), {"label": np.arange(32) % 4}, tuple("abcd"))

    def images(augment):
        targets = functools.partial(data.take, "label")
        preprocess = Preprocess((24, 24), 3, mean=(0.4,) * 3, std=(0.2,) * 3)
        with Loader(data, targets, preprocess, augment=augment, path=path) as loader:
            return next(iter(loader.batches(np.arange(32), epoch=0, batch_size=32))).images

    plain, changed = images(None), images(from_options({name: EFFECTS[name]}, {}, 3))
    differ = (plain != changed).flatten(1).any(1)
    assert differ.float().mean() > 0.3 and changed.isfinite().all()

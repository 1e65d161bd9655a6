"""Named policies: what each does to which images, and that options say the same as the policy itself."""

import numpy as np
import pytest

from hubel.data.augment import Augment
from hubel.data.policies import POLICIES, from_options, options_of, policy
from hubel.errors import UserError

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

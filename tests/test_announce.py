"""What is said before a training."""

import re
from types import SimpleNamespace

import pytest

from hubel.announce import short_sighted
from hubel.parts import make_plain_network


@pytest.mark.parametrize(
    ("name", "options", "side", "pixels"),
    [
        ("unet", {"encoder": "resnet20"}, 192, "81 of 192 x 256 pixels.*resnet18"),
        ("unet", {"encoder": "resnet20"}, 128, None),
        ("unet", {}, 192, None),
        ("full_resolution", {}, 64, "13 of 64 x 128"),
        ("mlp", {"hidden": (2,)}, 64, None),
    ],
)
def test_a_network_that_sees_little_around_each_pixel_is_named(name, options, side, pixels):
    shape = (3, side, side + 64)
    network = make_plain_network(name, options, 3, shape)
    session = SimpleNamespace(network=network, shape=shape, preprocess=SimpleNamespace(size=shape[1:]))
    for every_pixel in (True, False):
        session.task = SimpleNamespace(every_pixel=every_pixel)
        said = short_sighted(session)
        assert bool(said) == (every_pixel and pixels is not None)
        assert not said or re.search(pixels, said[0])

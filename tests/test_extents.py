"""Boxes and masks against receptive fields: sides, scales and shares by hand."""

import numpy as np
import pytest

from hubel import converting, inspecting
from hubel.errors import UserError

NET = """
from torch import nn
from hubel.models.base import Head, Network


class Net(Network):
    channels, strides = (4, 4), (2, 4)  # fields: 3, then 3 + 2 * 2 = 7 pixels

    def __init__(self, classes):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1)
        self.head = Head(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes))

    def maps(self, images):
        return [a := self.a(images), self.b(a)]
"""


@pytest.fixture
def net(tmp_path):
    (tmp_path / "net.py").write_text(NET)
    return f"{tmp_path / 'net.py'}:Net"


def test_sides_are_those_of_the_networks_input(net):
    found = inspecting.inspect_data("shapes:count=20,size=96", model=net, size=48)
    boxes = found.inspection.objects.boxes.astype(np.float64)
    sides = [0.5 * ((x1 - x0) * (y1 - y0)) ** 0.5 for x0, y0, x1, y1 in boxes]
    told = found.settings()["receptive_field"]
    np.testing.assert_allclose(np.sort(found.extents.sides), np.sort(sides), rtol=1e-6)
    assert told["count"] == len(boxes) and told["median"] == pytest.approx(np.median(sides))
    assert [(row["stride"], row["field"]) for row in told["maps"]] == [(2, 3), (4, 7)]
    for row in told["maps"]:
        assert row["whole"] == np.mean([side <= row["field"] for side in sides])
        assert row["below_stride"] == np.mean([side < row["stride"] for side in sides])
    assert told["input"] == [48, 48] and f"{np.mean(np.array(sides) <= 7):.0%} are not larger" in told["sentence"]


def test_the_page_and_the_json_show_it(net, tmp_path):
    found = inspecting.look("shapes:count=6,size=64", tmp_path / "out", model=net, size=32, augment="none")
    page = found.page.read_text()
    assert "Net sees of them</h2>" in page
    assert found.settings()["receptive_field"]["sentence"] in page


def test_what_can_not_be_compared(net):
    with pytest.raises(UserError, match="neither"):
        inspecting.inspect_data("digits", model="lenet5")
    with pytest.raises(UserError, match="sees all of an image at once"):
        inspecting.inspect_data("shapes:count=4,size=32", model="mlp")
    with pytest.raises(UserError, match="from 1 on; got 0"):
        inspecting.inspect_data("shapes:count=4,size=32", model="resnet8", size=0)


def test_masks_are_measured_by_the_pixels_of_their_classes(net, tmp_path):
    assert converting.convert_data("shapes:count=5,size=64", tmp_path / "masks", "masks") is not None
    found = inspecting.inspect_data(tmp_path / "masks", model=net, size=32)
    pixels = found.inspection.seen.pixels[:, :-1]
    sides = [0.5 * float(n) ** 0.5 for row in pixels for n in row if n]
    assert found.settings()["receptive_field"]["what"] == "classes in masks"
    np.testing.assert_allclose(np.sort(found.extents.sides), np.sort(sides), rtol=1e-6)


def test_the_size_is_that_of_a_training(net, tmp_path):
    """Masks keep their proportions; where nothing is trained on several objects yet, it is what the network wants."""
    assert converting.convert_data("shapes:count=5,size=40x60", tmp_path / "masks", "masks") is not None
    for size, shown in ((None, [40, 60]), (32, [32, 48])):
        found = inspecting.inspect_data(tmp_path / "masks", model=net, size=size)
        told = found.settings()["receptive_field"]
        pixels = found.inspection.seen.pixels[:, :-1]
        sides = [(n * shown[0] * shown[1] / 2400) ** 0.5 for row in pixels for n in row if n]
        assert told["input"] == shown and told["median"] == pytest.approx(np.median(sides))
    several = inspecting.inspect_data("shapes:count=5,size=40x60,kind=detection", model="resnet18")
    assert several.settings()["receptive_field"]["input"] == [224, 224]


def test_images_that_can_not_be_read_are_no_obstacle(net, tmp_path):
    """The look goes on, and its findings name them."""
    assert converting.convert_data("shapes:count=3,size=16", tmp_path / "masks", "masks") is not None
    first, *others = sorted((tmp_path / "masks").rglob("images/**/*.png"))
    first.write_bytes(b"junk")
    assert inspecting.inspect_data(tmp_path / "masks", model=net).extents.input == (16, 16)  # that of the others
    for image in others:
        image.write_bytes(b"junk")
    found = inspecting.inspect_data(tmp_path / "masks", model=net)
    assert found.inspection.kinds["no image"] == 3 and found.extents.input == (32, 32) and not len(found.extents.sides)
    assert "there are no classes in masks" in found.settings()["receptive_field"]["sentence"]

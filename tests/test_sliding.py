"""A classifier slid over an image: loop and convolution agree, boxes are where the windows were, objects are found."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import hubel
from hubel.data.preprocess import Preprocess
from hubel.data.shapes import shapes
from hubel.data.tight import cut, tight_crops
from hubel.errors import UserError
from hubel.models.base import Head, Network
from hubel.models.vgg import VGG
from hubel.nn.pooling import GlobalAveragePool
from hubel.rebuild import Parts
from hubel.sliding import detect, slides, windows
from hubel.tasks.classification import Classification
from hubel.tasks.labels import Labels

NAMES = ("dark", "bright", "background")


def parts_of(network, names, side=16, channels=3):
    preprocess = Preprocess((side, side), channels, mean=(0.4,), std=(0.3,))
    return Parts(network.eval(), Classification(names), preprocess, torch.device("cpu"), names, "fp32")


@pytest.mark.parametrize(("name", "side", "options"), [("lenet5", 32, {}), ("convnet", 24, {"padding": "valid"})])
def test_the_two_ways_agree_without_padding(name, side, options):
    torch.manual_seed(0)
    more = {"widths": (4, 8), **options} if name == "convnet" else options
    network = hubel.create_model(name, classes=4, input=(3, side, side), **more)
    parts = parts_of(network, ("a", "b", "c", "d"), side)
    image = np.random.default_rng(0).integers(0, 256, (70, 95, 3), dtype=np.uint8)
    whole, crops = (windows(parts, image, (1.0, 0.6), way) for way in (True, False))
    assert torch.equal(whole.boxes, crops.boxes) and len(whole.boxes) == len(whole.outputs) > 60
    assert (whole.outputs - crops.outputs).abs().max() < 1e-4
    assert crops.outputs.std(0).min() > 1e-3, "places differ, or nothing would be compared"


class Mean(Network):
    """How bright a window is on average, against 0.5: dark, bright, and background where it is neither."""

    def __init__(self):
        super().__init__()
        self.channels, self.strides = (3,), (2,)
        self.pool = nn.AvgPool2d(2)
        self.head = Head(GlobalAveragePool(), nn.Linear(3, 3))
        with torch.no_grad():
            self.head[-1].weight.copy_(torch.tensor([[-8.0] * 3, [8.0] * 3, [0.0] * 3]))
            self.head[-1].bias.copy_(torch.tensor([-30.0, -30.0, 0.0]))

    def maps(self, images):
        return [self.pool(images)]


def test_windows_lie_where_they_were_cut():
    image = np.random.default_rng(1).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    parts = parts_of(Mean(), NAMES)
    found = windows(parts, image, (1.0,))
    assert len(found.boxes) == 13 * 18
    for box, outputs in zip(found.boxes.int().tolist()[::7], found.outputs[::7], strict=True):
        x0, y0, x1, y1 = box
        assert (x1 - x0, y1 - y0) == (16, 16)
        crop = torch.from_numpy(image[y0:y1, x0:x1])[None]
        with torch.no_grad():
            assert torch.allclose(parts.network(parts.preprocess.normalise(crop))[0], outputs, atol=1e-4)


def test_scales_lead_back_to_the_image():
    image = np.zeros((64, 80, 3), np.uint8)
    found = windows(parts_of(Mean(), NAMES), image, (0.5, 2.0))
    sides = (found.boxes[:, 2:] - found.boxes[:, :2]).unique().tolist()
    assert sides == [8, 32]
    assert found.boxes.min() == 0 and found.boxes[:, 2].max() == 80 and found.boxes[:, 3].max() == 64


@pytest.mark.parametrize("convolutional", [True, False])
def test_the_last_windows_hang_over_the_mirrored_edge(convolutional):
    """Steps of 2, and 3 × 5 pixels too many: each window against a crop of the image mirrored by hand."""
    image = np.random.default_rng(2).integers(0, 256, (23, 29, 3), dtype=np.uint8)
    large = np.concatenate([image, image[::-1]])
    large = np.concatenate([large, large[:, ::-1]], 1)
    parts = parts_of(Mean(), NAMES)
    found = windows(parts, image, (1.0,), convolutional)
    assert len(found.boxes) == 5 * 8, "4 and 7 windows fit whole"
    assert found.boxes.amax(0).tolist() == [14, 8, 29, 23], "boxes end at the image's edge"
    for k, (outputs, box) in enumerate(zip(found.outputs, found.boxes.tolist(), strict=True)):
        y, x = k // 8 * 2, k % 8 * 2
        assert box == [x, y, min(x + 16, 29), min(y + 16, 23)]
        crop = torch.from_numpy(large[y : y + 16, x : x + 16].copy())[None]
        with torch.no_grad():
            assert torch.allclose(parts.network(parts.preprocess.normalise(crop))[0], outputs, atol=1e-4)


class Stepwise(Mean):
    """The same, in steps of 8 pixels."""

    def __init__(self):
        super().__init__()
        self.strides, self.pool = (8,), nn.AvgPool2d(8)


def test_an_object_in_the_lower_right_corner_is_found():
    image = np.full((38, 38, 3), 90, np.uint8)
    image[24:, 24:] = 255
    (found,) = detect(parts_of(Stepwise(), NAMES), image, scales=(1.0,))
    assert found.box == (24, 24, 38, 38), "in steps of 8 from 0 on the last whole window ends at 32"


def narrow_vgg(monkeypatch, side):
    """VGG-11 of two channels a layer: its structure, in milliseconds."""
    monkeypatch.setattr("hubel.models.vgg.WIDTHS", (2,) * 5)
    monkeypatch.setattr(VGG, "channels", (2,) * 5)
    torch.manual_seed(0)
    return hubel.create_model("vgg11", classes=3, input=(3, side, side), hidden=4).eval()


def test_vgg_slides_but_pads_so_the_loop_is_taken(monkeypatch):
    parts = parts_of(narrow_vgg(monkeypatch, 224), NAMES, 224)
    image = np.random.default_rng(0).integers(0, 256, (224, 256, 3), dtype=np.uint8)
    itself = windows(parts, image[:, :224], (1.0,), True)
    with torch.no_grad():
        answer = parts.network(parts.preprocess.normalise(torch.from_numpy(image[None, :, :224])))
    torch.testing.assert_close(itself.outputs, answer, rtol=1e-4, atol=1e-4)
    taken, whole, loop = (windows(parts, image, (1.0,), way) for way in (None, True, False))
    assert whole.boxes.tolist() == loop.boxes.tolist() and len(loop.boxes) == 2
    assert torch.equal(taken.outputs, loop.outputs)
    assert (whole.outputs - loop.outputs).abs().max() > 1e-2 * loop.outputs.abs().max(), "zeros at a window's edge"


def test_what_cannot_slide_at_once_goes_window_by_window(monkeypatch):
    image = np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    parts = parts_of(narrow_vgg(monkeypatch, 32), NAMES, 32)  # pools a map of 1×1 to 7×7
    assert len(windows(parts, image, (1.0,)).boxes) == 2 * 2
    with pytest.raises(UserError, match="can't slide"):
        windows(parts, image, (1.0,), True)
    dense = parts_of(hubel.create_model("mlp", classes=3, input=(3, 32, 32), hidden=(4,)), NAMES, 32)
    found = windows(dense, image, (1.0,))
    assert found.boxes[:2].tolist() == [[0, 0, 32, 32], [8, 0, 40, 32]], "a quarter of the window further"


def test_the_convolutional_way_is_taken_where_it_is_the_same():
    for name, padding, same in (("convnet", "valid", True), ("convnet", "zero", False)):
        torch.manual_seed(0)
        network = hubel.create_model(name, classes=3, input=(3, 24, 24), widths=(4, 8), padding=padding)
        assert slides(network, (3, 24, 24)) is same


@pytest.mark.parametrize("convolutional", [True, False])
def test_one_object_is_found_once(convolutional):
    image = np.full((64, 64, 3), 90, np.uint8)
    image[20:36, 30:46] = 255
    (found,) = detect(parts_of(Mean(), NAMES), image, scales=(1.0,), convolutional=convolutional)
    assert found.label == "bright" and found.probability > 0.9
    assert np.abs(np.array(found.box) - (30, 20, 46, 36)).max() <= 2
    assert detect(parts_of(Mean(), NAMES), np.full((64, 64, 3), 90, np.uint8)) == []
    assert detect(parts_of(Mean(), NAMES), image, scales=(1.0,), threshold=0.99999999) == []


def test_mistakes_are_named():
    parts, image = parts_of(Mean(), NAMES), np.zeros((20, 20, 3), np.uint8)
    with pytest.raises(
        UserError, match=r"20 x 20 pixels is smaller than the window of 16 x 16 at each of the scales 0\.5"
    ):
        windows(parts, image, (0.5,))
    with pytest.raises(UserError, match="scales are numbers above 0"):
        windows(parts, image, (1.0, -1))
    with pytest.raises(UserError, match="this run's task is 'labels'"):
        windows(replace(parts, task=Labels(NAMES)), image, (1.0,))


def test_crops_hold_objects_and_background_holds_none():
    data = shapes(12, 48, kind="detection", classes=3)
    data = data.with_splits({"train": np.arange(8), "dev": np.arange(8, 12)})
    crops = tight_crops(data, 24, background=2.0)
    labels, counts = crops.annotations["label"], np.bincount(crops.annotations["label"], minlength=4)
    assert crops.classes == (*data.classes, "background")
    assert counts[:3].tolist() == np.bincount(data.annotations["objects"].labels, minlength=3).tolist()
    assert counts[3] >= counts[:3].sum() and crops.images.read(0).shape == (24, 24, 3)
    assert sum(map(len, crops.splits.values())) == len(labels)
    assert not set(crops.splits["train"]) & set(crops.splits["dev"])
    again = tight_crops(data, 24, background=2.0)
    assert np.array_equal(again.images.read(5), crops.images.read(5))
    with pytest.raises(UserError, match="no objects"):
        tight_crops(shapes(4, 32, kind="labels"), 24)


def test_a_cut_of_whole_pixels_is_a_slice():
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    assert np.array_equal(cut(image, np.array([5.0, 4, 21, 20]), 16), image[4:20, 5:21])
    assert np.array_equal(cut(image, np.array([-2.0, 0, 6, 8]), 8)[:, :2], image[:8, 1::-1])
    flat = np.full((30, 40, 1), 77, np.uint8)
    assert (cut(flat, np.array([-9.0, -9, 39, 39]), 8) == 77).all()

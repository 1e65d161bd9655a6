"""What a sliding window finds, as documents, as pictures, and from the command line."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_sliding import NAMES, Mean, Stepwise, parts_of

from hubel import cli, slid
from hubel.cli import options as cli_options
from hubel.cli import predict as cli_predict
from hubel.errors import UserError
from hubel.ops.palette import PALETTE
from hubel.sliding import Detection, windows


@pytest.fixture
def scene(tmp_path):
    """A bright square in the corner and one in the middle of a grey image, as a file."""
    image = np.full((64, 80, 3), 90, np.uint8)
    image[48:, 64:] = image[20:36, 30:46] = 255
    Image.fromarray(image).save(tmp_path / "scene.png")
    return tmp_path / "scene.png"


@pytest.fixture
def run(monkeypatch):
    from hubel import api

    class Stub:
        def parts(self):
            return parts_of(Mean(), NAMES)

    monkeypatch.setattr(api.Run, "open", lambda place: Stub())


def test_objects_are_found_with_their_picture(scene, tmp_path):
    empty = np.full((20, 20, 3), 90, np.uint8)
    found, none = slid.find(parts_of(Mean(), NAMES), [scene, empty], tmp_path / "found", scales=(1.0,))
    assert found["image"] == str(scene) and found["size"] == [64, 80] and found["convolutional"]
    assert found["windows"] == 25 * 33
    assert {one["class"] for one in found["objects"]} == {"bright"} and len(found["objects"]) == 2
    for place in ([64, 48, 80, 64], [30, 20, 46, 36]):
        assert min(np.abs(np.array(one["box"]) - place).max() for one in found["objects"]) <= 2
    assert none["objects"] == [] and none["image"] == "#1"
    assert found["picture"].endswith("scene-objects.png") and none["picture"].endswith("1-objects.png")
    assert Image.open(found["picture"]).size == (384, 307)
    assert len(slid.find(parts_of(Mean(), NAMES), [scene], scales=(1.0,), most=1.0)[0]["objects"]) > 2


def test_several_networks_average_what_they_say_of_each_window():
    """The finer one at once, the coarser one window by window at the finer one's steps; another way round, the same."""
    image = np.random.default_rng(0).integers(0, 256, (30, 41, 3), dtype=np.uint8)
    fine, coarse = parts_of(Mean(), NAMES), parts_of(Stepwise(), NAMES)
    with torch.no_grad():
        coarse.network.head[-1].bias[1] += 22
    slider = slid.Slider([coarse, fine])
    assert (slider.step, slider.at_once) == (2, (False, True))
    found, loops = slider.windows(image, (1.0,)), [windows(one, image, (1.0,), False, 2) for one in (fine, coarse)]
    assert torch.equal(found.boxes, loops[0].boxes) and len(found.boxes) == 8 * 14
    mean = (loops[0].outputs.softmax(1) + loops[1].outputs.softmax(1)) / 2
    torch.testing.assert_close(found.outputs.softmax(1), mean)
    assert (loops[0].outputs.softmax(1) - mean).abs().max() > 0.01
    torch.testing.assert_close(slid.Slider([fine, coarse]).windows(image, (1.0,)).outputs, found.outputs)


def test_networks_that_can_not_slide_together_are_named():
    with pytest.raises(UserError, match="have dark, bright, background; bright, dark, background"):
        slid.Slider([parts_of(Mean(), NAMES), parts_of(Mean(), ("bright", "dark", "background"))])
    with pytest.raises(UserError, match="have 16 x 16 and 24 x 24 pixels"):
        slid.Slider([parts_of(Mean(), NAMES), parts_of(Mean(), NAMES, 24)])


def test_boxes_have_the_colours_of_their_classes():
    image = np.full((400, 400, 1), 50, np.uint8)
    objects = [Detection("bright", 0.91, (10.0, 20, 200, 300)), Detection("dark", 0.9, (250.0, 20, 390, 390))]
    picture = np.asarray(slid.drawn(image, objects, NAMES))
    assert picture.shape == (400, 400, 3)
    for x, k in ((11, 1), (251, 0)):
        assert picture[150, x].tolist() == list(PALETTE[k]) and picture[150, x - 1].tolist() == [0, 0, 0]
    assert (picture[100, 100] == 50).all(), "inside nothing is drawn"


def test_labels_keep_clear_of_each_other_and_inside_the_picture():
    """Six pairs of boxes that nearly coincide, one of them beyond the lower right corner."""
    corners = np.array([[x, y] for x in (10.0, 150, 340) for y in (5.0, 345)])
    corners = np.concatenate([corners, corners + 6])
    boxes, label = np.concatenate([corners, corners + 70], 1), (90.0, 17.0)
    found = np.array(slid.places(boxes, [label] * len(boxes), (400, 400)))
    assert (found >= 0).all() and (found + label <= 400).all()
    assert np.allclose(found[0], boxes[0, :2] + slid.EDGE), "the most probable one lies in its box"
    apart = (np.abs(found[:, None] - found[None]) >= label).any(2)
    assert (apart | np.eye(len(found), dtype=bool)).all()
    assert slid.places(np.zeros((0, 4)), [], (9, 9)) == []


def test_the_command_line(scene, tmp_path, run, capsys, monkeypatch):
    out = tmp_path / "found"
    words = ["predict", "run", str(scene), "--slide", "--scales", "1", "--threshold", "0.9", "--out", str(out)]
    assert cli.main(words) == 0
    shown = capsys.readouterr().out
    assert "bright" in shown and "825 windows were looked at, at once" in shown and "scene-objects.png" in shown
    assert cli.main([*words, "--json", "--suppress", "1"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    monkeypatch.setattr(Path, "exists", lambda path, real=Path.exists: path.parts[0] == "other" or real(path))
    assert cli.main(["predict", "run", "other", *words[2:], "--json"]) == 0
    (both,) = json.loads(capsys.readouterr().out)
    assert len(both["objects"]) == 2 and both["windows"] == found["windows"]
    assert len(found["objects"]) > 2 and all(one["probability"] > 0.9 for one in found["objects"])
    sides = {one["box"][2] - one["box"][0] for one in found["objects"]}
    assert sides == {16.0}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--suppress", "0.5"], "'--suppress' goes with --slide"),
        (["--slide", "--tile", "96"], "'--tile' goes with --masks DIR"),
        (["--slide", "--masks", "out"], "Give one of them"),
        (["--slide", "--views", "mirror"], "without --views; several are averaged"),
        (["--slide", "--scales", "1;2"], "numbers with commas between them, got '1;2'"),
        (["--slide", "--threshold", "2"], "threshold is a probability from 0 to 1; got 2"),
        (["--slide", "--suppress", "-1"], "overlap .* is an IoU from 0 to 1; got -1"),
    ],
)
def test_options_that_do_not_fit_are_named(words, said, scene, run):
    with pytest.raises(UserError, match=said):
        cli_predict.predict(cli_options.parse(["predict", "run", str(scene), *words]))

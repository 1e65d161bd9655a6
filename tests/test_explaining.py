"""`Run.explain` and `hubel explain`: maps on images of any size, boxes in their pixels, pictures, mistakes named."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from small_runs import in_memory
from torch import nn

import hubel
from hubel import trained
from hubel.cli import main
from hubel.data.preprocess import Preprocess
from hubel.errors import UserError
from hubel.explain.picture import laid_over, picture
from hubel.models.base import Head, Network
from hubel.nn.pooling import GlobalAveragePool
from hubel.prediction.explaining import explain_images, save_pictures
from hubel.rebuild import Parts
from hubel.tasks.binary import Binary
from hubel.tasks.classification import Classification
from hubel.tasks.joint import Joint
from hubel.tasks.regression import Regression

NAMES = ("red", "green", "blue")


class Colours(Network):
    """Answers with the mean of each channel, brightness in [0, 1]: the map of a class is its channel."""

    def __init__(self, task):
        super().__init__()
        self.channels, self.strides = (3,), (1,)
        self.head = task.head(self)

    def maps(self, images):
        return [images]

    def default_head(self, classes):
        linear = nn.Linear(3, classes)
        nn.init.eye_(linear.weight)
        nn.init.constant_(linear.bias, 0.25)
        return Head(GlobalAveragePool(), linear)


def parts_for(task, size=(32, 32), policy="crop"):
    preprocess = Preprocess(size, 3, policy=policy)
    return Parts(Colours(task).eval(), task, preprocess, torch.device("cpu"), NAMES, "fp32")


def scene(height, width, box, channel=1):
    """Black, with a square of one colour."""
    x0, y0, x1, y1 = box
    image = np.zeros((height, width, 3), np.uint8)
    image[y0:y1, x0:x1, channel] = 255
    return image


@pytest.mark.parametrize(
    ("shape", "box", "policy"),
    [
        ((32, 32), (8, 4, 20, 18), "crop"),
        ((64, 96), (40, 20, 60, 52), "crop"),
        ((50, 40), (10, 10, 30, 20), "letterbox"),
        ((2100, 4200), (400, 300, 2000, 1500), "stretch"),
    ],
)
def test_the_box_lies_where_the_colour_is(shape, box, policy):
    (found,) = explain_images(parts_for(Classification(NAMES), policy=policy), [("a.png", scene(*shape, box))])
    pixel = max(shape) / 32 + max(shape) / 1024
    assert found.answer == "green" and found.said["prediction"] == "green"
    assert np.abs(found.box - box).max() <= pixel
    assert max(found.heat.shape) == min(1024, max(shape))


def test_output_is_map_and_bias():
    image = scene(32, 32, (8, 4, 24, 20))
    (found,) = explain_images(parts_for(Classification(NAMES)), [("a", image)], answer="green")
    assert found.value == pytest.approx(float(found.heat.mean()) + 0.25, abs=1e-6)
    assert found.value == pytest.approx(0.5, abs=1e-6)
    (other,) = explain_images(parts_for(Classification(NAMES)), [("a", image)], answer="blue")
    assert other.answer == "blue" and other.box is None and other.value == pytest.approx(0.25)


def test_what_is_cut_off_has_no_value():
    image = scene(32, 64, (0, 8, 64, 24))
    (found,) = explain_images(parts_for(Classification(NAMES)), [("a", image)])
    assert np.isnan(found.heat[:, :16]).all() and np.isnan(found.heat[:, 48:]).all()
    assert np.isfinite(found.heat[:, 16:48]).all() and found.box.tolist() == [16, 8, 48, 24]


def test_many_images_in_batches_come_in_order():
    boxes = [(x, 4, x + 6, 12) for x in range(24)] * 2
    images = [(str(x), scene(32, 32, box, x % 3)) for x, box in enumerate(boxes)]
    found = explain_images(parts_for(Classification(NAMES)), images)
    assert [one.answer for one in found] == [NAMES[x % 3] for x in range(len(boxes))]
    assert [one.box.tolist() for one in found] == [list(box) for box in boxes]


def test_one_number_speaks_for_one_class_and_against_the_other():
    parts = parts_for(Binary(("no", "yes")))
    image = scene(32, 32, (8, 4, 24, 20), channel=0)
    (yes,) = explain_images(parts, [("a", image)])
    (no,) = explain_images(parts, [("a", image)], answer="no")
    assert yes.answer == "yes" and yes.value == pytest.approx(-no.value)
    np.testing.assert_array_equal(yes.heat, -no.heat)


def test_a_joint_task_is_explained_by_the_one_that_decides():
    size = Regression(names=("side",), statistics=((0.0,), (1.0,), (0.0,), (1.0,)))
    task = Joint({"size": size, "kind": Classification(NAMES)}, decides="kind")
    (found,) = explain_images(parts_for(task), [("a", scene(32, 32, (8, 4, 24, 20)))])
    assert found.answer == "green" and found.box.tolist() == [8, 4, 24, 20]


def test_mistakes_are_named():
    parts, image = parts_for(Classification(NAMES)), [("a", scene(32, 32, (8, 4, 24, 20)))]
    with pytest.raises(UserError, match=r"no class 'gren'; did you mean 'green'"):
        explain_images(parts, image, answer="gren")
    with pytest.raises(UserError, match=r"no method of explanation 'camm'; did you mean 'cam'"):
        explain_images(parts, image, "camm")
    with pytest.raises(UserError, match="share of its maximum"):
        explain_images(parts, image, threshold=1.5)
    with pytest.raises(UserError, match=r"'regression' has no one output .*classification"):
        explain_images(parts_for(Regression(names=("side",), error="bins")), image)


def test_pictures_are_written_beside_each_other(tmp_path):
    images = [("a/x.png", scene(32, 32, (8, 4, 24, 20))), ("b/x.png", scene(32, 32, (1, 1, 4, 4)))]
    made = explain_images(parts_for(Classification(NAMES)), images)
    paths = save_pictures(made, tmp_path / "out")
    assert [path.name for path in paths] == ["x-cam.png", "x-2-cam.png"]
    assert save_pictures(made, tmp_path / "out") == paths, "a second call writes the same files"
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--out"):
        save_pictures(made, tmp_path / "file")


def test_the_picture_shows_map_and_box():
    image = scene(40, 40, (10, 10, 30, 30))
    heat = np.zeros((40, 40), np.float32)
    heat[10:30, 10:30] = 1
    heat[:, :4] = np.nan
    over = laid_over(image, heat)
    assert over[20, 20].tolist() != over[2, 20].tolist() != over[2, 1].tolist()
    with_box = np.asarray(picture(image, heat, (10, 10, 30, 30), "a title", 0.2))
    without = np.asarray(picture(image, heat, None, "a title", 0.2))
    changed = (with_box != without).any(2)
    assert changed.any() and not changed[:, : changed.shape[1] // 3].any(), "the image itself has no box on it"
    assert picture(image.astype(np.uint16) << 8, heat, None, "x" * 300).width == without.shape[1]


def test_from_the_command_line(tmp_path, monkeypatch, capsys):
    parts = parts_for(Classification(NAMES))
    monkeypatch.setattr(trained.Run, "open", classmethod(lambda cls, path: SimpleNamespace(
        explain=lambda images, *more: explain_images(parts, [(i, np.asarray(Image.open(i))) for i in images], *more)
    )))  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Image.fromarray(scene(32, 32, (8, 4, 24, 20))).save("a.png")
    assert main(["explain", "r", "a.png", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["class"] == found["prediction"] == "green" and found["box"] == [8, 4, 24, 20]
    assert found["picture"] == str(tmp_path / "explained" / "a-cam.png")
    assert Image.open(found["picture"]).size[0] > 2 * 384
    assert (
        main(["explain", "r", "a.png", "--out", "o", "--class", "green", "--threshold", "0.5", "--method", "cam"]) == 0
    )
    assert "8, 4, 24, 20" in capsys.readouterr().out and (tmp_path / "o" / "a-cam.png").exists()
    assert main(["explain", "r", "a.png", "--threshold", "half"]) == 2
    assert main(["explain", "r", "a.png", "--class", "cat"]) == 2
    assert "known: blue, green, red" in capsys.readouterr().err


def test_a_run_for_real(tmp_path):
    data = in_memory(n=60)
    layers = [("python", {"model": "convnet", "model.widths": (4, 8), "model.convs": 1, "workers": 0})]
    run = hubel.train(data, out=tmp_path, epochs=1, progress="quiet", layers=layers)
    (found,) = hubel.Run.open(run.path).explain([data.images.read(0)])
    assert found.heat.shape == (8, 8) and found.answer in data.classes
    assert found.settings()["output"] == found.value

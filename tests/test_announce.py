"""What is said before a training."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import hubel
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


def test_faults_that_the_reader_met_are_said_before_a_training_and_in_its_report(tmp_path, capsys):
    rows = ["file,label"]
    for k in range(20):
        Image.fromarray(np.full((8, 8), 10 * k, np.uint8)).save(tmp_path / f"{k}.png")
        rows.append(f"{k}.png,{'cat' if k % 2 else 'dog'}")
    (tmp_path / "labels.csv").write_text("\n".join([*rows, "gone.png,cat"]))
    shared = {"model": "linear", "epochs": 1, "workers": 0, "progress": "lines"}
    run = hubel.train(str(tmp_path / "labels.csv"), out=tmp_path / "runs", **shared)
    told = "the data has 1 fault (missing file 1), which hubel data shows"
    assert f"{told}, such as labels.csv, line 22:" in capsys.readouterr().err
    page = (run.path / "report.html").read_text()
    assert told in page and f"{told}, such as" not in page  # it may be handed on
